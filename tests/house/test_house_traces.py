"""The benchmark over recorded workflows: its bound holds, its model and the planner's own look-ahead agree, its tables count."""

import gzip
import json
import sys
from pathlib import Path
from random import Random

import pytest
from benchmark.traces import baselines, bound, drive, grid, kept, large, recipes, shared, tables
from benchmark.traces.link import Pipe
from benchmark.traces.workloads import Point, Task, Trace, load, point, sorted_by_parents
from hypothesis import given, settings
from hypothesis import strategies as st

from jitflow.planner import Arrival, Effort, choose, simulate, without_estimates

pytestmark = pytest.mark.pure

MB = 10**6


def a_trace(seed: int, count: int, *, even: bool = True) -> Trace:
    """Return a random workflow of small steps; `even`: with sizes and times that often are equal."""
    random = Random(seed)
    sizes: dict[str, int] = {}
    made: list[tuple[str, str]] = []
    tasks: list[Task] = []
    for n in range(count):
        inputs = [f"in{random.randrange(count)}" for _ in range(random.randint(0, 2))]
        parents: list[str] = []
        for file, producer in random.sample(made, min(len(made), random.randint(0, 2))):
            inputs.append(file)
            parents.append(producer)
        outputs = [f"out{n}-{k}" for k in range(random.randint(0 if inputs else 1, 2))]
        for file in (*inputs, *outputs):
            sizes.setdefault(file, random.choice((1, MB, 30 * MB, 200 * MB)) if even else random.randint(1, 200 * MB))
        run_s = random.choice((0.0, 1.0, 30.0)) if even else random.uniform(0.0, 30.0)
        tasks.append(Task(f"t{n}", run_s, tuple(dict.fromkeys(inputs)), tuple(outputs), tuple(parents)))
        made += [(file, f"t{n}") for file in outputs]
    return Trace(name=f"random {seed}", tasks=tuple(tasks), sizes=sizes)


def a_place(trace: Trace, slack: float, rate_Bps: float) -> Point:
    return Point(fraction=0, bandwidth="", rate_Bps=rate_Bps, capacity=int(trace.footprint * (1 + slack)) + 1)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 30),
    slack=st.sampled_from((0.0, 0.5, 20.0)),
    rate_Bps=st.sampled_from((5e6, 1e8)),
)
def test_every_policy_ends_and_none_beats_the_bound(seed: int, count: int, slack: float, rate_Bps: float) -> None:
    trace = a_trace(seed, count)
    place = a_place(trace, slack, rate_Bps)
    least = bound.bound(trace, place.rate_Bps, place.capacity) * (1 - 1e-9)
    must = sum(trace.sizes[file] for file in trace.external)
    for policy in baselines.POLICIES:
        result = baselines.run(policy, trace, place)
        assert result.finished, policy
        assert result.makespan_s >= least, policy
        assert result.bytes_down >= must, policy
    for plan in (without_estimates(trace.steps()), choose(trace.steps(), drive.setting(place), Effort(events=3000, restarts=2))):
        done = drive.Drive([drive.Submitted("w", trace, trace.steps(), plan)], place).run()
        assert done.unfinished == 0
        assert done.makespan_s >= least
        assert done.peak_bytes <= place.capacity
        assert done.bytes_down >= must


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 30), slack=st.sampled_from((0.0, 0.5)))
def test_the_planner_foresees_what_the_model_does(seed: int, count: int, slack: float) -> None:
    trace = a_trace(seed, count, even=False)
    place = a_place(trace, slack, 2e7)
    plan = without_estimates(trace.steps())
    foreseen = simulate([Arrival(uid="w", steps=tuple(trace.steps()), plan=plan)], drive.setting(place))
    done = drive.Drive([drive.Submitted("w", trace, trace.steps(), plan)], place).run()
    assert foreseen.makespan_s == pytest.approx(done.makespan_s, rel=1e-6)
    assert foreseen.unfinished == ()


def test_a_single_step_is_bound_by_its_transfers_and_its_run_time() -> None:
    trace = Trace(name="one", tasks=(Task("t", 10.0, ("a", "b"), ("c",), ()),), sizes={"a": MB, "b": MB, "c": 4 * MB})
    assert bound.bound(trace, 1e6, 10 * MB) == pytest.approx(0.1 + 2 + 10 + 0.1 + 4)
    assert trace.distinct_bytes == trace.footprint == 6 * MB


def test_results_that_cannot_stay_cross_the_link_twice() -> None:
    tasks = (
        Task("make", 0.0, (), ("kept",), ()),
        Task("big", 100.0, (), ("wide",), ("make",)),
        Task("narrow", 0.0, ("wide",), (), ("big",)),
        Task("end", 0.0, ("kept",), (), ("make", "big")),
    )
    trace = Trace(name="cut", tasks=tasks, sizes={"kept": 50 * MB, "wide": 60 * MB})
    assert bound.bound(trace, 1e6, 110 * MB) == pytest.approx(100.0)
    assert bound.bound(trace, 1e6, 90 * MB) == pytest.approx(100.0 + 2 * 20.1)


def test_machines_and_places_bound_what_runs() -> None:
    assert bound.jackson([(0.0, 5.0, 2.0), (0.0, 0.0, 3.0), (1.0, 9.0, 1.0)]) == pytest.approx(11.0)
    tasks = tuple(Task(f"t{n}", 10.0, (), (f"o{n}",), ()) for n in range(17))
    many = Trace(name="many", tasks=tasks, sizes={f"o{n}": 0 for n in range(17)})
    assert bound.bound(many, 1e6, 1) == pytest.approx(20.1)


def test_streams_share_the_link_up_to_their_cap() -> None:
    pipe = Pipe(100.0, 25.0)
    pipe.join("four parts", 400, 4)
    assert pipe.next_end() == pytest.approx(4.0)
    pipe.advance(2.0)
    pipe.join("one part", 100)
    assert pipe.next_end() == pytest.approx(4.5)
    pipe.advance(4.5)
    assert pipe.pop() == "four parts"
    assert pipe.next_end() == pytest.approx(6.5)
    assert pipe.leave("one part")
    assert not pipe.leave("one part")


def test_a_trace_is_read_as_it_is_written(tmp_path: Path) -> None:
    tasks = [
        {"id": "b_1", "name": "b_1", "parents": ["a_1"], "inputFiles": ["y", "x"], "outputFiles": ["z"]},
        {"id": "a_1", "name": "a_1", "parents": [], "inputFiles": ["x", "x"], "outputFiles": ["y"]},
    ]
    times = [{"id": "a_1", "runtimeInSeconds": 3}, {"id": "b_1", "runtimeInSeconds": 4}]
    files = [{"id": name, "sizeInBytes": size * MB} for name, size in (("x", 10), ("y", 20), ("z", 30), ("unused", 40))]
    document = {"workflow": {"specification": {"tasks": tasks, "files": files}, "execution": {"tasks": times}}}
    path = tmp_path / "small.json.gz"
    path.write_bytes(gzip.compress(json.dumps(document).encode()))
    trace = load(path)
    assert [task.name for task in trace.tasks] == ["a_1", "b_1"]
    assert (trace.external, trace.finals, trace.critical_s, trace.compute_s) == (["x"], ["z"], 7.0, 7.0)
    assert [output.transient for step in trace.steps() for output in step.outputs] == [True, False]
    assert point(trace, 100, "bal").capacity == int(1.02 * 60 * MB) + 1
    assert point(trace, 100, "bal").rate_Bps == pytest.approx(5e6)
    rows = grid.measure(grid.Task(path, 100, "50", Effort(events=500, restarts=0)))
    assert {row.policy for row in rows} == set(grid.POLICIES)
    assert all(row.finished and row.ratio >= 1 for row in rows)
    text = (
        tables.verdicts(rows) + tables.summary(rows) + tables.crossings(rows) + tables.by_instance(rows) + tables.decisions(rows)
    )
    assert "C = 100 %: mean" in text
    assert "small" in text
    assert "nine tenths" not in tables.verdicts(rows, noisy=True)


def test_a_benchmark_in_pieces_writes_what_it_writes_in_one_go(tmp_path: Path) -> None:
    places = [grid.Task(tmp_path / "a.json", fraction, "bal", policies=(grid.OURS,)) for fraction in (25, 50, 100)]
    whole, pieces = tmp_path / "whole.json", tmp_path / "pieces.json"
    kept.Rows(whole, grid.Row, "code", keep=False).add([_row(task, "code") for task in places])
    for task in reversed(places):
        rows = kept.Rows(pieces, grid.Row, "code", keep=True)
        assert task in rows.missing(places)
        rows.add([_row(task, "code")])
        assert task not in rows.missing(places)
    assert pieces.read_bytes() == whole.read_bytes()
    assert kept.Rows(whole, grid.Row, "code", keep=True).missing(places) == []
    assert kept.Rows(whole, grid.Row, "other code", keep=True).missing(places) == places
    assert kept.Rows(whole, grid.Row, "code", keep=False).missing(places) == places
    assert kept.Rows(whole, grid.Row, "other code", "code", keep=True).missing(places) == []
    assert kept.signature(1) == kept.signature(1) != kept.signature(2)
    assert kept.signature(planner=False) == kept.signature(planner=False) != kept.signature()


def test_made_workflows_are_traces_and_follow_from_their_seed(tmp_path: Path) -> None:
    paths = recipes.write(tmp_path / "a", seed=3, count=1)
    again = recipes.write(tmp_path / "b", seed=3, count=1)
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in again]
    assert {path.name.split("-made-")[0] for path in paths} == set(recipes.RECIPES)
    for trace in map(load, paths):
        assert min(trace.sizes.values()) > 0
        assert trace.finals
        for task in trace.tasks:
            writers = {trace.producers[file].name for file in task.inputs if file in trace.producers}
            assert set(task.parents) == writers


def _row(task: grid.Task, code: str) -> grid.Row:
    return grid.Row("a", 5e6, 100, task.fraction / 100, grid.OURS, 2.0, 1, 1, 2, 3, 4.0, 1.5, task.bandwidth, True, code=code)


def test_workflows_that_read_the_same_fetch_it_once(tmp_path: Path) -> None:
    tasks = [{"id": f"t_{n}", "parents": [], "inputFiles": ["x"], "outputFiles": [f"o{n}"]} for n in range(3)]
    files = [{"id": name, "sizeInBytes": size} for name, size in (("x", 10 * MB), ("o0", 1), ("o1", 2), ("o2", 3))]
    times = [{"id": f"t_{n}", "runtimeInSeconds": 5} for n in range(3)]
    path = tmp_path / "1000genome-small.json"
    path.write_text(json.dumps({"workflow": {"specification": {"tasks": tasks, "files": files}, "execution": {"tasks": times}}}))
    (task,) = shared.tasks([path], ["50"], 100, Effort(events=500, restarts=0))
    assert task.same
    rows = shared.measure(task)
    assert [row.policy for row in rows] == [grid.OURS, grid.BLIND]
    for row in rows:
        assert row.finished
        assert row.ratio >= 1
        assert row.bytes_down == 10 * MB
        assert len(row.slowdowns) == 4
    assert "same inputs: makespan / bound, mean" in shared.report(rows)


def test_a_large_workflow_is_measured() -> None:
    assert len(large.workflow(50).tasks) == 50
    assert "decisions under pressure" in large.report(150)


def test_tasks_are_listed_behind_their_parents() -> None:
    tasks = [Task("c", 0, (), (), ("b", "a")), Task("b", 0, (), (), ("a",)), Task("a", 0, (), (), ())]
    assert [task.name for task in sorted_by_parents(tasks)] == ["a", "b", "c"]
    assert tables.rank(range(1, 11)) == 9
    assert tables.ninth(range(1, 11)) == pytest.approx(9.1)


def _calls(steps: int) -> float:
    """Return the functions that are called for one event of a workflow of so many steps under pressure."""
    trace = large.workflow(steps)
    place = Point(0, "", 1e6, 100_000)
    run = drive.Drive([drive.Submitted("w", trace, trace.steps(), without_estimates(trace.steps()))], place)
    count = 0

    def note(_frame: object, event: str, _arg: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        done = run.run()
    finally:
        sys.setprofile(before)
    assert not done.unfinished
    return count / len(done.times_s)


def test_what_an_event_costs_does_not_grow_with_the_workflow() -> None:
    assert _calls(1600) < 1.5 * _calls(400)
