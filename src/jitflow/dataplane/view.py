"""What is asked of a data plane in the same process."""

from collections.abc import Collection, Mapping, Sequence

from jitflow.model.data import ObjectRef, Replica, StepId, WorkflowUid
from jitflow.model.reasons import StepStanding
from jitflow.model.reports import StepData, TransferRecord
from jitflow.model.spending import Spent
from jitflow.ports.dataplane import PrimaryAdmin, Whereabouts
from jitflow.ports.spending import Ledger, NoSpending


class LocalView:
    """Implements `DataView`."""

    def __init__(self, primary: PrimaryAdmin, ledger: Ledger | None = None) -> None:
        """Ask this one; `ledger`: who knows what was spent, None if nobody counts."""
        self._primary = primary
        self._ledger = ledger or NoSpending()

    async def step_data(self, uid: WorkflowUid) -> Sequence[StepData]:
        """See `DataView.step_data`."""
        return self._primary.step_data(uid)

    async def standing(self, step: StepId) -> StepStanding:
        """See `DataView.standing`."""
        return self._primary.standing(step)

    async def read_bytes(self, steps: Sequence[StepId]) -> int:
        """See `DataView.read_bytes`."""
        return sum(map(self._primary.read_bytes, steps))

    async def timeline(self, *, since: float = 0.0) -> tuple[Sequence[TransferRecord], Sequence[tuple[float, int]]]:
        """See `DataView.timeline`."""
        return await self._primary.timeline(since=since)

    async def replicas_of(self, refs: Collection[ObjectRef]) -> Mapping[ObjectRef, Replica]:
        """See `DataView.replicas_of`."""
        found = {ref: self._primary.replica(ref) for ref in refs}
        return {ref: replica for ref, replica in found.items() if replica is not None}

    async def whereabouts(self, ref: ObjectRef) -> Whereabouts:
        """See `DataView.whereabouts`."""
        local = self._primary.local(ref)
        return Whereabouts(
            local="" if local is None else str(local),
            near=self._primary.near(ref),
            freed_by=self._primary.freed_output_of(ref),
        )

    async def spent(self, namespace: str, *, since: str, until: str) -> Sequence[Spent]:
        """See `DataView.spent`."""
        return self._ledger.spent(namespace=namespace, since=since, until=until)
