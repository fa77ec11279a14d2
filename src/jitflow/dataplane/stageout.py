"""Outputs of ended steps: into the primary where they fit, and to their secondaries, with a promise that survives restarts."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from jitflow.dataplane import records
from jitflow.dataplane.core import Core, advice, remedy, workflow_of
from jitflow.dataplane.primary import measure
from jitflow.dataplane.records import Obligation, OutputDoc
from jitflow.dataplane.transfers import Flight
from jitflow.model.data import ObjectInfo, ObjectRef, StepId, WorkflowUid
from jitflow.planner import Bypass, Take
from jitflow.ports.dataplane import OutputObject, StagedOut, TransferRecord
from jitflow.ports.errors import Corrupt, DiskFull, PortError, Retryable
from jitflow.ports.primary import Held
from jitflow.ports.store import StateStore


class StageOut:
    """Keeps the promise that every output reaches its secondary, or that somebody hears why not."""

    def __init__(self, core: Core, transfers: int) -> None:
        """Upload at most `transfers` at once."""
        self._core = core
        self._slots = asyncio.Semaphore(transfers)
        self.obligations: dict[StepId, Obligation] = {}
        self.flights: dict[ObjectRef, Flight] = {}
        self._answers: dict[ObjectRef, asyncio.Future[bool]] = {}
        self._turns: dict[ObjectRef, asyncio.Lock] = {}
        self._busy: dict[ObjectRef, int] = {}

    # -- the promise -------------------------------------------------------------------------------------------------------

    async def load(self, store: StateStore) -> None:
        """Read the promises of earlier lives; `resume` goes on with them."""
        for key, body in await store.items(records.STAGEOUT):
            self.obligations[key] = msgspec.json.decode(body, type=Obligation)

    def resume(self) -> None:
        """Go on with what is not proven yet; outputs that were given up are tried again."""
        for obligation in self.obligations.values():
            for output in obligation.outputs:
                if not output.proven:
                    output.error = ""
                    self._begin(obligation, output, None)

    def take_over(self, step: StepId, outputs: Sequence[OutputObject]) -> bool:
        """Promise to send a step's outputs out; return False if that was promised before (what is known then is told again)."""
        known = self.obligations.get(step)
        if known is not None:
            if known.finished:
                self._tell(known)
            return False
        docs = [OutputDoc(ref=one.ref, source=one.artifact.source) for one in outputs]
        obligation = Obligation(step=step, uid=workflow_of(step), outputs=docs)
        self.obligations[step] = obligation
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

    def withdraw(self, uid: WorkflowUid) -> None:
        """The workflow has ended: forget promises that were kept or given up, and the others when they are."""
        for obligation in [one for one in self.obligations.values() if one.uid == uid]:
            obligation.orphan = True
            if obligation.finished:
                self._forget(obligation)
            else:
                self._save(obligation)

    def _forget(self, obligation: Obligation) -> None:
        core = self._core
        self.obligations.pop(obligation.step, None)
        core.journal.put(records.STAGEOUT, obligation.step, None)
        for output in obligation.outputs:
            if not output.proven:
                core.planner.abandoned(output.ref)
        core.pump()

    def _save(self, obligation: Obligation) -> None:
        self._core.journal.put(records.STAGEOUT, obligation.step, records.encode(obligation))

    def _begin(self, obligation: Obligation, output: OutputDoc, answer: asyncio.Future[bool] | None) -> None:
        self._busy[output.ref] = self._busy.get(output.ref, 0) + 1
        if answer is None:
            self._core.planner.expected(output.ref)
        self._core.owner.start(self._see_through(obligation, output, answer), f"stage out {output.ref}")

    async def _see_through(self, obligation: Obligation, output: OutputDoc, answer: asyncio.Future[bool] | None) -> None:
        """Take an output in if there is room, send it out, and tell when it was the last one of its step."""
        turn = self._turns.setdefault(output.ref, asyncio.Lock())
        async with turn:
            try:
                await self._take_in(obligation, output, answer)
                info = await self._send(output, obligation.step)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                self._gave_up(output, error)
            else:
                self._proved(output, info)
            self._save(obligation)
        self._leave(output.ref)
        if obligation.finished and self.obligations.get(obligation.step) is obligation:
            self._tell(obligation)
            if obligation.orphan:
                self._forget(obligation)
        self._core.pump()

    def _leave(self, ref: ObjectRef) -> None:
        self._busy[ref] -= 1
        if not self._busy[ref]:
            del self._busy[ref], self._turns[ref]

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
        """Iterate over the outputs that are on their way to their secondaries."""
        return (
            output.ref
            for obligation in self.obligations.values()
            if not obligation.finished
            for output in obligation.outputs
            if not output.proven and not output.error
        )

    def _tell(self, obligation: Obligation) -> None:
        self._core.emit(StagedOut(step=obligation.step, error=obligation.error))

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
            core.planner.offer(output.ref, output.size_bytes)
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
        core.pump()

    def take(self, command: Take) -> None:
        """The planner admits an output."""
        self._answer(command.ref, admitted=True)

    def bypass(self, command: Bypass) -> None:
        """The planner has no room for an output."""
        self._answer(command.ref, admitted=False)

    def _answer(self, ref: ObjectRef, *, admitted: bool) -> None:
        future = self._answers.pop(ref, None)
        if future is not None and not future.done():
            future.set_result(admitted)

    # -- to the secondary --------------------------------------------------------------------------------------------------

    async def _send(self, output: OutputDoc, step: StepId) -> ObjectInfo:
        """Upload with patience."""
        core = self._core
        attempt = 0
        while True:
            attempt += 1
            async with self._slots:
                try:
                    return await self._upload(output, step)
                except (Retryable, Corrupt, DiskFull):
                    if attempt >= core.tuning.attempts:
                        raise
            await core.clock.sleep(core.tuning.backoff(attempt))

    async def _upload(self, output: OutputDoc, step: StepId) -> ObjectInfo:
        core = self._core
        flight = Flight(
            ref=output.ref,
            direction="out",
            size_bytes=output.size_bytes if output.size_bytes >= 0 else measure(Path(output.source)),
            started_at=core.clock.now(),
            reason=f"output of {step}",
            step=step,
            remote_mark=core.history.mark(f"{output.ref.remote} (out)"),
        )
        self.flights[output.ref] = flight
        outcome, text = "cancelled", ""
        try:
            info = await self._copy(output, flight)
            _compare(flight, info)
        except Exception as error:
            outcome, text = "failed", advice(error)
            raise
        else:
            outcome = "ok"
            self._progress(flight, flight.size_bytes)
            core.history.measured(f"{output.ref.remote} (out)", flight.remote_mark)
            return info
        finally:
            self.flights.pop(output.ref, None)
            record = TransferRecord(
                ref=output.ref,
                direction="out",
                size_bytes=flight.size_bytes,
                started_at=flight.started_at,
                finished_at=core.clock.now(),
                outcome=outcome,
                reason=flight.reason,
                error=text,
                steps=(step,),
            )
            core.history.finished(record)

    async def _copy(self, output: OutputDoc, flight: Flight) -> ObjectInfo:
        """Copy from the primary where it is there, else from where the step left it."""
        if output.location:
            return await self._core.primary.send(output.location, output.ref, lambda done: self._progress(flight, done))
        return await self._core.storage.store(Path(output.source), output.ref, lambda done: self._progress(flight, done))

    def _progress(self, flight: Flight, done: int) -> None:
        done = min(done, flight.size_bytes)
        if done > flight.done_bytes:
            self._core.history.moved(f"{flight.ref.remote} (out)", done - flight.done_bytes)
            flight.done_bytes = done

    def _proved(self, output: OutputDoc, info: ObjectInfo) -> None:
        core = self._core
        output.proven = True
        core.know(info.ref, info)
        row = core.rows.get(output.ref)
        if row is not None and row.location == output.location:
            core.put_row(msgspec.structs.replace(row, dirty=False, version=info.version))
        core.planner.uploaded(output.ref, info.size_bytes)

    def _gave_up(self, output: OutputDoc, error: Exception) -> None:
        advised = remedy(output.ref.remote, "retry the workflow")
        output.error = f"output {output.ref} could not be stored: {advice(error)}; {advised}"
        if not output.location:
            self._core.planner.abandoned(output.ref)


def _compare(flight: Flight, info: ObjectInfo) -> None:
    if info.size_bytes != flight.size_bytes:
        raise Corrupt(f"{flight.ref} has {info.size_bytes:,} bytes at its secondary instead of {flight.size_bytes:,}")
