"""Leases: inputs arrive once, within the capacity, and are pinned while they are read."""

import asyncio
import time
from pathlib import Path

import pytest
from far_store import Kit, a_step, ref

from jitflow.dataplane import lookups
from jitflow.model.data import ObjectInfo, ObjectRef
from jitflow.planner import Command
from jitflow.ports.dataplane import DataEvent, Lease


def test_a_step_finds_its_inputs(tmp_path: Path) -> None:
    async def run() -> None:
        kit = Kit(tmp_path, 1000)
        plane = await kit.start()
        a, b = kit.far.put("a", 300, b"a"), kit.far.put("b", 0)
        step = a_step("s", a, b)
        estimate = await plane.check("w", [step])
        assert (estimate.objects, estimate.distinct_bytes, estimate.to_move_bytes) == (2, 300, 300)
        plane.announce("w", [step])
        plane.acquire("w", step)
        await kit.until(lambda: kit.lease("s"))
        lease = kit.lease("s")
        assert lease is not None
        assert Path(lease.paths[a]).read_bytes() == b"a" * 300
        assert Path(lease.paths[b]).read_bytes() == b""
        assert lease.sizes == {a: 300, b: 0}
        plane.release("w/s", [])
        assert plane.fill().pinned_bytes == 0
        await plane.close()

    asyncio.run(run())


def test_twenty_waiters_share_one_transfer(tmp_path: Path) -> None:
    async def run() -> None:
        kit = Kit(tmp_path, 1000)
        plane = await kit.start()
        a = kit.far.put("a", 900)
        steps = [a_step(f"s{n}", a) for n in range(20)]
        plane.announce("w", steps)
        for step in steps:
            plane.acquire("w", step)
        await kit.until(lambda: all(kit.lease(f"s{n}") for n in range(20)))
        assert kit.far.count("fetch", a) == 1
        assert plane.fill().fetched_twice_bytes == 0
        await plane.close()

    asyncio.run(run())


def test_a_lease_that_cannot_be_given_keeps_no_other_waiting(tmp_path: Path) -> None:
    async def run() -> None:
        kit = Kit(tmp_path, 1000)

        def hear(event: DataEvent) -> None:
            if isinstance(event, Lease) and event.step == "w/s0":
                raise ValueError("who hears of it fails")
            kit.events.append(event)

        plane = kit.plane
        await plane.open(hear)
        a = kit.far.put("a", 900)
        steps = [a_step(f"s{n}", a) for n in range(4)]
        plane.announce("w", steps)
        for step in steps:
            plane.acquire("w", step)
        await kit.until(lambda: all(kit.lease(f"s{n}") for n in range(1, 4)))
        assert kit.lease("s0") is None
        await plane.close()

    asyncio.run(run())


def test_what_is_looked_up_begins_to_come_while_the_rest_is_gone_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "_PIECE", 2)

    async def run() -> None:
        kit = Kit(tmp_path, 1000)
        plane = await kit.start()
        core, seen = plane._core, list[str]()
        know, perform = core.know, core.perform

        def knows(of: ObjectRef, info: ObjectInfo) -> None:
            seen.append("known")
            know(of, info)

        def performs(command: Command) -> None:
            seen.append(type(command).__name__)
            perform(command)

        core.know, core.perform = knows, performs  # type: ignore[method-assign]
        steps = [a_step(f"s{n}", kit.far.put(f"f{n}", 10)) for n in range(5)]
        plane.announce("w", steps)
        for step in steps:
            plane.acquire("w", step)
        await kit.until(lambda: all(kit.lease(f"s{n}") for n in range(5)))
        moves = [word for word in seen if word in {"known", "Fetch"}]
        assert moves == ["known", "known", "Fetch", "Fetch", "known", "known", "Fetch", "Fetch", "known", "Fetch"]
        await plane.close()

    asyncio.run(run())


def test_a_step_without_data_starts_at_once_and_costs_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        kit = Kit(tmp_path, 1000)
        plane = await kit.start()
        step = a_step("s")
        plane.acquire("w", step)
        assert kit.events == [Lease(step="w/s")]
        best = min(_seconds(lambda: plane.acquire("w", step)) for _ in range(200))
        assert best < 20e-6
        await plane.close()

    def _seconds(call) -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    asyncio.run(run())


def test_outputs_reach_their_secondary_and_are_read_near(tmp_path: Path) -> None:
    async def run() -> None:
        kit = Kit(tmp_path, 1000)
        plane = await kit.start()
        out = ref("out")
        first, second = a_step("first", outputs=[(out, 400)]), a_step("second", out)
        plane.announce("w", [first, second])
        plane.acquire("w", first)
        await kit.until(lambda: kit.lease("first"))
        gate = kit.far.gates["store", out] = asyncio.Event()
        plane.release("w/first", [kit.output(out, 400)])
        plane.acquire("w", second)
        await kit.until(lambda: kit.lease("second"))
        assert kit.staged("first") is None
        assert plane.fill().dirty_bytes == 400
        gate.set()
        await kit.until(lambda: kit.staged("first"))
        assert kit.far.objects[out] == b"o" * 400
        assert kit.far.count("fetch", out) == 0
        plane.release("w/second", [])
        await plane.close()

    asyncio.run(run())


def test_a_chain_of_files_through_a_primary_that_holds_two(tmp_path: Path) -> None:
    async def run() -> None:
        kit = Kit(tmp_path, 450, transfers=3, workers=2)
        plane = await kit.start()
        names = [kit.far.put(f"f{n}", 200) for n in range(12)]
        steps = [a_step(f"s{n}", one, outputs=[(ref(f"o{n}"), 20)]) for n, one in enumerate(names)]
        await plane.check("w", steps)
        plane.announce("w", steps)
        for step in steps:
            plane.acquire("w", step)
        for n in range(12):
            await kit.until(lambda n=n: kit.lease(f"s{n}"))
            plane.release(f"w/s{n}", [kit.output(ref(f"o{n}"), 20)])
        await kit.until(lambda: all(kit.staged(f"s{n}") for n in range(12)))
        assert plane.fill().fetched_twice_bytes == 0
        assert kit.most <= 450
        assert plane.fill().peak_bytes <= 450
        await plane.close()

    asyncio.run(run())
