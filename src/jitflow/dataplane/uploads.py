"""Uploads: one at a time for each output, with patience, in the order of what waits for them."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from jitflow.dataplane.core import Core, advice
from jitflow.dataplane.links import Links
from jitflow.dataplane.primary import measure
from jitflow.dataplane.records import OutputDoc
from jitflow.dataplane.transfers import PAID_BYTES, Flight
from jitflow.dataplane.turns import Rank, Turns
from jitflow.model.data import ObjectInfo, ObjectRef, StepId, WorkflowUid
from jitflow.model.reports import TransferRecord
from jitflow.ports.errors import Corrupt, DiskFull, PortError, Retryable, Stalled


class Uploads:
    """Sends files to their secondaries, and says what is on its way."""

    def __init__(self, core: Core, transfers: int, links: Links) -> None:
        """Send at most `transfers` at once to each remote; tell `links` of those that stand still."""
        self._core = core
        self._links = links
        self.turns = Turns(transfers, core.tuning.stopwatch)
        self.flights: dict[ObjectRef, Flight] = {}
        self.errors: dict[ObjectRef, str] = {}
        """What went wrong last with an upload that is tried again."""
        self._priorities: dict[WorkflowUid, int] = {}

    def prefer(self, uid: WorkflowUid, priority: int) -> None:
        """Let the outputs of a workflow go before those of others whose priority is lower."""
        if priority:
            self._priorities[uid] = priority
        else:
            self._priorities.pop(uid, None)

    def priority(self, uid: WorkflowUid) -> int:
        """Return a workflow's priority."""
        return self._priorities.get(uid, 0)

    async def send(
        self,
        output: OutputDoc,
        step: StepId,
        rank: Callable[[], Rank],
        *,
        payer: str,
        again: bool = False,
        forever: bool = False,
    ) -> ObjectInfo:
        """Upload, and try again where that can help.

        Args:
            output: what it is.
            step: which step wrote it.
            rank: who comes first.
            payer: the namespace that pays. Its budget keeps nothing here: results are not to be lost.
            again: it may have been sent before: what is there already, byte by byte, is not sent twice.
            forever: try until it works, whatever is wrong.
        """
        core = self._core
        attempt = 0
        try:
            while True:
                attempt += 1
                async with self.turns.turn(output.ref.remote, output.ref, rank):
                    try:
                        there = await self._found(output) if again or attempt > 1 else None
                        return there or await self._upload(output, step, payer)
                    except PortError as error:
                        worth = isinstance(error, Retryable | Corrupt | DiskFull) and attempt < core.tuning.attempts
                        if not worth and not forever:
                            raise
                        self.errors[output.ref] = advice(error)
                await core.clock.sleep(core.tuning.backoff(min(attempt, core.tuning.attempts)))
        finally:
            self.errors.pop(output.ref, None)

    async def _upload(self, output: OutputDoc, step: StepId, payer: str) -> ObjectInfo:
        core = self._core
        flight = Flight(
            ref=output.ref,
            direction="out",
            size_bytes=output.size_bytes if output.size_bytes >= 0 else measure(Path(output.source)),
            started_at=core.clock.now(),
            reason=f"output of {step}",
            step=step,
            namespace=payer,
        )
        self.flights[output.ref] = flight
        link = f"{output.ref.remote} (out)"
        core.history.rates.began(link)
        outcome, text = "cancelled", ""
        try:
            info = await self._copy(output, flight)
            _compare(flight, info)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            outcome, text = "failed", advice(error)
            if isinstance(error, Stalled):
                self._links.stalled(output.ref.remote)
            raise
        else:
            outcome = "ok"
            self._progress(flight, flight.size_bytes)
            return info
        finally:
            self.flights.pop(output.ref, None)
            core.history.rates.ended(link, core.limits.rate(output.ref.remote).up_Bps)
            core.spending.moved(payer, output.ref.remote, up=flight.unpaid_bytes, requests=1)
            core.history.finished(_record(flight, core.clock.now(), outcome, text))

    async def _found(self, output: OutputDoc) -> ObjectInfo | None:
        """Return what the store says of an output that is there already, None if that cannot be proven."""
        core = self._core
        path = core.primary.local(output.location) if output.location else Path(output.source)
        if path is not None:
            return await core.storage.verify(path, output.ref)
        near = core.primary.remote(output.location)
        if near is None:
            return None
        answers = await core.storage.stat_many([near, output.ref])
        here, there = answers.get(near), answers.get(output.ref)
        return there if isinstance(here, ObjectInfo) and isinstance(there, ObjectInfo) and _is_copy(here, there) else None

    async def _copy(self, output: OutputDoc, flight: Flight) -> ObjectInfo:
        """Copy from the primary where it is there, else from where the step left it."""
        if output.location:
            return await self._core.primary.send(output.location, output.ref, lambda done: self._progress(flight, done))
        return await self._core.storage.store(Path(output.source), output.ref, lambda done: self._progress(flight, done))

    def _progress(self, flight: Flight, done: int) -> None:
        done = min(done, flight.size_bytes)
        if done > flight.done_bytes:
            self._core.history.rates.moved(f"{flight.ref.remote} (out)", done - flight.done_bytes)
            flight.unpaid_bytes += done - flight.done_bytes
            flight.done_bytes = done
            if flight.unpaid_bytes >= PAID_BYTES:
                self._core.spending.moved(flight.namespace, flight.ref.remote, up=flight.unpaid_bytes)
                flight.unpaid_bytes = 0


def _record(flight: Flight, now: float, outcome: str, error: str) -> TransferRecord:
    return TransferRecord(
        ref=flight.ref,
        direction="out",
        size_bytes=flight.size_bytes,
        started_at=flight.started_at,
        finished_at=now,
        outcome=outcome,
        reason=flight.reason,
        error=error,
        steps=(flight.step,),
    )


def _compare(flight: Flight, info: ObjectInfo) -> None:
    if info.size_bytes != flight.size_bytes:
        raise Corrupt(f"{flight.ref} has {info.size_bytes:,} bytes at its secondary instead of {flight.size_bytes:,}")


def _is_copy(one: ObjectInfo, other: ObjectInfo) -> bool:
    """Return whether two objects have the same bytes, by a hash; of prefixes nobody can tell."""
    common = [kind for kind in one.hashes if other.hashes.get(kind)]
    same = bool(common) and all(one.hashes[kind] == other.hashes[kind] for kind in common)
    return same and one.size_bytes == other.size_bytes and not other.ref.is_prefix
