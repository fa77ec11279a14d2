"""Who may do what, as the APIs tell it: roles, tokens, and who did what."""

from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct


class Role(StrEnum):
    """What somebody is in a namespace; each role may do what those before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


class Limits(Struct, frozen=True, kw_only=True):
    """How much one token may ask for. 0: what the server's settings say."""

    requests_per_s: float = 0.0
    burst: int = 0
    body_bytes: int = 0


class TokenWish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token that somebody wants. `grants`: namespace or `*` -> role; `expires_in_s` 0: never."""

    name: str
    grants: dict[str, Role]
    scopes: tuple[str, ...] = ()
    expires_in_s: float = 0.0
    limits: Limits = Limits()


class TokenInfo(Struct, frozen=True, kw_only=True):
    """A token as administrators see it: everything but the token. Times in seconds since the epoch."""

    id: str
    name: str
    grants: dict[str, Role]
    scopes: tuple[str, ...] = ()
    created_at: float
    created_by: str = ""
    expires_at: float | None = None
    last_used_at: float | None = None
    limits: Limits = Limits()


class AuditEntry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that somebody did or was kept from doing. `at`: seconds since the epoch; `status`: HTTP's.

    `action`: the permission that was needed, empty if nobody was recognised. `left_out`: so many refusals before this entry were
    not written, because they came too fast.
    """

    at: float
    subject: str = ""
    issuer: str = ""
    token: str = ""
    action: str = ""
    method: str = ""
    path: str = ""
    namespace: str = ""
    name: str = ""
    status: int = 0
    client: str = ""
    left_out: int = 0


class Whoami(Struct, frozen=True):
    """Who the token belongs to, and what it may."""

    subject: str
    issuer: str
    grants: dict[str, Role]
    scopes: Sequence[str]
    groups: Sequence[str]
    token: str
    expires_at: float | None


class NewToken(TokenInfo, frozen=True, kw_only=True):
    """A token with its text, which is shown this once."""

    token: str
