"""Several far stores, each with its own link: nothing waits for a link that it does not need."""

import pytest

from jitflow.model.data import FutureInput, FutureStep, ObjectRef
from jitflow.planner import Arrival, Command, Fetch, Link, Planner, PlannerOptions, Setting, simulate

pytestmark = pytest.mark.pure


def reads(name: str, *objects: str, size: int = 10) -> FutureStep:
    """Return a step that reads `remote:path` objects."""
    refs = [ObjectRef(remote=one.split(":")[0], path=one.split(":")[1]) for one in objects]
    return FutureStep(id=name, inputs=tuple(FutureInput(ref=one, size_bytes=size) for one in refs), run_s=0.0)


def a_planner(*steps: FutureStep, ask: bool = False, **options: int) -> Planner:
    planner = Planner(
        10_000, PlannerOptions(**{"transfers": 2, "workers": 4, "window": 64, "default_output_bytes": 0, **options})
    )
    planner.announce("w", steps)
    for step in steps if ask else ():
        planner.ask("w", step)
    return planner


def fetched(commands: tuple[Command, ...]) -> list[str]:
    return [str(one.ref) for one in commands if isinstance(one, Fetch)]


SIX = [reads(f"{remote}{n}", f"{remote}:{n}") for n in range(3) for remote in ("slow", "fast")]


@pytest.mark.parametrize("ask", [True, False], ids=["claimed", "ahead"])
def test_each_link_has_its_own_limit(ask: bool) -> None:
    planner = a_planner(*SIX, ask=ask)
    planner.set_link("fast", transfers=3)
    assert sorted(fetched(planner.decide(0.0))) == ["fast:0", "fast:1", "fast:2", "slow:0", "slow:1"]
    assert fetched(planner.decide(0.0)) == []
    planner.arrived(ObjectRef(remote="slow", path="0"))
    assert fetched(planner.decide(0.0)) == ["slow:2"]


def test_what_claimed_steps_wait_for_on_one_link_does_not_stop_reading_ahead_on_another() -> None:
    claimed = [reads(f"a{n}", f"slow:{n}") for n in range(4)]
    planner = a_planner(*claimed, reads("later", "fast:x"))
    for step in claimed:
        planner.ask("w", step)
    assert fetched(planner.decide(0.0)) == ["slow:0", "slow:1", "fast:x"]


def test_a_limit_may_become_smaller_and_larger_while_transfers_run() -> None:
    planner = a_planner(*SIX[::2], ask=True)
    assert len(fetched(planner.decide(0.0))) == 2
    planner.set_link("slow", transfers=1)
    planner.arrived(ObjectRef(remote="slow", path="0"))
    assert fetched(planner.decide(0.0)) == []
    planner.set_link("slow", transfers=2)
    assert fetched(planner.decide(0.0)) == ["slow:2"]


def test_measured_rates_say_when_a_link_is_full() -> None:
    planner = a_planner(*(reads(f"a{n}", f"far:{n}", size=100) for n in range(8)), ask=True, transfers=8)
    planner.set_link("far", rate_Bps=100.0, stream_Bps=40.0, latency_s=1.0)
    assert len(fetched(planner.decide(0.0))) == 3, "three streams fill it"
    small = a_planner(*(reads(f"a{n}", f"far:{n}", size=10) for n in range(8)), ask=True, transfers=8)
    small.set_link("far", rate_Bps=100.0, stream_Bps=40.0, latency_s=1.0)
    assert len(fetched(small.decide(0.0))) == 8, "as long as too little is under way to bridge the latency, more are begun"


def test_large_objects_are_split_as_their_link_is_said_to_like() -> None:
    planner = a_planner(reads("a", "ranged:x", size=100), reads("b", "whole:x", size=100), transfers=8)
    planner.set_link("ranged", part_bytes=25)
    parts = {one.ref.remote: one.parts for one in planner.decide(0.0) if isinstance(one, Fetch)}
    assert parts == {"ranged": 4, "whole": 1}


@pytest.mark.parametrize("ask", [True, False], ids=["claimed", "ahead"])
def test_the_first_object_on_a_link_has_it_for_itself(ask: bool) -> None:
    planner = a_planner(*(reads(f"a{n}", f"far:{n}", size=100) for n in range(3)), ask=ask, transfers=12)
    planner.set_link("far", part_bytes=50, alone_part_bytes=20, part_streams=8)
    assert [one.parts for one in planner.decide(0.0) if isinstance(one, Fetch)] == [5, 2, 2]


def test_links_work_side_by_side_in_the_simulated_world() -> None:
    steps = tuple(reads(f"{remote}{n}", f"{remote}:{n}", size=100) for n in range(5) for remote in ("a", "b"))
    options = PlannerOptions(transfers=4, workers=4, default_output_bytes=0)
    one = Setting(capacity_bytes=10_000, link=Link(rate_Bps=10.0), options=options)
    two = Setting(capacity_bytes=10_000, link=Link(rate_Bps=10.0), links={"b": Link(rate_Bps=20.0)}, options=options)
    arrivals = [Arrival(uid="w", steps=steps)]
    assert simulate(arrivals, one).makespan_s == pytest.approx(100.0)
    assert simulate(arrivals, two).makespan_s == pytest.approx(50.0)
