"""The server in the simulated world: every invariant holds, a seed says everything, the simulated ports keep their contracts."""

import gc
import os
import subprocess
import sys
import warnings
from collections.abc import AsyncGenerator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from benchmark.simulate.far import FarStores, SimStorage
from benchmark.simulate.plan import LEADER, Fault, Plan, draw_group
from benchmark.simulate.pods import Machine, SimExecutor
from benchmark.simulate.shrink import shrink
from benchmark.simulate.simulator import Outcome, drawn, run, simulate
from benchmark.simulate.store import standing_alone
from benchmark.simulate.world import Life, Violation, World

from jitflow.bootstrap import sharing
from jitflow.model.data import ObjectRef
from jitflow.model.pods import Pod, PodImage
from jitflow.ports.store import StateStore
from jitflow.stores import Lease
from jitflow.testing.store_contract import StateStoreContract

pytestmark = pytest.mark.pure

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "100"))
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _forget_what_was_killed() -> Iterator[None]:
    """What killed processes had begun is thrown away here, where nobody is told that it was never awaited."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


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


@pytest.mark.parametrize("kind", ["kill", "leader hangs"])
def test_what_goes_wrong_is_seen_and_made_small(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """A world in which pods that ended well are not believed to: the run is wrong, whatever else is left out of it."""

    def fails(seed: int, drops: tuple[str, ...] = ()) -> Outcome:
        outcome = simulate(seed, drops)
        kills = [fault for fault in drawn(seed, drops)[0] if fault.kind == kind]
        return Outcome(
            **{name: getattr(outcome, name) for name in outcome.__struct_fields__} | {"wrong": "seen" if kills else ""}
        )

    monkeypatch.setattr("benchmark.simulate.shrink.simulate", fails)
    seed = next(seed for seed in range(200) if len(drawn(seed)[0]) > 3 and kind in [fault.kind for fault in drawn(seed)[0]])
    drops, smaller = shrink(fails(seed))
    faults, load = drawn(seed, drops)
    assert [fault.kind for fault in faults] == [kind]
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


# -- several servers ---------------------------------------------------------------------------------------------------------


def seeds_of(share: str, count: int, servers: int = 2) -> list[int]:
    """Return seeds in which so many servers or more share a state in a way."""
    groups = ((seed, draw_group(seed)) for seed in range(600))
    return [seed for seed, group in groups if group and group.share == share and group.count >= servers][:count]


def with_faults(seed: int, *faults: Fault) -> Outcome:
    return run(seed, faults, drawn(seed)[1])


def test_a_third_of_the_seeds_has_several_servers() -> None:
    groups = [draw_group(seed) for seed in range(600)]
    shared = [group for group in groups if group is not None]
    assert 150 < len(shared) < 250
    assert {(group.count, group.share) for group in shared} == {(n, share) for n in (2, 3) for share in ("home", "anywhere")}
    kinds = {fault.kind for seed in range(600) if groups[seed] for fault in drawn(seed)[0]}
    assert kinds >= set(LEADER)


def test_a_leader_that_hangs_is_taken_over_and_changes_nothing_when_it_wakes_up() -> None:
    for share in ("home", "anywhere"):
        outcomes = [with_faults(seed, Fault(kind="leader hangs", at=30, for_s=30)) for seed in seeds_of(share, 6)]
        assert [outcome.wrong for outcome in outcomes] == [""] * 6
        assert all(outcome.taken >= 2 for outcome in outcomes)
        ended = sum(outcome.injected.get("killed by who takes over", 0) for outcome in outcomes)
        assert ended == (6 if share == "home" else 0)


def test_one_that_dies_while_it_takes_over_is_taken_over_too() -> None:
    """It dies at each of its first effects; the leader hangs meanwhile, and would hold the home that they have in common."""
    seed = seeds_of("home", 1, servers=3)[0]
    for at in range(1, 7):
        faults = (Fault(kind="leader hangs", at=30, for_s=90), Fault(kind="taker killed", at=at, how="after"))
        outcome = with_faults(seed, *faults)
        assert (outcome.wrong, outcome.taken >= 2) == ("", True)


def test_pods_that_outlive_their_lease_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Machine, "let_run", lambda self, until: None)
    seen = [
        with_faults(seed, Fault(kind="leader hangs", at=at, for_s=30)).wrong
        for seed in seeds_of("anywhere", 6)
        for at in (25, 45)
    ]
    assert any("leads while pods run" in wrong for wrong in seen)


def test_a_lease_that_is_believed_for_too_long_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A leader is cut off that counts from when it was answered, rather than from when it asked, and a little more."""
    renewed = Lease.renewed
    monkeypatch.setattr(Lease, "renewed", lambda self, asked_at: renewed(self, asked_at + 2.0))
    seen = [with_faults(seed, Fault(kind="leader hangs", at=30, for_s=30)).wrong for seed in seeds_of("anywhere", 3)]
    assert any(" may, for " in wrong for wrong in seen)


def test_a_server_that_does_not_take_over_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "may_lead", lambda lead, home: not lead.id)
    seen = [with_faults(seed, Fault(kind="leader hangs", at=30, for_s=100)).wrong for seed in seeds_of("anywhere", 6)]
    assert any("nobody has taken over" in wrong for wrong in seen)


def test_a_leader_is_not_missed_when_all_has_ended() -> None:
    """One dies; the next drives the last workflow to its end, and stops in the moment in which it is looked for."""
    assert simulate(646412).wrong == ""
