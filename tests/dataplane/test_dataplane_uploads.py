"""The order of uploads: what others wait for, results that people wait for, the rest; and what a kill leaves at the far store."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

import pytest
from far_store import Kit, a_step, ref

from jitflow.dataplane.turns import Rank, Turns
from jitflow.ports.dataplane import Lease


def going(tmp_path: Path, capacity: int, story: Callable[[Kit], Awaitable[None]], **options: object) -> None:
    async def run() -> None:
        kit = Kit(tmp_path, capacity, **options)
        await kit.start()
        await story(kit)
        kit.watch()
        await kit.plane.close()

    asyncio.run(run())


def stored(kit: Kit) -> list[str]:
    return [one.path for operation, one in kit.far.calls if operation == "store"]


async def written(kit: Kit, uid: str, *names: str, size: int = 20) -> None:
    """Let steps of a workflow write these, one after another, and end."""
    for name in names:
        one = ref(name)
        step = a_step(f"{uid}/s-{name}", outputs=[(one, size)])
        kit.plane.acquire(uid, step)
        await kit.until(lambda step=step: any(isinstance(e, Lease) and e.step == step.id for e in kit.events))
        kit.plane.release(step.id, [kit.output(one, size)])
        # It is sent, or waits for its turn.
        await kit.until(lambda one=one: kit.far.count("store", one) or one in kit.plane._uploads.turns.places())


def test_results_of_workflows_that_have_nothing_else_to_do_go_first_then_by_priority(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        block = [ref("block0"), ref("block1")]
        gate = asyncio.Event()
        for one in block:
            kit.far.gates["store", one] = gate
        for uid, priority in (("busy", 0), ("high", 5), ("done", 0)):
            kit.plane.announce(uid, [a_step(f"{uid}/later", ref(f"never-{uid}"))] if uid != "done" else [], priority=priority)
        await written(kit, "busy", "block0", "block1", "b1", "b2")
        await written(kit, "high", "h1")
        await written(kit, "done", "d1", "d2")
        rows = [(row.ref.path, row.place, row.message) for row in kit.plane.uploads() if row.state == "queued"]
        assert [name for name, _, _ in rows] == ["d1", "d2", "h1", "b1", "b2"]
        assert rows[0][1:] == (1, "a result of a workflow that has nothing else to do")
        # While they wait, the order may change: a workflow has nothing else to do, and its results are waited for.
        kit.plane.announce("busy", [])
        assert [row.ref.path for row in kit.plane.uploads() if row.state == "queued"] == ["b1", "b2", "d1", "d2", "h1"]
        gate.set()
        await kit.until(lambda: not kit.plane.uploads())
        order = stored(kit)
        assert set(order[:2]) == {"block0", "block1"}
        assert order[-1] == "h1"

    going(tmp_path, 1000, story, transfers=3)


def test_what_space_waits_for_goes_before_results(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        gate = kit.far.gates["store", ref("block")] = asyncio.Event()
        held = kit.far.gates["store", ref("first")] = asyncio.Event()
        await written(kit, "done", "block", "first", "x1", "x2")
        claimed = a_step("w/reader", ref("x1"))
        kit.plane.acquire("w", claimed)
        await asyncio.sleep(0.01)
        big = kit.far.put("big", 230)
        kit.plane.acquire("w", a_step("w/b", big))
        await asyncio.sleep(0.01)
        # 80 bytes are dirty, 20 of them are read now; the other 60 have to go before 230 can come into 300.
        rows = {row.ref.path: row for row in kit.plane.uploads()}
        assert rows["first"].state == "sending"
        assert rows["x2"].message == "others wait for this"
        gate.set()
        held.set()
        await kit.until(lambda: kit.lease("b"))
        order = stored(kit)
        assert order.index("x2") < order.index("x1")

    going(tmp_path, 300, story, transfers=2)


def test_who_waits_for_an_output_that_has_no_place_here_is_served_first_past_long_uploads(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        long = [ref(f"long{n}") for n in range(4)]
        gate = asyncio.Event()
        for one in long:
            kit.far.gates["store", one] = gate
        await written(kit, "other", *(one.path for one in long))
        a = kit.far.put("a", 200)
        kit.plane.acquire("w", a_step("h", a))
        maker = a_step("m", outputs=[(ref("x"), 0)])
        kit.plane.acquire("w", maker)
        await kit.until(lambda: kit.lease("h") and kit.lease("m"))
        kit.plane.release("w/m", [kit.output(ref("x"), 90)])
        kit.plane.acquire("w", a_step("r", ref("x")))
        # Three of four places are taken by what takes long; one is kept for what somebody waits for.
        await kit.until(lambda: ref("x") in kit.far.objects)
        assert stored(kit)[:4] == ["long0", "long1", "long2", "x"]
        gate.set()
        kit.plane.release("w/h", [])
        await kit.until(lambda: kit.lease("r"))

    going(tmp_path, 300, story, transfers=4)


def test_what_was_sent_just_before_a_kill_is_not_sent_twice_but_another_object_is_replaced(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        sent, other = ref("sent"), ref("other")
        gate = asyncio.Event()
        for one in (sent, other):
            kit.far.gates["store", one] = gate
        await written(kit, "w", "sent", "other")
        await kit.plane._core.journal.durable()
        await kit.kill()
        # The one had arrived, but nobody had heard of it; at the other's place somebody has put something of the same size.
        kit.far.objects[sent] = b"o" * 20
        kit.far.objects[other] = b"?" * 20
        gate.set()
        await kit.until(lambda: all(output.proven for one in kit.plane._stageout.obligations.values() for output in one.outputs))
        assert kit.far.objects == {sent: b"o" * 20, other: b"o" * 20}
        assert kit.far.count("store", sent) == 1
        assert kit.far.count("store", other) == 2

    going(tmp_path, 300, story)


@pytest.mark.parametrize("seed", range(12))
def test_turns_are_never_too_many_and_never_forgotten(seed: int) -> None:
    """Random waiters with ranks that change, some cancelled: at most so many at once, urgent ones never behind others."""

    async def run() -> None:
        random = Random(seed)
        at_once = random.randint(1, 5)
        turns = Turns(at_once, lambda: 0.0)
        ranks: dict[int, Rank] = {n: (random.randint(0, 3), random.randint(0, 3)) for n in range(60)}
        running: set[int] = set()
        done: list[int] = []

        async def work(n: int) -> None:
            async with turns.turn("far", n, lambda: ranks[n]):
                running.add(n)
                try:
                    assert len(running) <= at_once
                    await asyncio.sleep(random.random() * 0.002)
                finally:
                    running.discard(n)
            done.append(n)

        given_up: set[int] = set()
        async with asyncio.TaskGroup() as group:
            tasks = {n: group.create_task(work(n)) for n in ranks}
            for _ in range(40):
                await asyncio.sleep(0.001)
                n = random.randrange(60)
                ranks[n] = (random.randint(0, 3), 0)
                if random.random() < 0.5:
                    turns.hurry(n)
                else:
                    turns.reorder()
                if random.random() < 0.2:
                    n = random.randrange(60)
                    tasks[n].cancel()
                    given_up.add(n)
        assert set(done) | given_up == set(ranks)
        assert not turns.places()

    asyncio.run(run())


def test_the_next_is_the_best_rank_and_one_place_is_kept_for_what_is_urgent() -> None:
    async def run() -> None:
        turns = Turns(4, lambda: 0.0)
        ranks: dict[str, Rank] = {"a": (2,), "b": (2,), "c": (2,), "d": (2,), "e": (1,), "f": (3,)}
        order: list[str] = []
        gate = asyncio.Event()

        async def work(name: str) -> None:
            async with turns.turn("far", name, lambda: ranks[name]):
                order.append(name)
                await gate.wait()

        async with asyncio.TaskGroup() as group:
            for name in ranks:
                group.create_task(work(name))
            await asyncio.sleep(0.001)
            assert order == ["a", "b", "c"]
            assert {name: place for name, (place, _) in turns.places().items()} == {"e": 1, "d": 2, "f": 3}
            ranks["f"] = (0,)
            turns.hurry("f")
            await asyncio.sleep(0.001)
            assert order == ["a", "b", "c", "f"]
            gate.set()
        assert order == ["a", "b", "c", "f", "e", "d"]

    asyncio.run(run())
