"""Equal objects are fetched and stored once; sources that have changed are noticed before a step reads what is here."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from far_store import Kit, RemoteKit, a_step, ref

from jitflow.model.data import FutureInput, FutureStep, ObjectRef
from jitflow.ports.dataplane import Lease
from jitflow.ports.errors import Unreachable

KITS = pytest.mark.parametrize("kind", [Kit, RemoteKit])


def going(kit: Kit, story: Callable[[Kit], Awaitable[None]]) -> None:
    async def run() -> None:
        kit.far.hashes = True
        kit.far.remotes.add("other")
        await kit.start()
        try:
            await story(kit)
            assert kit.plane._core.planner.audit() == ()
        finally:
            await kit.plane.close()

    asyncio.run(run())


async def read(kit: Kit, uid: str, name: str, *inputs: ObjectRef) -> list[bytes]:
    """Let a step of a workflow read and end; return what it read."""
    step = FutureStep(id=f"{uid}/{name}", inputs=tuple(FutureInput(ref=one) for one in inputs))
    kit.plane.acquire(uid, step)
    await kit.until(lambda: [one for one in kit.events if isinstance(one, Lease) and one.step == step.id])
    lease = next(one for one in kit.events if isinstance(one, Lease) and one.step == step.id)
    found = [Path(lease.paths[one]).read_bytes() for one in inputs]
    kit.plane.release(step.id, [])
    return found


@KITS
def test_equal_objects_are_fetched_once(kind: type[Kit], tmp_path: Path) -> None:
    """Two names in two remotes, asked for at once by two workflows; then a third name."""

    async def story(kit: Kit) -> None:
        a, c, d = kit.far.put("a", 300), kit.far.put("c", 300), kit.far.put("d", 300, b"y")
        b = ref("b", "other")
        kit.far.objects[b] = kit.far.objects[a]
        found = await asyncio.gather(read(kit, "w1", "s", a), read(kit, "w2", "s", b), read(kit, "w2", "t", d))
        assert found == [[b"x" * 300], [b"x" * 300], [b"y" * 300]]
        assert await read(kit, "w3", "s", c) == [b"x" * 300]
        assert sum(kit.far.count("fetch", one) for one in (a, b, c)) == 1
        fill = kit.plane.fill()
        assert (fill.fetched_bytes, fill.shared_bytes, fill.fetched_twice_bytes) == (600, 600, 0)
        if kind is Kit:
            files = [path.stat() for path in (kit.root / "objects").rglob("*") if path.is_file()]
            assert len(files) == 4
            assert len({one.st_ino for one in files}) == 2

    going(kind(tmp_path, 2000), story)


def test_each_name_can_go_without_the_others(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        a, b, c = (kit.far.put(name, 300) for name in "abc")
        await read(kit, "w", "one", a, b)
        await kit.plane.evict(a)
        assert await read(kit, "w", "two", b, c) == [b"x" * 300] * 2
        await kit.kill()
        assert await read(kit, "w", "three", a) == [b"x" * 300]
        assert [kit.far.count("fetch", one) for one in (a, b, c)] == [1, 0, 0]

    going(Kit(tmp_path, 2000), story)


def test_the_second_goes_itself_where_the_first_fails(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        a, b = kit.far.put("a", 300), kit.far.put("b", 300)
        kit.far.gates["fetch", a] = asyncio.Event()
        kit.far.faults["fetch", a] = [Unreachable("far: away")] * 9
        async with asyncio.TaskGroup() as group:
            kit.plane.acquire("w", a_step("one", a))
            second = group.create_task(read(kit, "w", "two", b))
            await asyncio.sleep(0.01)
            assert kit.far.count("fetch", b) == 0
            kit.far.gates["fetch", a].set()
        assert second.result() == [b"x" * 300]
        await kit.until(lambda: kit.lease("one"))

    going(Kit(tmp_path, 2000), story)


def test_a_changed_twin_is_not_taken(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        a, b = kit.far.put("a", 300), kit.far.put("b", 300)
        await read(kit, "w", "one", a)
        (kit.root / kit.plane._core.rows[a].location).write_bytes(b"?" * 299)
        assert await read(kit, "w", "two", b) == [b"x" * 300]
        assert kit.far.count("fetch", b) == 1

    going(Kit(tmp_path, 2000), story)


@KITS
def test_a_newer_workflow_reads_what_is_there_now(kind: type[Kit], tmp_path: Path) -> None:
    """Though nobody could know at its submission that it would read that, and another step still reads the old copy."""

    async def story(kit: Kit) -> None:
        a = kit.far.put("a", 100)
        await kit.plane.check("w", [a_step("one", a)])
        kit.plane.acquire("w", a_step("one", a))
        await kit.until(lambda: kit.lease("one"))
        kit.far.put("a", 120, b"n")
        assert await read(kit, "w", "again", a) == [b"x" * 100]
        kit.clock.time += 1
        await kit.plane.check("new", [])
        async with asyncio.TaskGroup() as group:
            newer = group.create_task(read(kit, "new", "s", a))
            await asyncio.sleep(0.02)
            assert not newer.done()
            kit.plane.release("w/one", [])
        assert newer.result() == [b"n" * 120]
        looks = kit.far.count("stat", a)
        assert await read(kit, "new", "t", a) == [b"n" * 120]
        assert kit.far.count("stat", a) == looks

    going(kind(tmp_path, 1000), story)


def test_a_far_store_that_is_away_stops_nothing_that_is_near(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        a = kit.far.put("a", 100)
        await read(kit, "w", "one", a)
        kit.clock.time += 1
        await kit.plane.check("new", [])
        kit.far.faults["stat", a] = [Unreachable("far: away")]
        assert await read(kit, "new", "s", a) == [b"x" * 100]
        del kit.far.objects[a]
        kit.clock.time += 1
        await kit.plane.check("third", [])
        kit.plane.acquire("third", FutureStep(id="w/gone", inputs=(FutureInput(ref=a),)))
        await kit.until(lambda: kit.refusal("gone"))
        assert "does not exist" in kit.refusal("gone")

    going(Kit(tmp_path, 1000), story)


def test_a_pin_outlives_its_replica(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        a = kit.far.put("a", 100)
        await kit.plane.stage(a)
        await kit.plane.pin(a)
        (kit.root / kit.plane._core.rows[a].location).unlink()
        assert (await kit.plane.compare()).changed == ("far:a",)
        await kit.until(lambda: not kit.replicas())
        await kit.plane.stage(a)
        assert [row.kept for row in kit.replicas()] == [True]
        await kit.kill()
        assert [row.kept for row in kit.replicas()] == [True]

    going(Kit(tmp_path, 1000), story)
