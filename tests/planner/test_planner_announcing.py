"""A workflow is announced in pieces, between which things happen; what is asked for is what was announced."""

from random import Random

import pytest
from msgspec.structs import replace
from planner_world import ref

from jitflow.model.data import FutureInput, FutureOutput, FutureStep
from jitflow.planner import Arrival, Effort, Evict, Grant, Link, Plan, Planner, PlannerOptions, Setting, choose, simulate

pytestmark = pytest.mark.pure

OPTIONS = PlannerOptions(transfers=4, workers=2, default_output_bytes=0)


def reader(n: int, reads: int = 3) -> FutureStep:
    inputs = tuple(FutureInput(ref=ref(f"f{n}-{k}"), size_bytes=1) for k in range(reads))
    return FutureStep(id=f"w/{n:04}", inputs=inputs)


def test_what_ends_while_a_workflow_is_announced_does_not_come_back() -> None:
    random = Random(7)
    steps = [reader(n) for n in range(1500)]
    planner = Planner(10**6, OPTIONS)
    planner.announce("w", steps)
    over: set[str] = set()
    pieces = 0
    starts = {step.id: float(place) for place, step in enumerate(random.sample(steps, len(steps)))}
    for _ in planner.announcing("w", steps, Plan(starts=starts)):
        pieces += 1
        for step in random.sample(steps, 40):
            if step.id in over:
                continue
            planner.ask("w", step)
            while commands := planner.decide(0.0):
                for command in commands:
                    if type(command).__name__ == "Fetch":
                        planner.arrived(command.ref)  # type: ignore[union-attr]
                    elif isinstance(command, Grant):
                        planner.ended(command.step)
                        over.add(command.step)
        assert planner.audit() == ()
    assert pieces > 3, "a large workflow takes several pieces"
    assert over
    left = [step.id for step in steps if step.id not in over]
    assert sorted(planner.steps("w")) == left, "each step that is not over is known, and no other"
    assert list(planner.steps("w")) == sorted(left, key=lambda name: starts[name]), "in the order of the plan"


def test_an_announcement_that_is_given_up_leaves_a_planner_that_goes_on() -> None:
    steps = [reader(n) for n in range(2000)]
    planner = Planner(10**6, OPTIONS)
    pieces = planner.announcing("w", steps)
    for _ in range(5):
        next(pieces)
    pieces.close()
    known = len(planner.steps("w"))
    assert 0 < known < len(steps)
    planner.announce("w", list(reversed(steps)))
    assert len(planner.steps("w")) == len(steps)
    assert planner.audit() == ()


def test_an_ask_for_what_was_announced_keeps_what_the_announcement_says() -> None:
    """The engine asks with less than it announced: no run time, nothing of what it waits for, no transient outputs."""
    planner = Planner(100, OPTIONS)
    made = FutureOutput(ref=ref("made"), size_bytes=30, transient=True)
    maker = FutureStep(id="w/maker", outputs=(made,), run_s=2.0)
    user = FutureStep(id="w/user", inputs=(FutureInput(ref=made.ref),), after=("w/maker",), run_s=2.0)
    planner.announce("w", [maker, user])
    planner.ask("w", replace(maker, run_s=None, outputs=(replace(made, transient=False),)))
    assert [type(one) for one in planner.decide(0.0)] == [Grant]
    planner.ended("w/maker", [(made.ref, 30)])
    planner.decide(0.0)
    planner.taken(made.ref)
    view = planner.item(made.ref)
    assert view is not None
    assert view.dirty, "it is transient: nothing sends it away while its reader is to come"
    assert planner.audit() == ()


def test_what_both_read_stays_when_a_step_is_announced_anew() -> None:
    planner = Planner(100, OPTIONS)
    made = FutureOutput(ref=ref("made"), size_bytes=30, transient=True)
    maker = FutureStep(id="w/maker", outputs=(made,))
    user = FutureStep(id="w/user", inputs=(FutureInput(ref=made.ref),), after=("w/maker",))
    planner.announce("w", [maker, user])
    planner.ask("w", maker)
    planner.decide(0.0)
    planner.ended("w/maker", [(made.ref, 30)])
    planner.decide(0.0)
    planner.taken(made.ref)
    more = replace(user, inputs=(*user.inputs, FutureInput(ref=ref("other"), size_bytes=5)))
    planner.announce("w", [more])
    assert not [one for one in planner.decide(0.0) if isinstance(one, Evict)], "the only copy of a result is still needed"
    planner.announce("w", [replace(user, inputs=(FutureInput(ref=ref("other"), size_bytes=5),))])
    assert [one.ref.path for one in planner.decide(0.0) if isinstance(one, Evict)] == ["made"]
    planner.evicted(made.ref)
    assert planner.audit() == ()


def test_on_demand_with_results_that_stay_ends() -> None:
    """Steps that were never announced run ahead of an empty order."""
    steps: list[FutureStep] = []
    for n in range(6):
        made = FutureOutput(ref=ref(f"r{n}"), size_bytes=10, transient=n < 5)
        reads = (FutureInput(ref=ref(f"r{n - 1}")),) if n else (FutureInput(ref=ref("far"), size_bytes=10),)
        steps.append(FutureStep(id=f"w/{n}", inputs=reads, outputs=(made,), after=(f"w/{n - 1}",) if n else (), run_s=1.0))
    setting = Setting(capacity_bytes=40, link=Link(rate_Bps=10.0), options=OPTIONS, ahead=False)
    assert simulate([Arrival(uid="w", steps=tuple(steps))], setting).unfinished == ()


def test_a_choice_can_be_stopped_at_any_time() -> None:
    steps = [replace(reader(n), run_s=float(n % 7)) for n in range(60)]
    setting = Setting(capacity_bytes=30, link=Link(rate_Bps=10.0, latency_s=0.1), options=OPTIONS)
    whole = choose(steps, setting, Effort(events=20_000))
    for allowed in (0, 1, 5, 50):
        asked = iter(range(10**6))
        plan = choose(steps, setting, Effort(events=20_000), lambda asked=asked, allowed=allowed: next(asked) >= allowed)
        assert set(plan.starts) == {step.id for step in steps}
        assert plan.makespan_s is None or whole.makespan_s is None or plan.makespan_s >= whole.makespan_s * 0.98


def test_replicas_that_were_found_wake_when_they_are_asked_for_and_leave_first_else() -> None:
    planner = Planner(100, OPTIONS)
    for n in range(9):
        planner.found(ref(f"old{n}"), 10)
    planner.found(ref("output"), 5, dirty=True)
    assert planner.audit() == ()
    assert planner.bytes.resident == 95
    assert planner.bytes.loose == 90
    view = planner.item(ref("old3"))
    assert view is not None
    assert (view.state.value, view.size_bytes, len(planner._items.asleep)) == ("resident", 10, 9), "looking wakes nobody"
    assert len(list(planner.items())) == 10
    planner.ask("w", FutureStep(id="w/a", inputs=(FutureInput(ref=ref("old0")),)))
    assert [one.step for one in planner.decide(0.0) if isinstance(one, Grant)] == ["w/a"], "it is here already"
    assert str(ref("old0")) not in planner._items.asleep
    planner.ask("w", FutureStep(id="w/b", inputs=(FutureInput(ref=ref("new"), size_bytes=25),)))
    gone = [one.ref.path for one in planner.decide(0.0) if isinstance(one, Evict)]
    assert gone == ["old1", "old2"], "the ones used longest ago, and not what a step reads"
    for name in gone:
        planner.evicted(ref(name))
        assert planner.item(ref(name)) is None
    assert planner.evict(ref("old8"))
    assert planner.audit() == ()


def test_what_was_here_at_first_can_leave_and_come_again_in_the_simulated_world() -> None:
    """A result of a step that has ended, of which the steps to come say no size."""
    first = FutureStep(id="w/a", inputs=(FutureInput(ref=ref("large"), size_bytes=90),), run_s=1.0)
    second = FutureStep(id="w/b", inputs=(FutureInput(ref=ref("result")),), after=("w/a",), run_s=1.0)
    setting = Setting(capacity_bytes=100, link=Link(rate_Bps=10.0), options=OPTIONS, resident={ref("result"): 40})
    done = simulate([Arrival(uid="w", steps=(first, second))], setting)
    assert done.unfinished == ()
    assert done.fetched_bytes == 130
