"""What other workflows will read is pushed out only when what replaces it would be late otherwise."""

import pytest
from msgspec.structs import replace

from jitflow.model.data import FutureInput, FutureOutput, FutureStep, ObjectRef
from jitflow.planner import Command, Evict, Fetch, Plan, Planner, PlannerOptions

pytestmark = pytest.mark.pure


def reads(name: str, path: str, *after: str) -> FutureStep:
    one = FutureInput(ref=ObjectRef(remote="far", path=path), size_bytes=100)
    return FutureStep(id=name, inputs=(one,), after=after, run_s=100.0)


def a_planner(*, together: bool, measured: bool = True) -> Planner:
    """Return a planner whose full primary holds what another workflow will read much later."""
    planner = Planner(150, PlannerOptions(transfers=1, workers=1, default_output_bytes=0))
    if measured:
        planner.set_link("far", rate_Bps=10.0)
    planner.found(ObjectRef(remote="far", path="old"), 100)
    planner.decide(0.0)
    soon = Plan(starts={"a/wait": 0.0, "a/read": 500.0}, makespan_s=600.0)
    planner.announce("a", [FutureStep(id="a/wait", inputs=(), run_s=500.0), reads("a/read", "new", "a/wait")], soon)
    if together:
        late = Plan(starts={"b/read": 5000.0}, makespan_s=6000.0)
        result = FutureOutput(ref=ObjectRef(remote="far", path="result"), size_bytes=1000)
        planner.announce("b", [replace(reads("b/read", "old"), outputs=(result,))], late)
    return planner


def kinds(commands: tuple[Command, ...]) -> list[type[Command]]:
    return [type(one) for one in commands if isinstance(one, (Evict, Fetch))]


def test_room_is_made_at_once_where_no_other_workflow_is() -> None:
    assert kinds(a_planner(together=False).decide(0.0)) == [Evict]


def test_what_another_workflow_reads_stays_until_the_last_moment() -> None:
    planner = a_planner(together=True)
    assert kinds(planner.decide(0.0)) == []
    wake = planner.next_wake()
    assert wake == pytest.approx(500.0 - 1.5 * 10.0), "half as long again as the transfer takes before it is read"
    assert kinds(planner.decide(wake - 1.0)) == []
    assert kinds(planner.decide(wake)) == [Evict]
    planner.evicted(ObjectRef(remote="far", path="old"))
    assert kinds(planner.decide(wake)) == [Fetch]
    assert planner.audit() == ()


def test_nothing_waits_while_the_link_is_not_known() -> None:
    assert kinds(a_planner(together=True, measured=False).decide(0.0)) == [Evict]


def test_a_step_that_asks_early_does_not_wait_for_the_last_moment() -> None:
    planner = a_planner(together=True)
    assert kinds(planner.decide(0.0)) == []
    planner.ask("a", reads("a/read", "new", "a/wait"))
    assert kinds(planner.decide(1.0)) == [Evict]
