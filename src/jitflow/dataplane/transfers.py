"""Fetching: one transfer per object, into `incoming`, verified, named, told.

What has come of a large object is kept in its space when the transfer is interrupted: by a failure, by a kill, or because it was
read ahead and gives way to what a step waits for.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec

from jitflow.dataplane import records
from jitflow.dataplane.core import Core, advice, workflow_of
from jitflow.dataplane.links import SMALL_BYTES, Links
from jitflow.dataplane.lookups import refusal, stat_one
from jitflow.dataplane.twins import Twins, content_of
from jitflow.model.data import ObjectInfo, ObjectRef, StepId
from jitflow.model.reports import TransferRecord
from jitflow.planner import Bypass, Cancel, Fetch, Forget, Hurry, Take
from jitflow.ports.errors import Corrupt, DiskFull, Retryable, SourceChanged, Stalled
from jitflow.ports.primary import Received
from jitflow.ports.storage import in_ranges
from jitflow.ports.store import StateStore

PAID_BYTES = 64 * 2**20
"""So many bytes of one transfer are paid for at once: a kill loses no more of them."""
TELLING_BYTES = 10**6
"""How much has come of smaller objects tells nobody whether a link is full."""
_MOMENTS = 4
"""What has no more left than its link gives in so many moments does not stop for anything."""


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
    running: bool = False
    """Whether its task has begun: one that is cancelled before would not even hear of it."""
    cancelled: bool = False
    urgent: bool = True
    parts: int = 1
    location: str = ""
    resumes: bool = False
    """Bytes that are told of next had come before."""
    receiving: asyncio.Task[Received] | None = None
    paused: bool = False
    """Gives way, until `go` has a result."""
    yields: bool = False
    """What receives it has been told to stop, for it gives way."""
    go: asyncio.Future[None] | None = None
    twin: ObjectRef | None = None
    """The object of equal content from whose replica it was taken."""
    namespace: str = ""
    """Who pays for what moves."""
    told_bytes: int = 0
    """What was told last: a copy that is begun anew tells from 0 on again. -1: what is told first was paid before."""
    unpaid_bytes: int = 0

    @property
    def left_bytes(self) -> int:
        """Return what has not come yet."""
        return self.size_bytes - self.done_bytes

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

    def __init__(self, core: Core, links: Links, refuse: Callable[[StepId, str], None]) -> None:
        """Tell `links` what moves, and `refuse` of steps whose inputs cannot be had."""
        self._core = core
        self._refuse = refuse
        self._links = links
        self.flights: dict[ObjectRef, Flight] = {}
        self._begun: dict[ObjectRef, str] = {}
        """Where something of objects lies that are not here: those under way, and those that the planner knows as begun."""
        self._held: set[ObjectRef] = set()
        """What gives way now."""
        self._settling: set[str] = set()
        self._landing: list[tuple[Flight, str]] = []
        """What has come in this turn of the event loop, with its version; its rows are not durable yet."""
        self._sizes: dict[ObjectRef, int] = {}
        self._attempts: dict[ObjectRef, int] = {}
        self._changes: dict[ObjectRef, int] = {}
        self.errors: dict[ObjectRef, str] = {}
        self._twins = Twins(core, self._wanted)

    def perform(self, command: Fetch | Hurry | Cancel | Forget) -> None:
        """Do what the planner says of a transfer."""
        match command:
            case Fetch():
                self._fetch(command)
            case Hurry():
                self._hurry(command)
            case Cancel(ref=ref):
                self._cancel(ref)
            case Forget(ref=ref):
                self.forget(ref)

    def _fetch(self, command: Fetch) -> None:
        core = self._core
        flight = Flight(
            ref=command.ref,
            direction="in",
            size_bytes=command.size_bytes,
            started_at=core.clock.now(),
            reason=command.reason,
            step=command.step,
            urgent=command.urgent,
            parts=command.parts,
            namespace=core.namespace_of(workflow_of(command.step)),
        )
        self.flights[command.ref] = flight
        self._links.began(flight.ref.remote, flight.parts, flight.size_bytes)
        self._balance(flight.ref.remote)
        flight.task = core.owner.start(self._run(flight), f"fetch {command.ref}")

    def _hurry(self, command: Hurry) -> None:
        flight = self.flights.get(command.ref)
        if flight is not None:
            flight.step, flight.reason, flight.urgent = command.step, command.reason, True
            self._balance(flight.ref.remote)

    def _cancel(self, ref: ObjectRef) -> None:
        flight = self.flights.get(ref)
        if flight is not None and flight.task is not None:
            flight.cancelled = True
            if flight.running:
                flight.task.cancel()

    def arrived_bytes(self, ref: ObjectRef) -> int:
        """Return how much of an object has come that is on its way."""
        flight = self.flights.get(ref)
        return flight.done_bytes if flight is not None else 0

    def moving_Bps(self, remote: str) -> float:
        """Return what comes over a link now, all transfers together; 0 if nothing does."""
        now = self._core.clock.now()
        return sum(one.rate(now) or 0.0 for one in self.flights.values() if one.ref.remote == remote)

    def partial_bytes(self) -> int:
        """Return the bytes on the disk of what has not come whole: of a large object all that it will have."""
        whole = {ref for ref, location in self._begun.items() if self._core.primary.begun(location)}
        sizes = [self._sizes.get(ref, 0) for ref in whole if ref not in self.flights]
        return sum(sizes) + sum(one.size_bytes if one.ref in whole else one.done_bytes for one in self.flights.values())

    # -- what has come so far ----------------------------------------------------------------------------------------------

    async def load(self, store: StateStore) -> list[records.BegunDoc]:
        """Return what earlier lives had begun."""
        return [msgspec.json.decode(body, type=records.BegunDoc) for _, body in await store.items(records.BEGUN)]

    def adopt(self, begun: Sequence[records.BegunDoc]) -> None:
        """Know what is left of that."""
        for doc in begun:
            self._note(doc.ref, doc.location, doc.size_bytes)
            if self._core.primary.begun(doc.location):
                self._core.planner.begun(doc.ref, doc.size_bytes)
            else:
                self.forget(doc.ref)

    def replaced(self, command: Take | Bypass) -> None:
        """An output is taken in under the name of an object."""
        if isinstance(command, Take):
            self.forget(command.ref)

    def forget(self, ref: ObjectRef) -> None:
        """Remove what has come of an object that is not on its way."""
        location = self._begun.pop(ref, None)
        self._sizes.pop(ref, None)
        if location is not None:
            self._core.primary.forget(location)
            self._core.journal.put(records.BEGUN, str(ref), None)

    def _note(self, ref: ObjectRef, location: str, size_bytes: int) -> None:
        """Remember where an object that is about to come will lie; what there is of another version goes."""
        if self._begun.get(ref, location) != location:
            self.forget(ref)
        self._begun[ref] = location
        self._sizes[ref] = size_bytes

    def _is_begun(self, flight: Flight) -> bool:
        location = self._begun.get(flight.ref)
        return location is not None and self._core.primary.begun(location)

    # -- giving way --------------------------------------------------------------------------------------------------------

    def _balance(self, remote: str) -> None:
        """Let what was read ahead give way where more streams run over a link than fill it, or go on."""
        if not self._begun and not self._held:
            return
        flights = [one for one in self.flights.values() if one.ref.remote == remote]
        urgent = sum(one.parts for one in flights if one.urgent)
        room = max(self._links.streams(remote), urgent) - urgent
        # To stop and go on costs requests, and what is on its way: for what is here in a moment nothing stops.
        moment = self._links.moment_bytes(remote)
        worth = urgent > 0 and sum(one.left_bytes for one in flights if one.urgent) >= moment
        for flight in flights:
            if flight.urgent or not worth:
                self._go_on(flight)
            elif flight.parts <= room:
                room -= flight.parts
                self._go_on(flight)
            elif flight.left_bytes >= _MOMENTS * moment:
                self._pause(flight)

    def _pause(self, flight: Flight) -> None:
        if not flight.paused and self._is_begun(flight) and flight.receiving is not None:
            flight.paused = flight.yields = True
            self._held.add(flight.ref)
            flight.receiving.cancel()

    def _wanted(self, ref: ObjectRef) -> None:
        """A step waits for another object of the same content."""
        flight = self.flights.get(ref)
        if flight is not None and not flight.urgent:
            flight.urgent = True
            self._go_on(flight)

    def _go_on(self, flight: Flight) -> None:
        if flight.paused:
            flight.paused = False
            self._held.discard(flight.ref)
            if flight.go is not None and not flight.go.done():
                flight.go.set_result(None)

    # -- a transfer --------------------------------------------------------------------------------------------------------

    async def _run(self, flight: Flight) -> None:
        core = self._core
        flight.running = True
        try:
            if flight.cancelled:
                raise asyncio.CancelledError  # noqa: TRY301 - it ends as if it had begun
            try:
                info = await self._copy(flight)
            except SourceChanged as error:
                info = await self._copy_changed(flight, error)
        except asyncio.CancelledError:
            if core.closing:
                raise
            # Whoever cancelled it: the planner hears of its end, for a transfer that nobody ends would be waited for for ever.
            self._ended(flight, "cancelled")
            core.planner.fetch_failed(flight.ref, retry_at=core.clock.now(), begun=self._keep(flight))
        except _Resized as resized:
            self._ended(flight, "failed", error=str(resized))
            self.forget(flight.ref)
            core.planner.fetch_failed(flight.ref, retry_at=core.clock.now())
            core.planner.size_known(flight.ref, resized.size_bytes)
        except Exception as error:
            self._failed(flight, error)
        else:
            self._landing.append((flight, info.version))
            if len(self._landing) == 1:
                core.owner.start(self._land(), "land what has come")
            return
        self._over([flight.ref.remote])

    async def _land(self) -> None:
        """End the transfers of what has come when its rows are durable: what has come together is waited for together."""
        landing, self._landing = self._landing, []
        broken: list[Exception] = []
        try:
            await self._core.journal.durable()
        except Exception as error:
            for flight, _ in landing:
                await self._core.remove(flight.location)
                self._failed(flight, error)
        else:
            for flight, version in landing:
                try:
                    self._landed(flight, version)
                except Exception as error:  # it is no reason to keep the others waiting
                    broken.append(error)
        self._over(dict.fromkeys(flight.ref.remote for flight, _ in landing))
        for error in broken:  # the owner hears of the first, as of any error that nobody foresaw
            raise error

    def _landed(self, flight: Flight, version: str) -> None:
        self._attempts.pop(flight.ref, None)
        self._changes.pop(flight.ref, None)
        self.errors.pop(flight.ref, None)
        self._ended(flight, "ok", version=version)
        self.forget(flight.ref)
        self._core.planner.arrived(flight.ref)
        self._core.came(flight.ref)

    def _over(self, remotes: Iterable[str]) -> None:
        """Let others begin in the place of transfers that have ended."""
        self._core.pump_soon()
        for remote in remotes:
            self._settle_soon(remote)
            self._balance(remote)

    def _settle_soon(self, remote: str) -> None:
        """Look at a link when others have begun in the place of what has ended in this turn of the event loop."""
        if remote not in self._settling:
            self._settling.add(remote)
            asyncio.get_running_loop().call_soon(self._settled, remote)

    def _settled(self, remote: str) -> None:
        self._settling.discard(remote)
        self._links.settled(remote)

    async def _copy_changed(self, flight: Flight, error: SourceChanged) -> ObjectInfo:
        """Look again at an object that has changed since it was looked up, and fetch once more."""
        core = self._core
        ref = flight.ref
        self._changes[ref] = self._changes.get(ref, 0) + 1
        if self._changes[ref] > 1:
            raise error
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
        location = flight.location = core.primary.location(ref, info.version or f"{core.clock.now()}")
        if in_ranges(info, flight.parts) or self._is_begun(flight):
            self._note(ref, location, info.size_bytes)
            body = records.BegunDoc(ref=ref, size_bytes=info.size_bytes, location=location)
            core.journal.put(records.BEGUN, str(ref), records.encode(body))
        core.coming.add(location)
        try:
            content = content_of(info)
            received = await self._bring(flight, info, content)
            read = received.read
            content = content if read is info else content_of(read)
            core.put_row(core.new_row(ref, received.held, location, version=read.version or info.version, content=content))
        finally:
            core.coming.discard(location)
        return received.read

    async def _bring(self, flight: Flight, info: ObjectInfo, content: str) -> Received:
        """Have an object at its location: from another one of the same content, or from afar."""
        core, twins = self._core, self._twins
        if content and twins.has(content):
            shared = await twins.find(content, flight.location, urgent=lambda: flight.urgent)
            if shared is not None:
                held, flight.twin = shared
                return Received(read=info, held=held)
        if content:
            twins.begins(content, flight.ref)
        core.history.rates.began(flight.ref.remote)
        try:
            core.spending.moved(flight.namespace, flight.ref.remote, requests=1)
            flight.told_bytes = 0
            if flight.ref in self._begun:
                received = await self._receive(flight, info)
            else:  # it is too small to give way
                tell = partial(self._progress, flight)
                received = await core.primary.receive(info, flight.location, tell, parts=flight.parts)
            if flight.done_bytes < flight.size_bytes:
                self._progress(flight, flight.size_bytes)
            return received
        finally:
            core.history.rates.ended(flight.ref.remote, core.limits.rate(flight.ref.remote).down_Bps)
            if content:
                twins.ends(content)

    async def _receive(self, flight: Flight, info: ObjectInfo) -> Received:
        """Receive; where the transfer gives way, wait and go on."""
        core = self._core
        while True:
            while flight.paused:
                flight.go = asyncio.get_running_loop().create_future()
                await flight.go
            flight.resumes = self._is_begun(flight)
            flight.told_bytes = -1 if flight.resumes else 0
            work = core.primary.receive(info, flight.location, partial(self._progress, flight), parts=flight.parts)
            flight.receiving = asyncio.get_running_loop().create_task(work, name=f"receive {flight.ref}")
            try:
                return await flight.receiving
            except asyncio.CancelledError:
                # It may have been told to go on again before it had stopped.
                if not flight.yields or flight.cancelled or core.closing:
                    raise
            finally:
                flight.receiving, flight.yields = None, False

    def _progress(self, flight: Flight, done: int) -> None:
        done = min(done, flight.size_bytes)
        self._pay(flight, done)
        more = done - flight.done_bytes
        if more <= 0:
            return
        flight.done_bytes = done
        remote = flight.ref.remote
        if not flight.resumes:
            self._core.history.rates.moved(remote, more)
        self._links.moved(remote, more, before=flight.resumes)
        flight.resumes = False
        if flight.size_bytes >= TELLING_BYTES:
            self._core.planner.coming(flight.ref, done)
            self._core.pump_soon()
            if self._held and flight.urgent:
                self._balance(remote)

    def _pay(self, flight: Flight, done: int) -> None:
        """Count what has come since it was told last: that is paid for now and then, and when the transfer ends."""
        if flight.told_bytes >= 0:
            flight.unpaid_bytes += max(0, done - flight.told_bytes)
        flight.told_bytes = max(done, flight.told_bytes)
        if flight.unpaid_bytes >= PAID_BYTES:
            self._settle(flight)

    def _settle(self, flight: Flight) -> None:
        unpaid, flight.unpaid_bytes = flight.unpaid_bytes, 0
        if unpaid:
            self._core.spending.moved(flight.namespace, flight.ref.remote, down=unpaid)

    def _ended(self, flight: Flight, outcome: str, *, error: str = "", version: str = "") -> None:
        core = self._core
        self._settle(flight)
        del self.flights[flight.ref]
        self._held.discard(flight.ref)
        self._links.ended(flight.ref.remote, flight.parts, flight.size_bytes - flight.done_bytes)
        if outcome != "ok":
            core.drop_row(flight.ref)
        elif flight.twin is not None:
            core.history.shared(flight.size_bytes)
            flight.reason = f"{flight.twin}, which is here, has the same content"
            flight.size_bytes = 0
        elif flight.size_bytes <= SMALL_BYTES:
            self._links.answered(flight.ref.remote, core.clock.now() - flight.started_at)
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
            version if flight.twin is None else None,
        )

    def _failed(self, flight: Flight, error: Exception) -> None:
        """Try again where that can help, else give the object up and refuse the steps that asked for it."""
        core = self._core
        ref = flight.ref
        text = advice(error)
        if isinstance(error, Stalled):
            self._links.stalled(ref.remote)
        self._ended(flight, "failed", error=text)
        attempt = self._attempts.get(ref, 0) + 1
        if isinstance(error, Retryable | DiskFull | Corrupt) and attempt < core.tuning.attempts:
            self._attempts[ref] = attempt
            self.errors[ref] = text
            if isinstance(error, DiskFull):
                core.measure_disk()
            retry_at = core.clock.now() + core.tuning.backoff(attempt)
            core.planner.fetch_failed(ref, retry_at=retry_at, begun=self._keep(flight))
            return
        self.forget(ref)
        self._give_up(ref, error)

    def _keep(self, flight: Flight) -> bool:
        """Return whether something of an object that did not come stays; else nothing does."""
        if self._is_begun(flight):
            return True
        self.forget(flight.ref)
        return False

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
