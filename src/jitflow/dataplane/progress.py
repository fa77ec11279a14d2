"""Where each step's data stands, in words and in numbers."""

from collections.abc import Sequence

from jitflow.dataplane.core import Core
from jitflow.dataplane.lookups import Lookups
from jitflow.dataplane.stageout import StageOut
from jitflow.dataplane.transfers import Flight, Transfers
from jitflow.model.data import ObjectRef, ReplicaState, StepId, WorkflowUid
from jitflow.model.reports import StepData
from jitflow.planner import ItemView, Wait


def human(size_bytes: float) -> str:
    """Return a size for people, in powers of ten."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size_bytes) < 1000:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} TB"


class Progress:
    """Answers where a step's data is."""

    def __init__(self, core: Core, lookups: Lookups, transfers: Transfers, stageout: StageOut) -> None:
        """Look at these."""
        self._core = core
        self._lookups = lookups
        self._transfers = transfers
        self._stageout = stageout

    # -- words -------------------------------------------------------------------------------------------------------------

    def reason(self, step: StepId) -> str:
        """Return why a step waits, in one line."""
        wait = self._core.planner.wait(step)
        if wait is None:
            return ""
        match wait.phase:
            case "transfer":
                return self._transfer_reason(wait.objects)
            case "size":
                ref = wait.objects[0]
                error = self._lookups.errors.get(ref)
                return f"waiting to learn the size of {ref}" + (f" (trying again: {error})" if error else "")
            case "upload":
                return f"waiting until {wait.objects[0]} has reached its secondary"
            case "space":
                return self._space_reason(wait)
            case "quota":
                return self._quota_reason(wait)
            case "budget":
                return f"waiting: {self._core.spending.used_up(wait.of)}"
            case _:
                return ""

    def _transfer_reason(self, objects: Sequence[ObjectRef]) -> str:
        if not objects:
            return "waiting for room for its outputs"
        ref = min(objects, key=lambda one: (one not in self._transfers.flights, one))
        more = f" and {len(objects) - 1} more" if len(objects) > 1 else ""
        return f"waiting for data: {ref} ({self._where(ref)}){more}"

    def _where(self, ref: ObjectRef) -> str:
        flight = self._transfers.flights.get(ref) or self._stageout.flights.get(ref)
        view = self._core.planner.item(ref)
        size = view.size_bytes if view else None
        if flight is not None and size is not None:
            eta = self._eta(ref, flight)
            return f"{human(flight.done_bytes)} of {human(size)}" + (f", about {eta:.0f} s" if eta is not None else "")
        error = self._transfers.errors.get(ref)
        return f"{human(size or 0)}, trying again: {error}" if error else f"{human(size or 0)}, queued"

    def _space_reason(self, wait: Wait) -> str:
        books = self._core.planner.bytes
        if not wait.need_bytes and books.max_objects and books.objects >= books.max_objects:
            return f"waiting for room in the primary: {books.objects} of {books.max_objects} objects are there or promised"
        if not wait.need_bytes:
            return f"waiting behind {wait.behind}" if wait.behind else "waiting for its turn"
        text = f"waiting for room in the primary: {human(wait.need_bytes)} more than the {human(books.capacity)} allow now"
        text += f"; {human(books.kept)} are kept by hand" if books.kept else ""
        return text + self._unsent()

    def _quota_reason(self, wait: Wait) -> str:
        account = next((one for one in self._core.planner.accounts() if one.name == wait.of), None)
        if account is None or not (wait.need_bytes or wait.need_objects):
            return f"waiting for its turn within the quota of namespace {wait.of}"
        much = f"{human(wait.need_bytes)} more than the {human(account.quota_bytes or 0)}" if wait.need_bytes else ""
        many = f"{wait.need_objects} more than the {account.quota_objects} objects" if wait.need_objects else ""
        text = f"waiting for room in the quota of namespace {wait.of}: {much or many} allow now"
        text += f"; {human(account.kept_bytes)} are pinned (jitflow data pins)" if account.kept_bytes else ""
        return text + self._unsent()

    def _unsent(self) -> str:
        """Return what stands in the way that people can do something about: outputs that cannot be sent."""
        failed = sum(output.size_bytes for _, output in self._stageout.failed.values() if output.location)
        if failed:
            return f"; {human(failed)} are outputs that could not be sent (jitflow data uploads)"
        trouble = next(iter(self._stageout.troubles.items()), None)
        return f"; {trouble[0]} cannot be sent: {trouble[1]}" if trouble is not None else ""

    def _eta(self, ref: ObjectRef, flight: Flight) -> float | None:
        rate = flight.rate(self._core.clock.now()) or self._core.rate(ref.remote)
        return (flight.size_bytes - flight.done_bytes) / rate if rate else None

    # -- numbers -----------------------------------------------------------------------------------------------------------

    def steps(self, uid: WorkflowUid) -> list[StepData]:
        """Return the data of a workflow's known steps: coming and running ones, then those whose outputs are under way."""
        queue = self._positions()
        result = [self._step(step, queue) for step in self._core.planner.steps(uid)]
        result += [self._leaving(one.step) for one in self._stageout.obligations.values() if one.uid == uid]
        return result

    def _positions(self) -> dict[ObjectRef, int]:
        """Return the place of each queued object in the order of need."""
        return {ref: place for place, ref in enumerate(self._core.planner.queued(), 1)}

    def _step(self, step: StepId, queue: dict[ObjectRef, int]) -> StepData:
        wait = self._core.planner.wait(step)
        if wait is None:
            return StepData(step=step, phase="done")
        total = done = 0
        rate = 0.0
        rows: list[tuple[str, str, int, int | None, int]] = []
        for ref in wait.inputs:
            view = self._core.planner.item(ref)
            if view is None:
                continue
            here = self._done(view)
            total += view.size_bytes or 0
            done += here
            if view.state is not ReplicaState.RESIDENT:
                flight = self._transfers.flights.get(ref)
                rate += (flight.rate(self._core.clock.now()) or 0.0) if flight else 0.0
                rows.append((str(ref), view.state.value, here, view.size_bytes, queue.get(ref, 0)))
        phase = {"granted": "ready", "transfer": "fetching"}.get(wait.phase, "waiting")
        return StepData(
            step=step,
            phase=phase,
            bytes_total=total,
            bytes_done=done,
            rate_Bps=rate or None,
            eta_s=(total - done) / rate if rate else None,
            reason=self.reason(step),
            objects=tuple(rows),
        )

    def _done(self, view: ItemView) -> int:
        if view.state is ReplicaState.RESIDENT:
            return view.size_bytes or 0
        flight = self._transfers.flights.get(view.ref)
        return flight.done_bytes if flight else 0

    def _leaving(self, step: StepId) -> StepData:
        obligation = self._stageout.obligations[step]
        total = done = 0
        rate = 0.0
        rows: list[tuple[str, str, int, int | None, int]] = []
        for output in obligation.outputs:
            size = max(0, output.size_bytes)
            flight = self._stageout.flights.get(output.ref)
            sent = size if output.proven else flight.done_bytes if flight else 0
            rate += (flight.rate(self._core.clock.now()) or 0.0) if flight else 0.0
            total += size
            done += sent
            if not output.proven:
                rows.append((str(output.ref), "failed" if output.error else "staging-out", sent, size, 0))
        return StepData(
            step=step,
            phase="done" if obligation.finished else "staging-out",
            bytes_total=total,
            bytes_done=done,
            rate_Bps=rate or None,
            eta_s=(total - done) / rate if rate else None,
            reason=obligation.error,
            objects=tuple(rows),
        )
