"""CronWorkflows: when they start what, and what is kept of it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from jitflow.app.schedules import Scheduler
from jitflow.expr.schedules import Schedule, ScheduleError
from jitflow.model import argo
from jitflow.model.problems import Refused
from jitflow.objects import ObjectStore
from jitflow.ports.store import RunRow
from jitflow.testing.fake_engine import PlainSealer
from jitflow.testing.memory_store import MemoryStore

pytestmark = pytest.mark.pure


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


NOON = at("2024-03-30T12:00:00")


@pytest.mark.parametrize(
    ("text", "zone", "after", "expected"),
    [
        ("*/5 * * * *", "", "2024-03-30T12:01:30", "2024-03-30T12:05:00"),
        ("0 2 * * 1-5", "", "2024-03-30T12:00:00", "2024-04-01T02:00:00"),
        ("@daily", "Europe/Berlin", "2024-03-30T12:00:00", "2024-03-30T23:00:00"),
        ("30 2 * * *", "Europe/Berlin", "2024-03-30T12:00:00", "2024-03-31T01:00:00"),  # 02:30 is not there that day
        ("@every 1h30m", "", "2024-03-30T12:00:00", "2024-03-30T13:30:00"),
        ("TZ=America/New_York 0 8 * * *", "", "2024-03-30T12:00:00", "2024-03-31T12:00:00"),
    ],
)
def test_schedules_tell_the_next_time(text: str, zone: str, after: str, expected: str) -> None:
    assert Schedule(text, zone).next_after(at(after)) == at(expected)


@pytest.mark.parametrize(
    "text", ["", "* * * *", "61 * * * *", "@sometimes", "@every 1ms", "@every x", "TZ=No/Where * * * * *", "x" * 300]
)
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(ScheduleError):
        Schedule(text)


class Clock:
    """A clock that is set; a sleeper looks at it again when it is told."""

    def __init__(self) -> None:
        self.at = NOON

    def now(self) -> float:
        return self.at

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(0)


class Runs:
    """Workflows as the scheduler sees them."""

    def __init__(self) -> None:
        self.rows: list[RunRow] = []
        self.started: list[argo.Workflow] = []
        self.ended: list[str] = []
        self.removed: list[str] = []
        self.invalid = ""

    async def start(self, workflow: argo.Workflow, namespace: str, *, kept: bool = True) -> argo.Workflow:
        metadata = workflow.metadata or argo.ObjectMeta()
        if self.invalid:
            assert not kept
            raise Refused(self.invalid)
        self.started.append(workflow)
        row = RunRow(
            uid=metadata.name or "", namespace=namespace, name=metadata.name or "", phase="Running", labels=metadata.labels
        )
        self.rows.insert(0, row)
        return workflow

    def labelled(self, namespace: str, label: str, value: str) -> list[RunRow]:
        return [row for row in self.rows if row.labels.get(label) == value]

    async def end(self, row: RunRow) -> None:
        self.ended.append(row.name)
        self.finish(row.name, "Failed")

    async def remove(self, row: RunRow) -> None:
        self.removed.append(row.name)
        self.rows.remove(row)

    def finish(self, name: str, phase: str) -> RunRow:
        place = next(place for place, row in enumerate(self.rows) if row.name == name)
        old = self.rows[place]
        self.rows[place] = RunRow(
            uid=old.uid, namespace=old.namespace, name=name, phase=phase, labels=old.labels, finished_at=1.0
        )
        return self.rows[place]


class Stage:
    def __init__(self, objects: ObjectStore) -> None:
        self.objects = objects
        self.clock = Clock()
        self.runs = Runs()
        self.tasks: set[asyncio.Task[None]] = set()
        self.scheduler = Scheduler(objects, self.runs, self.clock, self.spawn)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self.tasks.add(asyncio.get_running_loop().create_task(work, name=name))

    async def pass_to(self, moment: float) -> None:
        """Let the time be later, and the scheduler see it."""
        self.clock.at = moment
        for _ in range(3):
            self.scheduler._changed.set()
            await asyncio.sleep(0.002)

    async def suspend(self, *, suspended: bool) -> None:
        found = self.objects.find(argo.CronWorkflow, "ns", "c")
        assert found is not None
        await self.objects.replace(replace(found, spec=replace(found.spec, suspend=suspended)), "ns")

    def names(self) -> list[str]:
        return [(workflow.metadata and workflow.metadata.name) or "" for workflow in self.runs.started]

    def status(self) -> argo.CronWorkflowStatus:
        found = self.objects.find(argo.CronWorkflow, "ns", "c")
        assert found is not None
        return found.status or argo.CronWorkflowStatus()


def cron(**spec: Any) -> argo.CronWorkflow:
    spec = {"schedules": ("* * * * *",), **spec}
    body = argo.WorkflowSpec(entrypoint="a", templates=(argo.Template(name="a", container=argo.Container(image="i")),))
    return argo.CronWorkflow(metadata=argo.ObjectMeta(name="c"), spec=argo.CronWorkflowSpec(workflow_spec=body, **spec))


def play(scenario: Callable[[Stage], Awaitable[None]], *crons: argo.CronWorkflow, opened: bool = True) -> None:
    async def run() -> None:
        clock = Clock()

        class Ids:
            def uid(self) -> str:
                return "u"

            def suffix(self) -> str:
                return "x"

        objects = ObjectStore(MemoryStore(), PlainSealer(), clock, Ids())
        await objects.open()
        for one in crons:
            await objects.create(one, "ns")
        stage = Stage(objects)
        if opened:
            stage.scheduler.open()
        await asyncio.sleep(0.002)
        await scenario(stage)
        stage.scheduler.close()
        for task in stage.tasks:
            task.cancel()
        await asyncio.gather(*stage.tasks, return_exceptions=True)

    asyncio.run(run())


def test_a_run_starts_at_its_time_with_argos_names() -> None:
    """SEMANTICS cron: child `<cron>-<unix seconds of schedule>`, annotation …/scheduled-time, label cron-workflow."""

    async def scenario(stage: Stage) -> None:
        await stage.pass_to(NOON + 59)
        assert stage.names() == []
        await stage.pass_to(NOON + 61)
        assert stage.names() == [f"c-{int(NOON + 60)}"]
        metadata = stage.runs.started[0].metadata
        assert metadata is not None
        assert metadata.annotations == {"workflows.argoproj.io/scheduled-time": "2024-03-30T12:01:00Z"}
        assert metadata.labels == {"workflows.argoproj.io/cron-workflow": "c"}
        assert stage.status().last_scheduled_time == "2024-03-30T12:01:00Z"
        assert [reference.name for reference in stage.status().active] == stage.names()

    play(scenario, cron())


def test_several_schedules_start_once_each_time() -> None:
    async def scenario(stage: Stage) -> None:
        for minute in range(1, 5):
            await stage.pass_to(NOON + 60 * minute + 1)
        assert len(stage.names()) == 4

    play(scenario, cron(schedules=("* * * * *", "*/2 * * * *")))


@pytest.mark.parametrize(("policy", "started", "ended"), [("Allow", 2, 0), ("Forbid", 1, 0), ("Replace", 2, 1)])
def test_concurrency(policy: str, started: int, ended: int) -> None:
    """SEMANTICS cron: concurrencyPolicy Allow/Forbid/Replace."""

    async def scenario(stage: Stage) -> None:
        await stage.pass_to(NOON + 61)
        await stage.pass_to(NOON + 121)
        assert (len(stage.runs.started), len(stage.runs.ended)) == (started, ended)

    play(scenario, cron(concurrency_policy=policy))


def test_a_suspended_schedule_rests() -> None:
    async def scenario(stage: Stage) -> None:
        await stage.pass_to(NOON + 61)
        assert stage.names() == []

    play(scenario, cron(suspend=True))


def test_when_decides_about_each_run() -> None:
    """SEMANTICS cron: `when` per run; Cron `when` uses govaluate."""
    condition = "{{= cronworkflow.lastScheduledTime == nil || (now() - cronworkflow.lastScheduledTime).Seconds() > 100 }}"

    async def scenario(stage: Stage) -> None:
        for minute in range(1, 5):
            await stage.pass_to(NOON + 60 * minute + 1)
        assert stage.names() == [f"c-{int(NOON + 60)}", f"c-{int(NOON + 180)}"]

    play(scenario, cron(when=condition))


def test_what_cannot_be_evaluated_is_told_in_the_status() -> None:
    async def scenario(stage: Stage) -> None:
        await stage.pass_to(NOON + 61)
        assert stage.names() == []
        assert stage.status().conditions[0].type == "SubmissionError"

    play(scenario, cron(when="1 +"))


def test_a_stop_strategy_stops_for_good() -> None:
    """SEMANTICS cron: stopStrategy.expression (cronworkflow.failed/.succeeded/.name…) ⇒ phase Stopped."""

    async def scenario(stage: Stage) -> None:
        await stage.pass_to(NOON + 61)
        stage.scheduler.run_ended(stage.runs.finish(stage.names()[0], "Failed"))
        await asyncio.sleep(0.01)
        assert (stage.status().failed, stage.status().phase) == (1, "Stopped")
        await stage.pass_to(NOON + 121)
        assert len(stage.names()) == 1

    play(scenario, cron(stop_strategy=argo.StopStrategy(expression="cronworkflow.failed >= 1")))


def test_history_is_kept_within_its_limits() -> None:
    """SEMANTICS cron: history 3/1."""

    async def scenario(stage: Stage) -> None:
        for minute in range(1, 7):
            await stage.pass_to(NOON + 60 * minute + 1)
            phase = "Succeeded" if minute < 6 else "Failed"
            stage.scheduler.run_ended(stage.runs.finish(stage.names()[-1], phase))
            await asyncio.sleep(0.01)
        assert len(stage.runs.rows) == 4
        assert stage.status().succeeded == 5

    play(scenario, cron())


@pytest.mark.parametrize(("good", "bad", "left"), [(0, 0, 0), (1, 2, 3), (2, None, 3), (-1, 1, 1)])
def test_history_limits_are_those_of_the_schedule(good: int, bad: int | None, left: int) -> None:
    """SEMANTICS cron: successfulJobsHistoryLimit, failedJobsHistoryLimit; below 0 counts as 0."""

    async def scenario(stage: Stage) -> None:
        for minute in range(1, 9):
            await stage.pass_to(NOON + 60 * minute + 1)
            stage.scheduler.run_ended(stage.runs.finish(stage.names()[-1], "Failed" if minute % 2 else "Succeeded"))
            await asyncio.sleep(0.01)
        assert len(stage.runs.rows) == left
        assert (stage.status().succeeded, stage.status().failed) == (4, 4)

    play(scenario, cron(successful_jobs_history_limit=good, failed_jobs_history_limit=bad))


def test_times_are_meant_in_the_schedules_zone() -> None:
    """SEMANTICS cron: timezone; a schedule that names one of its own goes before."""

    async def scenario(stage: Stage) -> None:
        await stage.pass_to(at("2024-03-30T12:59:59"))
        assert stage.names() == []
        await stage.pass_to(at("2024-03-30T13:00:01"))
        await stage.pass_to(at("2024-03-30T14:00:01"))
        assert stage.names() == [f"c-{int(at('2024-03-30T13:00:00'))}", f"c-{int(at('2024-03-30T14:00:00'))}"]

    play(scenario, cron(schedules=("0 14 * * *", "TZ=UTC 0 14 * * *"), timezone="Europe/Berlin"))


@pytest.mark.parametrize(("deadline_s", "expected"), [(None, 0), (0, 0), (30, 1), (3, 0)])
def test_one_missed_run_is_caught_up_within_the_deadline(deadline_s: int | None, expected: int) -> None:
    """SEMANTICS cron: startingDeadlineSeconds catches up one missed run."""
    missed = cron(starting_deadline_seconds=deadline_s)
    missed = argo.CronWorkflow(
        metadata=missed.metadata, spec=missed.spec, status=argo.CronWorkflowStatus(last_scheduled_time="2024-03-30T11:30:00Z")
    )

    async def scenario(stage: Stage) -> None:
        stage.clock.at = NOON + 10
        stage.scheduler.open()
        await asyncio.sleep(0.01)
        assert stage.names() == [f"c-{int(NOON)}"] * expected

    play(scenario, missed, opened=False)


def test_an_invalid_workflow_is_a_condition_of_its_schedule_until_it_is_mended() -> None:
    """SEMANTICS cron: condition SpecError; no workflow is made, and the schedule is tried again when it is due."""

    async def scenario(stage: Stage) -> None:
        stage.runs.invalid = "template name 'gone' undefined"
        await stage.pass_to(NOON + 61)
        (condition,) = stage.status().conditions
        assert (condition.type, condition.status) == ("SpecError", "True")
        assert condition.message == "cannot validate Workflow: template name 'gone' undefined"
        assert not stage.status().last_scheduled_time
        stage.runs.invalid = ""
        await stage.pass_to(NOON + 121)
        assert stage.status().conditions == ()
        assert stage.names() == [f"c-{int(NOON + 120)}"]

    play(scenario, cron())


def test_a_schedule_that_is_new_or_goes_on_starts_nothing_that_was_due_before() -> None:
    async def scenario(stage: Stage) -> None:
        await stage.pass_to(NOON + 65)
        await stage.objects.create(cron(), "ns")
        await stage.pass_to(NOON + 66)
        assert stage.names() == []
        await stage.pass_to(NOON + 121)
        assert stage.names() == [f"c-{int(NOON + 120)}"]
        await stage.suspend(suspended=True)
        await stage.pass_to(NOON + 190)
        await stage.suspend(suspended=False)
        await stage.pass_to(NOON + 200)
        assert len(stage.names()) == 1
        await stage.pass_to(NOON + 241)
        assert stage.names()[1:] == [f"c-{int(NOON + 240)}"]

    play(scenario)
