"""What links give, learned from what comes over them, in whatever bursts it is told."""

from random import Random

import pytest

from jitflow.dataplane.rates import BURST_S, Rates

pytestmark = pytest.mark.pure

MIB = 2**20


class World:
    """A link and its clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.rates = Rates(lambda: self.now)

    def move(self, count: int, took_s: float, limit_Bps: int | None = None) -> None:
        """One transfer alone."""
        self.rates.began("far")
        self.rates.moved("far", count)
        self.now += took_s
        self.rates.ended("far", limit_Bps)

    @property
    def known(self) -> tuple[float | None, bool]:
        return self.rates.rate("far"), self.rates.is_measured("far")


def test_small_transfers_tell_no_rate_of_which_plans_could_be_made() -> None:
    world = World()
    assert world.known == (None, False)
    world.move(1000, 0.5)
    world.move(4000, 0.5)
    world.move(10, 0.5)
    assert world.known == (8000.0, False), "at least so much"
    world.move(4 * MIB, 2.0)
    assert world.known == (2.0 * MIB, True)
    world.move(1000, 0.5)
    assert world.known == (2.0 * MIB, True), "a small one says nothing then"
    world.move(3000, 3.0)
    assert world.rates.rate("far") == pytest.approx(2 * MIB + 0.3 * (1000 - 2 * MIB)), "one that took long does"


def test_what_a_limit_held_back_does_not_make_a_link_slow() -> None:
    world = World()
    for rate, limit in ((50 * MIB, None), (MIB, MIB)):
        world.move(4 * rate, 4.0, limit)
        assert world.known == (50 * MIB, True)
    world.move(2 * MIB, 4.0, MIB)
    assert (world.rates.rate("far") or 0) < 50 * MIB, "it gave less than it was allowed to"


@pytest.mark.parametrize("burst", [1, 16, 40])
def test_a_rate_is_right_when_many_objects_are_told_of_together(burst: int) -> None:
    """Each begins when another has ended, so many of them end at once what began just before such a moment."""
    world, random, size, rate = World(), Random(burst), MIB // 4, 4.0 * MIB
    for _ in range(burst):
        world.rates.began("far")
    seen: list[float] = []
    for _ in range(6000 // burst):
        world.now += burst * size / rate * random.uniform(0.8, 1.2)
        for _ in range(burst):
            world.rates.moved("far", size)
            world.now += BURST_S / 100
        for _ in range(burst):
            world.rates.began("far")  # before the others end: something is on its way all the time
            world.rates.ended("far")
        if (known := world.rates.rate("far")) is not None:
            seen.append(known)
    assert len(seen) > 50
    assert all(0.75 * rate < one < 1.3 * rate for one in seen)


def test_a_time_in_which_nothing_is_on_its_way_does_not_count() -> None:
    world = World()
    for _ in range(5):
        world.move(8 * MIB, 2.0)
        world.now += 100.0
    assert world.known == (4.0 * MIB, True)


def test_transfers_that_fail_tell_what_came_of_them_and_what_is_told_too_late_is_left_out() -> None:
    world = World()
    world.rates.began("far")
    world.rates.began("far")
    world.rates.moved("far", 6 * MIB)
    world.now = 1.0
    world.rates.ended("far")
    assert world.known == (None, False), "the stretch goes on"
    world.now = 3.0
    world.rates.ended("far")
    world.rates.moved("far", 100 * MIB)
    assert world.known == (2.0 * MIB, True)
