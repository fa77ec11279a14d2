"""Servers that share one state: who is there, and which one leads. Beside `StateStore`, which only the leader writes."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

LEASE_S = 10.0
"""So long after it was last heard of a leader may go on; then another server may take its place."""

RENEW_S = 2.5
"""How often a server says that it lives."""


class Member(Struct, frozen=True, kw_only=True):
    """What a server says of itself. `id`: of this start of it; `url`: where the others reach it; `home`: its data home.

    `key`: a mark of its `secret.key`, by which others see whether theirs is the same.
    """

    id: str
    url: str = ""
    host: str = ""
    home: str = ""
    pid: int = 0
    version: str = ""
    share: str = ""
    key: str = ""
    began_at: float = 0.0


class Seen(Struct, frozen=True, kw_only=True):
    """A server, and for how many seconds it was not heard of."""

    member: Member
    age_s: float = 0.0


class Lead(Struct, frozen=True, kw_only=True):
    """Who leads. `id` empty: nobody, the last one has let go. `epoch`: how often the lead has changed hands.

    `age_s`: for how long the leader was not heard of, by a clock that is the same for all who ask, or that only measures how long
    nothing has changed. `mark`: what is another one as soon as the leader is heard of again. `is_dead`: its process is known to
    be gone, which only servers of the same machine can know.
    """

    id: str = ""
    epoch: int = 0
    age_s: float = 0.0
    mark: str = ""
    home: str = ""
    share: str = ""
    is_dead: bool = False


class Servers(Protocol):
    """The servers of one state.

    Nothing here decides who leads: opening the store does, for one server at a time.

    Raises (all methods): Retryable: the database is away for now. Broken: it cannot be used.
    """

    async def tell(self, member: Member) -> None:
        """Say that a server lives, and what it is."""
        ...

    async def members(self) -> Sequence[Seen]:
        """Return those that have told of themselves in the last hour and have not left, oldest first."""
        ...

    async def lead(self) -> Lead:
        """Return who leads."""
        ...

    async def leave(self, member_id: str) -> None:
        """Take a server that ends out of the list."""
        ...

    async def close(self) -> None:
        """Let go of the database; harmless to repeat."""
        ...


def may_lead(lead: Lead, *, home: str) -> bool:
    """Return whether a server of a home may try to take the lead.

    One whose pods may still run elsewhere is waited for, even if its process is known to be gone: its lease ends them.
    """
    return not lead.id or lead.age_s > LEASE_S or (lead.is_dead and (lead.home == home or lead.share != "anywhere"))
