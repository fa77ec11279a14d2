"""Where each input of a step stands, when it is expected, and, of a step that has begun, where each came from."""

from collections.abc import Callable

from jitflow.dataplane.core import Core, workflow_of
from jitflow.dataplane.inside import Gathered
from jitflow.dataplane.leases import Leases
from jitflow.dataplane.lookups import Lookups
from jitflow.dataplane.planning import Planning
from jitflow.dataplane.progress import Progress, human
from jitflow.dataplane.records import ReadDoc
from jitflow.dataplane.transfers import Flight, Transfers
from jitflow.model.data import ObjectRef, ReplicaState, StepId
from jitflow.model.reasons import ObjectRead, ObjectStanding, StepStanding
from jitflow.model.reports import TransferRecord
from jitflow.planner import ItemView, Wait

_S = ReplicaState
GATHERED = "waiting for outputs that it reads as a directory to reach their far store"
UNPLANNED = "waiting for the first plan of its workflow"


class Standing:
    """Answers where the data of one step is, and where it came from."""

    def __init__(
        self,
        core: Core,
        progress: Progress,
        leases: Leases,
        gathered: Gathered,
        planning: Planning,
        *,
        lookups: Lookups,
        transfers: Transfers,
    ) -> None:
        """Look at these."""
        self._core = core
        self._progress = progress
        self._leases = leases
        self._gathered = gathered
        self._planning = planning
        self._lookups = lookups
        self._transfers = transfers

    def of(self, step: StepId) -> StepStanding:
        """Return what is known of a step; one that is not known has no phase."""
        reading = self._leases.reading(step)
        if reading is not None:
            return self._begun(step, "running", reading)
        if self._gathered.waits(step):
            return StepStanding(step=step, phase="waiting", reason=GATHERED, waited_s=self._waited(step))
        if self._planning.awaits(step):
            return StepStanding(step=step, phase="waiting", reason=UNPLANNED)
        wait = self._core.planner.wait(step)
        if wait is not None:
            return self._coming(step, wait)
        read = self._core.history.what_read(step)
        return self._begun(step, "done", read) if read is not None else StepStanding(step=step)

    # -- before it begins --------------------------------------------------------------------------------------------------

    def _coming(self, step: StepId, wait: Wait) -> StepStanding:
        queue = self._core.planner.queued()
        objects = tuple(self._object(ref, wait, queue) for ref in wait.inputs)
        phase = {"granted": "ready", "transfer": "fetching"}.get(wait.phase, "waiting")
        times = [one.expected_s for one in objects]
        known = [time for time in times if time is not None]
        # A step that has no room yet does not start when its objects are here: then nobody knows.
        foreseen = wait.phase in {"transfer", "granted"} and len(known) == len(times)
        reason = self._progress.reason(step) or ("" if wait.phase == "granted" else "its objects are fetched ahead of it")
        return StepStanding(
            step=step,
            phase=phase,
            reason=reason,
            objects=objects,
            expected_s=max(known, default=0.0) if foreseen else None,
            waited_s=self._waited(step),
        )

    def _waited(self, step: StepId) -> float | None:
        asked_at = self._leases.asked_at(step)
        return None if asked_at is None else max(0.0, self._core.clock.now() - asked_at)

    def _object(self, ref: ObjectRef, wait: Wait, queue: tuple[ObjectRef, ...]) -> ObjectStanding:
        view = self._core.planner.item(ref)
        if view is None:
            return ObjectStanding(ref=str(ref), state=_S.ABSENT.value, message="nothing is known of it yet")
        flight = self._transfers.flights.get(ref)
        if view.state is _S.RESIDENT:
            text = _here(view)
            return _told(view, text, done_bytes=view.size_bytes or 0, expected_s=0.0)
        if flight is not None:
            return self._moving(view, flight)
        if view.state is _S.QUEUED:
            return self._queued(view, queue)
        return _told(view, self._absent(view, wait), state="missing" if view.missing else view.state.value)

    def _moving(self, view: ItemView, flight: Flight) -> ObjectStanding:
        rate = flight.rate(self._core.clock.now())
        expected_s = self._left(flight, rate or self._core.rate(view.ref.remote))
        speed = f" at {human(rate)}/s" if rate else ""
        text = f"{human(flight.done_bytes)} of {human(flight.size_bytes)} are here{speed}{_soon(expected_s)}"
        return _told(view, text, done_bytes=flight.done_bytes, rate_Bps=rate, expected_s=expected_s)

    def _left(self, flight: Flight, rate: float | None) -> float | None:
        return (flight.size_bytes - flight.done_bytes) / rate if rate else None

    def _queued(self, view: ItemView, queue: tuple[ObjectRef, ...]) -> ObjectStanding:
        place = queue.index(view.ref) + 1 if view.ref in queue else 0
        error = self._transfers.errors.get(view.ref)
        if error:
            return _told(view, f"its transfer failed and is tried again: {error}", queue=place)
        expected_s = self._expected(view.ref, queue[:place])
        return _told(view, f"queued for a transfer, place {place}{_soon(expected_s)}", queue=place, expected_s=expected_s)

    def _expected(self, ref: ObjectRef, ahead: tuple[ObjectRef, ...]) -> float | None:
        """Return when the last of the queue's head is here: what moves now comes first, over the same link."""
        now = self._core.clock.now()
        flights = [one for one in self._transfers.flights.values() if one.ref.remote == ref.remote]
        rate = self._core.rate(ref.remote) or sum(one.rate(now) or 0.0 for one in flights)
        if not rate:
            return None
        views = [self._core.planner.item(one) for one in ahead if one.remote == ref.remote]
        waiting = sum(view.size_bytes or 0 for view in views if view is not None)
        return (waiting + sum(one.size_bytes - one.done_bytes for one in flights)) / rate

    def _absent(self, view: ItemView, wait: Wait) -> str:
        """Return why an object is neither here nor on its way."""
        checks: tuple[tuple[bool, Callable[[], str]], ...] = (
            (view.state is _S.EVICTING, lambda: "an older copy is being removed"),
            (view.missing, lambda: "does not exist in its far store"),
            (view.uploading, lambda: "an output that is on its way to its far store"),
            (view.writer is not None, lambda: f"not there yet: {view.writer} will write it"),
            (view.size_bytes is None, lambda: self._looked_up(view.ref)),
            (wait.phase == "space", lambda: "not asked for yet: the primary has no room for the step"),
            (wait.phase == "budget", lambda: f"not asked for: namespace {wait.of} has used up its budget"),
            (wait.phase == "quota", lambda: f"not asked for yet: the quota of namespace {wait.of} has no room for the step"),
        )
        return next((text() for holds, text in checks if holds), "not asked for yet: it is fetched ahead in order of need")

    def _looked_up(self, ref: ObjectRef) -> str:
        error = self._lookups.errors.get(ref)
        return "its size is being looked up" + (f" (trying again: {error})" if error else "")

    # -- once it has begun -------------------------------------------------------------------------------------------------

    def _begun(self, step: StepId, phase: str, doc: ReadDoc) -> StepStanding:
        moves = self._core.history.last_moves({ref for ref, _ in doc.inputs}, doc.granted_at)
        read = [_read(step, ref, size, moves.get(ref), doc) for ref, size in doc.inputs]
        read += [ObjectRead(ref=str(ref), source="none", message="optional, and does not exist") for ref in doc.absent]
        # Leases of an earlier version say no times.
        waited = max(0.0, doc.granted_at - doc.asked_at) if doc.granted_at else None
        return StepStanding(step=step, phase=phase, read=tuple(read), waited_s=waited, expected_s=0.0)


def _here(view: ItemView) -> str:
    if not view.dirty:
        return "here"
    return (
        "here; steps hand it on, and it stays here" if view.transient else "here; an output that is being sent to its far store"
    )


def _told(
    view: ItemView, message: str, *, state: str = "", done_bytes: int = 0, queue: int = 0, **times: float | None
) -> ObjectStanding:
    return ObjectStanding(
        ref=str(view.ref),
        state=state or view.state.value,
        message=message,
        size_bytes=view.size_bytes,
        done_bytes=done_bytes,
        queue=queue,
        rate_Bps=times.get("rate_Bps"),
        expected_s=times.get("expected_s"),
    )


def _soon(expected_s: float | None) -> str:
    return (
        f", expected in about {expected_s:.0f} s" if expected_s is not None else ", and nothing is known of the link's rate yet"
    )


def _read(step: StepId, ref: ObjectRef, size: int, move: TransferRecord | None, doc: ReadDoc) -> ObjectRead:
    """Return where an input came from, from the last move of it before the step began."""
    if move is None:
        return ObjectRead(ref=str(ref), source="near", message="was in the primary", size_bytes=size)
    if move.direction == "out":
        writer = f" by {move.steps[0]}" if move.steps else ""
        return ObjectRead(ref=str(ref), source="step", message=f"was written into the primary{writer}", size_bytes=size)
    took = move.finished_at - move.started_at
    if move.finished_at > doc.asked_at:
        source, text = "waited", f"was fetched from {ref.remote} in {took:.1f} s, while the step waited"
    elif move.steps and workflow_of(move.steps[0]) != workflow_of(step):
        source, text = "near", "was in the primary: another workflow had fetched it"
    else:
        source, text = "ahead", f"was fetched from {ref.remote} ahead of the step, in {took:.1f} s"
    return ObjectRead(ref=str(ref), source=source, message=text, size_bytes=size, transfer_s=took)
