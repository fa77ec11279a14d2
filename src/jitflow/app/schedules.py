"""CronWorkflows: starting their workflows when it is time, and keeping count of them."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Protocol

from msgspec.structs import replace

from jitflow.app.present import API_VERSION
from jitflow.app.submit import CRON_LABEL, from_cron
from jitflow.expr import environment, tags
from jitflow.expr import when as when_language
from jitflow.expr.lang import LangError, Moment, compile_expression
from jitflow.expr.schedules import Schedule, ScheduleError
from jitflow.model import argo
from jitflow.model.problems import Refused
from jitflow.objects import Change, ObjectStore
from jitflow.ports.clock import Clock
from jitflow.ports.store import RunRow
from jitflow.telemetry import logger

STOPPED, ACTIVE = "Stopped", "Active"
SUCCESSES_KEPT, FAILURES_KEPT = 3, 1
"""History limits where a schedule names none."""

LONGEST_SLEEP_S = 3600.0
_ACTIVE_PHASES = frozenset({"", "Pending", "Running"})
_log = logger("schedules")


class Runs(Protocol):
    """What a schedule does with workflows."""

    async def start(self, workflow: argo.Workflow, namespace: str, *, kept: bool = True) -> argo.Workflow:
        """Let a workflow run; one that cannot is kept, ended in Error, or else refused."""
        ...

    def labelled(self, namespace: str, label: str, value: str) -> list[RunRow]:
        """Return the runs with a label, newest first."""
        ...

    async def end(self, row: RunRow) -> None:
        """Terminate a run."""
        ...

    async def remove(self, row: RunRow) -> None:
        """Delete a run."""
        ...


Spawn = Callable[[Coroutine[Any, Any, None], str], None]


class Scheduler:
    """Starts the workflows of all CronWorkflows. One for each server; it sleeps until the next of them is due."""

    def __init__(self, objects: ObjectStore, runs: Runs, clock: Clock, spawn: Spawn) -> None:
        """Hold the parts; nothing happens before `open`."""
        self._objects = objects
        self._runs = runs
        self._clock = clock
        self._spawn = spawn
        self._looked_at = 0.0
        self._known: dict[tuple[str, str], tuple[str, argo.CronWorkflowSpec, float]] = {}
        self._changed = asyncio.Event()
        self._stop: Callable[[], None] | None = None

    def open(self) -> None:
        """Begin: first with what was missed while nobody looked, where a schedule allows that."""
        self._looked_at = self._clock.now()
        self._learn()
        self._stop = self._objects.subscribe(self._hear)
        self._spawn(self._run(), "schedules")

    def close(self) -> None:
        """Start nothing any more."""
        if self._stop is not None:
            self._stop()
            self._stop = None

    def _hear(self, change: Change) -> None:
        if change.kind == "CronWorkflow":
            self._changed.set()

    async def _run(self) -> None:
        for cron in self._objects.list(argo.CronWorkflow):
            await self._catch_up(cron)
        while True:
            self._changed.clear()
            self._learn()
            now = self._clock.now()
            crons = self._objects.list(argo.CronWorkflow)
            due = [at for cron in crons if (at := self._next(cron, self._since(cron))) is not None]
            wait_s = min(max(0.0, min(due, default=now + LONGEST_SLEEP_S) - now), LONGEST_SLEEP_S)
            if wait_s > 0:
                try:
                    async with asyncio.timeout(wait_s):
                        await self._changed.wait()
                    continue
                except TimeoutError:
                    pass
            await self._start_due()

    def _learn(self) -> None:
        """Remember since when each schedule is as it is: one that is new, or goes on, starts nothing that was due before."""
        now, known = self._clock.now(), self._known
        self._known = {}
        for cron in self._objects.list(argo.CronWorkflow):
            before = known.get(_key(cron))
            uid = (cron.metadata and cron.metadata.uid) or ""
            same = before is not None and before[:2] == (uid, cron.spec)
            self._known[_key(cron)] = before if before is not None and same else (uid, cron.spec, now)

    def _since(self, cron: argo.CronWorkflow) -> float:
        known = self._known.get(_key(cron))
        return self._looked_at if known is None else max(self._looked_at, known[2])

    async def _start_due(self) -> None:
        now = self._clock.now()
        found = [(cron, self._next(cron, self._since(cron))) for cron in self._objects.list(argo.CronWorkflow)]
        self._looked_at = now
        for cron, at in found:
            if at is not None and at <= now:
                await self._guarded(cron, at)

    async def _guarded(self, cron: argo.CronWorkflow, at: float) -> None:
        """Start one; whatever is wrong with it becomes a condition of its status, and the others go on."""
        try:
            await self._start(cron, at)
        except (Refused, LangError, when_language.WhenError, ScheduleError) as error:
            _log.warning("schedule failed", cron=_name(cron), reason=str(error))
            await self._tell(cron, conditions=(argo.Condition(type="SubmissionError", status="True", message=str(error)[:1000]),))

    async def _catch_up(self, cron: argo.CronWorkflow) -> None:
        """Start a run that was missed, the last one, if it is not later than its deadline allows."""
        deadline_s = cron.spec.starting_deadline_seconds
        last = cron.status.last_scheduled_time if cron.status is not None else None
        if not deadline_s or not last:
            return
        now = self._clock.now()
        at, missed = self._next(cron, _seconds(last)), None
        while at is not None and at <= now:
            missed = at
            at = self._next(cron, max(at, now - deadline_s - 1))
        if missed is not None and now - missed <= deadline_s:
            await self._guarded(cron, missed)

    def _next(self, cron: argo.CronWorkflow, after: float) -> float | None:
        status = cron.status or argo.CronWorkflowStatus()
        if cron.spec.suspend or status.phase == STOPPED:
            return None
        times: list[float] = []
        for text in cron.spec.schedules:
            try:
                at = Schedule(text, cron.spec.timezone or "").next_after(after)
            except ScheduleError:
                continue
            if at is not None:
                times.append(at)
        return min(times, default=None)

    # -- one run ------------------------------------------------------------------------------------------------------

    async def _start(self, cron: argo.CronWorkflow, at: float) -> None:
        if self._is_over(cron):
            await self._tell(cron, phase=STOPPED)
            return
        if not self._holds(cron):
            return
        namespace = (cron.metadata and cron.metadata.namespace) or ""
        active = [row for row in self._rows(cron) if row.phase in _ACTIVE_PHASES]
        if active and cron.spec.concurrency_policy == "Forbid":
            return
        if cron.spec.concurrency_policy == "Replace":
            for row in active:
                await self._runs.end(row)
        workflow = from_cron(cron, at, name=f"{_name(cron)}-{int(at)}")
        try:
            await self._runs.start(workflow, namespace, kept=False)
        except Refused as error:
            if error.code != "invalid":
                raise
            _log.warning("schedule's workflow is invalid", cron=_name(cron), reason=str(error))
            message = f"cannot validate Workflow: {error}"[:1000]
            await self._tell(cron, conditions=(argo.Condition(type="SpecError", status="True", message=message),))
            return
        stamp = datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        await self._tell(cron, last_scheduled_time=stamp, phase=ACTIVE, conditions=())

    def _rows(self, cron: argo.CronWorkflow) -> list[RunRow]:
        return self._runs.labelled((cron.metadata and cron.metadata.namespace) or "", CRON_LABEL, _name(cron))

    def _is_over(self, cron: argo.CronWorkflow) -> bool:
        expression = cron.spec.stop_strategy.expression if cron.spec.stop_strategy is not None else ""
        if not expression:
            return False
        value = compile_expression(expression).evaluate(self._environment(cron))
        if not isinstance(value, bool):
            raise Refused(f"stopStrategy.expression {expression!r} must give true or false")
        return value

    def _holds(self, cron: argo.CronWorkflow) -> bool:
        """Whether a schedule's `when` lets this run begin: govaluate, without taking bare words for texts."""
        if not cron.spec.when:
            return True
        env = self._environment(cron)

        def lookup(tag: str) -> str | None:
            try:
                value = compile_expression(tag.removeprefix("=")).evaluate(env)
            except LangError:
                return None
            return value if isinstance(value, str) else None if value is None else environment.FUNCTIONS["toJson"](value)

        return when_language.evaluate(tags.substitute(cron.spec.when, lookup), bare_words=False)

    def _environment(self, cron: argo.CronWorkflow) -> dict[str, Any]:
        metadata, status = cron.metadata or argo.ObjectMeta(), cron.status or argo.CronWorkflowStatus()
        last = status.last_scheduled_time
        known = {
            "name": metadata.name or "",
            "namespace": metadata.namespace or "",
            "labels": dict(metadata.labels),
            "annotations": dict(metadata.annotations),
            "lastScheduledTime": Moment(datetime.fromtimestamp(_seconds(last), UTC)) if last else None,
            "failed": status.failed or 0,
            "succeeded": status.succeeded or 0,
        }
        return {**environment.at(self._clock.now()), "cronworkflow": known}

    # -- keeping count ------------------------------------------------------------------------------------------------

    def run_ended(self, row: RunRow) -> None:
        """A workflow has ended: if a schedule started it, count it and delete what its history need not hold."""
        name = row.labels.get(CRON_LABEL)
        cron = self._objects.find(argo.CronWorkflow, row.namespace, name) if name else None
        if cron is not None:
            self._spawn(self._count(cron, row), f"count a run of {name}")

    async def _count(self, cron: argo.CronWorkflow, row: RunRow) -> None:
        cron = self._objects.find(argo.CronWorkflow, row.namespace, _name(cron)) or cron
        status = cron.status or argo.CronWorkflowStatus()
        if row.phase == "Succeeded":
            cron = await self._tell(cron, succeeded=(status.succeeded or 0) + 1)
        else:
            cron = await self._tell(cron, failed=(status.failed or 0) + 1)
        if self._is_over(cron):
            await self._tell(cron, phase=STOPPED)
        ended = [run for run in self._rows(cron) if run.finished_at is not None]
        good = [run for run in ended if run.phase == "Succeeded"]
        bad = [run for run in ended if run.phase != "Succeeded"]
        limits = (
            (good, cron.spec.successful_jobs_history_limit, SUCCESSES_KEPT),
            (bad, cron.spec.failed_jobs_history_limit, FAILURES_KEPT),
        )
        for found, limit, default in limits:
            for old in found[default if limit is None else max(0, limit) :]:
                await self._runs.remove(old)

    async def _tell(self, cron: argo.CronWorkflow, **changes: Any) -> argo.CronWorkflow:
        """Change a schedule's status, and who is active; return it. One that was deleted meanwhile stays away."""
        namespace = (cron.metadata and cron.metadata.namespace) or ""
        newest = self._objects.find(argo.CronWorkflow, namespace, _name(cron))
        if newest is None:
            return cron
        active = tuple(
            argo.ObjectReference(api_version=API_VERSION, kind="Workflow", name=row.name, namespace=row.namespace, uid=row.uid)
            for row in self._rows(cron)
            if row.phase in _ACTIVE_PHASES
        )  # fmt: skip
        status = replace(newest.status or argo.CronWorkflowStatus(), active=active, **changes)
        return await self._objects.replace(replace(newest, status=status), namespace)


def _name(cron: argo.CronWorkflow) -> str:
    return (cron.metadata and cron.metadata.name) or ""


def _key(cron: argo.CronWorkflow) -> tuple[str, str]:
    return (cron.metadata and cron.metadata.namespace) or "", _name(cron)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
