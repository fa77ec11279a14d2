"""Leases: asked for, waited for, given, returned; given ones are remembered over a restart, for their pods may survive it."""

import logging
from collections.abc import Callable, Container, Iterable

import msgspec
from msgspec.structs import replace

from jitflow.dataplane import records
from jitflow.dataplane.core import Core, advice
from jitflow.dataplane.inside import Inside
from jitflow.dataplane.named import Named
from jitflow.dataplane.progress import Progress
from jitflow.dataplane.records import LeaseDoc, ReadDoc
from jitflow.model.data import FutureStep, ObjectInfo, ObjectRef, Replica, ReplicaState, StepId, WorkflowUid
from jitflow.ports.dataplane import Lease, Waiting
from jitflow.ports.errors import Corrupt, DiskFull, PortError, Retryable, SourceChanged
from jitflow.ports.primary import Lost
from jitflow.ports.store import StateStore

log = logging.getLogger("jitflow.dataplane")

_TELL_EVERY_S = 0.5
_TELL_FIRST_S = 0.05
"""Who gets the lease sooner need not be told why it waits."""
_TOLD_PER_ROUND = 100
"""Of many that wait so many are told why, then the next ones: working out a reason takes longer than granting a lease."""


class Leases:
    """Who waits and who holds."""

    def __init__(
        self, core: Core, progress: Progress, named: Named, inside: Inside, refuse: Callable[[StepId, str], None]
    ) -> None:
        """Tell `refuse` of steps that will never get their lease."""
        self._core = core
        self._inside = inside
        self._named = named
        self._progress = progress
        self._refuse = refuse
        self._waiting: dict[StepId, tuple[WorkflowUid, FutureStep]] = {}
        self._asked_at: dict[StepId, float] = {}
        self._told: dict[StepId, tuple[float, str]] = {}
        self._delivering: set[StepId] = set()
        self._giving: list[LeaseDoc] = []
        """Granted in this turn of the event loop, and to be written down."""
        self._held: dict[StepId, LeaseDoc] = {}
        self._restored: dict[StepId, int] = {}
        """Of which nobody has spoken since, by the number of the doubt (see `_expect`)."""
        self._doubts = 0
        self._asking: list[StepId] = []
        self._telling = False
        self._told_last = 0
        """How many of those that wait have been told in this round through all of them."""
        self._stuck_s = 0.0
        """For how long the disk has stood in everybody's way."""

    async def load(self, store: StateStore, ended: Container[StepId]) -> None:
        """Hold on to the leases of an earlier life, until they are returned or nobody asks for them for a while.

        `ended`: steps that are known to have ended, though their leases are still on the books.
        """
        core = self._core
        restored: list[StepId] = []
        for key, body in await store.items(records.LEASE):
            doc = msgspec.json.decode(body, type=LeaseDoc)
            absent = set(doc.absent)
            spec = replace(doc.step, inputs=tuple(one for one in doc.step.inputs if one.ref not in absent))
            views = [core.planner.item(one.ref) for one in spec.inputs]
            if key not in ended and all(view is not None and view.state is ReplicaState.RESIDENT for view in views):
                core.planner.resume(doc.uid, spec, doc.reserve_bytes)
                self._held[key] = doc
                restored.append(key)
                core.primary.resume(key, list(self._rows(doc).values()))
            else:
                core.journal.put(records.LEASE, key, None)
        await self._named.load(store, self._held.values())
        self._expect(restored, "restored leases")

    def _expect(self, steps: Iterable[StepId], what: str) -> None:
        """Let steps be spoken of for a while, or else take back what they have."""
        if expected := list(steps):
            self._doubts += 1
            self._restored |= dict.fromkeys(expected, self._doubts)
            self._core.owner.start(self._expire(self._doubts), what)

    async def _expire(self, doubt: int) -> None:
        """Take back, after a while, the leases of which nobody has spoken. The clock is not asked: it may be set back."""
        await self._core.clock.sleep(self._core.tuning.restored_lease_s)
        for step in sorted(step for step, last in self._restored.items() if last == doubt):
            self.returned(step)
            self._core.planner.ended(step)
        self._core.pump()

    def doubt(self) -> None:
        """Treat all that workflows' steps have asked for as of an earlier life: who does not ask again, for a while, has gone."""
        held = [step for step, doc in self._held.items() if doc.uid]
        self._expect([*held, *(step for step, (uid, _) in self._waiting.items() if uid)], "doubted leases")

    def ask(self, uid: WorkflowUid, step: FutureStep) -> None:
        """Ask the planner; say why, if it takes time."""
        self._restored.pop(step.id, None)
        if step.id not in self._held:
            self._waiting[step.id] = (uid, step)
            self._asked_at.setdefault(step.id, self._core.clock.now())
        self._core.planner.ask(uid, step)
        # In the order in which they ask. Decided about together, other steps claim first: the demonstration then fetches twice.
        self._core.pump()
        self._asking.append(step.id)
        if len(self._asking) == 1:
            self._core.owner.start(self._tell_first(), "tell why steps wait")

    async def _tell_first(self) -> None:
        """Tell, a moment later, of the steps that have asked meanwhile and still wait."""
        await self._core.clock.sleep(_TELL_FIRST_S)
        asking, self._asking = self._asking, []
        waiting = [step for step in asking if step in self._waiting]
        if self._core.closing or not waiting:
            return
        for step in waiting[:_TOLD_PER_ROUND]:
            self._tell(step)
        if not self._telling:
            self._telling = True
            self._told_last = len(waiting[:_TOLD_PER_ROUND])
            self._core.owner.start(self._keep_telling(), "waiting steps")

    def granted(self, step: StepId) -> None:
        """The planner lets a step start."""
        core = self._core
        asked = self._waiting.pop(step, None)
        self._told.pop(step, None)
        doc = self._held.get(step)
        if asked is not None:
            now = core.clock.now()
            doc = LeaseDoc(
                uid=asked[0],
                step=asked[1],
                reserve_bytes=core.planner.reserved(step),
                absent=core.planner.absent(step),
                asked_at=self._asked_at.pop(step, now),
                granted_at=now,
            )
            self._held[step] = doc
            core.journal.put(records.LEASE, step, records.encode(doc))
            self._giving.append(doc)
            if len(self._giving) == 1:
                core.owner.start(self._give(), "give leases")
        elif doc is not None:
            self._hand_over(doc)

    async def _give(self) -> None:
        """Give leases when they are known for ever: after a kill, nothing is evicted that their pods still read.

        Those that were granted together are given together.
        """
        docs, self._giving = self._giving, []
        await self._core.journal.durable()
        for doc in docs:
            if self._held.get(doc.step.id) is doc:
                try:
                    self._hand_over(doc)
                except Exception:  # it is no reason to keep the others waiting
                    log.exception("the lease of %s was not given", doc.step.id)

    def _hand_over(self, doc: LeaseDoc) -> None:
        """Tell where the inputs of a step lie, as soon as its pod can read them there."""
        core, step = self._core, doc.step.id
        if not doc.uid:
            # Asked for by hand: nobody reads it now.
            core.emit(Lease(step=step))
            return
        rows = self._rows(doc)
        try:
            paths = core.primary.at_hand(list(rows.values()))
        except Lost as error:
            self._lost(doc, error)
            return
        if paths is not None and not _has_names(doc.step):
            self._tell_where(doc, rows, paths)
        elif step not in self._delivering:
            self._delivering.add(step)
            core.owner.start(self._deliver(doc, rows), f"deliver to {step}")

    def _rows(self, doc: LeaseDoc, *, named: bool = False) -> dict[ObjectRef, Replica]:
        """Return the replicas that a step reads from its pod, or those that it reads under names of their own."""
        rows, absent = self._core.rows, frozenset(doc.absent)
        return {one.ref: rows[one.ref] for one in doc.step.inputs if (one.near is not None) is named and one.ref not in absent}

    async def _deliver(self, doc: LeaseDoc, rows: dict[ObjectRef, Replica]) -> None:
        core, step = self._core, doc.step.id
        attempt = 0
        try:
            while self._held.get(step) is doc:
                attempt += 1
                try:
                    paths = await core.primary.deliver(step, list(rows.values())) if rows else {}
                    await self._named.put(doc.step, self._rows(doc, named=True))
                except (Retryable, DiskFull, Corrupt, SourceChanged):
                    if attempt >= core.tuning.attempts:
                        raise
                    await core.clock.sleep(core.tuning.backoff(attempt))
                else:
                    break
            else:
                return
        except Lost as error:
            self._delivering.discard(step)
            self._lost(doc, error)
        except PortError as error:
            self._delivering.discard(step)
            self._refuse(step, f"its inputs could not be delivered from {core.primary.label}: {advice(error)}")
            core.pump()
        else:
            self._delivering.discard(step)
            if self._held.get(step) is doc:
                self._tell_where(doc, rows, paths)
            else:
                core.primary.give_back(step)
        finally:
            self._delivering.discard(step)

    def _tell_where(self, doc: LeaseDoc, rows: dict[ObjectRef, Replica], paths: dict[str, str]) -> None:
        core = self._core
        now = core.clock.now()
        for ref in rows:
            core.rows.touch(ref, now)
        seen: list[tuple[Replica, str, ObjectInfo | None]] = []
        absent = list(doc.absent)
        for row in rows.values():
            parts, missing = self._inside.read(doc.step.id, row, paths[row.location])
            seen += [(one, path, core.infos.get(one.ref) if one is row or one.ref in core.rows else None) for one, path in parts]
            absent += missing
        if _has_names(doc.step):
            for row in self._rows(doc, named=True).values():
                seen.append((row, str(core.primary.local(row.location) or ""), core.infos.get(row.ref)))
        core.provenance.read(doc.step.id, seen, absent)
        lease = Lease(
            step=doc.step.id,
            paths={ref: paths[row.location] for ref, row in rows.items()},
            sizes={ref: row.size_bytes for ref, row in rows.items()},
            absent=doc.absent,
        )
        core.emit(lease)

    def _lost(self, doc: LeaseDoc, error: Lost) -> None:
        """Fetch what somebody has changed or removed anew, and let the step wait for it."""
        core, step = self._core, doc.step.id
        lost = [ref for ref, row in self._rows(doc).items() if row.location in error.locations]
        log.warning("%s; fetched anew: %s", error, ", ".join(str(ref) for ref in lost))
        unproven = [ref for ref in lost if core.rows[ref].dirty]
        if unproven:
            self._refuse(step, f"input {unproven[0]} is an output that had not reached its far store: {error}")
            core.pump()
            return
        del self._held[step]
        core.primary.give_back(step)
        core.journal.put(records.LEASE, step, None)
        core.planner.refused(step)
        for ref in lost:
            core.planner.damaged(ref)
        self.ask(doc.uid, doc.step)

    def returned(self, step: StepId) -> None:
        """A step has ended or will never start."""
        self._waiting.pop(step, None)
        self._told.pop(step, None)
        self._restored.pop(step, None)
        self._asked_at.pop(step, None)
        doc = self._held.pop(step, None)
        if doc is not None:
            self._core.primary.give_back(step)
            self._named.give_back(doc.step)
            self._core.journal.put(records.LEASE, step, None)
            self._core.history.read(step, self._read(doc))

    def _read(self, doc: LeaseDoc) -> ReadDoc:
        size_of, absent = self._core.rows.size, frozenset(doc.absent)
        inputs = tuple(
            (one.ref, one.size_bytes or 0 if (size := size_of(one.ref)) is None else size)
            for one in doc.step.inputs
            if one.ref not in absent
        )
        return ReadDoc(inputs=inputs, absent=doc.absent, asked_at=doc.asked_at, granted_at=doc.granted_at)

    def family(self, step: StepId) -> StepId:
        """Return what a step that has asked shares with other attempts at it, empty if nothing is known."""
        doc, asked = self._held.get(step), self._waiting.get(step)
        return doc.step.family if doc is not None else asked[1].family if asked is not None else ""

    def holds(self, step: StepId) -> bool:
        """Return whether a step has its lease."""
        return step in self._held

    def asked_at(self, step: StepId) -> float | None:
        """Return since when a step waits, None for one that does not."""
        return self._asked_at.get(step)

    def reading(self, step: StepId) -> ReadDoc | None:
        """Return what a step reads that has its lease, None if it has none."""
        doc = self._held.get(step)
        return self._read(doc) if doc is not None else None

    def withdraw(self, uid: WorkflowUid) -> None:
        """Give up what a workflow waits for, and leases of an earlier life that nobody asked for again."""
        for step in [step for step, (owner, _) in self._waiting.items() if owner == uid]:
            self.returned(step)
        held = [step for step, doc in self._held.items() if doc.uid == uid]
        for step in held:
            if step in self._restored:
                self.returned(step)
                self._core.planner.ended(step)
        if any(step in self._held for step in held):
            # Their pods may still be on their way out: their leases are returned as they end, or else expire.
            self._expect([step for step in held if step in self._held], "leases of an ended workflow")

    # -- words -------------------------------------------------------------------------------------------------------------

    async def _keep_telling(self) -> None:
        """Tell waiting steps' reasons as they change, at most twice a second each, until nobody waits."""
        try:
            while self._waiting:
                await self._core.clock.sleep(_TELL_EVERY_S)
                self._core.pump()
                for step in self._next_told():
                    self._tell(step)
                self._lose_patience()
        finally:
            self._telling = False

    def _next_told(self) -> list[StepId]:
        """Return whose turn it is to be told why they wait."""
        waiting = list(self._waiting)
        begin = self._told_last if self._told_last < len(waiting) > _TOLD_PER_ROUND else 0
        self._told_last = begin + _TOLD_PER_ROUND
        return waiting[begin : self._told_last]

    def _tell(self, step: StepId) -> None:
        now = self._core.clock.now()
        at, before = self._told.get(step, (float("-inf"), ""))
        text = self._progress.reason(step)
        if text and text != before and not 0 <= now - at < _TELL_EVERY_S:  # the clock may have been set back
            self._told[step] = (now, text)
            self._core.emit(Waiting(step=step, message=text))

    def _lose_patience(self) -> None:
        """Refuse the first waiting step when the disk, not the capacity, has stood in everybody's way for long.

        Called as often as steps are told: the rounds are counted, for the time of day may be set while it is full.
        """
        core = self._core
        books = core.planner.bytes
        if books.capacity >= books.limit or books.fixed > books.kept + books.dirty:
            self._stuck_s = 0.0
            return
        self._stuck_s += _TELL_EVERY_S
        if self._stuck_s > core.tuning.disk_patience_s:
            self._stuck_s = 0.0
            for step in self._waiting:
                wait = core.planner.wait(step)
                if wait is not None and wait.phase == "space" and wait.need_bytes:
                    label = core.primary.label
                    self._refuse(
                        step,
                        f"no space is left on {label}: the step needs {wait.need_bytes:,} bytes more; free some and retry",
                    )
                    return


def _has_names(step: FutureStep) -> bool:
    """Return whether a step reads something under a name in a near store."""
    return any(one.near is not None for one in step.inputs)
