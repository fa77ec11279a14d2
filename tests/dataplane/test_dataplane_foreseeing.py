"""What is foreseen of workflows: with and without look-ahead, alone and together, from what is known."""

import asyncio
from pathlib import Path

import pytest
from far_store import Kit, a_step, ref
from msgspec.structs import replace

from jitflow.model.data import FutureStep, ObjectRef


def timed(name: str, run_s: float, *inputs: ObjectRef, after: tuple[str, ...] = ()) -> FutureStep:
    return replace(a_step(name, *inputs), run_s=run_s, after=after)


def test_an_estimate_tells_both_times_and_both_chains(tmp_path: Path) -> None:
    async def run() -> None:
        kit = Kit(tmp_path, 1000, transfers=1, workers=1)
        plane = await kit.start()
        a, b = kit.far.put("a", 100), kit.far.put("b", 300)
        steps = [timed("one", 5.0, a), timed("two", 1.0, b, a, after=("w/one",)), timed("three", 2.0, after=("w/one",))]
        before = await plane.check("w", steps)
        assert (before.expected_s, before.on_demand_s, before.chain_s) == (None, None, None)
        assert (before.compute_s, before.compute_chain) == (7.0, ("w/one", "w/three"))
        assert before.transfer_chain == ("w/one", "w/two")
        plane._core.history.counters.rates["far"] = 100.0
        found = await plane.check("w", steps)
        # Ahead: 1 s for a, then b comes while one runs. Else b is fetched while two holds the only place.
        assert (found.transfer_s, found.chain_s) == (4.0, 4.0)
        assert found.expected_s == pytest.approx(9.0, abs=0.3), "each transfer takes a moment to begin"
        assert found.on_demand_s == pytest.approx(12.0, abs=0.3)
        assert (found.steps, found.timed, found.too_large) == (3, 3, False)
        await plane.close()

    asyncio.run(run())


def test_workflows_that_run_are_foreseen_together_from_what_is_here(tmp_path: Path) -> None:
    async def run() -> None:
        kit = Kit(tmp_path, 1000, transfers=1, workers=2)
        plane = await kit.start()
        plane._core.history.counters.rates["far"] = 100.0
        a, b = kit.far.put("a", 200), kit.far.put("b", 400)
        both = [timed("v/s", 1.0, a, b)], [timed("w/s", 1.0, b)]
        for uid, steps in zip("vw", both, strict=True):
            await plane.check(uid, steps)
        await plane.stage(a)
        looked = kit.far.count("stat", b)
        found = await plane.outlook([("v", both[0]), ("w", both[1])])
        assert (found.objects, found.distinct_bytes, found.resident_bytes, found.to_move_bytes) == (2, 600, 200, 400)
        assert found.link_Bps is not None
        assert found.expected_s == pytest.approx(400 / found.link_Bps + 1.0, abs=0.3)
        assert found.smallest_capacity_bytes == 600
        assert kit.far.count("stat", b) == looked, "nothing is looked up for what runs"
        assert (await plane.outlook([])).steps == 0
        unknown = await plane.outlook([("x", [timed("x/s", 1.0, ref("never-seen"))])])
        assert (unknown.unknown, unknown.rows[0][1]) == (1, None)
        await plane.close()

    asyncio.run(run())


def test_what_is_too_large_to_simulate_says_so(tmp_path: Path) -> None:
    async def run() -> None:
        kit = Kit(tmp_path, 10_000)
        plane = await kit.start()
        plane._core.history.counters.rates["far"] = 100.0
        a = kit.far.put("a", 100)
        found = await plane.check("w", [timed(f"s{n}", 1.0, a) for n in range(1000)])
        assert (found.too_large, found.expected_s, found.transfer_s, found.compute_s) == (True, None, 1.0, 1.0)
        await plane.close()

    asyncio.run(run())
