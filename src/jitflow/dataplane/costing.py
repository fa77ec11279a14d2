"""What staging objects would take, before anybody does: the sums that `explain` gives of workflows, for what people name."""

from collections.abc import Sequence

from jitflow.dataplane.checking import looked_up, summed
from jitflow.dataplane.core import Core
from jitflow.dataplane.worlds import Worlds
from jitflow.model.data import FutureInput, FutureStep, ObjectRef, ReplicaState
from jitflow.model.staging import StagingEstimate


async def staging(core: Core, worlds: Worlds, refs: Sequence[ObjectRef]) -> StagingEstimate:
    """Look objects up and say what it would take to have all of them near at once (see `PrimaryAdmin.explain`).

    Raises:
        Refused: one cannot be had.
    """
    step = FutureStep(id="/explain", inputs=tuple(FutureInput(ref=ref) for ref in dict.fromkeys(refs)))
    steps, external, answers = await looked_up(core, [step])
    found = summed(core, worlds, steps, external, answers)
    books = core.planner.bytes
    # What they are among what may go now: together with them it would stay.
    theirs = sum(core.rows[ref].size_bytes for ref in external if _may_go(core, ref))
    evictable = books.loose - theirs
    lacking = found.to_move_bytes + books.used - books.leaving - books.capacity
    message = ""
    if found.distinct_bytes > books.limit:
        message = f"they have {found.distinct_bytes:,} bytes, and the primary {books.limit:,}"
    elif lacking > evictable:
        message = (
            f"{lacking - evictable:,} bytes are lacking now: what is left is held by steps and pins, or not at its far store yet"
        )
    return StagingEstimate(
        objects=found.objects,
        distinct_bytes=found.distinct_bytes,
        resident_bytes=found.resident_bytes,
        to_move_bytes=found.to_move_bytes,
        free_bytes=max(0, books.capacity - books.used + books.leaving),
        evict_bytes=min(max(0, lacking), evictable),
        evictable_bytes=evictable,
        capacity_bytes=books.limit,
        fits=not message,
        message=message,
        link_Bps=found.link_Bps,
        transfer_s=found.transfer_s,
        money=found.money,
        rows=tuple((ref, size, state) for ref, size, state, _ in found.rows),
    )


def _may_go(core: Core, ref: ObjectRef) -> bool:
    """Return whether an object is here, and nobody holds it."""
    view = core.planner.item(ref)
    if view is None or ref not in core.rows or view.state is not ReplicaState.RESIDENT:
        return False
    return not (view.claims or view.kept or view.dirty)
