"""Outputs of ended steps: into the primary where they fit, and to their secondaries, with a promise that survives restarts."""

import asyncio
import os
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from jitflow.dataplane import records
from jitflow.dataplane.core import Core, advice, remedy, workflow_of
from jitflow.dataplane.primary import measure
from jitflow.dataplane.records import Obligation, OutputDoc
from jitflow.dataplane.transfers import Flight
from jitflow.dataplane.transients import Transients
from jitflow.dataplane.turns import Rank
from jitflow.dataplane.twins import content_of
from jitflow.dataplane.unsent import UnsentFolder, chosen, listed
from jitflow.dataplane.uploads import Uploads
from jitflow.model.data import ObjectInfo, ObjectRef, ReplicaState, StepId, WorkflowUid
from jitflow.model.reports import Upload
from jitflow.planner import Bypass, Store, Take
from jitflow.ports.dataplane import OutputObject, StagedOut
from jitflow.ports.errors import PortError
from jitflow.ports.primary import Held
from jitflow.ports.store import StateStore

_Pair = tuple[Obligation, OutputDoc]
_READ_WITHIN_S, _LOOK_S = 1.0, 0.02
"""What a step has read goes when what it wrote is safe: that is waited for, so long, before it is sent to make room."""


class StageOut:
    """Keeps the promise that every output reaches its secondary, or that somebody hears why not.

    A transient output has reached its place when it is in the primary: it is parked there until the planner needs its room
    (`store`), wants it gone (`freed`), or somebody wants it far away after all (`export`).
    """

    def __init__(self, core: Core, uploads: Uploads, transients: Transients, folder: UnsentFolder) -> None:
        """Send with `uploads`; `transients` hears of what stays in the primary; what has no place there waits in `folder`."""
        self._core = core
        self._uploads = uploads
        self._transients = transients
        self._folder = folder
        self.obligations: dict[StepId, Obligation] = {}
        self._answers: dict[ObjectRef, asyncio.Future[bool]] = {}
        self._turns: dict[ObjectRef, asyncio.Lock] = {}
        self._busy: dict[ObjectRef, int] = {}
        self._parked: dict[ObjectRef, _Pair] = {}
        self._spills: set[ObjectRef] = set()
        self._wanted: set[ObjectRef] = set()
        """Outputs whose room is needed and that are not parked yet."""
        self._sending: dict[ObjectRef, asyncio.Task[None]] = {}
        self._ending: set[StepId] = set()
        """Families of steps that have succeeded, and wrote what is not safe yet."""
        self._lacking = False
        self.failed: dict[ObjectRef, _Pair] = {}
        """Outputs that could not be sent; they are kept until they are sent, or given up by somebody."""

    @property
    def flights(self) -> dict[ObjectRef, Flight]:
        """Uploads under way."""
        return self._uploads.flights

    @property
    def troubles(self) -> dict[ObjectRef, str]:
        """What went wrong with outputs that are tried again."""
        return self._uploads.errors

    # -- the promise -------------------------------------------------------------------------------------------------------

    async def load(self, store: StateStore) -> None:
        """Read the promises of earlier lives; `resume` goes on with them."""
        for key, body in await store.items(records.STAGEOUT):
            self.obligations[key] = msgspec.json.decode(body, type=Obligation)
        await asyncio.to_thread(self._folder.open, list(self.obligations.values()))

    def resume(self) -> None:
        """Go on with what is not proven yet; outputs that were given up are tried again."""
        for obligation in list(self.obligations.values()):
            if obligation.orphan and obligation.closed:
                self._forget(obligation)
            for output in obligation.outputs:
                if self._was_let_go(output):
                    output.parked = False
                    self._let_go(obligation, output)
                elif output.parked:
                    self._restore(obligation, output)
                elif not output.is_closed:
                    output.error = ""
                    self._begin(obligation, output, None)

    def _was_let_go(self, output: OutputDoc) -> bool:
        """Return whether an output that only the primary had went just before a kill: its file goes before that is durable.

        One that was on its way in still lies where the step left it.
        """
        row = self._core.rows.get(output.ref)
        if output.is_closed or (row is not None and row.location == output.location):
            return False
        return output.parked or (output.transient and bool(output.location) and not os.path.lexists(output.source))

    def _restore(self, obligation: Obligation, output: OutputDoc) -> None:
        """An output is only in the primary, as it was when the server stopped."""
        self._parked[output.ref] = (obligation, output)
        self._transients.keep(obligation.uid, output.ref)
        if obligation.orphan:
            self._core.planner.let_go(output.ref)

    def take_over(self, step: StepId, outputs: Sequence[OutputObject], family: StepId, *, good: bool) -> bool:
        """Promise to send a step's outputs out; return False if that was promised before (what is known then is told again)."""
        known = self.obligations.get(step)
        if known is not None and not known.orphan:
            if known.finished:
                self._tell(known)
            return False
        if known is not None:
            self._superseded(known)
        uid = workflow_of(step)
        docs = [OutputDoc(ref=one.ref, source=one.artifact.source, name=one.artifact.name) for one in outputs]
        payer = self._core.namespace_of(uid)
        obligation = Obligation(step=step, uid=uid, outputs=docs, good=good, family=family, namespace=payer)
        self.obligations[step] = obligation
        if good:
            self._ending.add(family or step)
        for output in docs:
            self._classify(obligation, output)
        self._save(obligation)
        if any(one.artifact.is_directory for one in outputs):
            for output in docs:
                self._core.planner.expected(output.ref)
            self._core.owner.start(self._measure_and_offer(obligation), f"measure the outputs of {step}")
        else:
            for output in docs:
                output.size_bytes = measure(Path(output.source))
            self._offer(obligation)
        return True

    def _classify(self, obligation: Obligation, output: OutputDoc) -> None:
        """Decide whether an output has to be sent."""
        self._core.written_anew(output.ref)
        output.transient = obligation.good and self._transients.is_transient(obligation.uid, output.ref)
        if output.transient:
            self._transients.keep(obligation.uid, output.ref)
        else:
            self._core.planner.export(output.ref)

    def _superseded(self, old: Obligation) -> None:
        """The step of a workflow that was retried has written its outputs anew: what is left of the old ones is of no use."""
        for output in old.outputs:
            if not output.is_closed and not self._busy.get(output.ref):
                self._drop(old, output)

    def _drop(self, obligation: Obligation, output: OutputDoc) -> None:
        """Give an output up for good."""
        output.freed = True
        self._unpark(output.ref)
        self.failed.pop(output.ref, None)
        self._core.planner.abandoned(output.ref)
        self._core.owner.start(self._folder.remove(output), f"remove {output.ref}")
        if obligation.orphan:
            self._close(obligation)
        else:
            self._save(obligation)

    async def _measure_and_offer(self, obligation: Obligation) -> None:
        for output in obligation.outputs:
            output.size_bytes = await asyncio.to_thread(measure, Path(output.source))
        self._offer(obligation)

    def _offer(self, obligation: Obligation) -> None:
        """End the step for the planner and offer its outputs in one move: what was reserved for them is not lost between."""
        offers: list[tuple[ObjectRef, int]] = []
        for output in obligation.outputs:
            answer: asyncio.Future[bool] | None = None
            if output.size_bytes >= 0 and not self._busy.get(output.ref):
                answer = self._answers[output.ref] = asyncio.get_running_loop().create_future()
                offers.append((output.ref, output.size_bytes))
            self._begin(obligation, output, answer)
        self._core.planner.ended(obligation.step, offers)
        self._core.pump()
        self._uploads.turns.reorder()

    def withdraw(self, uid: WorkflowUid) -> None:
        """The workflow has ended: forget promises that were kept, and the others when they are."""
        for obligation in [one for one in self.obligations.values() if one.uid == uid]:
            obligation.orphan = True
            self._close(obligation)
        self._uploads.turns.reorder()

    def _close(self, obligation: Obligation) -> None:
        """Forget an obligation of a workflow that has ended once there is nothing to do about it."""
        if obligation.closed:
            self._forget(obligation)
        else:
            self._save(obligation)

    def _forget(self, obligation: Obligation) -> None:
        if self.obligations.get(obligation.step) is obligation:
            del self.obligations[obligation.step]
            self._core.journal.put(records.STAGEOUT, obligation.step, None)

    def _save(self, obligation: Obligation) -> None:
        if self.obligations.get(obligation.step) is obligation:
            self._core.journal.put(records.STAGEOUT, obligation.step, records.encode(obligation))

    # -- one output --------------------------------------------------------------------------------------------------------

    def _begin(self, obligation: Obligation, output: OutputDoc, answer: asyncio.Future[bool] | None) -> None:
        self._busy[output.ref] = self._busy.get(output.ref, 0) + 1
        if answer is None:
            self._core.planner.expected(output.ref)
        self._core.owner.start(self._see_through(obligation, output, answer), f"stage out {output.ref}")

    async def _see_through(self, obligation: Obligation, output: OutputDoc, answer: asyncio.Future[bool] | None) -> None:
        """Take an output in if there is room, send it out unless it may stay, and tell when it was the last one of its step."""
        try:
            async with self._turns.setdefault(output.ref, asyncio.Lock()):
                try:
                    await self._take_in(obligation, output, answer)
                    self._safe(obligation)
                    self._core.provenance.writes(obligation.step, output.ref, self._lies_at(output))
                    if output.transient and output.location:
                        self._park(obligation, output)
                    else:
                        info = await self._send(obligation, output, again=answer is None)
                        await self._proved(obligation, output, info)
                except asyncio.CancelledError:
                    raise
                except Exception as error:
                    await self._gave_up(obligation, output, error)
                self._save(obligation)
        finally:
            self._leave(output.ref)
        if output.proven:
            await self._folder.remove(output)
        await self._ended(obligation)

    async def _send(self, obligation: Obligation, output: OutputDoc, *, again: bool = False, forever: bool = False) -> ObjectInfo:
        task = asyncio.current_task()
        assert task is not None, "uploads are tasks"
        self._sending[output.ref] = task
        try:
            payer = obligation.namespace or self._core.namespace_of(obligation.uid)
            return await self._uploads.send(
                output, obligation.step, lambda: self._rank(obligation, output), payer=payer, again=again, forever=forever
            )
        finally:
            del self._sending[output.ref]

    async def _ended(self, obligation: Obligation) -> None:
        """Something has become of an output."""
        self._safe(obligation)
        if obligation.finished:
            self._ending.discard(obligation.family or obligation.step)
        if obligation.finished and self.obligations.get(obligation.step) is obligation:
            # Who is told removes what the step has left: what became of it has to be known after a kill.
            await self._core.journal.durable()
        if obligation.finished and self.obligations.get(obligation.step) is obligation:
            self._tell(obligation)
            if obligation.orphan:
                self._close(obligation)
        self._core.pump()

    def _safe(self, obligation: Obligation) -> None:
        """Once steps can have all that a step wrote, it needs what it has read no more."""
        if all(output.is_safe for output in obligation.outputs):
            self._ending.discard(obligation.family or obligation.step)
            self._transients.ended(obligation.step, obligation.family, good=obligation.good)

    def _leave(self, ref: ObjectRef) -> None:
        self._busy[ref] -= 1
        if not self._busy[ref]:
            del self._busy[ref], self._turns[ref]
            self._wanted.discard(ref)

    @asynccontextmanager
    async def alone(self, ref: ObjectRef) -> AsyncGenerator[None]:
        """Let uploads of an object end first, and wait as long as the context is open."""
        self._busy[ref] = self._busy.get(ref, 0) + 1
        try:
            async with self._turns.setdefault(ref, asyncio.Lock()):
                yield
        finally:
            self._leave(ref)

    def unproven(self) -> Iterator[ObjectRef]:
        """Iterate over the outputs that are not at their secondaries yet."""
        return (
            output.ref
            for obligation in self.obligations.values()
            for output in obligation.outputs
            if not output.is_closed and not output.error
        )

    def _tell(self, obligation: Obligation) -> None:
        self._core.emit(StagedOut(step=obligation.step, error=obligation.error))

    def decided(self) -> None:
        """The planner has decided: whether a step lacks room may be another matter now, and what its room depends on."""
        lacking = self._core.planner.lacking > 0
        if lacking or self._lacking:
            self._lacking = lacking
            self._uploads.turns.reorder()

    def _rank(self, obligation: Obligation, output: OutputDoc) -> Rank:
        """Return an upload's place in the order: what others wait for, results that people wait for, the rest."""
        planner = self._core.planner
        view = planner.item(output.ref)
        read = int(view is not None and bool(view.uses))
        after = -self._uploads.priority(obligation.uid)
        if output.parked or (view is not None and view.awaited):
            return (0, 0, after)
        if planner.lacking and output.location and view is not None and not view.claims:
            return (0, 1 + read, after)
        if not planner.is_busy(obligation.uid):
            return (3 if obligation.orphan else 1, after)
        return (2, after, read)

    # -- outputs that stay -------------------------------------------------------------------------------------------------

    def _park(self, obligation: Obligation, output: OutputDoc) -> None:
        view = self._core.planner.item(output.ref)
        if view is None or view.state is not ReplicaState.RESIDENT:  # nobody reads it, and its room was wanted at once
            self._let_go(obligation, output)
            return
        output.parked = True
        self._core.provenance.wrote(obligation.step, output.ref, output.name, output.size_bytes, None)
        self._parked[output.ref] = (obligation, output)
        self._transients.keep(obligation.uid, output.ref)
        if obligation.orphan:
            self._core.planner.let_go(output.ref)
        if output.ref in self._wanted:
            self._wanted.discard(output.ref)
            self._start_spill(obligation, output)

    def _unpark(self, ref: ObjectRef) -> _Pair | None:
        pair = self._parked.pop(ref, None)
        if pair is not None:
            pair[1].parked = False
        return pair

    def store(self, command: Store) -> None:
        """The planner needs the room of an output that only the primary has, or will have in a moment."""
        pair = self._parked.get(command.ref)
        if pair is None:
            self._wanted.add(command.ref)
        elif command.ref not in self._spills:
            self._start_spill(*pair)

    def _start_spill(self, obligation: Obligation, output: OutputDoc) -> None:
        self._busy[output.ref] = self._busy.get(output.ref, 0) + 1
        self._spills.add(output.ref)
        self._core.owner.start(self._spill(obligation, output), f"spill {output.ref}")

    async def _spill(self, obligation: Obligation, output: OutputDoc) -> None:
        """Send an output away. There is no giving up: it is wanted, and its room too."""
        try:
            async with self._turns.setdefault(output.ref, asyncio.Lock()):
                if not await self._is_still_wanted(obligation, output):
                    return
                info = await self._send(obligation, output, forever=True)
                self._unpark(output.ref)
                await self._proved(obligation, output, info)
        finally:
            self._spills.discard(output.ref)
            self._leave(output.ref)
        await self._ended(obligation)

    async def _is_still_wanted(self, obligation: Obligation, output: OutputDoc) -> bool:
        """Return whether an output is to be sent that only the primary has; what was read by all goes unsent."""
        clock, pair = self._core.clock, (obligation, output)
        until = clock.now() + _READ_WITHIN_S
        while self._parked.get(output.ref) == pair and clock.now() < until:
            if not self._transients.is_read_by(obligation.uid, output.ref, self._ending):
                break
            await clock.sleep(_LOOK_S)
        return self._parked.get(output.ref) == pair

    def freed(self, ref: ObjectRef) -> None:
        """An output that only the primary has is about to go: nobody needs it any more."""
        if ref in self._spills and ref in self._sending:
            self._sending[ref].cancel()
        pair = self._unpark(ref)
        if pair is not None:
            self._let_go(*pair)
            obligation, _ = pair
            if obligation.orphan and obligation.closed:
                self._forget(obligation)

    def _let_go(self, obligation: Obligation, output: OutputDoc) -> None:
        """Remember that an output is gone which only the primary had."""
        output.freed = True
        self._save(obligation)
        self._transients.forget(obligation.uid, output.ref)
        self._core.note_freed(output.ref, obligation.step)

    def export(self, ref: ObjectRef) -> None:
        """An output that may stay in the primary is wanted at its secondary after all."""
        for obligation, output in self._of(ref):
            output.transient = False
            self._transients.forget(obligation.uid, ref)
        self._core.planner.export(ref)
        if ref in self._spills:
            return
        pair = self._unpark(ref)
        if pair is not None:
            self._save(pair[0])
            self._begin(*pair, None)

    def _of(self, ref: ObjectRef) -> list[_Pair]:
        return [(one, output) for one in self.obligations.values() for output in one.outputs if output.ref == ref]

    # -- into the primary --------------------------------------------------------------------------------------------------

    async def _take_in(self, obligation: Obligation, output: OutputDoc, answer: asyncio.Future[bool] | None) -> None:
        """Take an output into the primary if it is admitted: it has a location then, and is sent from there."""
        core = self._core
        row = core.rows.get(output.ref)
        if output.location and row is not None and row.location == output.location:
            return
        source = Path(output.source)
        output.location = ""
        if answer is None:
            output.size_bytes = await asyncio.to_thread(measure, source)
        if output.size_bytes < 0:
            raise FileNotFoundError(0, "the file is gone from where the step left it", output.source)
        if answer is None:
            answer = self._answers[output.ref] = asyncio.get_running_loop().create_future()
            core.planner.offer(output.ref, output.size_bytes, obligation.uid)
            core.pump()
        if await answer:
            await self._move_in(obligation, output, source)

    async def _move_in(self, obligation: Obligation, output: OutputDoc, source: Path) -> None:
        core = self._core
        location = core.primary.location(output.ref, f"{obligation.step} {core.clock.now()}")
        row = core.new_row(output.ref, Held(size_bytes=output.size_bytes), location, dirty=True)
        output.location = location
        self._save(obligation)
        core.put_row(row)
        try:
            await core.journal.durable()
            held = await core.primary.take(source, location)
        except (OSError, PortError):
            # No room or no right here is no reason to lose the result: it is sent from where it lies.
            output.location = ""
            core.drop_row(output.ref)
            core.planner.take_failed(output.ref)
            core.pump()
            return
        core.put_row(msgspec.structs.replace(row, stamp=held.stamp))
        core.planner.taken(output.ref)
        core.came(output.ref)
        core.pump()

    def answered(self, command: Take | Bypass) -> None:
        """The planner admits an output, or has no room for it."""
        future = self._answers.pop(command.ref, None)
        if future is not None and not future.done():
            future.set_result(isinstance(command, Take))

    def promised(self) -> dict[str, WorkflowUid]:
        """Return the locations of outputs that are still to be proven, and of which workflow they are."""
        outputs = ((output, one.uid) for one in self.obligations.values() for output in one.outputs)
        return {output.location: uid for output, uid in outputs if not output.proven}

    # -- at the secondary --------------------------------------------------------------------------------------------------

    def _lies_at(self, output: OutputDoc) -> Path | None:
        """Return where an output lies on this machine, None if it does not."""
        return self._core.primary.local(output.location) if output.location else Path(output.source)

    async def _proved(self, obligation: Obligation, output: OutputDoc, info: ObjectInfo) -> None:
        """Know for ever that an output is at its secondary, and only then let the planner evict it."""
        core = self._core
        output.proven = True
        core.provenance.wrote(obligation.step, output.ref, output.name, output.size_bytes, info)
        self._save(obligation)
        await core.journal.durable()
        core.know(info.ref, info)
        row = core.rows.get(output.ref)
        if row is not None and row.location == output.location:
            core.put_row(msgspec.structs.replace(row, dirty=False, version=info.version, content=content_of(info)))
        core.planner.uploaded(output.ref, info.size_bytes)

    async def _gave_up(self, obligation: Obligation, output: OutputDoc, error: Exception) -> None:
        """Say that an output could not be sent, and keep it."""
        kept = ""
        output.freed = output.size_bytes < 0  # there is nothing that could be kept
        if not output.freed:
            kept = "; it is kept, and is sent by `jitflow data retry-uploads`"
            self.failed[output.ref] = (obligation, output)
        advised = remedy(output.ref.remote, "retry the workflow" if not kept else "send it again")
        try:
            await self._set_aside(obligation, output)
        except OSError as failure:
            if not output.location:
                kept = f"; it could not be kept either: {failure.strerror or failure}"
        output.error = f"output {output.ref} could not be stored: {advice(error)}; {advised}{kept}"

    async def _set_aside(self, obligation: Obligation, output: OutputDoc) -> None:
        """Move an output that could not be sent out of the way: nobody waits for its room, and its pod's directory goes."""
        core = self._core
        view = core.planner.item(output.ref)
        if output.location and (core.primary.local(output.location) is None or view is None or view.uses or view.claims):
            return
        try:
            moved = await self._folder.keep(obligation, output, core.primary.local(output.location) if output.location else None)
        finally:
            if not output.location:
                core.planner.abandoned(output.ref)
        if moved and output.location:
            output.location = ""
            core.planner.abandoned(output.ref)

    # -- what people do about it -------------------------------------------------------------------------------------------

    def listed(self) -> Sequence[Upload]:
        """Return what is not at its secondary."""
        return listed(self._core, self._uploads, self.obligations.values())

    def retry(self, ref: ObjectRef | None) -> list[ObjectRef]:
        """Send again what could not be sent, one object or all; return which."""
        pairs = chosen(self.obligations.values(), ref)
        for obligation, output in pairs:
            output.error = ""
            self.failed.pop(output.ref, None)
            self._save(obligation)
            self._begin(obligation, output, None)
        return [output.ref for _, output in pairs]

    def give_up(self, ref: ObjectRef) -> bool:
        """Delete an output that could not be sent; return whether there was one."""
        pairs = chosen(self.obligations.values(), ref)
        for obligation, output in pairs:
            self._drop(obligation, output)
        self._core.pump()
        return bool(pairs)

    def discard(self, ref: ObjectRef) -> None:
        """Whatever workflows that have ended wrote there is to be deleted: send it no more."""
        for obligation, output in self._of(ref):
            if obligation.orphan and not output.is_closed:
                if ref in self._sending:
                    self._sending[ref].cancel()
                if ref in self._sending or not self._busy.get(ref):
                    self._drop(obligation, output)
