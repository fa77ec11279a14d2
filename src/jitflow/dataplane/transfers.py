"""Fetching: one transfer per object, into `incoming`, verified, named, told."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from jitflow.dataplane.core import Core, advice
from jitflow.dataplane.lookups import refusal, stat_one
from jitflow.model.data import ObjectInfo, ObjectRef, StepId
from jitflow.planner import Cancel, Fetch, Forget, Hurry
from jitflow.ports.dataplane import TransferRecord
from jitflow.ports.errors import Corrupt, DiskFull, Retryable, SourceChanged


@dataclass(kw_only=True)
class Flight:
    """A transfer under way. `done_bytes` of `size_bytes` have come."""

    ref: ObjectRef
    direction: str
    size_bytes: int
    started_at: float
    reason: str
    step: StepId
    done_bytes: int = 0
    task: asyncio.Task[None] | None = None
    cancelled: bool = False
    remote_mark: tuple[float, int] = field(default=(0.0, 0))

    def rate(self, now: float) -> float | None:
        """Return bytes per second so far."""
        elapsed = now - self.started_at
        return self.done_bytes / elapsed if elapsed > 0 and self.done_bytes else None


class _Resized(Exception):
    """An object has another size than the one space was reserved for."""

    def __init__(self, ref: ObjectRef, size_bytes: int) -> None:
        super().__init__(f"{ref} has changed; it has {size_bytes:,} bytes now")
        self.size_bytes = size_bytes


class Transfers:
    """Performs `Fetch` and `Cancel`."""

    def __init__(self, core: Core, refuse: Callable[[StepId, str], None]) -> None:
        """Tell `refuse` of steps whose inputs cannot be had."""
        self._core = core
        self._refuse = refuse
        self.flights: dict[ObjectRef, Flight] = {}
        self._attempts: dict[ObjectRef, int] = {}
        self._changes: dict[ObjectRef, int] = {}
        self.errors: dict[ObjectRef, str] = {}

    def perform(self, command: Fetch | Hurry | Cancel | Forget) -> None:
        """Do what the planner says of a transfer."""
        match command:
            case Fetch():
                self._fetch(command)
            case Hurry():
                self._hurry(command)
            case Cancel(ref=ref):
                self._cancel(ref)
            case Forget():
                pass  # nothing is left of a transfer that has failed

    def _fetch(self, command: Fetch) -> None:
        core = self._core
        flight = Flight(
            ref=command.ref,
            direction="in",
            size_bytes=command.size_bytes,
            started_at=core.clock.now(),
            reason=command.reason,
            step=command.step,
        )
        self.flights[command.ref] = flight
        flight.task = core.owner.start(self._run(flight), f"fetch {command.ref}")

    def _hurry(self, command: Hurry) -> None:
        flight = self.flights.get(command.ref)
        if flight is not None:
            flight.step, flight.reason = command.step, command.reason

    def _cancel(self, ref: ObjectRef) -> None:
        flight = self.flights.get(ref)
        if flight is not None and flight.task is not None:
            flight.cancelled = True
            flight.task.cancel()

    def partial_bytes(self) -> int:
        """Return the bytes of transfers under way that have come already."""
        return sum(flight.done_bytes for flight in self.flights.values())

    async def _run(self, flight: Flight) -> None:
        core = self._core
        try:
            info = await self._patiently(flight)
        except asyncio.CancelledError:
            if not flight.cancelled or core.closing:
                raise
            self._ended(flight, "cancelled")
            core.planner.fetch_failed(flight.ref, retry_at=core.clock.now())
        except _Resized as resized:
            self._ended(flight, "failed", error=str(resized))
            core.planner.fetch_failed(flight.ref, retry_at=core.clock.now())
            core.planner.size_known(flight.ref, resized.size_bytes)
        except Exception as error:
            self._failed(flight, error)
        else:
            self._attempts.pop(flight.ref, None)
            self._changes.pop(flight.ref, None)
            self.errors.pop(flight.ref, None)
            self._ended(flight, "ok", version=info.version)
            core.planner.arrived(flight.ref)
        core.pump()

    async def _patiently(self, flight: Flight) -> ObjectInfo:
        """Fetch; if the source has changed since it was looked up, look again and fetch once more."""
        core = self._core
        ref = flight.ref
        try:
            return await self._copy(flight)
        except SourceChanged:
            self._changes[ref] = self._changes.get(ref, 0) + 1
            if self._changes[ref] > 1:
                raise
        info = await stat_one(core, ref)
        core.know(ref, info)
        if info.size_bytes != flight.size_bytes:
            raise _Resized(ref, info.size_bytes)
        return await self._copy(flight)

    async def _copy(self, flight: Flight) -> ObjectInfo:
        """Fetch, verify, enter into the catalogue."""
        core = self._core
        ref = flight.ref
        info = core.infos.get(ref)
        if info is None:
            info = await stat_one(core, ref)
            core.know(ref, info)
        if info.size_bytes != flight.size_bytes:
            raise SourceChanged(f"{ref} has {info.size_bytes:,} bytes and not {flight.size_bytes:,}")
        flight.remote_mark = core.history.mark(ref.remote)
        location = core.primary.location(ref, info.version or f"{core.clock.now()}")
        core.coming.add(location)
        try:
            received = await core.primary.receive(info, location, lambda done: self._progress(flight, done))
            core.put_row(core.new_row(ref, received.held, location, version=received.read.version or info.version))
        finally:
            core.coming.discard(location)
        self._progress(flight, flight.size_bytes)
        try:
            await core.journal.durable()
        except BaseException:
            await asyncio.shield(core.remove(location))
            raise
        return received.read

    def _progress(self, flight: Flight, done: int) -> None:
        done = min(done, flight.size_bytes)
        if done > flight.done_bytes:
            self._core.history.moved(flight.ref.remote, done - flight.done_bytes)
            flight.done_bytes = done

    def _ended(self, flight: Flight, outcome: str, *, error: str = "", version: str = "") -> None:
        core = self._core
        del self.flights[flight.ref]
        if outcome == "ok":
            core.history.measured(flight.ref.remote, flight.remote_mark)
        else:
            core.drop_row(flight.ref)
        core.history.finished(
            TransferRecord(
                ref=flight.ref,
                direction="in",
                size_bytes=flight.size_bytes,
                started_at=flight.started_at,
                finished_at=core.clock.now(),
                outcome=outcome,
                reason=flight.reason,
                error=error,
                steps=(flight.step,),
            ),
            version,
        )

    def _failed(self, flight: Flight, error: Exception) -> None:
        """Try again where that can help, else give the object up and refuse the steps that asked for it."""
        core = self._core
        ref = flight.ref
        text = advice(error)
        self._ended(flight, "failed", error=text)
        attempt = self._attempts.get(ref, 0) + 1
        if isinstance(error, Retryable | DiskFull | Corrupt) and attempt < core.tuning.attempts:
            self._attempts[ref] = attempt
            self.errors[ref] = text
            if isinstance(error, DiskFull):
                core.measure_disk()
            core.planner.fetch_failed(ref, retry_at=core.clock.now() + core.tuning.backoff(attempt))
            return
        self._give_up(ref, error)

    def _give_up(self, ref: ObjectRef, error: Exception) -> None:
        core = self._core
        self._attempts.pop(ref, None)
        self._changes.pop(ref, None)
        self.errors.pop(ref, None)
        core.infos.pop(ref, None)
        for step in core.planner.fetch_failed(ref):
            self._refuse(step, self._message(ref, error))

    def _message(self, ref: ObjectRef, error: Exception) -> str:
        if isinstance(error, DiskFull):
            label = self._core.primary.label
            return f"input {ref}: no space is left on {label}; free some and retry ({advice(error)})"
        if isinstance(error, SourceChanged):
            return f"input {ref} changes while it is read ({advice(error)}); wait until nobody writes it and retry"
        return refusal(self._core, ref, error)
