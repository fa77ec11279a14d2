"""Images, slots, timers and the owner of tasks."""

import asyncio

import pytest

from jitflow.engine.images import Images, command_of
from jitflow.engine.slots import Slots
from jitflow.engine.tasks import Owner
from jitflow.engine.timers import Timers
from jitflow.model.pods import PodImage
from jitflow.model.problems import Refused

pytestmark = pytest.mark.pure


def test_images_by_name_then_without_tag_then_any() -> None:
    images = Images({"a:1": PodImage(name="a:1"), "b": PodImage(name="b")})
    assert images.find("a:1") == (PodImage(name="a:1"), True)
    assert images.find("b:7")[0].name == "b"
    assert images.find("host:5000/b") == (PodImage(name="host:5000/b"), False)
    assert Images({"*": PodImage(name="any")}).find("x:1")[0].name == "any"


def test_commands_as_a_container_runtime_takes_them() -> None:
    image = PodImage(name="i", entrypoint=("/run",), cmd=("default",))
    assert command_of(image, True, ("sh", "-c"), ("x",)) == ("sh", "-c", "x")
    assert command_of(image, True, (), ("x",)) == ("/run", "x")
    assert command_of(image, True, (), ()) == ("/run", "default")
    assert command_of(PodImage(name="i", cmd=("only",)), True, (), ()) == ("only",)


@pytest.mark.parametrize("mapped", [True, False])
def test_an_unknown_entrypoint_says_how_to_map_it(mapped: bool) -> None:
    with pytest.raises(Refused, match=r"entrypoint of the image 'i'.*images\."):
        command_of(PodImage(name="i"), mapped, (), ("x",))


def test_slots_are_given_in_order_and_never_beyond_the_limit() -> None:
    slots, begun = Slots(2), []
    for name in "abcd":
        slots.request(name, lambda name=name: begun.append(name))
    assert (begun, slots.held, slots.waiting) == (["a", "b"], 2, 2)
    slots.free("c")  # leaves the queue
    slots.free("a")
    slots.free("a")
    assert (begun, slots.waiting) == (["a", "b", "d"], 0)


def test_of_those_that_wait_for_a_slot_the_most_urgent_comes_first() -> None:
    slots, begun = Slots(1), []
    for name, priority in (("first", 0), ("low", -1), ("a", 5), ("gone", 9), ("b", 5), ("plain", 0)):
        slots.request(name, lambda name=name: begun.append(name), priority)
    slots.free("gone")
    slots.request("gone", lambda: begun.append("gone"), -2)  # asks again, less urgently
    while slots.held:
        slots.free(begun[-1])
    assert begun == ["first", "a", "b", "plain", "low", "gone"]


def test_pods_that_run_already_count_even_beyond_the_limit() -> None:
    slots, begun = Slots(1), []
    slots.hold("old")
    slots.hold("older")
    slots.request("new", lambda: begun.append("new"))
    slots.free("old")
    assert begun == []
    slots.free("older")
    assert begun == ["new"]


class HandClock:
    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> float:
        return self.time

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(0)


def test_timers_ring_when_the_clock_says_so() -> None:
    async def scenario() -> list[tuple[str, str]]:
        clock, rung = HandClock(), []
        timers = Timers(clock, lambda uid, key: rung.append((uid, key)))
        timers.start("u", "soon", 100.0)
        timers.start("u", "cancelled", 100.0)
        timers.cancel("u", "cancelled")
        timers.start("u", "late", 10_000.0)
        await asyncio.sleep(0.01)
        timers.close()
        return rung

    assert asyncio.run(scenario()) == [("u", "soon")]


def test_an_owner_reports_failures_and_ends_its_tasks() -> None:
    async def scenario() -> tuple[list[tuple[str, str]], bool]:
        failed, cancelled = [], []
        owner = Owner(lambda name, error: failed.append((name, str(error))))

        async def fails() -> None:
            raise ValueError("no")

        async def waits() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(True)
                raise

        owner.spawn(fails(), "fails")
        owner.spawn(waits(), "waits")
        await asyncio.sleep(0)
        await owner.close()
        owner.spawn(fails(), "dropped")
        return failed, bool(cancelled)

    assert asyncio.run(scenario()) == ([("fails", "no")], True)
