"""Objects as the planner sees them, the ledger of bytes, and the order in which replicas are evicted.

One method, `Items.settle`, keeps the ledger: it is called after every change of an item, so that each sum is what a
recount gives.
"""

import heapq
from collections.abc import Callable, Iterator, Sequence
from enum import IntEnum, auto
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from jitflow.model.data import ObjectRef, ReplicaState
from jitflow.planner._accounts import Accounts, Paid
from jitflow.planner.replicas import moved

if TYPE_CHECKING:
    from jitflow.planner._steps import Step

Key = tuple[float, int]
"""A place in the global order: when the step would start if its workflow were alone, and the number of the workflow."""

Rank = tuple[int, float, float, int]
"""Order of eviction, smallest first."""

_NOTHING = (0, 0, 0)
_HEAP_SLACK = 64
_ASLEEP_AT_ONCE = 8


class Source(IntEnum):
    """What is known of an object far away."""

    UNKNOWN = auto()
    MISSING = auto()
    FAR = auto()


class Item(Paid):
    """One object: what is known of it, where it stands, who reads it."""

    __slots__ = (
        "ahead", "begun", "blocked", "burden", "cancelled", "claims", "counted",
        "damaged", "dirty", "fixed", "flying", "kept", "last_used",
        "looking", "loose", "parts", "producer", "rank", "readers", "ref", "retained", "retry_at", "settled", "size", "source",
        "spilling", "stale", "state", "tally", "transient", "uploading", "urgent", "used", "uses", "waiters",
    )  # fmt: skip

    def __init__(self, ref: ObjectRef) -> None:
        """Know nothing but the name."""
        super().__init__()
        self.ref = ref
        self.size: int | None = None
        self.state = ReplicaState.ABSENT
        self.source = Source.UNKNOWN
        self.dirty = False
        self.kept = False
        self.stale = False
        """Its far copy has changed: evict when nobody reads it."""
        self.damaged = False
        """Somebody has changed the replica itself: nobody may get it any more."""
        self.uploading = False
        """An output on its way to the secondary without a replica: not to be had yet."""
        self.transient = False
        """Only known steps read it: gone when they have, and not sent to its far store before its room is needed."""
        self.retained = False
        """A transient result that steps may read which are not announced: it goes when it is let go, and not before."""
        self.spilling = False
        self.parts = 0
        """Streams in which it is on its way."""
        self.flying = 0
        """Bytes of it that have not come yet."""
        self.urgent = False
        """On its way because a step waits for it."""
        self.burden = 0
        """Bytes of it that become free when it has reached its far store."""
        self.begun = False
        """Not on its way, but a part of it has come and lies in space of its whole size."""
        self.looking = self.cancelled = False
        self.ahead = False
        """Fetched ahead of any claim and not claimed since."""
        self.counted: tuple[int, int] = (0, 0)
        """Whether it counts as an object that is used, and as one that is fixed."""
        self.claims = 0
        self.uses = 0
        """Steps that will read it and have not claimed it."""
        self.readers: list[tuple[Key, int, Step]] = []
        self.waiters: dict[str, Step] = {}
        self.blocked: dict[str, Step] = {}
        self.producer: Step | None = None
        self.retry_at = 0.0
        self.last_used = 0
        self.fixed = 0
        self.used = 0
        self.loose = False
        self.rank: Rank = (0, 0.0, 0.0, 0)
        self.tally: tuple[int, int, int] = _NOTHING
        self.settled: tuple[ReplicaState, bool, bool, bool, int | None, bool, bool, bool] | None = None
        """What the ledger was brought up to date with last."""

    @property
    def bytes(self) -> int:
        """Its size, 0 while unknown."""
        return self.size or 0

    @property
    def held(self) -> bool:
        """Whether its bytes cannot be freed now (or are promised already)."""
        present = self.state is not ReplicaState.ABSENT
        return bool(self.claims) or self.dirty or self.state is ReplicaState.TRANSFERRING or (self.kept and present)

    @property
    def obtainable(self) -> bool:
        """Whether a step that needs it can be promised it."""
        if self.size is None or self.damaged:
            return False
        if self.state is ReplicaState.RESIDENT or self.state is ReplicaState.TRANSFERRING:
            return True
        return self.source is Source.FAR and not self.uploading


class Table(dict[ObjectRef, Item]):
    """Objects by name. Replicas that nobody has asked for since they were found are kept as sizes, and wake when asked for."""

    def __init__(self, wake: Callable[[ObjectRef], Item | None]) -> None:
        """Ask `wake` for what is not in it."""
        super().__init__()
        self._wake = wake

    def __missing__(self, ref: ObjectRef) -> Item:
        """Return what has to be woken first."""
        item = self._wake(ref)
        if item is None:
            raise KeyError(ref)
        return item

    def get(self, ref: ObjectRef, default: Any = None) -> Any:
        """Return an object, woken if need be."""
        item = super().get(ref)
        return item if item is not None else self._wake(ref) or default


class Items:
    """The table of objects with its ledger.

    `fixed`: bytes that cannot be freed: claimed, dirty, kept, in flight, and the outputs promised to claimed steps; `fixed` <=
    capacity is the rule of admission. `used`: bytes that are or may be on the disk: resident, in flight, being removed, and the
    outputs promised to running steps; `used` <= capacity is the promise.
    """

    def __init__(self, capacity: int, max_objects: int = 0, most_awake: int = 50_000) -> None:
        """Start with an empty primary of so many bytes and objects; `max_objects` 0: any number.

        `most_awake`: so many replicas that could be evicted are kept with all that is known of them.
        """
        self.max_objects = max_objects
        self._most_awake = most_awake
        self.used_objects = 0
        self.fixed_objects = 0
        self.leaving_objects = 0
        """The same sums as of bytes; they are kept where there is a limit."""
        self.capacity = capacity
        self.limit = capacity
        """The capacity that was asked for; `capacity` may be less while the disk has less."""
        self.accounts = Accounts()
        self.table = Table(self._wake)
        self.asleep: dict[str, int] = {}
        """Replicas that nobody needs now, by name, the one used longest ago first, with their bytes."""
        self.fixed = 0
        self.used = 0
        self.loose = 0
        self.leaving = 0
        self.kept = 0
        self.kept_items: dict[ObjectRef, Item] = {}
        self.peak = 0
        self.resident = 0
        self.pinned = 0
        self.dirty = 0
        self.ahead = 0
        self.held = 0
        """Bytes of `used` that are held for what running steps will write."""
        self.burdens: dict[ObjectRef, Item] = {}
        """Transient replicas that only the primary has and no step holds: room that a spill can free."""
        self.transients: dict[ObjectRef, Item] = {}
        self.begun: dict[ObjectRef, Item] = {}
        """Objects that are neither here nor on their way, of which a part lies on the disk."""
        self._latest: list[tuple[Key, int, int, Item]] = []
        """Burdens in the order in which they leave: (negated next use, negated size, tick)."""
        self.spilling = 0
        """Bytes that become free when they have reached their far stores: on their way, and held by nobody."""
        self._victims: list[tuple[Rank, ObjectRef, int, Item]] = []
        self._loose_count = 0
        self._tick = 0

    def of(self, ref: ObjectRef) -> Item:
        """Return the item of a name, new if need be."""
        item = self.table.get(ref)
        if item is None:
            item = self.table[ref] = Item(ref)
        return item

    def look(self, ref: ObjectRef) -> Item | None:
        """Return an item only to look at: one that is asleep stays so."""
        size = self.asleep.get(str(ref)) if self.asleep else None
        if size is None:
            return self.table.get(ref)
        item = Item(ref)
        item.size, item.source, item.state, item.loose = size, Source.FAR, ReplicaState.RESIDENT, True
        return item

    def rest(self, found: Sequence[tuple[str, int]]) -> None:
        """Enter replicas that nobody has asked for, by name: they take little memory until somebody does."""
        self.asleep.update(found)
        self._doze(sum(map(itemgetter(1), found)), len(found))

    def _doze(self, size: int, count: int) -> None:
        self.loose += size
        self.resident += size
        if self.max_objects:
            self.used_objects += count
        self.hold(size)

    def drowse(self) -> None:
        """Let some of the replicas that nobody needs fall asleep, the one used longest ago first, if many are awake.

        Call it while nobody has an item in hand.
        """
        restless: list[Item] = []
        for _ in range(_ASLEEP_AT_ONCE):
            if self._loose_count <= self._most_awake or not self._victims or self._victims[0][0][0]:
                break
            rank, _, _, item = heapq.heappop(self._victims)
            if not item.loose or item.rank != rank:
                continue
            if not _at_rest(item):
                restless.append(item)
                continue
            # The sums count it as before: its bytes are loose, resident and used.
            self._loose_count -= 1
            if item.payers:
                item.payers = ()
                self.accounts.charge(item)
            item.loose = False
            del self.table[item.ref]
            self.asleep[str(item.ref)] = item.bytes
        for item in restless:
            self.push_victim(item)

    def _wake(self, ref: ObjectRef) -> Item | None:
        """Make an item of a replica that was asleep."""
        size = self.asleep.pop(str(ref), None) if self.asleep else None
        if size is None:
            return None
        self._doze(-size, -1)
        item = self.table[ref] = Item(ref)
        item.size = size
        item.source = Source.FAR
        item.last_used = self._tick
        self.move(item, "find")
        return item

    def tick(self) -> int:
        """Return a number that grows: the order of uses."""
        self._tick += 1
        return self._tick

    # -- the ledger --------------------------------------------------------------------------------------------------------

    def move(self, item: Item, cause: str) -> None:
        """Move a replica through the table and settle it."""
        item.state = moved(item.state, cause)
        if cause == "start":
            item.begun = False
        self.settle(item)

    def settle(self, item: Item) -> None:
        """Bring the sums up to date with an item that may have changed."""
        state = item.state
        now = (state, item.claims > 0, item.dirty, item.kept, item.size, item.spilling, item.begun, item.transient)
        if now != item.settled:
            item.settled = now
            self._settle(item, state, item.size or 0)
            if item.payers or item.holders or item.charge:
                self.accounts.charge(item)
        if state is ReplicaState.ABSENT:
            self._prune(item)

    def _settle(self, item: Item, state: ReplicaState, size: int) -> None:
        held = item.held
        resident = state is ReplicaState.RESIDENT
        fixed = size if held else 0
        used = 0 if (state is ReplicaState.ABSENT or state is ReplicaState.QUEUED) and not item.begun else size
        if item.begun:
            self.begun[item.ref] = item
        elif self.begun:
            self.begun.pop(item.ref, None)
        self.fixed += fixed - item.fixed
        item.fixed = fixed
        if self.max_objects:
            self._count(item, state, held=held)
        if used != item.used:
            self.hold(used - item.used)
            item.used = used
        loose = resident and not held
        if loose != item.loose:
            item.loose = loose
            self.loose += size if loose else -size
            self._loose_count += 1 if loose else -1
            if loose:
                self._offer(item)
        if item.transient or item.dirty or item.burden:
            self._burden(item, size)
        was = item.tally
        tally = (size, size if item.claims else 0, size if item.dirty else 0) if resident else _NOTHING
        if tally != was:
            self.resident += tally[0] - was[0]
            self.pinned += tally[1] - was[1]
            self.dirty += tally[2] - was[2]
            item.tally = tally

    def _count(self, item: Item, state: ReplicaState, *, held: bool) -> None:
        """Bring the numbers of objects up to date."""
        present = state not in {ReplicaState.ABSENT, ReplicaState.QUEUED} or item.begun
        used, fixed = item.counted
        item.counted = (int(present), int(held))
        self.used_objects += item.counted[0] - used
        self.fixed_objects += item.counted[1] - fixed

    def short_of_objects(self, count: int) -> int:
        """Return by how many objects the limit would be exceeded if so many more were held; not positive: it would not be."""
        return self.fixed_objects + count - self.max_objects if self.max_objects else 0

    def _burden(self, item: Item, size: int) -> None:
        """Note whether the item is room that a transfer to its far store will free, or could."""
        burden = item.state is ReplicaState.RESIDENT and item.dirty and not item.claims
        if burden and item.transient and not item.spilling:
            if item.ref not in self.burdens:
                self.burdens[item.ref] = item
                self.offer_burden(item)
        else:
            self.burdens.pop(item.ref, None)
        leaving = size if burden and (item.spilling or not item.transient) else 0
        self.spilling += leaving - item.burden
        item.burden = leaving

    def offer_burden(self, item: Item) -> None:
        """Enter a burden into the order in which they leave."""
        heapq.heappush(self._latest, (*self.lateness(item), self.tick(), item))
        if len(self._latest) > 4 * len(self.burdens) + _HEAP_SLACK:
            self._latest = [(*self.lateness(one), self.tick(), one) for one in self.burdens.values()]
            heapq.heapify(self._latest)

    def pop_burden(self) -> Item | None:
        """Return the burden that is read last, the larger of equals, and take it off the order."""
        while self._latest:
            use, size, _, item = heapq.heappop(self._latest)
            if self.burdens.get(item.ref) is item:
                if (use, size) == self.lateness(item):
                    return item
                self.offer_burden(item)
        return None

    def lateness(self, item: Item) -> tuple[Key, int]:
        """Return the place of a burden in the order in which they leave."""
        use = self.next_use(item)
        return ((-use[0], -use[1]) if use is not None else (float("-inf"), 0)), -item.bytes

    def reserve(self, change: int, objects: int) -> None:
        """Add to (or take from) the bytes and objects that are held for what running steps will write."""
        self.used_objects += objects
        self.held += change
        self.hold(change)

    def hold(self, change: int) -> None:
        """Add to (or take from) the used bytes."""
        self.used += change
        self.peak = max(self.peak, self.used)

    def keep(self, item: Item, keeper: str) -> None:
        """Keep a replica for a keeper: a namespace, which pays for it, or an empty name."""
        if not item.kept:
            item.kept = True
            self.kept_items[item.ref] = item
            self.kept += item.bytes
            self.settle(item)
        item.keepers |= {keeper}
        self.accounts.hold(item, self.accounts.of(keeper) if keeper else None)

    def unkeep(self, item: Item, keeper: str) -> None:
        """Keep a replica no longer for a keeper; others may still keep it."""
        item.keepers -= {keeper}
        if not item.keepers:
            item.kept = False
            del self.kept_items[item.ref]
            self.kept -= item.bytes
            self.settle(item)
        if keeper:
            self.accounts.let_go(item, self.accounts.of(keeper))

    def mark_transient(self, item: Item, transient: bool) -> None:
        """Count an item as one that only known steps read, or no longer."""
        item.transient = transient
        if transient:
            self.transients[item.ref] = item
        else:
            self.transients.pop(item.ref, None)
            item.retained = False
        self.settle(item)

    def _prune(self, item: Item) -> None:
        """Forget an item of which nothing but the name is left."""
        wanted = item.uses or item.claims or item.blocked or item.uploading or item.producer or item.looking
        if not (wanted or item.dirty or item.begun):
            self.table.pop(item.ref, None)
            if item.transient:
                self.transients.pop(item.ref, None)

    # -- readers -----------------------------------------------------------------------------------------------------------

    def add_reader(self, item: Item, step: "Step") -> None:
        """Count a step that will read the item."""
        item.uses += 1
        heapq.heappush(item.readers, (step.key, step.seq, step))
        self.reranked(item)

    def rekey_reader(self, item: Item, step: "Step") -> None:
        """Note a new key of a step that reads the item."""
        heapq.heappush(item.readers, (step.key, step.seq, step))
        self.reranked(item)

    def drop_reader(self, item: Item) -> None:
        """Count one reader less; the caller has changed the step's phase already."""
        item.uses -= 1
        if not item.uses:
            item.readers.clear()
            self.mark_ahead(item, False)
        self.reranked(item)

    def first_reader(self, item: Item) -> "Step | None":
        """Return the step that reads the item next, not counting those that hold a claim."""
        readers = item.readers
        while readers:
            key, _, step = readers[0]
            if step.awaits and step.key == key:
                return step
            heapq.heappop(readers)
        return None

    def next_use(self, item: Item) -> Key | None:
        """Return the place in the order of the next read, None for never (as far as is known)."""
        step = self.first_reader(item)
        return step.key if step else None

    # -- victims -----------------------------------------------------------------------------------------------------------

    def reranked(self, item: Item) -> None:
        """Note that the item's next use may have changed."""
        if item.loose and self._rank(item) != item.rank:
            self._offer(item)

    def _rank(self, item: Item) -> Rank:
        use = self.next_use(item)
        if item.stale:
            return (-1, 0.0, 0.0, 0)
        if use is None:
            # Nothing known will read it: the one used longest ago first.
            return (0, float(item.last_used), 0.0, 0)
        return (1, -use[0], -use[1], -item.bytes)

    def _offer(self, item: Item) -> None:
        item.rank = self._rank(item)
        self.push_victim(item)
        if item.charge is not None:
            self.accounts.offer(item)
        if len(self._victims) > 4 * self._loose_count + _HEAP_SLACK:
            live = {entry[3].ref: entry for entry in self._victims if entry[3].loose and entry[3].rank == entry[0]}
            self._victims = list(live.values())
            heapq.heapify(self._victims)

    def pop_victim(self) -> Item | None:
        """Return the best replica to evict and take it off the list; `push_victim` puts it back."""
        victims = self._victims
        while victims:
            rank, _, _, item = victims[0]
            if self.asleep and rank[0] >= 0:
                break
            heapq.heappop(victims)
            if item.loose and item.rank == rank:
                return item
        # Nobody needs what is asleep, and those that are awake were used later; only what is of no use at all comes before it.
        return self._wake(_ref_of(next(iter(self.asleep)))) if self.asleep else None

    def push_victim(self, item: Item) -> None:
        """Put a victim back that was not evicted."""
        heapq.heappush(self._victims, (item.rank, item.ref, self.tick(), item))

    def evicting(self, item: Item) -> None:
        """Begin the removal of a loose replica."""
        self.move(item, "evict")
        self.leaving += item.bytes
        self.leaving_objects += 1

    def gone(self, item: Item) -> None:
        """End the removal of a replica."""
        self.leaving -= item.bytes
        self.leaving_objects -= 1
        item.stale = item.damaged = False
        self.mark_ahead(item, False)
        self.move(item, "gone")

    def mark_ahead(self, item: Item, ahead: bool) -> None:
        """Count an item as fetched ahead of its claim, or no longer."""
        if item.ahead != ahead:
            item.ahead = ahead
            self.ahead += 1 if ahead else -1

    def __iter__(self) -> Iterator[Item]:
        """Iterate over all items, those too that are asleep; these stay so."""
        yield from list(self.table.values())
        for name in list(self.asleep):
            if (item := self.look(_ref_of(name))) is not None:
                yield item


def _at_rest(item: Item) -> bool:
    """Return whether nothing is known of a replica but its size, and nobody has to do with it."""
    busy = item.uses or item.claims or item.blocked or item.uploading or item.producer or item.looking or item.ahead
    odd = item.stale or item.damaged or item.transient or item.retained or item.begun or item.cancelled
    return item.source is Source.FAR and not (busy or odd)


def _ref_of(name: str) -> ObjectRef:
    remote, _, path = name.partition(":")
    return ObjectRef(remote=remote, path=path)
