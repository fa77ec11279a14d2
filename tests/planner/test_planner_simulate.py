"""The simulated world: times that can be worked out by hand."""

import time

import pytest
from msgspec.structs import replace
from planner_world import ref

from jitflow.model.data import FutureInput, FutureOutput, FutureStep
from jitflow.planner import Arrival, Link, Planner, PlannerOptions, Setting, explain, longest, simulate

pytestmark = pytest.mark.pure

OPTIONS = PlannerOptions(transfers=4, workers=2, default_output_bytes=0)


def step(
    name: str, *inputs: tuple[str, int | None], output: int | None = None, after: tuple[str, ...] = (), run_s: float | None = 0.0
) -> FutureStep:
    return FutureStep(
        id=name,
        inputs=tuple(FutureInput(ref=ref(one), size_bytes=size) for one, size in inputs),
        outputs=() if output is None else (FutureOutput(ref=ref(f"out-{name}"), size_bytes=output),),
        after=after,
        run_s=run_s,
    )


def test_transfers_share_the_link_and_overlap_with_steps() -> None:
    steps = [step("a", ("x", 100), run_s=10.0, output=50), step("b", ("y", 100), run_s=1.0)]
    outcome = explain(steps, capacity_bytes=1000, link=Link(rate_Bps=100.0, latency_s=1.0), options=OPTIONS)
    # Both arrive after 1 s of latency and 2 s of sharing; `a` ends at 13 s and its output is far away 1.5 s later.
    assert outcome.ended == {"a": pytest.approx(13.0), "b": pytest.approx(4.0)}
    assert outcome.makespan_s == pytest.approx(14.5)
    assert (outcome.fetched_bytes, outcome.stored_bytes, outcome.peak_bytes) == (200, 50, 250)
    assert outcome.waited_s == pytest.approx(6.0)


def test_a_stream_is_no_faster_than_its_cap() -> None:
    outcome = explain([step("a", ("x", 100))], capacity_bytes=100, link=Link(rate_Bps=100.0, stream_Bps=25.0), options=OPTIONS)
    assert outcome.makespan_s == pytest.approx(4.0)


def test_a_tight_primary_takes_turns() -> None:
    steps = [step(str(n), (f"x{n}", 100), run_s=1.0) for n in range(4)]
    link = Link(rate_Bps=100.0)
    tight = explain(steps, capacity_bytes=100, link=link, options=OPTIONS)
    ample = explain(steps, capacity_bytes=400, link=link, options=OPTIONS)
    assert tight.makespan_s == pytest.approx(8.0)
    assert tight.peak_bytes == 100
    assert ample.makespan_s < tight.makespan_s
    warm = explain(steps, capacity_bytes=400, link=link, options=OPTIONS, resident={ref(f"x{n}"): 100 for n in range(4)})
    assert warm.makespan_s == pytest.approx(2.0)
    assert warm.fetched_bytes == 0


def test_workers_bound_what_runs_at_once_and_workflows_share_inputs() -> None:
    first = Arrival(uid="v", steps=(step("v/1", ("x", 100), run_s=None), step("v/2", ("x", 100), after=("v/1", "elsewhere"))))
    second = Arrival(uid="w", steps=(step("w/1", ("x", 100), run_s=5.0),), at_s=0.5)
    setting = Setting(capacity_bytes=100, link=Link(rate_Bps=100.0), options=OPTIONS, run_s=2.0)
    outcome = simulate([first, second], setting)
    assert outcome.fetched_bytes == 100
    assert outcome.ended == {"v/1": pytest.approx(3.0), "v/2": pytest.approx(3.0), "w/1": pytest.approx(6.0)}


def test_outputs_that_do_not_fit_and_unknown_sizes() -> None:
    steps = [
        step("a", ("x", None), output=None),
        step("b", output=500),
        step("c", ("out-b", None), after=("b",)),
        step("d", after=("a",)),
    ]
    outcome = explain(steps, capacity_bytes=100, link=Link(rate_Bps=100.0), options=OPTIONS)
    assert set(outcome.refused) == {"b"}
    assert outcome.unfinished == ("b", "c")
    holder = [step("a", ("x", 100), run_s=9.0), step("b", ("y", 0), output=0), step("c", ("out-b", None), after=("b",))]
    assert explain(holder, capacity_bytes=100, link=Link(rate_Bps=100.0), options=OPTIONS).unfinished == ()


def test_decisions_stay_cheap_with_many_steps() -> None:
    shared = [(f"shared{n}", 1000) for n in range(20)]
    steps = [
        step(f"s{n}", *((f"f{n}-{k}", 100 + k) for k in range(9)), shared[n % 20], output=50, run_s=0.1) for n in range(2000)
    ]
    planner = Planner(30_000, PlannerOptions(transfers=8, workers=8))
    planner.announce("w", steps)
    planner.decide(0.0)
    times: list[float] = []
    original = Planner.decide

    def timed(self: Planner, now: float):
        start = time.perf_counter()
        try:
            return original(self, now)
        finally:
            times.append(time.perf_counter() - start)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Planner, "decide", timed)
        outcome = explain(steps[:400], capacity_bytes=30_000, link=Link(rate_Bps=1e6), options=OPTIONS)
    assert outcome.unfinished == ()
    times.sort()
    # Far from the limit of a quiet machine, near enough to notice a scan of everything.
    assert times[int(len(times) * 0.9)] < 0.005


def test_an_output_that_does_not_fit_goes_straight_to_its_place_and_lost_inputs_stop_nobody() -> None:
    steps = [step("a", ("x", 50), output=None, run_s=1.0), step("b", ("y", None), run_s=1.0), step("c", after=("a",))]
    outcome = explain(steps, capacity_bytes=60, link=Link(rate_Bps=100.0), options=OPTIONS)
    assert outcome.ended["c"] >= outcome.ended["a"]
    assert set(outcome.ended) | set(outcome.unfinished) == {"a", "b", "c"}


def test_without_looking_ahead_a_place_stands_empty_while_its_step_fetches() -> None:
    steps = [step(str(n), (f"x{n}", 100), run_s=1.0) for n in range(4)]
    one_place = PlannerOptions(transfers=1, workers=1, default_output_bytes=0)
    setting = Setting(capacity_bytes=400, link=Link(rate_Bps=100.0), options=one_place)
    on_demand = simulate([Arrival(uid="w", steps=tuple(steps))], replace(setting, ahead=False))
    # One second to fetch and one to compute, four times over.
    assert on_demand.makespan_s == pytest.approx(8.0)
    assert on_demand.waited_s == pytest.approx(1 + 3 + 5 + 7)
    assert simulate([Arrival(uid="w", steps=tuple(steps))], setting).makespan_s == pytest.approx(5.0)
    chain = [step("a", ("x", 100), run_s=1.0), step("b", ("y", 100), run_s=1.0, after=("a",)), step("c", after=("b",), run_s=1.0)]
    assert simulate([Arrival(uid="w", steps=tuple(chain))], replace(setting, ahead=False)).makespan_s == pytest.approx(5.0)
    too_large = [step("big", ("x", 500)), step("small", ("y", 100))]
    outcome = simulate([Arrival(uid="w", steps=tuple(too_large))], replace(setting, ahead=False))
    assert (list(outcome.refused), list(outcome.ended)) == (["big"], ["small"])


def test_the_longest_chain_weighs_most_and_leaves_out_what_weighs_nothing() -> None:
    barrier = ("a", "b")
    steps = [step("a"), step("b"), step("c", after=barrier), step("d", after=barrier), step("e", after=("c", "elsewhere"))]
    found = longest(steps, {"a": 1.0, "b": 2.0, "d": 3.0, "e": 4.0})
    assert (found.length, found.steps) == (6.0, ("b", "e"))
    assert longest([], {}).steps == ()
    assert longest(list(reversed(steps)), {"a": 9.0}).steps == ("a",)


def test_the_longest_chain_of_wide_barriers_is_found_in_no_time() -> None:
    first = tuple(f"a{n}" for n in range(5000))
    steps = [*(step(name) for name in first), *(step(f"b{n}", after=first) for n in range(5000))]
    began = time.perf_counter()
    assert longest(steps, {"a7": 1.0, "b3": 1.0}).steps == ("a7", "b3")
    assert time.perf_counter() - began < 2.0
