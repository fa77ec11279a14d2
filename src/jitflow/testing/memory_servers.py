"""Servers that share a state in memory: for simulations that kill servers and move their clock."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from jitflow.ports.errors import Broken, InUse
from jitflow.ports.servers import Lead, Member, Seen, may_lead
from jitflow.ports.store import StateStore
from jitflow.stores import Lease, PatientStore
from jitflow.testing.memory_store import MemoryStore

T = TypeVar("T")


class MemoryState:
    """A state that several servers share. `now` is the clock of the database that it stands for."""

    def __init__(self, now: Callable[[], float], store: StateStore | None = None) -> None:
        """Share `store`, which is to be closed by nobody; one in memory if none is given."""
        self.now = now
        self.store = store or MemoryStore()
        self.lead = Lead()
        self.heard_at = 0.0
        self.members: dict[str, tuple[Member, float]] = {}

    def hear(self, lease: Lease) -> None:
        """A server uses the state as the one that leads.

        Raises:
            Broken: it does not lead.
        """
        if self.lead.id != lease.id:
            lease.lose("another jitflow server has taken over the state in memory")
            raise Broken(lease.lost)
        self.heard_at = self.now()
        lease.renewed(lease.now())

    @asynccontextmanager
    async def open(self, lease: Lease) -> AsyncGenerator[StateStore]:
        """Lead for the time of the context.

        Raises:
            InUse: another server leads.
        """
        before = await MemoryServers(self).lead()
        if not may_lead(before, home=lease.home):
            raise InUse(f"the state in memory is in use by another jitflow server ({before.id})")
        epoch = before.epoch + 1
        home = lease.home or before.home
        self.lead = Lead(id=lease.id, epoch=epoch, home=home, share=lease.share)
        self.heard_at = self.now()
        lease.taken(lease.now(), epoch, before=before.home)
        try:
            yield LedStore(self, lease)
        finally:
            if self.lead.id == lease.id and not lease.keeps:
                self.lead = Lead(epoch=epoch, home=home, share=lease.share)


class LedStore(PatientStore):
    """The shared store as one server uses it: each call asks first whether that server leads."""

    def __init__(self, state: MemoryState, lease: Lease) -> None:
        """Use the store of a state under a lease."""
        super().__init__(state.store)
        self._state = state
        self._lease = lease

    async def _call(self, operation: str, work: Callable[[], Awaitable[T]]) -> T:
        del operation
        self._state.hear(self._lease)
        return await work()

    async def close(self) -> None:
        """The state is there for the others."""


class MemoryServers:
    """The `Servers` of a state in memory."""

    def __init__(self, state: MemoryState) -> None:
        """List those of this state."""
        self._state = state

    async def tell(self, member: Member) -> None:
        """Say that a server lives."""
        self._state.members[member.id] = (member, self._state.now())

    async def members(self) -> Sequence[Seen]:
        """Return those that are there."""
        now = self._state.now()
        return [Seen(member=member, age_s=now - at) for member, at in self._state.members.values()]

    async def lead(self) -> Lead:
        """Return who leads."""
        found = self._state.lead
        return Lead(
            id=found.id,
            epoch=found.epoch,
            age_s=self._state.now() - self._state.heard_at,
            mark=f"{found.id} {self._state.heard_at}",
            home=found.home,
            share=found.share,
        )

    async def leave(self, member_id: str) -> None:
        """Take a server out of the list."""
        self._state.members.pop(member_id, None)

    async def close(self) -> None:
        """Nothing is held."""
