"""Claims: a step gets everything it needs at once, or nothing; in the global order, with the first one protected."""

import heapq
from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from enum import Enum, auto

from jitflow.model.data import ReplicaState, StepId
from jitflow.planner._accounts import Account
from jitflow.planner._envelope import Envelope
from jitflow.planner._fetches import Fetches
from jitflow.planner._items import Item, Items, Key, Source
from jitflow.planner._room import Room
from jitflow.planner._sizes import OutputSizes
from jitflow.planner._spills import Spills
from jitflow.planner._steps import Phase, Step, Steps
from jitflow.planner.commands import Command, Grant, Refuse

_SCAN = 64
_TRUSTED_SCANS = 32
_NEAR = 1024
_ORDER_PATIENCE_S = 5.0
"""So long nothing runs rather than a step out of order: what comes first may ask in a moment."""
_UNPARKED = 8
"""So many steps of a namespace are tried again when its quota has become lighter."""


class _Verdict(Enum):
    """Whether a ready step can be claimed."""

    FITS = auto()
    NO_ROOM = auto()
    LATER = auto()
    CROWDS = auto()
    QUOTA = auto()
    BLOCKED = auto()


class Claims:
    """Claims and grants.

    Deadlock freedom: a claim is atomic and complete, so a claimed step waits only for transfers into reserved space; the first
    ready step without room is bypassed a bounded number of times, after which all claims drain and what remains can be evicted.
    """

    def __init__(
        self,
        items: Items,
        steps: Steps,
        fetches: Fetches,
        room: Room,
        sizes: OutputSizes,
        *,
        workers: int,
        window: int,
        bypass: int,
        slots: int,
    ) -> None:
        """Allow `workers` steps to run and `window` more to be claimed, and `bypass` claims past the head; grant `slots` at once.

        More claims would hold room for steps that cannot start soon, and push out what is read sooner.
        """
        self._items = items
        self._steps = steps
        self._fetches = fetches
        self._room = room
        self._sizes = sizes
        self._window = window
        self._workers = workers
        self._most = workers + window
        self._bypass = bypass
        self._slots = slots
        self._spills = Spills(items)
        self._envelope: Envelope | None = None
        self._near: deque[Step] = deque(maxlen=_NEAR)
        """Steps whose inputs have come for others."""
        self.running = 0
        self.shortages = 0
        """How often a ready step found no room."""
        self._promised: dict[StepId, Step] = {}
        """Claimed steps that lack something, by name."""
        self._grantable: list[tuple[Key, int, Step]] = []
        self.lacking = 0
        self.active = 0
        """Steps that are claimed or granted and have not ended."""
        self.head: Step | None = None
        self.stirred = True
        """Whether anything but freed bytes happened that may allow a claim."""
        self._fixed_then = 0
        self._objects_then = 0
        self._lacking_then = 0
        self._scans = 0
        self._bounded = False
        """Whether the envelope holds in this scan."""
        self._held_back: Step | None = None
        """The first ready step that only the order holds back."""
        self._kept_for_head: int | None = None
        """What the first step without room lacks, where results leave for it and the room is kept for it."""
        self.wake_at: float | None = None
        """When a step that only the order holds back may go all the same, for nothing else runs."""

    # -- asking ------------------------------------------------------------------------------------------------------------

    def examine(self, step: Step, out: list[Command], forget: Callable[[Step], None]) -> None:
        """List an asked step as ready, or block it on an input that cannot be had; refuse it if it can never fit."""
        self._steps.unlist(step)
        item = _blocking(step)
        if item is not None:
            self._block(step, item)
            return
        step.footprint = sum(item.bytes for item in step.inputs) + step.declared
        step.assumed = self._sizes.assumed(step.spec)
        need = step.footprint
        if need > self._items.limit:
            forget(step)
            message = f"needs {need:,} bytes in the primary, which has {self._items.limit:,}; make the capacity at least {need:,}"
            out.append(Refuse(step=step.id, message=message))
            return
        if self._refuse_quota(step, out, forget):
            return
        most = self._items.max_objects
        if most and len(step.inputs) + step.writes > most:
            forget(step)
            objects = len(step.inputs) + step.writes
            message = (
                f"needs {objects:,} objects in the primary, which may hold {most:,}; make primary.max_objects at least {objects}"
            )
            out.append(Refuse(step=step.id, message=message))
            return
        self._steps.list(step)
        self.stirred = True

    def _refuse_quota(self, step: Step, out: list[Command], forget: Callable[[Step], None]) -> bool:
        """Refuse a step that its namespace's quota can never have room for."""
        account = step.account
        if account is None or not account.limited:
            return False
        objects = len(step.inputs) + step.writes
        quota = f"namespaces.{account.name}.quota"
        if account.quota is not None and step.footprint > account.quota:
            may, needs = f"{account.quota:,} bytes", f"{step.footprint:,} bytes"
            remedy = f"make {quota} at least {step.footprint:,}"
        elif account.max_objects and objects > account.max_objects:
            may, needs = f"{account.max_objects:,} objects", f"{objects:,} objects"
            remedy = f"make {quota}_objects at least {objects}"
        else:
            return False
        forget(step)
        message = f"needs {needs} in the primary, of which namespace {account.name} may have {may} (its quota); {remedy}"
        out.append(Refuse(step=step.id, message=message))
        return True

    def _block(self, step: Step, item: Item) -> None:
        item.blocked[step.id] = step
        step.blocked_on = item
        if item.source is Source.MISSING:
            item.source = Source.UNKNOWN
        if item.source is Source.UNKNOWN:
            self._fetches.look(item, step, urgent=True)

    def _reserve(self, step: Step) -> int:
        """Return what to reserve for the outputs: what is declared, and what is assumed as far as it can ever fit."""
        if not step.assumed:
            return step.declared
        account = step.account
        kept = self._items.kept
        if kept:
            kept -= sum(item.bytes for item in step.inputs if item.kept)
        spare = self._items.capacity - kept - step.footprint
        if account is not None and account.quota is not None:
            # What its quota has no room for is not assumed: what comes after all is then sent from where it lies.
            spare = min(spare, account.quota - account.held - self._items.accounts.missing(step, step.declared)[0])
        return step.declared + max(0, min(step.assumed, spare))

    # -- claiming ----------------------------------------------------------------------------------------------------------

    def claim(self, out: list[Command], forget: Callable[[Step], None]) -> None:
        """Claim what fits, in order.

        Bytes freed, a claim that ended its wait, or a new ready step can make a claim possible; else nothing is tried.
        """
        freed = self._items.fixed < self._fixed_then or self._items.fixed_objects < self._objects_then
        if self._items.accounts.eased:
            self._ease()
        fresh = self.stirred or freed or self.lacking < self._lacking_then
        overdue = self.wake_at is not None and self._steps.now >= self.wake_at
        if not fresh and not overdue:
            return
        self.stirred = False
        self._scans += 1
        self._bounded = self._steps.bounded
        before = self.active
        self.head = self._scan(out, forget)
        if self.head is not None:
            self._spill(self.head, out)
        self._let_pass()
        # In its order a claim may allow others that were held back for it.
        self.stirred = self.active > before and self._envelope is not None
        self._fixed_then, self._objects_then = self._items.fixed, self._items.fixed_objects
        self._lacking_then = self.lacking

    def _hold_back(self, step: Step, verdict: "_Verdict") -> None:
        """Remember the first step of a scan that only the order holds back."""
        if verdict is _Verdict.CROWDS and self._held_back is None:
            self._held_back = step

    def _let_pass(self) -> None:
        """Claim a step out of order where nothing else runs and what comes first does not ask: that may wait for this one."""
        step = self._held_back
        if step is None or self.active:
            self.wake_at = None
        elif self.wake_at is None:
            self.wake_at = self._steps.now + _ORDER_PATIENCE_S
        elif self._steps.now >= self.wake_at:
            self.wake_at = None
            verdict, reserve = self._try(step)
            if verdict in {_Verdict.FITS, _Verdict.CROWDS}:
                self._claim(step, reserve)

    def _scan(self, out: list[Command], forget: Callable[[Step], None]) -> Step | None:
        """Claim of the next ready steps what fits; return the first one for which there was no room."""
        ready = self._steps.ready
        head: Step | None = None
        self._held_back = self._kept_for_head = None
        place = 0
        for _ in range(_SCAN):
            if place >= len(ready) or self.active >= self._most or (head is not None and self.guarded(head)):
                break
            step = ready[place][2]
            if self._crowded(step) or (head is not None and self._hopeless(step)):
                place += 1
                continue
            verdict, reserve = self._try(step)
            if verdict is _Verdict.NO_ROOM and head is None and self._give_way(step):
                verdict, reserve = self._try(step)
            if verdict is _Verdict.BLOCKED:
                self.examine(step, out, forget)
            elif verdict is _Verdict.FITS:
                if head is not None:
                    head.bypassed += 1
                self._claim(step, reserve)
            elif verdict is _Verdict.QUOTA:
                self._steps.park(step)
                self._spill_own(step, reserve, out)
            else:
                place += 1
                self.shortages += verdict is not _Verdict.LATER
                self._hold_back(step, verdict)
                if verdict is _Verdict.NO_ROOM and head is None:
                    head = step
                    self._kept_for_head = head.missing if head.paid else None
        self._scan_near(head)
        return head

    def _give_way(self, head: Step) -> bool:
        """Take claims of other workflows' later steps back, if their room is enough for the first step without any.

        Only of steps for which nothing moves yet: what they hold is promised, not used. A workflow that comes while another one
        has claimed far ahead would else wait for transfers that need not be first, and what it could read here would be evicted.
        A claim follows each time, of an earlier step: they cannot take turns for ever.
        """
        if len(self._steps.workflows) == 1 or self._short(head) > 0:
            return False
        own = set(head.inputs)
        gap = self._items.fixed + self._reserve(head) - self._items.capacity
        gap += sum(item.bytes for item in own if not item.fixed)
        later = [step for step in self._promised.values() if step.uid != head.uid and step.key > head.key and _unmoved(step)]
        going: list[Step] = []
        claims: dict[Item, int] = {}
        for step in sorted(later, key=lambda step: (step.key, step.seq), reverse=True):
            if gap <= 0:
                break
            going.append(step)
            gap -= step.reserve
            for item in step.inputs:
                claims[item] = claims.get(item, 0) + 1
                if item not in own and _falls(item, claims[item]):
                    gap -= item.bytes
        if gap > 0:
            return False
        for step in going:
            self.unclaim(step, Phase.ASKED)
            self._steps.list(step)
            for item in step.inputs:
                self._fetches.foresee(item)
        return True

    def guarded(self, head: Step) -> bool:
        """Return whether a ready step without room has been passed over as often as may be: what becomes free is for it."""
        flow = self._steps.workflows.get(head.uid)
        most = self._bypass if flow is None or flow.patience is None else min(flow.patience, self._bypass)
        return head.bypassed >= most

    def near(self, item: Item) -> None:
        """Note that an item has come: steps of other workflows that read it too had better run while it is here."""
        readers = [step for _, _, step in item.readers[:_SCAN] if step.phase is Phase.ASKED]
        if len(item.readers) > 1:
            self._near.extend(readers)
        for step in readers:
            if step.parked and step.account is not None and step.account.shut:
                self._items.accounts.eased[step.account] = None

    def _scan_near(self, head: Step | None) -> None:
        """Claim steps whose inputs are here, out of order, if places would stand empty otherwise."""
        for _ in range(min(_SCAN, len(self._near))):
            idle = self.active - self.lacking < self._workers and self.active < self._most
            if not idle or (head is not None and self.guarded(head)):
                return
            step = self._near.popleft()
            if step.listed is None or any(item.state is not ReplicaState.RESIDENT for item in step.inputs):
                continue
            verdict, reserve = self._try(step)
            if verdict is not _Verdict.FITS:
                self._near.append(step)
                return
            if head is not None:
                head.bypassed += 1
            self._claim(step, reserve)

    # -- quotas ------------------------------------------------------------------------------------------------------------

    def _ease(self) -> None:
        """List the first steps again that wait for quotas which have become lighter."""
        eased, self._items.accounts.eased = self._items.accounts.eased, {}
        for account in eased:
            again = [step for _ in range(_UNPARKED) if (step := self._unparked(account)) is not None]
            for step in again:
                self._steps.list(step)
                self.stirred = True
            if account.later:
                self._fetches.resume(account)

    def shut(self, account: Account, shut: bool) -> None:
        """Let nothing more be fetched for a namespace's steps that hold no claim, or let them go on, all that wait."""
        account.shut = shut
        if not shut:
            while (step := self._unparked(account)) is not None:
                self._steps.list(step)
            self._items.accounts.eased[account] = None
            self.stirred = True

    def _unparked(self, account: Account) -> Step | None:
        step = account.first_parked()
        if step is not None:
            step.parked = False
        return step

    def _over_quota(self, step: Step, reserve: int) -> bool:
        """Return whether a step's namespace may not hold what it needs now, or another one of its steps comes first."""
        account = step.account
        if account is None or not account.limited:
            return False
        first = account.first_parked()
        if first is not None and first.key < step.key and first.bypassed >= self._bypass:
            return True
        return any(account.short(*self._items.accounts.missing(step, reserve), idle=False))

    def _spill_own(self, step: Step, reserve: int, out: list[Command]) -> None:
        """Send live results of a namespace away if nothing of it runs and the next step does not fit beside them."""
        account = step.account
        if account is None or account.active or not self._items.burdens or not account.limited:
            return
        size, objects = account.short(*self._items.accounts.missing(step, reserve), idle=False)
        own = [item for item in self._items.burdens.values() if item.writer is account and item not in step.inputs]
        self._spills.send(own, size, out, f"room in the quota of {account.name} for {step.id}", objects)

    # -- the rest of the work, one step after another ----------------------------------------------------------------------

    def replanned(self) -> None:
        """Note that the order of what no claim holds has changed."""
        self._envelope = None
        self.stirred = True

    def freed(self, item: Item) -> None:
        """Note that a transient replica has left the primary, for good or until its next reader needs it."""
        if self._envelope is None:
            return
        reader = self._items.first_reader(item)
        if reader is None:
            self._envelope.dead(item)
        else:
            self._envelope.left(item, reader)

    def envelope(self) -> Envelope | None:
        """Return what the rest needs in order, None if nothing that it writes stays in the primary."""
        if self._envelope is None and self._items.transients:
            steps = sorted((step for step in self._steps.table.values() if step.awaits), key=lambda step: (step.key, step.seq))
            self._envelope = Envelope(steps, self._live())
        return self._envelope

    def _live(self) -> int:
        """Return the bytes of transient results that are here or promised, and still to be read by unclaimed steps."""
        live = 0
        for item in self._items.transients.values():
            producer = item.producer
            made = item.state is ReplicaState.RESIDENT or (producer is not None and not producer.awaits)
            live += item.bytes if made and item.uses else 0
        return live

    def _crowds(self, step: Step) -> bool:
        """Return whether a claim out of order could force a result out of the primary before the order has come to it."""
        if not step.leaves or not self._bounded:
            return False
        envelope = self.envelope()
        return envelope is not None and envelope.head() is not step and envelope.reach(step) + step.leaves > self._items.capacity

    def _spill(self, head: Step, out: list[Command]) -> None:
        """Send live results away if what comes next cannot fit otherwise."""
        if not self._items.burdens:
            return
        envelope = self.envelope()
        flow = self._steps.workflows.get(head.uid)
        idle = self._workers - self.active
        eager = min(flow.eager, idle) if flow is not None else 0
        if not self.active or eager > 0 or (envelope is not None and envelope.peak() > self._items.capacity):
            gap = self._items.fixed + head.missing - self._items.capacity
            if eager > 1:
                gap += self._wanted(head, eager - 1)
            sent = self._spills.free(gap, out, f"room for {head.id}", self._short(head))
            head.paid |= sent and flow is not None and flow.keeps

    def _spends(self, step: Step) -> bool:
        """Return whether a claim out of order would take room for which results leave, or have left, for the head's sake.

        When none is left that could leave, something else holds the head's room, and others need not wait for that.
        """
        items = self._items
        if self._kept_for_head is None or not (items.spilling or items.burdens):
            return False
        return step.missing > max(0, items.capacity - items.fixed + items.spilling - self._kept_for_head)

    def _wanted(self, head: Step, count: int) -> int:
        """Return the bytes that the next `count` ready steps behind the head lack, if none of them reads what another does."""
        ready = self._steps.ready
        place = bisect_right(ready, (head.key, head.seq), key=lambda entry: entry[:2])
        steps = (entry[2] for entry in ready[place : place + count])
        return sum(self._reserve(step) + sum(item.bytes for item in step.inputs if not item.fixed) for step in steps)

    def _short(self, step: Step) -> int:
        """Return how many objects too many a claim would hold."""
        if not self._items.max_objects:
            return 0
        return self._items.short_of_objects(step.writes + sum(not item.held for item in step.inputs))

    def _hopeless(self, step: Step) -> bool:
        """Return whether a step behind the head did not fit lately and cannot fit now, without counting its bytes again."""
        return self._scans - step.tried < _TRUSTED_SCANS and self._items.fixed + step.missing > self._items.capacity

    def _crowded(self, step: Step) -> bool:
        """Return whether a step is held back as one before it was, which is plain without counting anything."""
        envelope = self._envelope if self._bounded and step.leaves else None
        return envelope is not None and envelope.crowded(step, self._items.capacity)

    def _try(self, step: Step) -> tuple["_Verdict", int]:
        """Return whether a ready step can be claimed now, and what would be reserved for its outputs."""
        capacity = self._items.capacity
        full = self.lacking >= self._window
        reserve = self._reserve(step)
        need = self._items.fixed + reserve
        step.tried = self._scans
        for item in step.inputs:
            if need > capacity:
                break
            if item.loose:
                need += item.bytes
                continue
            if not item.obtainable:
                if item.source is Source.MISSING and item.ref in step.optional:
                    continue
                return _Verdict.BLOCKED, reserve
            if full and item.state is not ReplicaState.RESIDENT:
                step.missing = 0
                return _Verdict.LATER, reserve
            if not item.fixed:
                need += item.bytes
        step.missing = need - self._items.fixed
        if self._over_quota(step, reserve) or _shut_out(step):
            return _Verdict.QUOTA, reserve
        if need > capacity or self._short(step) > 0 or self._spends(step):
            return _Verdict.NO_ROOM, reserve
        return (_Verdict.CROWDS if self._crowds(step) else _Verdict.FITS), reserve

    def _claim(self, step: Step, reserve: int) -> None:
        items = self._items
        self._steps.unlist(step)
        self._leave_absent(step)
        step.phase = Phase.CLAIMED
        if self._envelope is not None:
            self._envelope.claimed(step)
        self.active += 1
        step.reserve = reserve
        items.fixed += reserve
        items.fixed_objects += step.writes
        self._book(step)
        for item in step.inputs:
            item.claims += 1
            items.settle(item)
            items.accounts.hold(item, step.account)
            items.mark_ahead(item, False)
            items.drop_reader(item)
            if item.state is not ReplicaState.RESIDENT:
                step.lacking += 1
                item.waiters[step.id] = step
                if item.state is ReplicaState.ABSENT:
                    items.move(item, "want")
                    self._fetches.want(item, step)
                elif item.state is ReplicaState.TRANSFERRING:
                    self._fetches.hurry(item, step)
        if step.lacking:
            self.lacking += 1
            self._promised[step.id] = step
        else:
            heapq.heappush(self._grantable, (step.key, step.seq, step))

    def _book(self, step: Step) -> None:
        """Let a step's namespace pay for what the step will write."""
        account = step.account
        if account is None:
            return
        account.active += 1
        self._items.accounts.promise(account, step.reserve, step.writes)
        first = account.first_parked()
        if first is not None and first.key < step.key:
            first.bypassed += 1

    def _unbook(self, step: Step, account: Account) -> None:
        account.active -= 1
        self._items.accounts.promise(account, -step.reserve, -step.writes)
        if account.limited:
            # Where nothing of it runs any more, what waits may have to send results away.
            self._items.accounts.eased[account] = None

    def resume(self, step: Step) -> None:
        """Hold the claims of a step that was granted before a restart."""
        items = self._items
        self.active += 1
        self.running += 1
        items.fixed += step.reserve
        items.fixed_objects += step.writes
        items.reserve(step.reserve, step.writes)
        self._book(step)
        for item in step.inputs:
            item.claims += 1
            items.drop_reader(item)
            items.settle(item)
            items.accounts.hold(item, step.account)

    def _leave_absent(self, step: Step) -> None:
        absent = [item for item in step.inputs if not item.obtainable]
        if absent:
            step.absent = tuple(item.ref for item in absent)
            step.inputs = [item for item in step.inputs if item.obtainable]
            for item in absent:
                self._items.drop_reader(item)
                self._items.settle(item)

    def holding(self, item: Item) -> list[Step]:
        """Return the steps that claim an item and have not started."""
        return [step for step in self._steps.table.values() if step.phase is Phase.CLAIMED and item in step.inputs]

    def unclaim(self, step: Step, phase: Phase) -> None:
        """Give a step's claims back; it is `phase` from now on."""
        items = self._items
        self.active -= 1
        if step.lacking:
            self.lacking -= 1
            del self._promised[step.id]
        step.lacking = 0
        items.fixed -= step.reserve
        items.fixed_objects -= step.writes
        if step.phase is Phase.GRANTED:
            self.running -= 1
            items.reserve(-step.reserve, -step.writes)
        if step.account is not None:
            self._unbook(step, step.account)
        step.reserve = 0
        step.phase = phase
        for item in step.inputs:
            item.claims -= 1
            item.waiters.pop(step.id, None)
            item.last_used = items.tick()
            if step.awaits:
                items.add_reader(item, step)
            if item.state is ReplicaState.QUEUED and not item.claims:
                items.move(item, "unwant")
            else:
                items.settle(item)
            items.accounts.let_go(item, step.account)
            self._fetches.unneeded(item)
        self.stirred = True
        if step.awaits:
            self._envelope = None

    # -- granting ----------------------------------------------------------------------------------------------------------

    def arrived(self, item: Item) -> None:
        """Note that an item is resident: steps that lacked nothing else can start."""
        for step in item.waiters.values():
            step.lacking -= 1
            if not step.lacking:
                self.lacking -= 1
                del self._promised[step.id]
                heapq.heappush(self._grantable, (step.key, step.seq, step))
        item.waiters.clear()

    def grant(self, out: list[Command]) -> None:
        """Start claimed steps whose inputs are resident, as the space for their outputs is there."""
        while self._grantable:
            step = self._grantable[0][2]
            if step.phase is Phase.CLAIMED and not step.lacking:
                if self._slots and self.running >= self._slots:
                    return
                if not self._room.make(step.reserve, out, f"room for what {step.id} will write", objects=step.writes):
                    return
                step.phase = Phase.GRANTED
                self._steps.begins(step)
                self.running += 1
                self._items.reserve(step.reserve, step.writes)
                out.append(Grant(step=step.id))
            heapq.heappop(self._grantable)


def _unmoved(step: Step) -> bool:
    """Return whether nothing of what a claimed step lacks is on its way."""
    return all(item.state is ReplicaState.RESIDENT or item.state is ReplicaState.QUEUED for item in step.inputs)


def _shut_out(step: Step) -> bool:
    """Return whether something would have to be fetched for a step for whose namespace nothing more is."""
    if step.account is None or not step.account.shut:
        return False
    return any(item.state is ReplicaState.ABSENT and item.source is Source.FAR for item in step.inputs)


def _falls(item: Item, claims: int) -> bool:
    """Return whether what an item takes is free, or can be, when so many claims are taken back."""
    return item.claims == claims and not item.dirty and not item.kept


def _blocking(step: Step) -> Item | None:
    """Return an input that cannot be had; an optional one that is missing is no obstacle.

    The search goes on where the last one ended: a step of many inputs that become known one after another is gone through twice,
    not once for each of them.
    """
    first = step.blocked_at
    for places in (range(first, len(step.inputs)), range(first)):
        for at in places:
            item = step.inputs[at]
            if not item.obtainable and not (item.source is Source.MISSING and item.ref in step.optional):
                step.blocked_at = at
                return item
    return None
