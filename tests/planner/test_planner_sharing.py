"""Workflows that read the same objects join each other; those that would only pile up results do not."""

import pytest

from jitflow.model.data import FutureInput, FutureOutput, FutureStep, ObjectRef
from jitflow.planner import Arrival, Link, Planner, PlannerOptions, Setting, simulate

pytestmark = pytest.mark.pure

OPTIONS = PlannerOptions(transfers=2, workers=2, window=4, default_output_bytes=0)


def branches(uid: str, count: int, *, read: int = 100, written: int = 1) -> tuple[FutureStep, ...]:
    """Return branches of two steps; the first of each reads an object that all workflows read."""
    steps: list[FutureStep] = []
    for n in range(count):
        middle = ObjectRef(remote="far", path=f"{uid}-middle{n}")
        source = FutureInput(ref=ObjectRef(remote="far", path=f"shared{n}"), size_bytes=read)
        steps.append(
            FutureStep(
                id=f"{uid}/first{n}",
                inputs=(source,),
                outputs=(FutureOutput(ref=middle, size_bytes=written, transient=True),),
                run_s=1.0,
            )
        )
        steps.append(FutureStep(id=f"{uid}/then{n}", inputs=(FutureInput(ref=middle),), after=(f"{uid}/first{n}",), run_s=1.0))
    return tuple(steps)


def order(planner: Planner, uid: str) -> list[str]:
    return [name.split("/")[1] for name in planner.steps(uid)]


def a_planner_on_its_way(*, done: int, **sizes: int) -> Planner:
    """Return a planner whose first workflow has ended its first branches."""
    planner = Planner(1000, OPTIONS)
    first = branches("w0", 6, **sizes)
    planner.announce("w0", first)
    planner.decide(4.0 * done)
    planner.announce("w0", first[2 * done :])
    return planner


def test_a_later_workflow_begins_where_an_earlier_one_is() -> None:
    planner = a_planner_on_its_way(done=3)
    planner.announce("w1", branches("w1", 6))
    names = order(planner, "w1")
    assert names[:2] == ["first3", "then3"]
    assert sorted(names[-6:]) == ["first0", "first1", "first2", "then0", "then1", "then2"], "what the other has read comes last"
    assert all(names.index(f"first{n}") < names.index(f"then{n}") for n in range(6))
    assert planner.audit() == ()


def test_nothing_joins_that_leaves_more_than_it_shares() -> None:
    planner = a_planner_on_its_way(done=3, read=1, written=100)
    planner.announce("w1", branches("w1", 6, read=1, written=100))
    assert order(planner, "w1")[:2] == ["first0", "then0"]


def test_joining_moves_fewer_bytes() -> None:
    link = Link(rate_Bps=50.0)
    setting = Setting(capacity_bytes=250, link=link, options=OPTIONS)
    arrivals = [Arrival(uid=f"w{n}", steps=branches(f"w{n}", 12), at_s=8.0 * n) for n in range(3)]
    alone = simulate(arrivals[:1], setting)
    together = simulate(arrivals, setting)
    assert not together.unfinished
    assert together.fetched_bytes <= 1.45 * alone.fetched_bytes, "1.58 if each keeps to its own order, 3 if each is alone"
