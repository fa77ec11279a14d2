"""What is said of the steps to come: in which order a workflow will run them."""

from msgspec.structs import replace

from jitflow.engine.lookahead import in_turn
from jitflow.model.data import FutureStep


def steps(count: int, after: tuple[str, ...] = ()) -> list[FutureStep]:
    return [FutureStep(id=f"w/{number}", after=after) for number in range(count)]


def test_without_parallelism_nothing_waits() -> None:
    assert in_turn(steps(3), 0) == steps(3)


def test_one_at_a_time_is_a_chain() -> None:
    """Whatever a plan prefers: the workflow begins its steps in the order in which they are listed."""
    told = in_turn(steps(4, after=("w/before",)), 1)
    assert [step.after for step in told] == [("w/before",), ("w/0",), ("w/1",), ("w/2",)]


def test_several_at_a_time_follow_each_other_in_rows() -> None:
    told = in_turn(steps(5), 2)
    assert [step.after for step in told] == [(), (), ("w/0",), ("w/1",), ("w/2",)]


def test_what_waits_already_is_not_said_twice_and_barriers_stay_shared() -> None:
    wide = tuple(f"w/{number}" for number in range(100, 200))
    coming = [*steps(1), replace(steps(2)[1], after=("w/0",)), FutureStep(id="w/2", after=wide), FutureStep(id="w/3", after=wide)]
    told = in_turn(coming, 2)
    assert told[1].after == ("w/0",)
    assert told[2].after is told[3].after is wide
