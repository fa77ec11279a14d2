"""The choice of a plan for a workflow that comes while others run."""

import pytest
from msgspec.structs import replace
from planner_world import ref

from jitflow.model.data import FutureInput, FutureOutput, FutureStep
from jitflow.planner import (
    Arrival,
    Beside,
    Effort,
    Link,
    Outcome,
    Plan,
    Planner,
    PlannerOptions,
    Setting,
    choose,
    choose_beside,
    plain,
    simulate,
)
from jitflow.planner._beside import _lined_up
from jitflow.planner._steps import HASTE

pytestmark = pytest.mark.pure

OPTIONS = PlannerOptions(transfers=4, workers=2, slots=2, default_output_bytes=0)
SETTING = Setting(capacity_bytes=100, link=Link(rate_Bps=10.0), options=OPTIONS)
EFFORT = Effort(events=4000, restarts=20)


def steps(uid: str, *, reads: str = "", count: int = 6, run_s: float = 3.0) -> list[FutureStep]:
    """Return pairs of steps: one makes what the other reads; `reads`: whose inputs, its own without."""
    found: list[FutureStep] = []
    for n in range(count):
        made = ref(f"{uid}-made{n}")
        found.append(
            FutureStep(
                id=f"{uid}/a{n}",
                inputs=(FutureInput(ref=ref(f"{reads or uid}-in{n}"), size_bytes=20),),
                outputs=(FutureOutput(ref=made, size_bytes=15, transient=True),),
                run_s=run_s,
            )
        )
        found.append(
            FutureStep(
                id=f"{uid}/b{n}",
                inputs=(FutureInput(ref=made),),
                outputs=(FutureOutput(ref=ref(f"{uid}-out{n}"), size_bytes=2),),
                after=(f"{uid}/a{n}",),
                run_s=run_s / 2,
            )
        )
    return found


def together(beside: list[Beside], mine: list[FutureStep], plan: Plan) -> Outcome:
    """Return what comes of a plan beside the others, all beginning now."""
    others = [Arrival(uid=one.uid, steps=tuple(one.steps), plan=one.plan) for one in beside]
    return simulate([*others, Arrival(uid="new", steps=tuple(mine), plan=plan)], SETTING)


def small_ones(count: int) -> list[Beside]:
    """Return small workflows that would let others go first."""
    listed = [steps(f"small{n}", count=2) for n in range(count)]
    return [
        Beside(uid=f"small{n}", steps=small, plan=replace(choose(small, SETTING, EFFORT), stretch=8.0))
        for n, small in enumerate(listed)
    ]


def test_a_large_workflow_lets_small_ones_that_are_there_end_first() -> None:
    large = steps("large", count=40)
    alone = choose(large, SETTING, EFFORT)
    beside = small_ones(4)
    chosen = choose_beside(alone, large, SETTING, EFFORT, beside=beside)
    assert chosen.stretch > 1.0
    assert "beside 4 other workflows" in chosen.reason
    assert chosen.starts.keys() == alone.starts.keys()
    assert together(beside, large, chosen).makespan_s <= together(beside, large, alone).makespan_s * (1 + EFFORT.thrift)
    assert chosen == choose_beside(alone, large, SETTING, EFFORT, beside=beside), "equal questions get equal answers"


def test_the_plan_stays_where_others_are_better_by_little_for_what_comes_later_is_not_known() -> None:
    large = steps("large", count=40)
    alone = choose(large, SETTING, EFFORT)
    chosen = choose_beside(alone, large, SETTING, EFFORT, beside=small_ones(2))
    assert "beside 2 other workflows none of" in chosen.reason
    assert replace(chosen, reason=alone.reason) == alone


def test_the_plan_stays_where_the_workflow_joins_others() -> None:
    large = steps("large", count=40)
    alone = choose(large, SETTING, EFFORT)
    readers = [step for step in steps("old", reads="large", count=40) if step.id.startswith("old/a")]
    beside = [*small_ones(4), Beside(uid="old", steps=readers)]
    assert choose_beside(alone, large, SETTING, EFFORT, beside=beside) is alone
    few = [*small_ones(4), Beside(uid="old", steps=readers[:1])]
    assert choose_beside(alone, large, SETTING, EFFORT, beside=few) is not alone, "it shares less than it writes"


def test_alone_or_where_nothing_may_be_tried_the_plan_stays() -> None:
    mine = steps("new")
    alone = choose(mine, SETTING, EFFORT)
    beside = [Beside(uid="old", steps=steps("old"))]
    assert choose_beside(alone, mine, SETTING, EFFORT, beside=[]) is alone
    assert choose_beside(alone, mine, SETTING, EFFORT, lambda: True, beside=beside) is alone
    assert choose_beside(plain(mine), mine, SETTING, EFFORT, beside=beside).name == "plain", "it was never tried alone"


def test_a_plan_that_is_followed_is_kept_unless_another_one_is_much_better() -> None:
    mine = steps("new")
    alone = choose(mine, SETTING, EFFORT)
    beside = [Beside(uid="old", steps=steps("old"))]
    assert choose_beside(alone, mine, SETTING, EFFORT, beside=beside, steady=0.9) is alone


def test_what_is_left_of_others_keeps_its_place_in_the_common_order() -> None:
    older = steps("old", count=2)
    plan = Plan(starts={step.id: 10.0 * n for n, step in enumerate(older)}, pace_s=10.0)
    left = older[1:]
    (arrival,), later_s = _lined_up([Beside(uid="old", steps=left, plan=plan, came_s=8.0)])
    assert arrival.plan is not None
    assert arrival.plan.starts.keys() == {step.id for step in left}
    for name, start in arrival.plan.starts.items():
        assert (start - later_s) * HASTE == pytest.approx(plan.starts[name] * HASTE - 8.0)
    assert min(0.0, later_s, *arrival.plan.starts.values()) == 0.0
    stretched = replace(plan, stretch=2.0)
    (weighty,), later_s = _lined_up([Beside(uid="old", steps=left, plan=stretched, came_s=8.0, weight=4.0)])
    assert weighty.plan is not None
    last = left[-1].id
    place = weighty.plan.starts[last] * weighty.plan.stretch - later_s
    assert place * HASTE == pytest.approx(plan.starts[last] * HASTE * 2 / 4 - 8.0)


def test_a_stretched_plan_lets_others_go_first() -> None:
    planner = Planner(1000, OPTIONS)
    plan = Plan(starts={step.id: 4.0 * n for n, step in enumerate(steps("a"))})
    for uid, stretch in (("a", 4.0), ("b", 1.0), ("c", 0.5)):
        mine = steps(uid)
        planner.announce(
            uid, mine, replace(plan, starts=dict(zip([s.id for s in mine], plan.starts.values(), strict=True)), stretch=stretch)
        )
    places = {uid: [planner._steps.table[name].key[0] for name in planner.steps(uid)] for uid in "abc"}
    assert places["a"] == pytest.approx([4 * one for one in places["b"]])
    assert places["c"] == pytest.approx([one / 2 for one in places["b"]])
    assert planner._steps.planned_s(planner._steps.table["a/b0"]) == pytest.approx(4.0), "it is no later for that"


def test_a_workflow_without_a_plan_counts_in_its_plain_order() -> None:
    older = steps("old", count=2)
    (arrival,), _ = _lined_up([Beside(uid="old", steps=older)])
    assert arrival.plan is not None
    placed, listed = arrival.plan.starts, plain(older).starts
    assert sorted(placed, key=placed.__getitem__) == sorted(listed, key=listed.__getitem__)
