"""What others see of the plan."""

from msgspec import Struct

from jitflow.model.data import ObjectRef, ReplicaState, StepId
from jitflow.planner._items import Item, Items, Source
from jitflow.planner._steps import Phase, Step


class Bytes(Struct, frozen=True, kw_only=True):
    """The ledger. `used` <= `capacity` always (`limit`: the capacity asked for, where the disk has less).

    `fixed`: cannot be freed now; `loose`: can; `leaving`: being removed.

    `resident` bytes, of which `pinned` are read by steps and `dirty` are outputs not proven far away.
    """

    capacity: int
    limit: int
    used: int
    fixed: int
    loose: int
    leaving: int
    kept: int
    peak: int
    resident: int
    pinned: int
    dirty: int
    objects: int = 0
    """How many objects are used, where `max_objects` says how many may be."""
    max_objects: int = 0


class ItemView(Struct, frozen=True, kw_only=True):
    """What the planner knows of an object. `size_bytes` None: unknown; `claims`: steps that hold it; `next_step`: next reader."""

    ref: ObjectRef
    size_bytes: int | None
    state: ReplicaState
    dirty: bool
    kept: bool
    claims: int
    uses: int
    next_step: StepId | None
    missing: bool
    uploading: bool
    """An output that is on its way to its secondary, or will be as soon as it is offered."""
    writer: StepId | None = None
    """The announced step that will write it."""
    awaited: bool = False
    """Whether a step cannot go on before it is at its far store."""
    keepers: tuple[str, ...] = ()
    """The namespaces that keep it, and an empty name for those who keep the whole in order."""
    transient: bool = False
    """An output that only known steps read, and that may never leave the primary."""


class Wait(Struct, frozen=True, kw_only=True):
    """Where a step stands: `phase` is `future`, `size`, `upload`, `space`, `quota`, `budget`, `transfer`, or `granted`.

    `objects`: those that it still needs. `need_bytes`: so much too little is free in the primary, or in the quota `of` a
    namespace. `inputs`: all of them. `reserve_bytes`: held for its outputs.
    """

    phase: str
    inputs: tuple[ObjectRef, ...] = ()
    objects: tuple[ObjectRef, ...] = ()
    need_bytes: int = 0
    reserve_bytes: int = 0
    behind: StepId | None = None
    need_objects: int = 0
    of: str = ""


def view(items: Items, item: Item) -> ItemView:
    """Return the view of an item."""
    reader = items.first_reader(item)
    return ItemView(
        ref=item.ref,
        size_bytes=item.size,
        state=item.state,
        dirty=item.dirty,
        kept=item.kept,
        keepers=tuple(sorted(item.keepers)),
        claims=item.claims,
        uses=item.uses,
        next_step=reader.id if reader else None,
        missing=item.source is Source.MISSING,
        uploading=item.uploading,
        writer=item.producer.id if item.producer is not None else None,
        awaited=bool(item.blocked),
        transient=item.transient,
    )


def wait_of(items: Items, step: Step, head: Step | None) -> Wait:
    """Return what a step waits for."""
    inputs = tuple(item.ref for item in step.inputs)
    lacking = tuple(item.ref for item in step.inputs if item.state is not ReplicaState.RESIDENT)
    blocked = step.blocked_on
    if step.parked and step.account is not None:
        size, objects = step.account.short(*items.accounts.missing(step, step.declared), idle=False)
        if step.account.shut and not (size or objects):
            return Wait(phase="budget", inputs=inputs, objects=lacking, of=step.account.name)
        return Wait(phase="quota", inputs=inputs, objects=lacking, need_bytes=size, need_objects=objects, of=step.account.name)
    if step.phase is Phase.GRANTED:
        return Wait(phase="granted", inputs=inputs, reserve_bytes=step.reserve)
    if step.phase is Phase.CLAIMED:
        return Wait(phase="transfer", inputs=inputs, objects=lacking, reserve_bytes=step.reserve)
    if step.phase is Phase.FUTURE:
        return Wait(phase="future", inputs=inputs, objects=lacking)
    if blocked is not None:
        return Wait(phase="upload" if blocked.uploading else "size", inputs=inputs, objects=(blocked.ref,))
    need = sum(item.bytes for item in step.inputs if not item.fixed) + sum(one.size_bytes or 0 for one in step.spec.outputs)
    behind = head.id if head is not None and head is not step else None
    return Wait(
        phase="space",
        inputs=inputs,
        objects=lacking,
        need_bytes=max(0, items.fixed + need - items.capacity),
        behind=behind,
    )
