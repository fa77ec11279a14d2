"""Servers that share a state in memory: for simulations that kill servers and move their clock."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeVar

from msgspec.structs import replace

from jitflow.ports.errors import Broken, InUse
from jitflow.ports.servers import Lead, Member, Seen, may_lead
from jitflow.ports.store import StateStore
from jitflow.stores import Lease, PatientStore
from jitflow.stores.lease import since_of
from jitflow.testing.memory_store import MemoryStore

T = TypeVar("T")


class Step(Protocol):
    """Lets one step of taking the lead happen."""

    async def __call__(self, name: str, work: Callable[[], T], /) -> T:
        """Return what `work` gives."""
        ...


async def _now(_name: str, work: Callable[[], T]) -> T:
    return work()


class MemoryState:
    """A state that several servers share. `now` is the clock of the database that it stands for."""

    def __init__(self, now: Callable[[], float], store: StateStore | None = None) -> None:
        """Share `store`, which is to be closed by nobody; one in memory if none is given."""
        self.now = now
        self.store = store or MemoryStore()
        self.lead = Lead()
        self.heard_at = 0.0
        self.since = 0
        self.members: dict[str, tuple[Member, float]] = {}
        self.end: Callable[[str], None] = lambda _id: None
        """Ends a server of the same home that has lost its place but lives."""

    def check(self, lease: Lease) -> None:
        """Return if a server leads.

        Raises:
            Broken: it does not.
        """
        if self.lead.id != lease.id:
            lease.lose("another jitflow server has taken over the state in memory")
            raise Broken(lease.lost)

    def hear(self, lease: Lease) -> None:
        """A server uses the state as the one that leads.

        Raises:
            Broken: it does not lead.
        """
        self.check(lease)
        self.heard_at = self.now()

    @asynccontextmanager
    async def open(self, lease: Lease) -> AsyncGenerator[StateStore]:
        """Lead for the time of the context.

        Raises:
            InUse: another server leads.
        """
        await self.take(lease, MemoryServers(self))
        try:
            yield LedStore(self, lease)
        finally:
            self.release(lease)

    async def take(self, lease: Lease, servers: "MemoryServers", step: Step = _now) -> None:
        """Become the server that leads, in the steps of the stores.

        Raises:
            InUse: another server leads.
        """
        before = await step("look", servers.seen)
        if not may_lead(before, home=lease.home):
            raise InUse(f"the state in memory is in use by another jitflow server ({before.id})")
        if before.id and lease.share and before.home == lease.home:
            await step("end", lambda: self.end(before.id))
        asked_at = lease.now()
        await step("take", lambda: self._take(lease, before, servers))
        lease.taken(asked_at, before.epoch + 1, before=before.home, since=self.since)

    def _take(self, lease: Lease, before: Lead, servers: "MemoryServers") -> None:
        if servers.seen().mark != before.mark:
            raise InUse("another jitflow server was faster")
        self.since = since_of(before.epoch + 1, home=lease.home, before=before.home, since=self.since)
        self.lead = Lead(id=lease.id, epoch=before.epoch + 1, home=lease.home or before.home, share=lease.share)
        self.heard_at = self.now()

    def release(self, lease: Lease) -> None:
        """Give the lead back, unless it is to run out or another server has it."""
        if self.lead.id == lease.id and not lease.keeps:
            self.lead = replace(self.lead, id="")


class LedStore(PatientStore):
    """The shared store as one server uses it: each call asks first whether that server leads."""

    def __init__(self, state: MemoryState, lease: Lease) -> None:
        """Use the store of a state under a lease."""
        super().__init__(state.store)
        self._state = state
        self._lease = lease

    async def _call(self, operation: str, work: Callable[..., Awaitable[T]], *asked: Any, **more: Any) -> T:
        del operation
        asked_at = self._lease.now()
        self._state.hear(self._lease)
        found = await work(*asked, **more)
        self._lease.renewed(asked_at)
        return found

    async def close(self) -> None:
        """The state is there for the others."""


class MemoryServers:
    """The `Servers` of a state in memory."""

    def __init__(self, state: MemoryState, has_died: Callable[[str], bool] = lambda _id: False) -> None:
        """List those of this state; `has_died`: which are known to have, where this list is asked."""
        self._state = state
        self._has_died = has_died

    async def tell(self, member: Member) -> None:
        """Say that a server lives."""
        self._state.members[member.id] = (member, self._state.now())

    async def members(self) -> Sequence[Seen]:
        """Return those that are there."""
        now = self._state.now()
        return [Seen(member=member, age_s=now - at) for member, at in self._state.members.values()]

    async def lead(self) -> Lead:
        """Return who leads."""
        return self.seen()

    def seen(self) -> Lead:
        """Return who leads, at once."""
        found, state = self._state.lead, self._state
        return replace(
            found,
            age_s=state.now() - state.heard_at,
            mark=f"{found.id} {state.heard_at}",
            is_dead=bool(found.id) and self._has_died(found.id),
        )

    async def leave(self, member_id: str) -> None:
        """Take a server out of the list."""
        self._state.members.pop(member_id, None)

    async def close(self) -> None:
        """Nothing is held."""
