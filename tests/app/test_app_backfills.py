"""Backfills of schedules: which runs are started, how many at once, in which order, and over a restart."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from jitflow.app.backfills import BACKFILL_LABEL, Backfills
from jitflow.model import argo
from jitflow.model.backfill import CANCELLED, STARTED, WAITING, Backfill, BackfillRun, BackfillWish
from jitflow.model.problems import Refused
from jitflow.objects import ObjectStore
from jitflow.ports.errors import Retryable
from jitflow.ports.store import RunRow
from jitflow.testing.fake_engine import PlainSealer
from jitflow.testing.memory_store import MemoryStore

pytestmark = pytest.mark.pure

WEEK = BackfillWish(start="2024-01-01", end="2024-01-07", argname="date", format="%Y-%m-%d")
CRON = argo.CronWorkflow(
    metadata=argo.ObjectMeta(name="daily", namespace="team"),
    spec=argo.CronWorkflowSpec(
        schedules=("0 2 * * *",),
        workflow_spec=argo.WorkflowSpec(
            entrypoint="main",
            arguments=argo.Arguments(
                parameters=(argo.Parameter(name="date", value="yesterday"), argo.Parameter(name="x", value="1"))
            ),
        ),
    ),
)


class Clock:
    at = 1_750_000_000.0

    def now(self) -> float:
        return self.at

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(0)


class Changed:
    def __init__(self, row: RunRow, kind: str = "MODIFIED") -> None:
        self.row = row
        self.kind = kind
        self.ends = kind == "MODIFIED"
        self.nodes: list[str] = []
        self.removed: list[str] = []

    def views(self, ids: Any) -> list[argo.NodeStatus]:
        return []


class Runs:
    """Workflows as a backfill sees them."""

    def __init__(self) -> None:
        self.rows: dict[str, RunRow] = {}
        self.started: list[argo.Workflow] = []
        self.ended: list[str] = []
        self.faults: list[Exception] = []
        self.most = 0

    async def start(self, workflow: argo.Workflow, namespace: str, *, kept: bool = True) -> argo.Workflow:
        if self.faults:
            raise self.faults.pop(0)
        metadata = workflow.metadata or argo.ObjectMeta()
        name = metadata.name or ""
        assert name not in self.rows, "started twice"
        self.started.append(workflow)
        self.rows[name] = RunRow(uid=name, namespace=namespace, name=name, phase="Running", labels=metadata.labels)
        self.most = max(self.most, len(self.running()))
        return workflow

    def running(self) -> list[str]:
        return [row.name for row in self.rows.values() if row.finished_at is None]

    def row_of(self, namespace: str, name: str) -> RunRow | None:
        row = self.rows.get(name)
        return row if row is not None and row.namespace == namespace else None

    async def end(self, row: RunRow) -> None:
        self.ended.append(row.name)


class Stage:
    def __init__(self, objects: ObjectStore, store: MemoryStore) -> None:
        self.objects = objects
        self.store = store
        self.runs = Runs()
        self.clock = Clock()
        self.tasks: set[asyncio.Task[Any]] = set()
        self.backfills = self.make()

    def make(self) -> Backfills:
        return Backfills(self.objects, self.runs, self.store, self.clock, self.spawn)

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def settled(self) -> None:
        while self.tasks:
            await asyncio.gather(*self.tasks)

    async def end(self, name: str, phase: str = "Succeeded") -> None:
        row = self.runs.rows[name] = replace(self.runs.rows[name], phase=phase, finished_at=1.0)
        self.backfills.heard(Changed(row))
        await self.settled()

    async def restart(self) -> None:
        self.backfills.close()
        await self.settled()
        self.backfills = self.make()
        await self.backfills.open()
        await self.settled()

    def dates(self) -> list[str]:
        """Return what the runs were given."""
        found: list[str] = []
        for workflow in self.runs.started:
            parameters = {p.name: p.value for p in (workflow.spec.arguments or argo.Arguments()).parameters}
            assert parameters.keys() == {"date", "x"}
            found.append(parameters["date"] or "")
        return found


def on_stage(story: Callable[[Stage], Awaitable[None]], cron: argo.CronWorkflow = CRON) -> None:
    async def run() -> None:
        store = MemoryStore()
        stage = Stage(ObjectStore(store, PlainSealer(), Clock(), _Ids()), store)
        await stage.objects.open()
        await stage.objects.create(cron, "team")
        await stage.backfills.open()
        await story(stage)

    asyncio.run(run())


class _Ids:
    count = 0

    def uid(self) -> str:
        self.count += 1
        return f"uid-{self.count}"

    def suffix(self) -> str:
        return "abcde"


def test_every_scheduled_time_runs_once_a_few_at_a_time() -> None:
    async def story(stage: Stage) -> None:
        made = await stage.backfills.make("team", "daily", replace(WEEK, parallelism=2))
        assert (made.phase, sum(made.counts.values())) == ("Running", 7)
        await stage.settled()
        for _ in range(7):
            assert len(stage.runs.running()) <= 2
            await stage.end(stage.runs.running()[0])
        assert stage.runs.most == 2
        assert stage.dates() == [f"2024-01-0{day}" for day in range(1, 8)]
        found = stage.backfills.get("team", "daily", made.name)
        assert (found.phase, found.counts) == ("Done", {"Succeeded": 7})
        assert next(run.scheduled for run in found.runs or ()) == "2024-01-01T02:00:00Z"

    on_stage(story)


def test_the_runs_are_the_backfills_and_do_not_count_as_the_schedules() -> None:
    async def story(stage: Stage) -> None:
        made = await stage.backfills.make("team", "daily", replace(WEEK, end="2024-01-01"))
        await stage.settled()
        (workflow,) = stage.runs.started
        metadata = workflow.metadata
        assert metadata is not None
        assert metadata.labels == {BACKFILL_LABEL: made.name}
        assert metadata.annotations == {"workflows.argoproj.io/scheduled-time": "2024-01-01T02:00:00Z"}
        assert metadata.name == f"daily-{made.name}-1704074400"
        assert metadata.owner_references[0].name == "daily"

    on_stage(story)


def test_the_newest_may_come_first_and_schedules_and_zones_are_heeded() -> None:
    cron = replace(CRON, spec=replace(CRON.spec, schedules=("0 2 * * *", "0 2,14 * * *"), timezone="Europe/Berlin"))

    async def story(stage: Stage) -> None:
        wish = BackfillWish(start="2024-01-01", end="2024-01-02", order="newest", parallelism=9)
        made = await stage.backfills.make("team", "daily", wish)
        await stage.settled()
        found = stage.backfills.get("team", "daily", made.name).runs or ()
        assert [run.scheduled[5:16] for run in found] == ["01-02T13:00", "01-02T01:00", "01-01T13:00", "01-01T01:00"]
        given = (stage.runs.started[0].spec.arguments or argo.Arguments()).parameters[-1]
        # What `argo cron backfill` gives: its name and its form.
        assert (given.name, given.value) == ("cronScheduleTime", "Tue, 02 Jan 2024 13:00:00 UTC")

    on_stage(story, cron)


def test_the_same_wish_again_is_the_same_backfill() -> None:
    async def story(stage: Stage) -> None:
        made = await stage.backfills.make("team", "daily", WEEK)
        again = await stage.backfills.make("team", "daily", WEEK)
        await stage.settled()
        assert made.name == again.name == "20240101t020000-20240107t020000"
        assert len(stage.runs.started) == 1
        with pytest.raises(Refused, match="asks for something else") as refused:
            await stage.backfills.make("team", "daily", replace(WEEK, name=made.name, parallelism=3))
        assert refused.value.code == "conflict"
        assert [one.name for one in stage.backfills.list("team", "daily")] == [made.name]

    on_stage(story)


def test_a_restart_goes_on_and_starts_nothing_twice() -> None:
    async def story(stage: Stage) -> None:
        made = await stage.backfills.make("team", "daily", replace(WEEK, parallelism=2))
        await stage.settled()
        await stage.end(stage.runs.running()[0])
        # One ends and one is deleted while nobody looks; a third was started, but that was not written down any more.
        first, second = stage.runs.running()
        stage.runs.rows[first] = replace(stage.runs.rows[first], phase="Failed", finished_at=2.0, message="no luck")
        del stage.runs.rows[second]
        waiting = next(run for run in stage.backfills.get("team", "daily", made.name).runs or () if run.state == "Waiting")
        stage.runs.rows[waiting.workflow] = RunRow(
            uid="u", namespace="team", name=waiting.workflow, phase="Running", labels={BACKFILL_LABEL: made.name}
        )
        await stage.restart()
        while stage.runs.running():
            await stage.end(stage.runs.running()[0])
        found = stage.backfills.get("team", "daily", made.name)
        assert found.counts == {"Succeeded": 5, "Failed": 1, "Deleted": 1}
        assert next(run.message for run in found.runs or () if run.state == "Failed") == "no luck"
        assert stage.runs.most == 2

    on_stage(story)


def test_a_backfill_is_cancelled_and_forgotten() -> None:
    async def story(stage: Stage) -> None:
        made = await stage.backfills.make("team", "daily", replace(WEEK, parallelism=2))
        await stage.settled()
        with pytest.raises(Refused, match="not over"):
            await stage.backfills.forget("team", "daily", made.name)
        found = await stage.backfills.cancel("team", "daily", made.name, terminate=True)
        assert (found.phase, found.counts) == ("Running", {"Started": 2, "Cancelled": 5})
        assert sorted(stage.runs.ended) == sorted(stage.runs.running())
        for name in stage.runs.running():
            await stage.end(name, "Failed")
        assert stage.backfills.get("team", "daily", made.name).phase == "Cancelled"
        await stage.restart()
        assert len(stage.runs.started) == 2
        await stage.backfills.forget("team", "daily", made.name)
        assert stage.backfills.list("team", "daily") == []
        assert not await stage.store.items("backfill")

    on_stage(story)


def test_what_cannot_start_is_an_error_of_its_run_and_the_others_go_on() -> None:
    async def story(stage: Stage) -> None:
        stage.runs.faults = [Refused("no such template"), Retryable("busy")]
        made = await stage.backfills.make("team", "daily", replace(WEEK, end="2024-01-02"))
        await stage.settled()
        await stage.end(stage.runs.running()[0])
        found = stage.backfills.get("team", "daily", made.name)
        assert [(run.state, run.message) for run in found.runs or ()] == [("Error", "no such template"), ("Succeeded", "")]

    on_stage(story)


def test_a_schedule_that_is_gone_ends_its_backfill() -> None:
    async def story(stage: Stage) -> None:
        made = await stage.backfills.make("team", "daily", replace(WEEK, end="2024-01-03"))
        await stage.settled()
        await stage.objects.delete(argo.CronWorkflow, "team", "daily")
        await stage.end(stage.runs.running()[0])
        assert stage.backfills.get("team", "daily", made.name).counts == {"Succeeded": 1, "Error": 2}

    on_stage(story)


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (replace(WEEK, start="soon"), "start 'soon' is no time"),
        (replace(WEEK, end="2023-12-01"), "lies before the start"),
        (replace(WEEK, parallelism=0), "parallelism must be"),
        (replace(WEEK, max_count=3), "more than 3 runs"),
        (replace(WEEK, max_count=1_000_000), "max_count must be"),
        (replace(WEEK, argname=""), "argname"),
        (replace(WEEK, format="\x00"), "format"),
        (replace(WEEK, name="No Name"), "No Name"),
        (BackfillWish(start="2024-01-01T03:00:00", end="2024-01-01T04:00:00"), "has no run between"),
        (BackfillWish(start="0001-01-01", end="9999-12-31"), ""),
    ],
)
def test_wishes_that_make_no_sense_are_refused(wish: BackfillWish, words: str) -> None:
    async def story(stage: Stage) -> None:
        with pytest.raises(Refused) as refused:
            await stage.backfills.make("team", "daily", wish)
        assert words in str(refused.value)
        with pytest.raises(Refused, match="not found"):
            await stage.backfills.make("team", "other", WEEK)
        assert stage.backfills.list("team", "daily") == []

    on_stage(story)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 4), st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["start", "end", "cancel"])), max_size=30))
def test_never_more_than_may_run_at_once_and_each_at_most_once(parallelism: int, moves: list[tuple[int, str]]) -> None:
    runs = tuple(BackfillRun(at=at, workflow=str(at)) for at in range(6))
    one = Backfill(
        namespace="n", cron="c", name="b", wish=BackfillWish(start="", parallelism=parallelism), created_at=0.0, runs=runs
    )
    started: set[str] = set()
    for number, move in moves:
        if move == "start" and (run := one.next()) is not None:
            assert run.workflow not in started
            started.add(run.workflow)
            one = one.with_run(run.workflow, STARTED)
        elif move == "end" and one.runs[number].state == STARTED:
            one = one.with_run(str(number), "Succeeded")
            assert one.with_run(str(number), "Failed") == one
        elif move == "cancel" and number == 0:
            one = one.cancel()
            assert one.next() is None
        assert sum(1 for run in one.runs if run.state == STARTED) <= parallelism
    assert all(run.state in {WAITING, CANCELLED} for run in one.runs if run.workflow not in started)
