"""Outputs that need not leave the primary: they go when they were read, are sent when their room is needed, never lost."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from far_store import Kit, a_step, ref
from msgspec.structs import replace

from jitflow.model.data import FutureStep, ObjectRef
from jitflow.model.problems import Refused
from jitflow.ports.errors import AccessRefused, Unreachable


def going(tmp_path: Path, capacity: int, story: Callable[[Kit], Awaitable[None]], **options: object) -> None:
    async def run() -> None:
        kit = Kit(tmp_path, capacity, **options)
        await kit.start()
        await story(kit)
        kit.watch()
        await kit.plane.close()

    asyncio.run(run())


def passing(step: FutureStep, *, after: Sequence[str] = (), family: str = "") -> FutureStep:
    """Return a step whose outputs are transient."""
    return replace(
        step,
        outputs=tuple(replace(one, transient=True) for one in step.outputs),
        after=tuple(f"w/{name}" for name in after),
        family=f"w/{family}" if family else "",
    )


async def run_step(
    kit: Kit, step: FutureStep, outputs: Sequence[tuple[ObjectRef, int]] = (), *, good: bool = True
) -> dict[ObjectRef, bytes]:
    """Let a step run as an engine does, and return what it has read."""
    name = step.id.removeprefix("w/")
    kit.plane.acquire("w", step)
    await kit.until(lambda: kit.lease(name))
    lease = kit.lease(name)
    assert lease is not None
    read = {one: Path(path).read_bytes() for one, path in lease.paths.items() if Path(path).is_file()}
    kit.plane.release(step.id, [kit.output(one, size, name[-1:].encode()) for one, size in outputs], good=good)
    if outputs:
        await kit.until(lambda: kit.staged(name))
    return read


def here(kit: Kit) -> set[str]:
    return {row.ref.path for row in kit.replicas() if row.location}


def test_what_steps_hand_on_is_never_sent_and_goes_after_its_last_reader(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        x, result = ref("x"), ref("result")
        maker = passing(a_step("m", outputs=[(x, 100)]))
        readers = [passing(a_step("a", x), after=["m"]), a_step("b", x, outputs=[(result, 10)])]
        kit.plane.announce("w", [maker, *readers])
        await run_step(kit, maker, [(x, 100)])
        staged = kit.staged("m")
        assert staged is not None
        assert staged.error == ""
        await run_step(kit, readers[0])
        assert here(kit) == {"x"}
        with pytest.raises(Refused, match="nowhere else"):
            await kit.plane.evict(x)
        read = await run_step(kit, readers[1], [(result, 10)])
        assert read[x] == b"m" * 100
        await kit.until(lambda: here(kit) == {"result"})
        kit.plane.withdraw("w")
        assert set(kit.far.objects) == {result}
        assert kit.far.count("store", x) == 0
        assert kit.plane.fill().stored_bytes == 10
        assert kit.plane._stageout.obligations == {}

    going(tmp_path, 400, story)


def test_a_failed_reader_keeps_what_it_has_read_for_its_next_attempt(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        x = ref("x")
        maker = passing(a_step("m", outputs=[(x, 100)]))
        first, second = passing(a_step("r0", x), family="r"), passing(a_step("r1", x), family="r")
        kit.plane.announce("w", [maker, first])
        await run_step(kit, maker, [(x, 100)])
        await run_step(kit, first, good=False)
        await asyncio.sleep(0.01)
        assert here(kit) == {"x"}
        await run_step(kit, second)
        await kit.until(lambda: here(kit) == set())
        assert kit.far.objects == {}

    going(tmp_path, 400, story)


@pytest.mark.parametrize("good", [True, False])
def test_a_workflow_that_fails_sends_what_a_retry_would_read(tmp_path: Path, good: bool) -> None:
    async def story(kit: Kit) -> None:
        x, y, z = ref("x"), ref("y"), ref("z")
        makers = [passing(a_step(f"m{one.path}", outputs=[(one, 50)])) for one in (x, y, z)]
        failing, coming, done = a_step("f", x), passing(a_step("c", y), after=["f"]), a_step("d", z)
        kit.plane.announce("w", [*makers, failing, coming, done])
        for maker, one in zip(makers, (x, y, z), strict=True):
            await run_step(kit, maker, [(one, 50)])
        await run_step(kit, done)
        await run_step(kit, failing, good=False)
        kit.far.gates["store", x] = gate = asyncio.Event()
        kit.plane.withdraw("w", good=good)
        if not good:
            # Until it is there, nobody can evict the only copy; then a retry finds it here or there.
            with pytest.raises(Refused, match="not been proven"):
                await kit.plane.evict(x)
        gate.set()
        await kit.until(lambda: kit.plane._stageout.obligations == {})
        assert set(kit.far.objects) == (set() if good else {x, y})
        assert kit.plane.fill().dirty_bytes == 0
        if not good:
            await kit.plane.evict(x)
            kit.plane.announce("w", [failing, coming])
            kit.events.clear()
            assert await run_step(kit, failing) == {x: b"x" * 50}

    going(tmp_path, 400, story)


def test_room_is_made_by_sending_what_is_read_last(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        x, y, big = ref("x"), ref("y"), kit.far.put("big", 250)
        makers = [passing(a_step("mx", outputs=[(x, 100)])), passing(a_step("my", outputs=[(y, 100)]))]
        steps = [a_step("b", big), passing(a_step("ry", y), after=["b"]), passing(a_step("rx", x), after=["ry"])]
        kit.plane.announce("w", [*makers, *steps])
        await run_step(kit, makers[0], [(x, 100)])
        await run_step(kit, makers[1], [(y, 100)])
        kit.far.faults["store", x] = [Unreachable("far does not answer"), AccessRefused("far refuses")] * 5
        await run_step(kit, steps[0])
        assert set(kit.far.objects) == {big, x, y}
        for step, one in ((steps[1], y), (steps[2], x)):
            assert await run_step(kit, step) == {one: one.path.encode() * 100}
        await kit.until(lambda: kit.plane.fill().dirty_bytes == 0)
        assert kit.far.count("store", x) == 11
        kit.plane.withdraw("w")
        assert kit.plane._stageout.obligations == {}

    going(tmp_path, 300, story)


def test_what_the_last_reader_is_done_with_is_not_sent_for_the_sake_of_its_room(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        x, y, z = ref("x"), ref("y"), ref("z")
        maker = passing(a_step("m", outputs=[(x, 100)]))
        reader = passing(a_step("r", x, outputs=[(y, 100)]), after=["m"])
        waiting = a_step("n", outputs=[(z, 200)])
        last = a_step("l", y)
        kit.plane.announce("w", [maker, reader, waiting, last])
        await run_step(kit, maker, [(x, 100)])
        kit.plane.acquire("w", reader)
        await kit.until(lambda: kit.lease("r"))
        kit.plane.acquire("w", waiting)
        await asyncio.sleep(0.01)
        assert kit.lease("n") is None, "there is room for it when x has gone"
        kit.plane.release(reader.id, [kit.output(y, 100, b"r")])
        await kit.until(lambda: kit.lease("n"))
        assert here(kit) == {"y"}
        await asyncio.sleep(0.05)
        assert kit.far.count("store", x) == 0
        assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("spill")]

    going(tmp_path, 350, story)


def test_what_does_not_fit_is_sent_from_where_it_lies(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        x, a = ref("x"), kit.far.put("a", 250)
        maker, holder, reader = passing(a_step("m", outputs=[(x, 10)])), a_step("h", a), a_step("r", x)
        kit.plane.announce("w", [maker, holder, reader])
        kit.plane.acquire("w", maker)
        kit.plane.acquire("w", holder)
        await kit.until(lambda: kit.lease("m") and kit.lease("h"))
        kit.plane.release("w/m", [kit.output(x, 200)])
        await kit.until(lambda: kit.staged("m"))
        assert x in kit.far.objects
        kit.plane.release("w/h", [])
        await run_step(kit, reader)
        kit.plane.withdraw("w")
        await kit.until(lambda: "x" not in here(kit))

    going(tmp_path, 300, story)


def test_as_long_as_steps_may_come_nothing_is_let_go(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        x = ref("x")
        maker, reader, late = passing(a_step("m", outputs=[(x, 100)])), a_step("r", x), a_step("late", x)
        kit.plane.announce("w", [maker, reader], open_ended=True)
        await run_step(kit, maker, [(x, 100)])
        await run_step(kit, reader)
        await asyncio.sleep(0.01)
        assert here(kit) == {"x"}
        kit.plane.announce("w", [late])
        assert here(kit) == {"x"}
        await run_step(kit, late)
        await kit.until(lambda: here(kit) == set())

    going(tmp_path, 300, story)


def test_who_reads_a_directory_as_a_whole_gets_what_lies_in_it_far_away(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        parts = [ref("dir/a"), ref("dir/b")]
        makers = [passing(a_step(f"m{one.path[-1]}", outputs=[(one, 20)])) for one in parts]
        kit.plane.announce("w", makers, open_ended=True)
        for maker, one in zip(makers, parts, strict=True):
            await run_step(kit, maker, [(one, 20)])
        assert kit.far.objects == {}
        gatherer = a_step("g", ref("dir/"))
        await run_step(kit, gatherer)
        assert set(kit.far.objects) == set(parts)
        # Told ahead, they are not kept back in the first place.
        others = [ref("other/a"), ref("other/b")]
        makers = [passing(a_step(f"o{one.path[-1]}", outputs=[(one, 20)])) for one in others]
        kit.plane.announce("w", [*makers, a_step("h", ref("other/"))])
        for maker, one in zip(makers, others, strict=True):
            await run_step(kit, maker, [(one, 20)])
        assert set(others) <= set(kit.far.objects)

    going(tmp_path, 300, story)


def test_a_part_of_a_directory_is_read_from_the_copy_that_is_nowhere_else(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        whole, part = ref("tree"), ref("tree/x")
        maker, reader = passing(a_step("m", outputs=[(whole, 70)])), a_step("r", part)
        kit.plane.announce("w", [maker, reader])
        kit.plane.acquire("w", maker)
        await kit.until(lambda: kit.lease("m"))
        made = kit.tmp / "pods" / "tree"
        made.mkdir()
        (made / "x").write_bytes(b"x" * 70)
        given = kit.output(ref("unused"), 1)
        artifact = replace(given.artifact, source=str(made), size_bytes=70, is_directory=True)
        kit.plane.release("w/m", [replace(given, ref=ref("tree/"), artifact=artifact)])
        await kit.until(lambda: kit.staged("m"))
        assert await run_step(kit, reader) == {part: b"x" * 70}
        await kit.until(lambda: here(kit) == set())
        assert kit.far.objects == {}

    going(tmp_path, 300, story)


@pytest.mark.parametrize("every", [1, 2, 3, 5, 8])
def test_killed_again_and_again_with_room_for_two(tmp_path: Path, every: int) -> None:
    """A chain of steps in a primary so small that results have to be sent: every reader gets the bytes that were written."""

    async def run() -> None:
        kit = Kit(tmp_path, 280, transfers=2, workers=1)
        ticks = 0

        def tick() -> None:
            nonlocal ticks
            ticks += 1
            kit.watch()

        kit.far.on_progress = tick
        outs = [ref(f"out{n}") for n in range(6)]
        ins = [kit.far.put(f"in{n}", 100) for n in range(6)]
        steps = [a_step("s0", ins[0], outputs=[(outs[0], 60)])]
        steps += [
            a_step(f"s{n}", outs[n - 1], *([outs[0]] if n == 5 else []), ins[n], outputs=[(outs[n], 60)]) for n in range(1, 6)
        ]
        steps = [passing(one, after=[f"s{n - 1}"] if n else []) if n < 5 else one for n, one in enumerate(steps)]
        await kit.start()
        kit.plane.announce("w", steps)
        next_kill, kills, given = every, 0, kit.output(outs[0], 1)
        for n, step in enumerate(steps):
            kit.plane.acquire("w", step)
            for turn in range(40_000):
                if kit.lease(f"s{n}"):
                    break
                if kills < 20 and (ticks >= next_kill or turn in {3, 11}):
                    kills += 1
                    next_kill = ticks + every
                    await kit.kill()
                    kit.events.clear()
                    kit.plane.announce("w", steps[n:])
                    if n:
                        kit.plane.release(f"w/s{n - 1}", [given])
                    kit.plane.acquire("w", step)
                await asyncio.sleep(0)
            lease = kit.lease(f"s{n}")
            assert lease is not None
            for one in step.inputs:
                if one.ref in outs:
                    assert Path(lease.paths[one.ref]).read_bytes() == bytes([97 + outs.index(one.ref)]) * 60
            given = kit.output(outs[n], 60, bytes([97 + n]))
            kit.plane.release(step.id, [given])
        await kit.until(lambda: kit.staged("s5"))
        assert kills
        assert kit.far.objects[outs[5]] == b"f" * 60
        kit.plane.withdraw("w")
        await kit.until(lambda: not kit.plane._stageout.obligations)
        kit.watch()
        assert kit.plane.fill().dirty_bytes == 0
        await kit.plane.close()

    asyncio.run(run())
