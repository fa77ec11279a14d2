"""One run: a world, a workload and faults from a seed, until everything has ended; then the checks."""

import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from benchmark.simulate import checks, plan, workload
from benchmark.simulate.group import Servers
from benchmark.simulate.people import People
from benchmark.simulate.place import Place
from benchmark.simulate.plan import TROUBLED_S, Fault, Plan
from benchmark.simulate.server import Site
from benchmark.simulate.workload import Workload
from benchmark.simulate.world import Life, Violation, World
from jitflow.model.data import ObjectRef, ReplicaState
from jitflow.model.problems import Refused
from jitflow.ports.errors import PortError

PATIENCE_S = 4 * 3600.0
"""After the trouble, everything has to end in this time."""
AFTERWARDS_S = 1500.0
"""Then it has so long to give back what it holds."""
LOOK_S = 20.0
STRAY_S = 30.0
"""A pod has to be ended so long after its workflow."""


class Outcome(Struct, frozen=True, kw_only=True):
    """What a run came to. `wrong`: what was seen that must never be; empty if all was well."""

    seed: int
    wrong: str
    trace: str
    effects: int
    steps: int
    lives: int
    taken: int
    """How often a server took the lead of a state that several share."""
    longest_s: float
    """The longest time until another server drove again what a leader had driven."""
    pods: int
    simulated_s: float
    injected: dict[str, int]
    did: dict[str, int]
    log: tuple[str, ...] = ()


def drawn(seed: int, drops: Sequence[str] = ()) -> tuple[list[Fault], Workload]:
    """Return the faults and the workload of a seed, without some: `f0` the first fault, `c0` a command, `w0` a workflow."""
    faults, load = plan.draw(seed), workload.draw(seed)
    gone = {load.workflows[number].name for number in _numbers(drops, "w")}
    faults = [fault for number, fault in enumerate(faults) if number not in _numbers(drops, "f")]
    commands = [one for number, one in enumerate(load.commands) if number not in _numbers(drops, "c")]
    load.commands = [one for one in commands if one.workflow not in gone]
    load.workflows = [one for one in load.workflows if one.name not in gone]
    return faults, load


def _numbers(drops: Sequence[str], kind: str) -> set[int]:
    return {int(drop[1:]) for drop in drops if drop[0] == kind}


def simulate(seed: int, drops: Sequence[str] = (), *, log: bool = False) -> Outcome:
    """Run a seed, without what is to be left out of it (see `drawn`)."""
    return run(seed, *drawn(seed, drops), log=log)


def run(seed: int, faults: Sequence[Fault], load: Workload, *, log: bool = False) -> Outcome:
    """Run a seed with these faults and this workload."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix=f"jitflow-sim-{seed}-", dir=memory if memory.is_dir() else None))
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(finalizer=lambda _: None)  # what a killed process would have tidied up stays as it is
    try:
        return _Run(seed, faults, load, folder, log=log).run()
    finally:
        sys.set_asyncgen_hooks(*hooks)
        shutil.rmtree(folder, ignore_errors=True)


class _Run:
    def __init__(self, seed: int, faults: Sequence[Fault], load: Workload, folder: Path, *, log: bool) -> None:
        self.seed = seed
        self.world = world = World(seed, Plan(faults), folder)
        world.log = [] if log else None
        group = plan.draw_group(seed)
        self.site = Site(world, seed, load, group)
        self.people = People(self.site)
        self.servers = Servers(world, self.site, group) if group is not None else None
        self._looked_at, self._has_ended = (0, 0, 0), False
        load.seed_stores(self.site.stores)
        world.on_death = self.servers.died if self.servers is not None else self._died
        self.site.before_fetch = self._before_fetch
        self.site.on_lost = self._pod_lost
        for place in self.site.places:
            place.machine.allow_again = self._may_run_again
            place.machine.runs_on = lambda key, place=place: self._runs_on(place, key)
            place.machine.before_start = self._before_start
        for fault in faults:
            if fault.kind == "clock jump":
                world.at(fault.at, lambda fault=fault: world.jump(fault.by_s))
            elif fault.kind == "replica lost":
                world.at(fault.at, lambda fault=fault: self._lose(fault))

    def run(self) -> Outcome:
        wrong = ""
        try:
            self._go()
        except Violation as error:
            wrong = str(error)
        finally:
            self.world.close()
        world = self.world
        return Outcome(
            seed=self.seed,
            wrong=wrong,
            trace=world.trace,
            effects=world.effects,
            steps=world.steps,
            lives=len(world.dead) + len(world.lives),
            taken=self.servers.taken if self.servers is not None else 0,
            longest_s=self.servers.longest_s if self.servers is not None else 0.0,
            pods=sum(sum(place.machine.started.values()) for place in self.site.places),
            simulated_s=world.now,
            injected=dict(world.injected),
            did=dict(world.did),
            log=tuple(world.log or ()),
        )

    def _go(self) -> None:
        world, servers = self.world, self.servers
        if servers is not None:
            servers.open()
        else:
            self._start()
        self.people.come()
        world.run(TROUBLED_S)
        world.plan.heal()
        world.tell("all trouble is over")
        if servers is not None:
            servers.leave_one()
        limit = TROUBLED_S + PATIENCE_S
        while unfinished := checks.unfinished(self.site, self.people):
            if world.now >= limit:
                world.never(f"stuck: {', '.join(unfinished)} do not end: {checks.waits(self.site)}")
            self.people.resume_all()
            self.people.send_again()
            world.run(min(limit, world.now + LOOK_S), self._all_ended)
        if servers is not None:
            servers.stop()
            world.on_death = self._died
            self._start()
        world.run(world.now + AFTERWARDS_S)
        world.run(world.now + 2 * AFTERWARDS_S, lambda: world.life is not None and world.life.ready)
        for wrong in checks.at_the_end(self.site, self.people):
            world.never(wrong)

    def _all_ended(self) -> bool:
        """Return whether every workflow has ended; looked at when something has changed."""
        state = (self.site.state._sequence, len(self.site.state._runs), len(self.people.deleted))
        if state != self._looked_at:
            self._looked_at, self._has_ended = state, not checks.unfinished(self.site, self.people)
        return self._has_ended

    # -- the server --------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        if self.world.life is not None:
            return
        self.world.start(self._serve)

    async def _serve(self, life: Life) -> None:
        site, world = self.site, self.world
        try:
            await site.serve(life)
        except (PortError, Refused, OSError) as error:
            world.tell(f"[{life.number}] could not start: {error}")
            if not world.plan.trouble(world.now):
                world.never(f"a server could not start, though nothing is wrong: {error!r}")
            world.kill(life, "at a start that failed")
            return
        life.dataplane._owner._failed = lambda error: world.never(f"a task of the data plane failed: {error!r}")
        life.engine._owner._on_failure = lambda name, error: world.never(f"a task of the engine failed: {name}: {error!r}")

    def _died(self, life: Life) -> None:
        del life
        self.world.after(0.1 + 20 * self.world.chance() ** 3, self._start)

    def _lose(self, fault: Fault) -> None:
        """Let a file of the primary be gone or cut short that nobody needs now and that is elsewhere too."""
        life = self.world.life
        if life is None or not life.ready:
            return
        planner, rows = life.dataplane._core.planner, life.dataplane._core.rows
        loose = [rows.get(view.ref) for view in planner.items() if not (view.dirty or view.claims)]
        files = [self.site.place.folder / "primary" / row.location for row in loose if row is not None and row.location]
        there = sorted(path for path in files if path.is_file() and str(path) not in self.site.machine.reading)
        if not there:
            return
        path = there[int(self.world.chance() * len(there))]
        self.world.injected["replica lost"] += 1
        self.world.tell(f"{path.name} is lost: {fault.how}")
        if fault.how == "gone" or path.stat().st_nlink > 1:
            path.unlink()
        else:
            os.truncate(path, path.stat().st_size // 2)

    def _pod_lost(self, life: Life) -> None:
        """A step fails whose pod is lost, unless another server has it run again."""
        if life is self.world.life:
            self.world.plan.hurts_more = True

    # -- invariants --------------------------------------------------------------------------------------------------------

    def _before_fetch(self, life: Life, ref: ObjectRef) -> None:
        if not life.ready:
            return
        core = life.dataplane._core
        row, view = core.rows.get(ref), core.planner.item(ref)
        if row is not None and view is not None and view.state is ReplicaState.RESIDENT:
            self.world.never(f"{ref} is fetched while it is resident")

    def _before_start(self, key: str) -> None:
        node = self.site.node_of(key)
        if node is not None and node.phase == "Succeeded":
            self.world.never(f"pod {key} begins though its node has succeeded")

    def _may_run_again(self, key: str) -> bool:
        """Return whether a pod that had ended well may be started again: only if its node was told to have failed."""
        uid = key.partition(".")[0]
        run = self.site.state._runs.get(uid)
        return self.world.plan.hurt or (run is not None and run.row.name.removesuffix("-again") in self.people.steered)

    def _runs_on(self, place: Place, key: str) -> bool:
        """Return whether a pod should have been ended long ago: its workflow has, and a server has had the time to see to it."""
        run, life = self.site.state._runs.get(key.partition(".")[0]), self.world.life
        if place is not self.site.place:
            return False
        ended_at = self.people.ended_at.get(key.partition(".")[0])
        late = self.world.now - STRAY_S
        gone = run is None or run.row.finished_at is not None
        return gone and ended_at is not None and ended_at < late and life is not None and life.ready and life.ready_at < late
