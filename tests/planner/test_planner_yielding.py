"""What is read ahead gives way to what steps wait for; what has come of interrupted transfers is kept while there is room."""

import pytest

from jitflow.model.data import FutureInput, FutureStep, ObjectRef
from jitflow.planner import Evict, Fetch, Forget, Hurry, Planner, PlannerOptions

pytestmark = pytest.mark.pure


def ref(name: str) -> ObjectRef:
    return ObjectRef(remote="far", path=name)


def reads(name: str, *objects: str, size: int = 40) -> FutureStep:
    return FutureStep(id=name, inputs=tuple(FutureInput(ref=ref(one), size_bytes=size) for one in objects))


def a_planner(*steps: FutureStep, capacity: int = 1000, yielding: bool = True) -> Planner:
    planner = Planner(capacity, PlannerOptions(transfers=2, workers=4, default_output_bytes=0, yielding=yielding))
    planner.announce("w", steps)
    return planner


def started(planner: Planner) -> list[tuple[str, bool]]:
    return [(one.ref.path, one.urgent) for one in planner.decide(0.0) if isinstance(one, Fetch)]


@pytest.mark.parametrize("yielding", [True, False])
def test_what_a_step_waits_for_is_begun_beside_what_is_read_ahead(yielding: bool) -> None:
    planner = a_planner(reads("s0", "a"), reads("s1", "b"), reads("s2", "c"), yielding=yielding)
    assert started(planner) == [("a", False), ("b", False)]
    planner.ask("w", reads("now", "x"))
    planner.ask("w", reads("now too", "y"))
    planner.ask("w", reads("and now", "z"))
    assert started(planner) == ([("x", True), ("y", True)] if yielding else [])
    planner.arrived(ref("a"))
    assert started(planner) == ([] if yielding else [("x", True)])


def test_a_transfer_that_is_waited_for_now_is_hurried_once() -> None:
    planner = a_planner(reads("s0", "a"), reads("s1", "b"))
    started(planner)
    planner.ask("w", reads("s1", "b"))
    assert planner.decide(0.0) == (Hurry(ref=ref("b"), step="s1", reason="s1 waits for it"),)
    planner.ask("w", reads("other", "b"))
    assert planner.decide(0.0) == ()
    planner.ask("w", reads("now", "x"))
    planner.ask("w", reads("now too", "y"))
    assert started(planner) == [("x", True)]


def test_the_next_transfer_begins_when_the_last_bytes_come() -> None:
    planner = a_planner(reads("s0", "a"), reads("s1", "b"))
    planner.set_link("far", transfers=8, fill_streams=1, fill_bytes=10, part_streams=1)
    assert started(planner) == [("a", False)]
    planner.coming(ref("a"), 25)
    assert started(planner) == []
    planner.coming(ref("a"), 31)
    assert started(planner) == [("b", False)]


def test_what_has_come_is_kept_in_its_space_and_goes_on_there() -> None:
    planner = a_planner(reads("s0", "a"), capacity=50)
    started(planner)
    planner.fetch_failed(ref("a"), retry_at=0.0, begun=True)
    assert planner.bytes.used == 40
    assert started(planner) == [("a", False)]
    assert planner.bytes.used == 40


def test_what_has_come_goes_first_where_nobody_wants_it_and_last_where_somebody_does() -> None:
    planner = a_planner(reads("s0", "a"), reads("s1", "b"), capacity=120)
    started(planner)
    planner.arrived(ref("b"))
    planner.fetch_failed(ref("a"), retry_at=1e9, begun=True)
    planner.begun(ref("left over"), 40)
    planner.ask("w", reads("now", "x"))
    commands = planner.decide(0.0)
    assert [type(one) for one in commands] == [Forget, Fetch]
    assert commands[0].ref == ref("left over")
    planner.ask("w", reads("now too", "y"))
    assert [(type(one), one.ref) for one in planner.decide(0.0)] == [(Evict, ref("b"))]
    planner.evicted(ref("b"))
    assert started(planner) == [("y", True)]
    planner.set_ceiling(80)
    assert [(type(one), one.ref) for one in planner.decide(0.0)] == [(Forget, ref("a"))]
    assert planner.bytes.used == 80
    assert planner.audit() == ()
