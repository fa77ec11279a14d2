"""Files that steps read by themselves: they are near under their names while a step runs that reads them, and no longer."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from far_store import Kit, RemoteKit, ref

from jitflow.model.data import FutureInput, FutureStep, ObjectRef
from jitflow.ports.errors import AccessRefused

NEAR_A, NEAR_B = ref("user/a", "other"), ref("user/b", "other")


def reading(name: str, *named: tuple[ObjectRef, ObjectRef]) -> FutureStep:
    inputs = tuple(FutureInput(ref=far, optional=True, near=near) for far, near in named)
    return FutureStep(id=f"w/{name}", inputs=inputs, template="t")


def going(tmp_path: Path, story: Callable[[Kit], Awaitable[None]], make: type[Kit] = Kit) -> None:
    async def run() -> None:
        kit = make(tmp_path, 1000)
        kit.far.remotes.add("other")
        kit.watch = lambda: None  # type: ignore[method-assign] - names in other stores are not the primary's
        await kit.start()
        try:
            await story(kit)
        finally:
            await kit.plane.close()

    asyncio.run(run())


async def begin(kit: Kit, *steps: FutureStep) -> None:
    await kit.plane.admit("w", steps)
    kit.plane.announce("w", steps)
    for step in steps:
        kit.plane.acquire("w", step)
    await kit.until(lambda: all(kit.lease(step.id[2:]) for step in steps))


@pytest.mark.parametrize("make", [Kit, RemoteKit])
def test_a_named_file_is_near_while_steps_read_it(tmp_path: Path, make: type[Kit]) -> None:
    async def story(kit: Kit) -> None:
        a = kit.far.put("a", 300, b"a")
        first, second = reading("first", (a, NEAR_A)), reading("second", (a, NEAR_A))
        await begin(kit, first, second)
        assert kit.far.objects[NEAR_A] == b"a" * 300
        lease = kit.lease("first")
        assert lease is not None
        assert lease.paths == {}
        kit.plane.release("w/first", [])
        await asyncio.sleep(0.02)
        assert NEAR_A in kit.far.objects
        kit.plane.release("w/second", [])
        await kit.until(lambda: NEAR_A not in kit.far.objects)
        assert kit.far.count("fetch", a) == 1
        assert kit.plane.fill().pinned_bytes == 0

    going(tmp_path, story, make)


def test_what_is_near_already_is_neither_fetched_nor_touched(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        a, b = kit.far.put("a", 300), kit.far.put("b", 200)
        kit.far.objects[NEAR_A] = b"y" * 300
        await begin(kit, reading("s", (a, NEAR_A), (b, NEAR_B)))
        assert kit.far.objects[NEAR_B] == b"x" * 200
        assert (kit.far.count("fetch", a), kit.far.count("fetch", b)) == (0, 1)
        kit.plane.release("w/s", [])
        await kit.until(lambda: NEAR_B not in kit.far.objects)
        assert kit.far.objects[NEAR_A] == b"y" * 300

    going(tmp_path, story)


def test_somebody_elses_object_of_that_name_is_left_alone(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        a = kit.far.put("a", 300)
        kit.far.objects[NEAR_A] = b"another"
        await begin(kit, reading("s", (a, NEAR_A)))
        kit.plane.release("w/s", [])
        await asyncio.sleep(0.02)
        assert kit.far.objects[NEAR_A] == b"another"

    going(tmp_path, story)


def test_a_step_runs_without_what_cannot_be_put(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        a, gone = kit.far.put("a", 300), ref("gone")
        kit.far.faults["store", NEAR_A] = [AccessRefused("other: you may not write there")]
        await begin(kit, reading("s", (a, NEAR_A), (gone, NEAR_B)))
        assert not {NEAR_A, NEAR_B} & kit.far.objects.keys()

    going(tmp_path, story)


def test_after_a_crash_names_stay_for_pods_that_live_and_go_for_others(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        a, b = kit.far.put("a", 300), kit.far.put("b", 200)
        alive, over = reading("alive", (a, NEAR_A)), reading("over", (b, NEAR_B))
        await begin(kit, alive, over)
        # Its lease is on the books no more, but the server is killed before the name is taken away.
        kit.far.gates["delete", NEAR_B] = asyncio.Event()
        kit.plane.release("w/over", [])
        await kit.plane._core.journal.durable()
        kit.events.clear()
        kit.far.gates.clear()
        assert NEAR_B in kit.far.objects
        plane = await kit.kill()
        await kit.until(lambda: NEAR_B not in kit.far.objects)
        plane.announce("w", [alive])
        plane.acquire("w", alive)
        await kit.until(lambda: kit.lease("alive"))
        assert kit.far.objects[NEAR_A] == b"x" * 300
        plane.release("w/alive", [])
        await kit.until(lambda: NEAR_A not in kit.far.objects)

    going(tmp_path, story)
