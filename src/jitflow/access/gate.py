"""The gate: from the header of a request to who sends it, and how long that holds."""

import base64
import hashlib
import hmac
import time
from collections.abc import Callable
from typing import Protocol

import msgspec
from msgspec import Struct

from jitflow.access.roles import Identity, control_service, owner
from jitflow.access.tokens import Tokens
from jitflow.model.access import Limits
from jitflow.model.problems import Refused

_SCHEME = b"Bearer "
_INVALID = "token not valid; send the header `Authorization: Bearer <token>` with a token of this server"


class Denied(Struct, frozen=True):
    """Nobody was recognised; why, for who sent it."""

    message: str


class Verifier(Protocol):
    """Recognises tokens of another issuer."""

    def recognises(self, token: bytes) -> bool:
        """Return whether this looks like one of its tokens; nothing is proven."""
        ...

    async def verify(self, token: bytes) -> Identity:
        """Return who shows a token.

        Raises:
            Refused: it is not valid, or says nothing that gives a role here.
        """
        ...


class Gate:
    """Knows everybody who may come in."""

    def __init__(
        self,
        token: str,
        *,
        tokens: Tokens | None = None,
        verifier: Verifier | None = None,
        now: Callable[[], float] = time.time,
        peer: str = "",
        link: str = "",
    ) -> None:
        """Let in who holds `token`, the server's own, as an administrator of everything, and whom `tokens` or `verifier` know.

        `peer`: what other servers of the same state show for those who hold their own tokens; empty: there are none.
        `link`: what a control service shows that uses this data service, and hands on what others ask; empty: there is none.
        """
        if not token:
            raise ValueError("a server without a token is open to everybody")
        self._own = tuple(hashlib.sha256(one.encode()).digest() for one in (token, peer) if one)
        self._link = hashlib.sha256(link.encode()).digest() if link else b""
        self._control = control_service()
        self._owner = owner()
        self._now = now
        self._tokens = tokens
        self._verifier = verifier
        self._sessions: dict[str, set[Callable[[], None]]] = {}
        if tokens is not None:
            tokens.listen(self._revoked)

    async def identify(self, authorization: bytes, behalf: bytes = b"") -> Identity | Denied:
        """Return who sends a request with this header; `behalf`: for whom it says that it hands it on.

        Raises:
            Refused: nobody can tell at present (`unavailable`).
        """
        if not authorization.startswith(_SCHEME):
            return Denied(_INVALID)
        token = authorization[len(_SCHEME) :]
        shown = hashlib.sha256(token).digest()
        for own in self._own:
            if hmac.compare_digest(shown, own):
                return self._owner
        if self._link and hmac.compare_digest(shown, self._link):
            return handed_on(behalf) if behalf else self._control
        try:
            if self._verifier is not None and self._verifier.recognises(token):
                return await self._verifier.verify(token)
            found = self._tokens.identify(token) if self._tokens is not None else None
        except Refused as error:
            if error.code == "unavailable":
                raise
            return Denied(str(error))
        return found or Denied(_INVALID)

    def is_owner(self, identity: Identity) -> bool:
        """Return whether somebody has shown the server's own token, which is the same for as long as the gate is there."""
        return identity is self._owner

    def left_s(self, identity: Identity) -> float | None:
        """Return how long somebody's token holds from now on, None for ever."""
        return None if identity.expires_at is None else max(identity.expires_at - self._now(), 0.0)

    def when_revoked(self, identity: Identity, act: Callable[[], None]) -> Callable[[], None]:
        """Call `act` when somebody's token is revoked; return how to stop that."""
        if not identity.token:
            return lambda: None
        waiting = self._sessions.setdefault(identity.token, set())
        waiting.add(act)

        def stop() -> None:
            waiting.discard(act)
            if not waiting and self._sessions.get(identity.token) is waiting:
                del self._sessions[identity.token]

        return stop

    def _revoked(self, token_id: str) -> None:
        for act in self._sessions.pop(token_id, set()).copy():
            act()


def on_behalf(identity: Identity) -> bytes:
    """Return the header by which a request is handed on for somebody; what was shown for it stays behind."""
    told = msgspec.structs.replace(identity, token="", limits=Limits())
    return base64.b64encode(msgspec.json.encode(told))


def handed_on(behalf: bytes) -> Identity | Denied:
    """Return for whom a control service hands a request on."""
    try:
        return msgspec.json.decode(base64.b64decode(behalf, validate=True), type=Identity)
    except (ValueError, msgspec.MsgspecError):
        return Denied("the header that says for whom this is handed on cannot be read")
