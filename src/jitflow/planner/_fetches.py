"""What is fetched next: first what claimed steps wait for, then what coming steps will read; and what must be looked up."""

import heapq
from collections.abc import Callable

from jitflow.model.data import ObjectRef, ReplicaState
from jitflow.planner._accounts import Account
from jitflow.planner._items import Item, Items, Key, Source
from jitflow.planner._lanes import Ahead, Lane, Lanes, Limits
from jitflow.planner._room import Room
from jitflow.planner._sizes import OutputSizes
from jitflow.planner._steps import Phase, Step
from jitflow.planner.commands import Cancel, Command, Fetch, Hurry, Look

_SKIPPED_PER_PASS = 8
_LOOKS_AT_ONCE = 2048
_SAFETY = 1.5
"""So many times what a transfer should take is allowed for it."""
_SPARE_SHARE = 4
"""At most one part in so many of the capacity is left free for outputs."""


class Fetches:
    """The queues of transfers and look-ups."""

    def __init__(
        self,
        items: Items,
        room: Room,
        sizes: OutputSizes,
        *,
        limits: Limits,
        yielding: bool,
        window: int,
        claims_at_once: int,
        expected: Callable[[Step], float],
    ) -> None:
        """Keep to the limits on each link, and to `window` objects ahead of claims; there are `claims_at_once` at most."""
        self._items = items
        self._room = room
        self._sizes = sizes
        self._claims_at_once = claims_at_once
        self._window = window
        self._expected = expected
        self.lanes = Lanes(limits, yielding=yielding)
        self._delayed: list[tuple[float, int, Item]] = []
        self._later: list[tuple[float, int, Item]] = []
        """What is read so late that nothing is evicted for it yet, and until when."""
        self._looks: list[tuple[bool, Key, int, Item]] = []
        self.looking = 0
        self._cancels: list[Item] = []
        self._hurries: dict[ObjectRef, Step] = {}

    # -- queues ------------------------------------------------------------------------------------------------------------

    def want(self, item: Item, step: Step) -> None:
        """Queue an item that a claimed step waits for."""
        heapq.heappush(self.lanes.of(item).urgent, (step.key, self._items.tick(), item))

    def hurry(self, item: Item, step: Step) -> None:
        """A claimed step waits for an item that is on its way already."""
        lane = self.lanes.of(item)
        if lane.yielding and item.parts and not item.urgent:
            lane.hurry(item)
            self._hurries[item.ref] = step

    def queued(self) -> tuple[ObjectRef, ...]:
        """Return what claimed steps wait for and is not under way yet, the most urgent first."""
        entries = sorted((entry for lane in self.lanes.all() for entry in lane.urgent), key=lambda entry: entry[:2])
        return tuple(dict.fromkeys(item.ref for _, _, item in entries if item.state is ReplicaState.QUEUED))

    def foresee(self, item: Item) -> None:
        """Queue an item that some coming step reads, to be fetched ahead, or looked up if its size is not known."""
        if item.state is not ReplicaState.ABSENT or item.uploading:
            return
        step = self._items.first_reader(item)
        if step is None or _comes_later(item, step):
            return
        if item.source is Source.FAR and item.size is not None:
            heapq.heappush(self.lanes.of(item).soft, (not step.spec.certain, step.key, self._items.tick(), item))
        elif item.source is Source.UNKNOWN:
            self.look(item, step, urgent=False)

    def look(self, item: Item, step: Step, *, urgent: bool) -> None:
        """Queue a look-up."""
        heapq.heappush(self._looks, (not urgent, step.key, self._items.tick(), item))

    def resume(self, account: Account) -> None:
        """Try again to read ahead what an account's quota had no room for."""
        later, account.later = account.later, []
        for item in later:
            self.foresee(item)

    def delay(self, item: Item, retry_at: float) -> None:
        """Leave an item alone until a time."""
        item.retry_at = retry_at
        heapq.heappush(self._delayed, (retry_at, self._items.tick(), item))

    def unneeded(self, item: Item) -> None:
        """Note that an item may be in flight for nobody."""
        if item.state is ReplicaState.TRANSFERRING and not (item.claims or item.uses or item.dirty or item.cancelled):
            item.cancelled = True
            self._cancels.append(item)

    def next_wake(self) -> float | None:
        """Return when a delayed item may be tried again, or a late one should be begun, if there is one."""
        return min((queue[0][0] for queue in (self._delayed, self._later) if queue), default=None)

    # -- decisions ---------------------------------------------------------------------------------------------------------

    def decide(self, now: float, out: list[Command], head: Step | None, *, guarded: Callable[[Step], bool]) -> None:
        """Emit cancellations, fetches, look-ups. `guarded`: whether what is free is kept for `head`, the first without room."""
        for item in self._cancels:
            if item.cancelled and item.state is ReplicaState.TRANSFERRING:
                out.append(Cancel(ref=item.ref, reason="no step needs it any more"))
        self._cancels.clear()
        for ref, step in self._hurries.items():
            out.append(Hurry(ref=ref, step=step.id, reason=f"{step.id} waits for it"))
        self._hurries.clear()
        self._wake(now)
        if self._claimed(now, out):
            self._ahead(now, out, head, guarded)
        self._look(out)

    def _wake(self, now: float) -> None:
        while self._delayed and self._delayed[0][0] <= now:
            at, _, item = heapq.heappop(self._delayed)
            if item.retry_at <= at:
                item.retry_at = 0.0  # its wait is over, even if the clock is set back before there is a place for it
            if item.state is ReplicaState.QUEUED and item.waiters:
                self.want(item, next(iter(item.waiters.values())))
            else:
                self.foresee(item)
        while self._later and self._later[0][0] <= now:
            self.foresee(heapq.heappop(self._later)[2])

    def _claimed(self, now: float, out: list[Command]) -> bool:
        """Start transfers that claimed steps wait for; return whether none of them waits for room."""
        lanes = [lane for lane in self.lanes.all() if lane.urgent]
        if len(lanes) > 1:
            lanes.sort(key=lambda lane: lane.urgent[0][:2])
        return all(self._claimed_over(lane, now, out) for lane in lanes)

    def _claimed_over(self, lane: Lane, now: float, out: list[Command]) -> bool:
        """Start such transfers over one link; return whether none of them waits for room."""
        urgent = lane.urgent
        while urgent and not lane.crowded:
            _, _, item = urgent[0]
            if item.state is ReplicaState.QUEUED and item.obtainable and item.retry_at <= now:
                step = next(iter(item.waiters.values()))
                why = f"room for {item.ref}, for which {step.id} waits"
                if not self._room.make(item.bytes - item.used, out, why, but=item, objects=1 - item.counted[0]):
                    return False
                self._start(lane, item, step, out, urgent=True)
            heapq.heappop(urgent)
        return True

    def _start(self, lane: Lane, item: Item, step: Step, out: list[Command], *, urgent: bool) -> None:
        parts = lane.start(item, urgent=urgent)
        if not urgent and step.account is not None:
            item.payers = (step.account,)
        self._items.move(item, "start")
        reason = f"{step.id} waits for it" if urgent else f"read ahead for {step.id}"
        out.append(Fetch(ref=item.ref, size_bytes=item.bytes, urgent=urgent, step=step.id, reason=reason, parts=parts))

    def done(self, item: Item) -> None:
        """Note that a transfer has ended, either way."""
        self.lanes.of(item).done(item)
        self._hurries.pop(item.ref, None)

    def _ahead(self, now: float, out: list[Command], head: Step | None, guarded: Callable[[Step], bool]) -> None:
        """Read ahead over the links on which nothing waits for claimed steps, in the order in which it will be read."""
        lanes = [lane for lane in self.lanes.all() if lane.soft and not lane.urgent]
        skipped: list[tuple[Lane, Ahead]] = []
        spare = self._spare() if lanes else 0
        while self._items.ahead < self._window and len(skipped) <= _SKIPPED_PER_PASS:
            lanes = [lane for lane in lanes if lane.soft and not lane.full]
            if not lanes:
                break
            lane = min(lanes, key=lambda lane: lane.soft[0][:3]) if len(lanes) > 1 else lanes[0]
            entry = heapq.heappop(lane.soft)
            item = entry[3]
            step = self._candidate(entry, now, out)
            if step is None:
                continue
            harmless = head is None or item in head.inputs
            if not harmless and head is not None and guarded(head):
                skipped.append((lane, entry))
                continue
            latest = self._latest_start(lane, item, step, spare)
            if latest > now:
                heapq.heappush(self._later, (latest, self._items.tick(), item))
                continue
            leaving = self._items.leaving
            full = self._items.fixed + item.bytes > self._items.capacity or self._items.short_of_objects(1) > 0
            if full or not self._room.make(
                item.bytes - item.used + spare,
                out,
                f"room for {item.ref}, read earlier",
                before=step.key,
                but=item,
                objects=1 - item.counted[0],
            ):
                skipped.append((lane, entry))
                if self._items.leaving != leaving:
                    break
                continue
            if not harmless and head is not None:
                head.bypassed += 1
            self._start(lane, item, step, out, urgent=False)
            self._items.mark_ahead(item, True)
        for lane, entry in skipped:
            heapq.heappush(lane.soft, entry)

    def _affords(self, item: Item, step: Step, out: list[Command]) -> bool:
        """Return whether a step's namespace may have an item ahead; what it has that is read later leaves for it."""
        account = step.account
        if account is not None and account.shut:
            account.later.append(item)
            return False
        if account is None or not account.limited:
            return True
        why = f"in the quota of {account.name}; room for {item.ref}, read earlier"
        paid = item.charge is not None and account in item.charge[0]
        if self._room.shed(account, 0 if paid else item.bytes, 0 if paid else 1, out, why, before=step.key):
            return True
        account.later.append(item)
        return False

    def _latest_start(self, lane: Lane, item: Item, step: Step, spare: int) -> float:
        """Return when an item has to be begun to be here in time: at once if there is room for it, or if that is not known.

        A result that has left for want of room comes back as soon as it can: its workflow is behind its plan already.
        """
        items, limits = self._items, lane.limits
        if items.used + item.bytes - item.used + spare <= items.capacity or not limits.rate_Bps or item.transient:
            return 0.0
        takes_s = (lane.flying + item.bytes) / limits.rate_Bps + limits.latency_s
        return self._expected(step) - _SAFETY * takes_s

    def _spare(self) -> int:
        """Return what to leave free for what the next steps will write.

        Without it the first of them to start would push out what was fetched for the next ones.
        """
        wanted = self._claims_at_once * self._sizes.largest()
        return max(0, min(wanted, self._items.capacity // _SPARE_SHARE) - self._items.held)

    def _candidate(self, entry: Ahead, now: float, out: list[Command]) -> Step | None:
        """Return the step for which to fetch an item ahead, None if the entry says nothing true any more."""
        item = entry[3]
        if item.state is not ReplicaState.ABSENT or not item.obtainable or item.retry_at > now:
            return None
        step = self._items.first_reader(item)
        if step is None or _comes_later(item, step):
            return None
        if (not step.spec.certain, step.key) != entry[:2]:
            self.foresee(item)
            return None
        return step if self._affords(item, step, out) else None

    def _look(self, out: list[Command]) -> None:
        while self._looks:
            later, _, _, item = self._looks[0]
            if later and self.looking >= _LOOKS_AT_ONCE:
                return
            heapq.heappop(self._looks)
            wanted = bool(item.blocked) or item.uses > 0
            if item.looking or item.source is not Source.UNKNOWN or item.uploading or not wanted:
                continue
            item.looking = True
            self.looking += 1
            out.append(Look(ref=item.ref, urgent=not later))


def _comes_later(item: Item, step: Step) -> bool:
    """Return whether an item is the output of a step that comes before its reader and has not ended."""
    producer = item.producer
    return producer is not None and step.phase is Phase.FUTURE and producer.key < step.key
