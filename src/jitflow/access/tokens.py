"""Tokens: made, listed and revoked; only their hashes are kept.

A token is 32 random bytes, so one SHA-256 of it is as good as a slow hash of a password, and a request costs no more than that.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from jitflow.access.roles import ALL, SCOPES, Identity, Permission
from jitflow.model.access import Limits, Role, TokenInfo, TokenWish
from jitflow.model.problems import Refused
from jitflow.ports.clock import Clock
from jitflow.ports.store import StateStore

DOCUMENTS: Final = "token"
USES: Final = "token-use"
PREFIX: Final = "jft_"
"""What tokens begin with: programs that look for leaked secrets know them by it."""
USE_GRAIN_S: Final = 60.0
"""The time of last use is kept this exactly."""
_BYTES: Final = 32
_ID_BYTES: Final = 6
_MAX_TOKENS: Final = 10_000
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[-._@ A-Za-z0-9]{0,61}[A-Za-z0-9])?")
_NAMESPACE: Final = re.compile(r"\*|[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")

Spawn = Callable[[Coroutine[Any, Any, Any], str], None]


class Record(Struct, frozen=True, kw_only=True):
    """What is kept of a token."""

    info: TokenInfo
    sha256: str


class Tokens:
    """All tokens in memory, written through to the store."""

    def __init__(self, store: StateStore, clock: Clock, spawn: Spawn) -> None:
        """Hold what tokens are kept in; `open` fills it. `spawn` runs writes that nobody waits for."""
        self._store = store
        self._clock = clock
        self._spawn = spawn
        self._by_hash: dict[bytes, Record] = {}
        self._used: dict[str, float] = {}
        self._written: dict[str, float] = {}
        self._listeners: set[Callable[[str], None]] = set()

    async def open(self) -> None:
        """Read all tokens."""
        for _, body in await self._store.items(DOCUMENTS):
            record = msgspec.json.decode(body, type=Record)
            self._by_hash[bytes.fromhex(record.sha256)] = record
        known = {record.info.id for record in self._by_hash.values()}
        for key, body in await self._store.items(USES):
            if key in known:
                self._used[key] = self._written[key] = msgspec.json.decode(body, type=float)

    def identify(self, token: bytes) -> Identity | None:
        """Return who shows this token, None if it is none of ours.

        Raises:
            Refused: it has expired (`expired`).
        """
        digest = hashlib.sha256(token).digest()
        record = self._by_hash.get(digest)
        if record is None or not hmac.compare_digest(bytes.fromhex(record.sha256), digest):
            return None
        info, now = record.info, self._clock.now()
        if info.expires_at is not None and now >= info.expires_at:
            raise Refused(f"the token {info.name!r} has expired; ask an administrator for a new one", code="expired")
        self._note_use(info.id, now)
        return _identity(info)

    def _note_use(self, token_id: str, now: float) -> None:
        self._used[token_id] = now
        if now - self._written.get(token_id, 0.0) >= USE_GRAIN_S:
            self._written[token_id] = now
            self._spawn(self._store.put(USES, [(token_id, msgspec.json.encode(now))]), "note the use of a token")

    async def create(self, wish: TokenWish, by: Identity) -> tuple[TokenInfo, str]:
        """Make a token; this is the only time that it can be seen.

        Raises:
            Refused: it cannot be made, or would give more than who asks for it has (`denied`).
        """
        _check(wish)
        _check_reach(wish, by)
        if len(self._by_hash) >= _MAX_TOKENS:
            raise Refused(f"there are {_MAX_TOKENS} tokens already; revoke some with `jitflow token revoke`")
        if any(record.info.name == wish.name for record in self._by_hash.values()):
            raise Refused(
                f"there is a token named {wish.name!r} already; revoke it first, or choose another name", code="conflict"
            )
        now = self._clock.now()
        token = PREFIX + secrets.token_urlsafe(_BYTES)
        info = TokenInfo(
            id=secrets.token_hex(_ID_BYTES),
            name=wish.name,
            grants=wish.grants,
            scopes=tuple(sorted(set(wish.scopes))),
            created_at=now,
            created_by=by.subject,
            expires_at=now + wish.expires_in_s if wish.expires_in_s else None,
            limits=wish.limits,
        )
        digest = hashlib.sha256(token.encode()).digest()
        record = Record(info=info, sha256=digest.hex())
        await self._store.put(DOCUMENTS, [(info.id, msgspec.json.encode(record))])
        self._by_hash[digest] = record
        return info, token

    def list(self, by: Identity) -> list[TokenInfo]:
        """Return the tokens that somebody may manage, oldest first."""
        found = [record.info for record in self._by_hash.values() if by.covers(record.info.grants, Permission.TOKENS_MANAGE)]
        return [self._shown(info) for info in sorted(found, key=lambda info: (info.created_at, info.id))]

    def get(self, name: str, by: Identity) -> TokenInfo:
        """Return a token by its id or name.

        Raises:
            Refused: there is none that this caller may manage (`not_found`).
        """
        found = next((info for info in self.list(by) if name in {info.id, info.name}), None)
        if found is None:
            raise Refused(f"there is no token {name[:80]!r}", code="not_found")
        return found

    async def revoke(self, name: str, by: Identity) -> TokenInfo:
        """Forget a token, by its id or name; streams that it opened end.

        Raises:
            Refused: there is none that this caller may manage (`not_found`).
        """
        info = self.get(name, by)
        await self._store.put(DOCUMENTS, [(info.id, None)])
        self._by_hash = {digest: record for digest, record in self._by_hash.items() if record.info.id != info.id}
        for listener in tuple(self._listeners):
            listener(info.id)
        await self._store.put(USES, [(info.id, None)])
        return info

    def listen(self, listener: Callable[[str], None]) -> Callable[[], None]:
        """Tell `listener` the id of each token that is revoked; return how to stop that."""
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)

    def _shown(self, info: TokenInfo) -> TokenInfo:
        return msgspec.structs.replace(info, last_used_at=self._used.get(info.id))


def _identity(info: TokenInfo) -> Identity:
    return Identity(
        subject=info.name,
        grants=info.grants,
        scopes=frozenset(info.scopes),
        token=info.id,
        expires_at=info.expires_at,
        limits=info.limits,
    )


def _check(wish: TokenWish) -> None:
    if not _NAME.fullmatch(wish.name):
        raise Refused(f"{wish.name[:80]!r} is no name for a token; use at most 63 letters, digits, -, ., _, @ and spaces")
    check_grants(wish.grants)
    unknown = sorted(set(wish.scopes) - SCOPES)
    if unknown:
        raise Refused(f"there is no scope {unknown[0][:80]!r}; the scopes are {', '.join(sorted(SCOPES))}")
    if not 0 <= wish.expires_in_s < 1e10:
        raise Refused("a token expires after a number of seconds, or never (0)")
    limits = wish.limits
    if not (0 <= limits.requests_per_s < 1e9 and 0 <= limits.burst < 1e9 and 0 <= limits.body_bytes < 1e12):
        raise Refused("limits are numbers from 0; 0 means what the server's settings say")


def check_grants(grants: Mapping[str, Role]) -> None:
    """Check the namespaces of grants.

    Raises:
        Refused: there is none, or a namespace could never be one.
    """
    if not grants:
        raise Refused("a token needs a role: viewer, operator or admin, in a namespace or in all (`*`)")
    wrong = next((namespace for namespace in grants if not _NAMESPACE.fullmatch(namespace)), None)
    if wrong is not None:
        raise Refused(f"{wrong[:80]!r} is no namespace; `{ALL}` means all")


def _check_reach(wish: TokenWish, by: Identity) -> None:
    if not by.covers(wish.grants, Permission.TOKENS_MANAGE):
        raise Refused("only who is admin in a namespace can make tokens for it; in all of them for `*`", code="denied")
    if by.scopes and not (wish.scopes and all(_within(scope, by.scopes) for scope in wish.scopes)):
        raise Refused(
            f"a token with scopes can only make tokens with scopes among its own: {', '.join(by.scopes)}", code="denied"
        )
    if by.limits != Limits() and wish.limits == Limits():
        raise Refused("a token with limits can only make tokens with limits", code="denied")


def _within(scope: str, scopes: frozenset[str]) -> bool:
    return scope in scopes or scope.partition(".")[0] in scopes
