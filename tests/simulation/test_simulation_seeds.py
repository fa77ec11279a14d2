"""The server in the simulated world: every invariant holds, a seed says everything, the simulated ports keep their contracts."""

import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from benchmark.simulate.far import FarStores, SimStorage
from benchmark.simulate.plan import Fault, Plan
from benchmark.simulate.pods import Machine, SimExecutor
from benchmark.simulate.shrink import shrink
from benchmark.simulate.simulator import Outcome, drawn, simulate
from benchmark.simulate.store import standing_alone
from benchmark.simulate.world import Life, Violation, World

from jitflow.model.data import ObjectRef
from jitflow.model.pods import Pod, PodImage
from jitflow.ports.store import StateStore
from jitflow.testing.store_contract import StateStoreContract

pytestmark = pytest.mark.pure

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "100"))
ROOT = Path(__file__).parents[2]


def a_world(tmp_path: Path, *faults: Fault) -> World:
    return World(0, Plan(faults), tmp_path)


class TestSimStore(StateStoreContract):
    def open_store(self, directory: Path) -> AbstractAsyncContextManager[StateStore]:
        del directory

        @asynccontextmanager
        async def opened() -> AsyncGenerator[StateStore]:
            async with standing_alone() as store:
                yield store

        return opened()


@pytest.mark.timeout(900)
def test_invariants_hold_in_every_seed(tmp_path: Path) -> None:
    """In a process of its own, for the order of sets is a part of what a seed says."""
    command = [sys.executable, "-m", "benchmark.simulate", "--seeds", f"0..{SEEDS - 1}"]
    results = {**os.environ, "SIMULATE_RESULTS": str(tmp_path / "results")}
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=results)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{SEEDS} seeds, 0 failed" in ran.stdout


def test_a_seed_says_everything_that_happens(tmp_path: Path) -> None:
    """The same seeds in two processes: the same traces."""
    command = [sys.executable, "-m", "benchmark.simulate", "--seeds", "0..19"]
    told: list[str] = []
    for name in ("one", "two"):
        results = {**os.environ, "SIMULATE_RESULTS": str(tmp_path / name)}
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=results)
        told.append(next(line for line in ran.stdout.splitlines() if line.startswith("traces ")))
    assert told[0] == told[1]


def test_what_goes_wrong_is_seen_and_made_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A world in which pods that ended well are not believed to: the run is wrong, whatever else is left out of it."""

    def fails(seed: int, drops: tuple[str, ...] = ()) -> Outcome:
        outcome = simulate(seed, drops)
        kills = [fault for fault in drawn(seed, drops)[0] if fault.kind == "kill"]
        return Outcome(
            **{name: getattr(outcome, name) for name in outcome.__struct_fields__} | {"wrong": "seen" if kills else ""}
        )

    monkeypatch.setattr("benchmark.simulate.shrink.simulate", fails)
    seed = next(seed for seed in range(50) if len(drawn(seed)[0]) > 3 and drawn(seed)[0][1].kind == "kill")
    drops, smaller = shrink(fails(seed))
    faults, load = drawn(seed, drops)
    assert [fault.kind for fault in faults] == ["kill"]
    assert (len(load.workflows), load.commands, smaller.wrong) == (1, [], "seen")


def test_a_kill_before_an_effect_lets_it_not_happen_and_one_after_it_does(tmp_path: Path) -> None:
    for how, count in (("before", 0), ("after", 1)):
        world = a_world(tmp_path, Fault(kind="kill", at=2, how=how))
        done: list[str] = []

        async def main(life: Life, world: World = world, done: list[str] = done) -> None:
            await world.effect(life, "one", lambda: done.append("one"))
            await world.effect(life, "two", lambda: done.append("two"))
            done.append("answered")

        life = world.start(main)
        world.run(10.0)
        assert not life.alive
        assert done == ["one", "two"][: 1 + count]
        world.close()


def test_a_faulty_transfer_leaves_what_a_real_one_leaves(tmp_path: Path) -> None:
    ref = ObjectRef(remote="far", path="a")
    for kind, left in (("cut", False), ("wrong bytes", True)):
        world = a_world(tmp_path, Fault(kind=kind, at=0.0))
        stores = FarStores()
        stores.put(ref, b"seed", 300)
        told: list[str] = []

        async def main(
            life: Life, world: World = world, stores: FarStores = stores, told: list[str] = told, kind: str = kind
        ) -> None:
            storage = SimStorage(world, life, stores)
            info = await storage.stat(ref)
            for name in ("first", "second"):
                try:
                    await storage.fetch(info, tmp_path / f"{kind}-{name}", lambda _: None)
                    told.append("came")
                except Exception as error:
                    told.append(type(error).__name__)

        world.start(main)
        world.run(60.0)
        assert told == [{"cut": "Unreachable", "wrong bytes": "Corrupt"}[kind], "came"]
        assert (tmp_path / f"{kind}-first").exists() is left
        assert (tmp_path / f"{kind}-second").stat().st_size == 300
        world.close()


def test_a_pod_that_ended_well_may_not_begin_again(tmp_path: Path) -> None:
    world = a_world(tmp_path)
    machine = Machine(world)
    seen: list[str] = []

    async def main(life: Life) -> None:
        executor = SimExecutor(world, life, machine)
        await executor.open(lambda end: seen.append(end.key))
        pod = Pod(key="u.n", name="n", image=PodImage(name="x"), command=("sim", '{"lasts_s": 1}', "0"))
        await executor.start(pod)
        while not seen:
            await world.effect(life, "wait", lambda: None)
        await executor.forget("u.n")
        await executor.start(pod)

    world.start(main)
    with pytest.raises(Violation, match="started again"):
        world.run(60.0)
    world.close()
