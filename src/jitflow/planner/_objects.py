"""What happens to objects: looked up, fetched, evicted, written, proven. The half of the planner that knows no order of steps."""

from msgspec import Struct

from jitflow.model.data import ObjectRef, ReplicaState, StepId
from jitflow.planner._claims import Claims
from jitflow.planner._fetches import Fetches
from jitflow.planner._items import Item, Items, Source
from jitflow.planner._lanes import Limits
from jitflow.planner._outputs import Outputs
from jitflow.planner._room import Room
from jitflow.planner._sizes import DEFAULT_OUTPUT_BYTES, OutputSizes
from jitflow.planner._steps import Phase, Step, Steps
from jitflow.planner.commands import Command

_S = ReplicaState


class PlannerOptions(Struct, frozen=True, kw_only=True):
    """Limits. `transfers` at once over each link (see `Planner.set_link`).

    `workers`: steps that run at once (claims ahead and bypasses are multiples of it); `slots`: grants at once, 0 if somebody else
    sees to that. `window`: objects that may be fetched ahead of their claims. `part_bytes`: objects are moved in ranges of at
    least this size at once, 0 for in one piece; at most `part_streams` of them, 0 for as many as there are places for.
    `fill_streams`, `fill_bytes`: no further transfer is begun while so many run and so many bytes are under way: the link is full
    (0: no such limit). `rate_Bps`, `latency_s`: what a link gives where nothing else is said (0: not known).

    `yielding`: a transfer that a step waits for is begun beside those that are read ahead, which give way.
    `max_objects`: replicas in the primary at once, in flight and promised ones included; 0: any number. `awake`: of so many that
    nobody needs everything is known; of others no more than that they are here, for there may be millions.
    `default_output_bytes`: assumed of an output of which nothing is known.
    """

    transfers: int = 8
    workers: int = 8
    slots: int = 0
    window: int = 64
    part_bytes: int = 0
    fill_streams: int = 0
    fill_bytes: int = 0
    part_streams: int = 0
    rate_Bps: float = 0.0
    latency_s: float = 0.0
    yielding: bool = False
    default_output_bytes: int = DEFAULT_OUTPUT_BYTES
    max_objects: int = 0
    awake: int = 50_000

    @property
    def bypass(self) -> int:
        """How often the first ready step without room may be passed over."""
        return 8 * self.workers


class ObjectEvents:
    """The planner's parts, and the events of objects."""

    def __init__(self, capacity_bytes: int, options: PlannerOptions | None = None) -> None:
        """Plan for an empty primary of `capacity_bytes`."""
        options = options or PlannerOptions()
        self.options = options
        self._items = Items(capacity_bytes, options.max_objects, options.awake)
        self._steps = Steps(self._items)
        self._room = Room(self._items)
        self._sizes = OutputSizes(options.default_output_bytes)
        most = 3 * options.workers
        self._fetches = Fetches(
            self._items,
            self._room,
            self._sizes,
            limits=Limits(
                transfers=options.transfers,
                part_bytes=options.part_bytes,
                fill_streams=options.fill_streams,
                fill_bytes=options.fill_bytes,
                part_streams=options.part_streams,
                rate_Bps=options.rate_Bps,
                latency_s=options.latency_s,
            ),
            yielding=options.yielding,
            expected=self._steps.expected,
            window=options.window,
            claims_at_once=most,
        )
        self._outputs = Outputs(self._items, self._room)
        self._claims = Claims(
            self._items,
            self._steps,
            self._fetches,
            self._room,
            self._sizes,
            workers=options.workers,
            window=2 * options.workers,
            bypass=options.bypass,
            slots=options.slots,
        )
        self._out: list[Command] = []

    # -- objects far away --------------------------------------------------------------------------------------------------

    def size_known(self, ref: ObjectRef, size_bytes: int) -> None:
        """An object exists far away, with a size."""
        item = self._items.of(ref)
        self._looked(item)
        if item.dirty or item.uploading:
            # An answer from before a step wrote it: what the step wrote counts.
            return
        item.source = Source.FAR
        if item.state in {_S.ABSENT, _S.QUEUED}:
            self._resize(item, size_bytes)
        self._had(item)

    def missing(self, ref: ObjectRef, *, absent: bool = True) -> tuple[StepId, ...]:
        """An object is not there (`absent`) or could not be looked up; return the asked steps that cannot start for that.

        They stay until `refused` is called; steps for which the input is optional go on when it is `absent`.
        """
        item = self._items.table.get(ref)
        if item is None:
            return ()
        self._looked(item)
        if item.dirty or item.uploading or item.source is Source.FAR:
            # An answer from before it was there.
            self._items.settle(item)
            return ()
        item.source = Source.MISSING
        stuck: list[StepId] = []
        for step in list(item.blocked.values()):
            if absent and ref in step.optional:
                self._claims.examine(step, self._out, self._forget)
            else:
                stuck.append(step.id)
        self._items.settle(item)
        return tuple(stuck)

    def changed(self, ref: ObjectRef) -> None:
        """The far copy of a resident object is another one now: nobody gets the replica any more, and it is looked up again."""
        self._outdated(ref, "its source has changed")

    def damaged(self, ref: ObjectRef) -> None:
        """A replica is not what it was any more: nobody gets it from now on; it goes when those that read it have ended."""
        self._outdated(ref, "somebody has changed or removed it")

    def _outdated(self, ref: ObjectRef, why: str) -> None:
        item = self._items.table.get(ref)
        if item is None or item.dirty or item.state is not _S.RESIDENT:
            return
        item.stale = item.damaged = True
        for keeper in sorted(item.keepers):
            self._items.unkeep(item, keeper)
        for step in self._claims.holding(item):
            self._claims.unclaim(step, Phase.ASKED)
            self._claims.examine(step, self._out, self._forget)
        asked = {step.id: step for _, _, step in item.readers if step.phase is Phase.ASKED}
        for step in asked.values():
            self._claims.examine(step, self._out, self._forget)
        self._items.settle(item)
        if item.loose:
            self._room.evict(item, self._out, why)

    def _looked(self, item: Item) -> None:
        if item.looking:
            item.looking = False
            self._fetches.looking -= 1

    def _had(self, item: Item) -> None:
        """An item may be obtainable now: wake whoever waits for that."""
        for step in list(item.blocked.values()):
            self._claims.examine(step, self._out, self._forget)
        self._items.settle(item)
        if item.state is _S.QUEUED:
            for step in list(item.waiters.values())[:1]:
                self._fetches.want(item, step)
        else:
            self._fetches.foresee(item)

    def _resize(self, item: Item, size_bytes: int) -> None:
        """An object that is not here has this size: steps that counted with another one are looked at again."""
        if item.size == size_bytes:
            return
        self._unclaim_waiters(item)
        if item.begun:
            self._room.forget(item, self._out, "it has another size now")
        item.size = size_bytes
        asked = {step.id: step for _, _, step in item.readers if step.phase is Phase.ASKED}
        for step in asked.values():
            self._claims.examine(step, self._out, self._forget)

    def _unclaim_waiters(self, item: Item) -> tuple[Step, ...]:
        """Take back the claims of steps that wait for an item; they are asked steps again."""
        steps = tuple(item.waiters.values())
        for step in steps:
            self._claims.unclaim(step, Phase.ASKED)
            self._steps.list(step)
        return steps

    # -- transfers ---------------------------------------------------------------------------------------------------------

    def coming(self, ref: ObjectRef, done_bytes: int) -> None:
        """So much of a fetch has come."""
        item = self._items.table.get(ref)
        if item is not None and item.parts:
            self._fetches.lanes.of(item).came(item, done_bytes)

    def arrived(self, ref: ObjectRef) -> None:
        """A fetch is complete: the replica is resident."""
        item = self._items.table[ref]
        self._fetches.done(item)
        item.cancelled = False
        self._land(item)

    def _land(self, item: Item) -> None:
        item.last_used = self._items.tick()
        self._items.move(item, "arrive")
        self._claims.arrived(item)
        if len(self._steps.workflows) > 1:
            self._claims.near(item)
        # A result that has just come may be what has to leave for the next step.
        self._claims.stirred |= item.dirty
        if item.writer is not None:
            self._items.accounts.eased[item.writer] = None
        for step in list(item.blocked.values()):
            self._claims.examine(step, self._out, self._forget)
        self._release(item)

    def begun(self, ref: ObjectRef, size_bytes: int) -> None:
        """A part of an object was in the primary when the service started, in space of its whole size."""
        item = self._items.of(ref)
        if item.state is _S.ABSENT:
            item.size, item.begun = size_bytes, True
            self._items.settle(item)

    def fetch_failed(self, ref: ObjectRef, *, retry_at: float | None = None, begun: bool = False) -> tuple[StepId, ...]:
        """A fetch ended without its object. `begun`: a part of it stays, in the space of the whole, until `Forget`.

        With `retry_at` it is tried again from then on, if still wanted. Without, it is given up, and the asked steps that waited
        for it are returned; they stay, unclaimed, until `refused` is called for them.
        """
        item = self._items.table[ref]
        self._fetches.done(item)
        item.cancelled = False
        claimed = item.claims > 0
        item.begun = begun and retry_at is not None
        self._items.move(item, "fail")
        if ref not in self._items.table:
            return ()
        if claimed:
            self._items.move(item, "want")
        self._items.mark_ahead(item, False)
        if retry_at is not None:
            self._fetches.delay(item, retry_at)
            return ()
        steps = self._unclaim_waiters(item)
        asked = [step.id for step in steps]
        asked += [step.id for _, _, step in item.readers if step.phase is Phase.ASKED and step.id not in asked]
        item.source = Source.MISSING
        item.size = None
        self._items.settle(item)
        return tuple(dict.fromkeys(asked))

    def evicted(self, ref: ObjectRef) -> None:
        """A replica's bytes are free."""
        item = self._items.table[ref]
        if item.transient:
            self._claims.freed(item)
        stale, damaged = item.stale, item.damaged
        self._items.gone(item)
        if stale and not item.claims:
            item.source = Source.UNKNOWN
        if damaged:
            self._had(item)
        if item.claims:
            self._items.move(item, "want")
            for step in list(item.waiters.values())[:1]:
                self._fetches.want(item, step)
        elif item.uses:
            self._fetches.foresee(item)

    # -- outputs -----------------------------------------------------------------------------------------------------------

    def taken(self, ref: ObjectRef) -> None:
        """An output is in the primary, not yet proven far away."""
        self._land(self._items.table[ref])

    def take_failed(self, ref: ObjectRef) -> None:
        """An output could not be taken in; it will be sent from where it lies."""
        item = self._items.table[ref]
        item.uploading = True
        item.dirty = False
        self._unwritten(item)
        self._items.move(item, "fail")
        if item.claims:
            self._items.move(item, "want")

    def uploaded(self, ref: ObjectRef, size_bytes: int) -> None:
        """An output is proven at its secondary."""
        item = self._items.of(ref)
        item.source = Source.FAR
        if item.dirty:
            item.dirty = item.spilling = False
            self._items.settle(item)
            self._unwritten(item)
        else:
            item.uploading = False
            if item.state is _S.RESIDENT:
                item.stale = True
            elif item.state in {_S.ABSENT, _S.QUEUED}:
                self._resize(item, size_bytes)
        if item.stale and item.loose:
            self._room.evict(item, self._out, "a step wrote it anew")
        self._had(item)

    def abandoned(self, ref: ObjectRef) -> None:
        """An output will never be proven and nobody wants it any more: let it go."""
        item = self._items.table.get(ref)
        if item is None:
            return
        item.uploading = False
        if item.dirty and item.state is _S.RESIDENT:
            item.dirty = False
            item.stale = True
            self._unwritten(item)
        if item.source is Source.FAR:
            item.source = Source.UNKNOWN
        self._items.settle(item)
        if item.loose:
            self._room.evict(item, self._out, "it was never proven far away and its workflow has ended")

    def _unwritten(self, item: Item) -> None:
        """Let the writer of an output hold it as that no longer."""
        if item.writer is not None:
            writer, item.writer = item.writer, None
            self._items.accounts.let_go(item, writer)

    def retain(self, ref: ObjectRef) -> None:
        """An output is transient, and may be read by steps that are not announced: keep it until `let_go`."""
        item = self._items.of(ref)
        # It can be sent to make room from now on.
        self._claims.stirred |= item.dirty and not item.transient
        item.retained = True
        self._items.mark_transient(item, True)

    def let_go(self, ref: ObjectRef) -> None:
        """No step will read a transient output but those that are announced: it goes after the last of them."""
        item = self._items.table.get(ref)
        if item is not None and item.retained:
            item.retained = False
            self._release(item)
            self._items.settle(item)

    def export(self, ref: ObjectRef) -> None:
        """A transient output is wanted at its far store after all: it is sent like any other."""
        item = self._items.table.get(ref)
        if item is not None and item.transient:
            self._items.mark_transient(item, False)
            self._claims.replanned()

    # -- steps -------------------------------------------------------------------------------------------------------------

    def _forget(self, step: Step) -> None:
        """Remove a step in any phase, with its claims."""
        if step.awaits:
            self._claims.replanned()
        else:
            self._claims.unclaim(step, Phase.GONE)
        written = [self._items.table.get(output.ref) for output in step.spec.outputs]
        self._steps.remove(step)
        if self._claims.head is step:
            self._claims.head = None
        for item in step.inputs:
            self._after_release(item)
        for item in written:
            if item is not None:
                self._fetches.foresee(item)
        self._claims.stirred = True

    def _release(self, item: Item) -> None:
        """Let a transient replica go when every step that reads it has ended; it has no far copy then, and needs none."""
        if not item.transient or item.retained or item.uses or item.claims or item.kept or item.state is not _S.RESIDENT:
            return
        item.dirty = item.spilling = False
        item.stale = True
        self._items.settle(item)
        self._unwritten(item)
        self._room.evict(item, self._out, "every step that reads it has ended")

    def _after_release(self, item: Item) -> None:
        self._fetches.unneeded(item)
        self._release(item)
        if item.stale and item.loose:
            self._room.evict(item, self._out, "its source has changed")
        elif item.uses:
            self._fetches.foresee(item)
