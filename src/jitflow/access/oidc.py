"""JWTs of an OpenID Connect issuer. Needs PyJWT: imported only where an issuer is set."""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import httpx
import jwt
import msgspec
from msgspec import Struct

from jitflow.access.roles import Identity
from jitflow.model.access import Role
from jitflow.model.problems import Refused

MAX_AGE_S: Final = 3_600.0
"""Keys are fetched anew when they are as old as that."""
MIN_PAUSE_S: Final = 10.0
"""Between two fetches: a token that names an unknown key cannot make the server ask all the time."""
_TIMEOUT_S: Final = 5.0
_MAX_DOCUMENT_BYTES: Final = 1_000_000
_MAX_TOKEN_BYTES: Final = 16_384
_KNOWN: Final = 1_000
_KNOWN_FOR_S: Final = 300.0
"""A token that was verified is believed for so long without looking again."""


class RoleRule(Struct, frozen=True, kw_only=True):
    """A claim that gives a role: its value is `value`, or a list that holds it; `*`: any."""

    claim: str
    value: str
    role: Role
    namespaces: tuple[str, ...]


class Issuer(Struct, frozen=True, kw_only=True):
    """Whose tokens are believed, and what for."""

    issuer: str
    audience: str
    rules: tuple[RoleRule, ...]
    jwks_url: str = ""
    algorithms: tuple[str, ...] = ("RS256", "ES256", "EdDSA")
    leeway_s: float = 30.0
    subject_claim: str = "sub"


class OidcVerifier:
    """Verifies JWTs with the issuer's published keys; implements `jitflow.access.Verifier`."""

    def __init__(self, issuer: Issuer, *, now: Callable[[], float] = time.time) -> None:
        """Nothing is fetched before the first token comes."""
        self._issuer = issuer
        self._now = now
        self._keys = _Keys(issuer, now)
        self._known: OrderedDict[bytes, tuple[float, Identity]] = OrderedDict()

    def recognises(self, token: bytes) -> bool:
        """Return whether this has the form of a JWT."""
        return token.startswith(b"eyJ") and token.count(b".") == 2

    async def verify(self, token: bytes) -> Identity:
        """Return who shows a token; see `Verifier`."""
        digest = hashlib.sha256(token).digest()
        until, identity = self._known.get(digest, (0.0, None))
        if identity is not None and self._now() < until:
            return identity
        if len(token) > _MAX_TOKEN_BYTES:
            raise Refused(f"the token is longer than {_MAX_TOKEN_BYTES} bytes")
        claims = await self._claims(token.decode("ascii", "replace"))
        identity = _identity(claims, self._issuer)
        self._known[digest] = (min(self._now() + _KNOWN_FOR_S, identity.expires_at or 0.0), identity)
        while len(self._known) > _KNOWN:
            self._known.popitem(last=False)
        return identity

    async def _claims(self, token: str) -> Mapping[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError as error:
            raise Refused(f"the token is no JWT that can be read: {error}") from None
        algorithm = str(header.get("alg"))
        if algorithm not in self._issuer.algorithms:
            raise Refused(f"the token is signed with {algorithm[:20]!r}; this server takes {', '.join(self._issuer.algorithms)}")
        key = await self._keys.find(header.get("kid"), algorithm)
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._issuer.audience,
                issuer=self._issuer.issuer,
                options={
                    "require": ["exp", "iss", "aud", self._issuer.subject_claim],
                    "verify_exp": False,  # times are checked by the clock that this server goes by
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except jwt.PyJWTError as error:
            raise Refused(f"the token is not valid: {error}") from None
        _check_times(claims, self._now(), self._issuer.leeway_s)
        return claims


def _check_times(claims: Mapping[str, Any], now: float, leeway_s: float) -> None:
    """Check a token's times by the clock that this server goes by."""
    try:
        ends, begins = float(claims["exp"]), max(float(claims.get("nbf", 0.0)), float(claims.get("iat", 0.0)))
    except (TypeError, ValueError):
        raise Refused("the times of the token are no numbers") from None
    if not now < ends + leeway_s:
        raise Refused("the token has expired; get a new one from its issuer")
    if begins - leeway_s > now:
        raise Refused("the token is not valid yet; do the clocks of its issuer and of this server agree?")


class _Keys:
    """The issuer's public keys, fetched when they are needed and kept for a while."""

    def __init__(self, issuer: Issuer, now: Callable[[], float]) -> None:
        self._issuer = issuer
        self._now = now
        self._keys: Sequence[Mapping[str, Any]] = ()
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._problem = ""
        self._fetching = asyncio.Lock()

    async def find(self, kid: object, algorithm: str) -> Any:
        """Return the key of that id; an unknown one makes the keys be fetched again.

        Raises:
            Refused: there is no such key, or the issuer cannot be asked (`unavailable`).
        """
        found = self._matching(kid, algorithm)
        if not found or self._now() - self._fetched_at > MAX_AGE_S:
            await self._refresh(self._fetched_at)
            found = self._matching(kid, algorithm)
        if not found and not self._keys:
            message = f"the keys of {self._issuer.issuer} cannot be fetched: {self._problem or 'it publishes none'}"
            raise Refused(message, code="unavailable")
        if len(found) != 1:
            raise Refused(f"{self._issuer.issuer} publishes no key {str(kid)[:80]!r} for {algorithm}")
        try:
            return jwt.PyJWK(dict(found[0]), algorithm=algorithm).key
        except jwt.PyJWTError as error:
            raise Refused(f"the key {str(kid)[:80]!r} of {self._issuer.issuer} cannot be used: {error}") from None

    def _matching(self, kid: object, algorithm: str) -> list[Mapping[str, Any]]:
        family = {"R": "RSA", "P": "RSA"}.get(algorithm[0], "OKP" if algorithm == "EdDSA" else "EC")
        return [
            key
            for key in self._keys
            if (kid is None or key.get("kid") == kid)
            and key.get("kty") == family
            and key.get("use", "sig") == "sig"
            and key.get("alg", algorithm) == algorithm
        ]

    async def _refresh(self, seen: float) -> None:
        async with self._fetching:
            if self._fetched_at > seen or self._now() - self._tried_at < MIN_PAUSE_S:
                return  # another request has just asked
            self._tried_at = self._now()
            try:
                self._keys = await self._fetch()
                self._fetched_at, self._problem = self._now(), ""
            except (httpx.HTTPError, httpx.InvalidURL, msgspec.MsgspecError, OSError, ValueError) as error:
                self._problem = str(error) or type(error).__name__

    async def _fetch(self) -> Sequence[Mapping[str, Any]]:
        async with httpx.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=False, trust_env=False) as client:
            url = self._issuer.jwks_url
            if not url:
                place = f"{self._issuer.issuer.rstrip('/')}/.well-known/openid-configuration"
                document = await _document(client, place)
                if document.get("issuer") != self._issuer.issuer:
                    raise ValueError(f"{place} speaks of the issuer {str(document.get('issuer'))[:200]!r}")
                url = str(document.get("jwks_uri"))
            keys = (await _document(client, url)).get("keys")
        return msgspec.convert(keys, type=list[dict[str, Any]])


async def _document(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    body = bytearray()
    async with client.stream("GET", url) as response:
        if response.status_code != httpx.codes.OK:
            raise ValueError(f"{url} answers {response.status_code}")
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > _MAX_DOCUMENT_BYTES:
                raise ValueError(f"{url} answers more than {_MAX_DOCUMENT_BYTES} bytes")
    return msgspec.json.decode(body, type=dict[str, Any])


def _identity(claims: Mapping[str, Any], issuer: Issuer) -> Identity:
    grants: dict[str, Role] = {}
    for rule in issuer.rules:
        values = list(_values(claims, rule.claim))
        if rule.value in values or (rule.value == "*" and values):
            for namespace in rule.namespaces:
                grants[namespace] = _higher(grants.get(namespace), rule.role)
    subject = str(claims[issuer.subject_claim])
    if not grants:
        raise Refused(f"the token of {subject[:80]!r} is valid, but none of its claims gives a role at this server")
    return Identity(
        subject=subject,
        issuer=issuer.issuer,
        grants=grants,
        groups=tuple(_values(claims, "groups")),
        email=str(claims.get("email") or ""),
        expires_at=float(claims["exp"]) + issuer.leeway_s,
    )


def _values(claims: Mapping[str, Any], claim: str) -> Iterable[str]:
    """Yield a claim's values. Its name may be a path with dots, or have dots itself."""
    found: Any = claims.get(claim)
    if found is None and "." in claim:
        found = claims
        for name in claim.split("."):
            found = found.get(name) if isinstance(found, dict) else None
    for value in found if isinstance(found, list) else [found]:
        if isinstance(value, str):
            yield value


def _higher(one: Role | None, other: Role) -> Role:
    order = list(Role)
    return other if one is None or order.index(other) > order.index(one) else one
