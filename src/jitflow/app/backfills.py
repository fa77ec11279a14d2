"""Backfills: starting the runs that a schedule would have had in a time that is over, a few at a time.

What is to be run is written down before anything is started, and each run's workflow has a name that follows from its time: a
restart goes on where the last life stood and starts nothing twice. The runs do not count as the schedule's own: its concurrency
policy and its history limits leave them alone.
"""

import hashlib
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import msgspec
from msgspec.structs import replace

from jitflow.app.names import check_name
from jitflow.app.ports import Change
from jitflow.app.submit import CRON_LABEL, from_cron
from jitflow.expr.schedules import Schedule, ScheduleError, zone
from jitflow.model import argo
from jitflow.model.backfill import (
    MAX_RUNS,
    RUNNING,
    STARTED,
    Backfill,
    BackfillRun,
    BackfillRunView,
    BackfillView,
    BackfillWish,
)
from jitflow.model.problems import Problem, Refused
from jitflow.objects import ObjectStore
from jitflow.ports.clock import Clock
from jitflow.ports.errors import PortError
from jitflow.ports.store import RunRow, StateStore
from jitflow.telemetry import logger

DOCUMENTS: Final = "backfill"
BACKFILL_LABEL: Final = "workflows.argoproj.io/backfill"
MAX_PARALLELISM: Final = 1000
RETRY_S: Final = 5.0
"""After so long it is tried again to start a run for which a store or service was not ready."""
_NAME_CHARS: Final = 60
_GONE: Final = "Deleted"

_log = logger("backfills")
Spawn = Callable[[Coroutine[Any, Any, Any], str], None]


class Runs(Protocol):
    """What a backfill does with workflows."""

    async def start(self, workflow: argo.Workflow, namespace: str, *, kept: bool = True) -> argo.Workflow:
        """Let a workflow run; one that cannot is kept, ended in Error."""
        ...

    def row_of(self, namespace: str, name: str) -> RunRow | None:
        """Return the row of the live run of that name, None if there is none."""
        ...

    async def end(self, row: RunRow) -> None:
        """Terminate a run."""
        ...


class Backfills:
    """All backfills of a server."""

    def __init__(self, objects: ObjectStore, runs: Runs, store: StateStore, clock: Clock, spawn: Spawn) -> None:
        """Hold the parts; nothing happens before `open`."""
        self._objects = objects
        self._runs = runs
        self._store = store
        self._clock = clock
        self._spawn = spawn
        self._known: dict[str, Backfill] = {}
        self._by_workflow: dict[tuple[str, str], str] = {}
        self._busy: set[str] = set()
        self._again: set[str] = set()
        self._closed = False

    # -- life ---------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Go on with what was under way."""
        for _, body in await self._store.items(DOCUMENTS):
            self._learn(msgspec.json.decode(body, type=Backfill))
        for backfill in list(self._known.values()):
            if backfill.phase == RUNNING:
                self._go_on(backfill.key)

    def close(self) -> None:
        """Start nothing any more."""
        self._closed = True

    def _learn(self, backfill: Backfill) -> None:
        self._known[backfill.key] = backfill
        for run in backfill.runs:
            self._by_workflow[backfill.namespace, run.workflow] = backfill.key

    async def _keep(self, backfill: Backfill) -> None:
        self._learn(backfill)
        await self._store.put(DOCUMENTS, [(backfill.key, msgspec.json.encode(backfill))])

    def heard(self, change: Change) -> None:
        """Take in what the engine tells: a run that has ended, or is gone, makes room for the next."""
        row = change.row
        key = self._by_workflow.get((row.namespace, row.name))
        if key is not None and BACKFILL_LABEL in row.labels and (change.ends or change.kind == "DELETED"):
            self._go_on(key)

    # -- what people ask ----------------------------------------------------------------------------------------------

    async def make(self, namespace: str, cron_name: str, wish: BackfillWish) -> BackfillView:
        """Begin a backfill; the same wish again returns the one that there is.

        Raises:
            Refused: there is no such schedule (`not_found`), the wish makes no sense, or the name is taken (`conflict`).
        """
        cron = self._cron(namespace, cron_name)
        times = self._times(cron, wish, *self._span(cron, wish))
        name = check_name(wish.name or f"{_stamp(min(times))}-{_stamp(max(times))}")
        known = self._known.get(f"{namespace}/{cron_name}/{name}")
        if known is not None:
            if known.wish != wish:
                raise Refused(f"the backfill {name!r} of {cron_name!r} exists, and asks for something else", code="conflict")
            return self._shown(known)
        runs = tuple(BackfillRun(at=at, workflow=_workflow_name(cron_name, name, at)) for at in times)
        backfill = Backfill(namespace=namespace, cron=cron_name, name=name, wish=wish, created_at=self._clock.now(), runs=runs)
        await self._keep(backfill)
        self._go_on(backfill.key)
        return self._shown(backfill)

    def list(self, namespace: str, cron: str) -> Sequence[BackfillView]:
        """Return a schedule's backfills, newest first."""
        found = [one for one in self._known.values() if (one.namespace, one.cron) == (namespace, cron)]
        return [self._shown(one) for one in sorted(found, key=lambda one: (-one.created_at, one.name))]

    def get(self, namespace: str, cron: str, name: str) -> BackfillView:
        """Return a backfill with its runs.

        Raises:
            Refused: there is none (`not_found`).
        """
        backfill = self._found(namespace, cron, name)
        runs = tuple(
            BackfillRunView(scheduled=_rfc3339(run.at), workflow=run.workflow, state=run.state or "Waiting", message=run.message)
            for run in backfill.runs
        )
        return replace(self._shown(backfill), runs=runs)

    async def cancel(self, namespace: str, cron: str, name: str, *, terminate: bool = False) -> BackfillView:
        """Start nothing more; `terminate`: end what runs as well.

        Raises:
            Refused: there is none (`not_found`).
        """
        backfill = self._found(namespace, cron, name).cancel()
        await self._keep(backfill)
        for run in backfill.runs if terminate else ():
            row = self._runs.row_of(namespace, run.workflow) if run.state == STARTED else None
            if row is not None:
                await self._runs.end(row)
        return self._shown(self._known[backfill.key])

    async def forget(self, namespace: str, cron: str, name: str) -> None:
        """Forget a backfill of which nothing runs any more; its workflows stay.

        Raises:
            Refused: there is none (`not_found`), or it is not over (`conflict`).
        """
        backfill = self._found(namespace, cron, name)
        if backfill.phase == RUNNING:
            raise Refused(Problem(message=f"the backfill {name!r} is not over", remedy="cancel it first", code="conflict"))
        await self._store.put(DOCUMENTS, [(backfill.key, None)])
        self._known.pop(backfill.key, None)
        for run in backfill.runs:
            self._by_workflow.pop((namespace, run.workflow), None)

    def _found(self, namespace: str, cron: str, name: str) -> Backfill:
        found = self._known.get(f"{namespace}/{cron}/{name}")
        if found is None:
            raise Refused(
                f"there is no backfill {name[:80]!r} of {cron[:80]!r} in namespace {namespace[:80]!r}", code="not_found"
            )
        return found

    def _cron(self, namespace: str, name: str) -> argo.CronWorkflow:
        cron = self._objects.find(argo.CronWorkflow, namespace, name)
        if cron is None:
            raise Refused(f'cronworkflows.argoproj.io "{name[:80]}" not found', code="not_found")
        return cron

    # -- which runs ---------------------------------------------------------------------------------------------------

    def _span(self, cron: argo.CronWorkflow, wish: BackfillWish) -> tuple[float, float]:
        start = _moment(wish.start, "start", cron)
        end = _moment(wish.end, "end", cron, last=True) if wish.end else self._clock.now()
        if end < start:
            raise Refused(f"the end ({wish.end or 'now'}) lies before the start ({wish.start})")
        if not 1 <= wish.parallelism <= MAX_PARALLELISM:
            raise Refused(f"parallelism must be from 1 to {MAX_PARALLELISM}, not {wish.parallelism}")
        if not 1 <= wish.max_count <= MAX_RUNS:
            raise Refused(f"max_count must be from 1 to {MAX_RUNS}, not {wish.max_count}")
        if not wish.argname or len(wish.argname) > 200:
            raise Refused("argname must name a parameter")
        _written(int(start), wish.format)
        return start, end

    def _times(self, cron: argo.CronWorkflow, wish: BackfillWish, start: float, end: float) -> Sequence[int]:
        """Return when any of the schedules would have started a run, each time once, in the wanted order.

        Raises:
            Refused: there is no such time, there are too many, or a schedule cannot be read.
        """
        found: set[int] = set()
        for text in cron.spec.schedules:
            try:
                schedule = Schedule(text, cron.spec.timezone or "")
            except ScheduleError as error:
                raise Refused(f"the schedule {text!r} cannot be read: {error}") from error
            at = schedule.next_after(start - 1)
            while at is not None and at <= end:
                found.add(int(at))
                if len(found) > wish.max_count:
                    remedy = "choose a shorter time, or a larger max_count"
                    raise Refused(Problem(message=f"more than {wish.max_count} runs lie in that time", remedy=remedy))
                at = schedule.next_after(at)
        if not found:
            raise Refused(f"the schedule has no run between {_rfc3339(int(start))} and {_rfc3339(int(end))}")
        return sorted(found, reverse=wish.order == "newest")

    # -- running ------------------------------------------------------------------------------------------------------

    def _go_on(self, key: str) -> None:
        self._again.add(key)
        if key not in self._busy and not self._closed:
            self._busy.add(key)
            self._spawn(self._follow(key), f"backfill {key}")

    async def _follow(self, key: str) -> None:
        try:
            while key in self._again and not self._closed:
                self._again.discard(key)
                await self._settle(key)
                while (run := self._known[key].next()) is not None and not self._closed:
                    if not await self._start(key, run):
                        await self._clock.sleep(RETRY_S)
        finally:
            self._busy.discard(key)

    async def _settle(self, key: str) -> None:
        """Note which of the runs that were started have ended."""
        backfill = before = self._known[key]
        for run in before.runs:
            if run.state != STARTED:
                continue
            row = self._runs.row_of(before.namespace, run.workflow)
            if row is None:
                backfill = backfill.with_run(run.workflow, _GONE)
            elif row.finished_at is not None:
                backfill = backfill.with_run(run.workflow, row.phase, row.message[:300])
        if backfill is not before:
            await self._keep(backfill)

    async def _start(self, key: str, run: BackfillRun) -> bool:
        """Start one run; return whether it was started or given up."""
        backfill = self._known[key]
        cron = self._objects.find(argo.CronWorkflow, backfill.namespace, backfill.cron)
        if cron is None:
            await self._keep(backfill.with_run(run.workflow, "Error", "the CronWorkflow is gone"))
            return True
        row = self._runs.row_of(backfill.namespace, run.workflow)
        state, message = STARTED, ""
        if row is None:
            try:
                await self._runs.start(_workflow(cron, backfill, run), backfill.namespace)
            except Refused as error:
                state, message = "Error", str(error)[:300]
            except PortError as error:
                _log.warning("backfill waits", backfill=key, reason=str(error))
                return False
        elif BACKFILL_LABEL not in row.labels:
            state, message = "Error", "a workflow of that name exists that is none of a backfill"
        # A workflow that is there already was started by an earlier life.
        await self._keep(self._known[key].with_run(run.workflow, state, message))
        await self._settle(key)
        return True

    def _shown(self, backfill: Backfill) -> BackfillView:
        counts: dict[str, int] = {}
        for run in backfill.runs:
            state = run.state or "Waiting"
            counts[state] = counts.get(state, 0) + 1
        wish = backfill.wish
        return BackfillView(
            namespace=backfill.namespace,
            cron=backfill.cron,
            name=backfill.name,
            phase=backfill.phase,
            start=wish.start,
            end=wish.end,
            parallelism=wish.parallelism,
            order=wish.order,
            argname=wish.argname,
            created_at=backfill.created_at,
            counts=counts,
        )


def _workflow(cron: argo.CronWorkflow, backfill: Backfill, run: BackfillRun) -> argo.Workflow:
    """Return the workflow of one run: the schedule's, given the time, labelled as the backfill's, not as the schedule's own."""
    workflow = from_cron(cron, run.at, name=run.workflow)
    metadata, spec = workflow.metadata or argo.ObjectMeta(), workflow.spec
    labels = {key: value for key, value in metadata.labels.items() if key != CRON_LABEL}
    arguments = spec.arguments or argo.Arguments()
    others = tuple(one for one in arguments.parameters if one.name != backfill.wish.argname)
    given = argo.Parameter(name=backfill.wish.argname, value=_written(run.at, backfill.wish.format))
    return replace(
        workflow,
        metadata=replace(metadata, labels={**labels, BACKFILL_LABEL: backfill.name[:63].rstrip("-.")}),
        spec=replace(spec, arguments=replace(arguments, parameters=(*others, given))),
    )


def _workflow_name(cron: str, backfill: str, at: int) -> str:
    """Return a name that is the same each time, and no longer than a name may be."""
    base = f"{cron}-{backfill}"
    if len(base) > _NAME_CHARS:
        digest = hashlib.sha256(base.encode()).hexdigest()[:10]
        base = f"{base[: _NAME_CHARS - 11].rstrip('-.')}-{digest}"
    return f"{base}-{at}"


def _moment(text: str, what: str, cron: argo.CronWorkflow, *, last: bool = False) -> float:
    """Return the seconds of a time or a day; without an offset it is meant in the schedule's time zone. `last`: a day's end.

    Raises:
        Refused: it is neither.
    """
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None:
            found = found.replace(tzinfo=zone(cron.spec.timezone or ""))
        if last and len(text) == len("2024-01-01"):
            found = found.replace(hour=23, minute=59, second=59)
        return found.timestamp()
    except (ValueError, OverflowError, OSError) as error:
        example = "2024-01-31 or 2024-01-31T06:00:00Z"
        raise Refused(f"{what} {text[:60]!r} is no time; write for example {example}") from error


def _written(at: int, pattern: str) -> str:
    try:
        text = datetime.fromtimestamp(at, UTC).strftime(pattern[:200])
    except ValueError as error:
        raise Refused(f"format {pattern[:60]!r} cannot be used: {error}") from error
    if not text.isprintable() or not text:
        raise Refused(f"format {pattern[:60]!r} cannot be used: it gives {text[:60]!r}")
    return text


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y%m%dt%H%M%S")


def _rfc3339(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
