"""Servers that share a state: the product's own standing by, lease and take-over, and what goes wrong with them."""

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from benchmark.simulate.place import Place
from benchmark.simulate.plan import TROUBLED_S, Fault, Group
from benchmark.simulate.server import Site
from benchmark.simulate.store import NearStore, SharedStore
from benchmark.simulate.world import Life, World
from jitflow.bootstrap.sharing import Standing
from jitflow.bootstrap.stack import Sharing, Stack, let_go, settle_in
from jitflow.bootstrap.state import forget_promises
from jitflow.ports.errors import InUse, PortError, Unreachable
from jitflow.ports.servers import Lead, Member, Seen
from jitflow.stores import Lease, PatientStore
from jitflow.testing.memory_servers import MemoryServers, MemoryState

T = TypeVar("T")

TAKE_OVER_S = 15.0
"""A dead leader's workflows are driven again within this time, while another server stands by and the store answers."""

WATCH_S = 1.0
"""A leader looks more seldom whether it leads than in the world: each look costs what a change of a workflow costs."""

LEAD_PATIENCE_S = 120.0
"""When nothing is wrong any more, a server leads, or has stopped, within this time."""


class SimServers(MemoryServers):
    """The list of the servers, as one process reaches it."""

    def __init__(self, world: World, life: Life, state: MemoryState, has_died: Callable[[str], bool]) -> None:
        super().__init__(state, has_died)
        self._world = world
        self._life = life

    def _reach(self) -> None:
        world = self._world
        if world.now < self._life.cut_until or world.plan.takes("store away", world.now):
            raise Unreachable("the state store cannot be reached")

    async def tell(self, member: Member) -> None:
        self._reach()
        await super().tell(member)

    async def members(self) -> Sequence[Seen]:
        self._reach()
        return await super().members()

    async def lead(self) -> Lead:
        self._reach()
        return await super().lead()

    async def leave(self, member_id: str) -> None:
        self._reach()
        await super().leave(member_id)


class OneServer:
    """One of the servers in one of its lives."""

    def __init__(self, life: Life, number: int, place: Place, lease: Lease) -> None:
        self.life = life
        self.number = number
        self.place = place
        self.lease = lease
        self.standing: Standing | None = None
        self.lets_go = False
        """It has ended all that it did, and is about to give the lead back."""


class Servers:
    """All servers of a state. Each is started again when it has ended, as long as several are wanted."""

    def __init__(self, world: World, site: Site, group: Group) -> None:
        self._world = world
        self._site = site
        self._group = group
        self.state = MemoryState(lambda: world.now, site.state)
        self.state.end = self._end
        self._by_id: dict[str, OneServer] = {}
        self._incidents: list[float] = []
        """When something happened to a server."""
        self._wanted = set(range(group.count))
        self.taken = 0
        self.longest_s = 0.0

    def open(self) -> None:
        """Start the servers, one after the other, and let happen to them what is planned."""
        world = self._world
        self.start(0)
        for number in range(1, self._group.count):
            world.at(20 * world.chance(), lambda number=number: self.start(number))
        for fault in world.plan.timed:
            if fault.kind in _HAPPENINGS:
                world.at(fault.at, lambda fault=fault: self._happens(fault))

    # -- processes ---------------------------------------------------------------------------------------------------------

    def start(self, number: int) -> None:
        """Start a server, unless it is there."""
        if number not in self._wanted or any(life.member.number == number for life in self._world.lives):
            return
        life = self._world.start(self._run, leads=False)
        places = self._site.places
        place = places[number % len(places)]
        lease = Lease(
            home=place.name,
            share=self._group.share,
            member_id=f"server {number} life {life.number}",
            now=lambda: self._world.now,
        )
        one = life.member = OneServer(life, number, place, lease)
        self._by_id[lease.id] = one

    async def _run(self, life: Life) -> None:
        world, one = self._world, life.member
        member = Member(id=one.lease.id, url=f"http://server{one.number}", home=one.place.name, share=one.lease.share)
        servers = SimServers(world, life, self.state, lambda other: self._has_died(one, other))

        @asynccontextmanager
        async def led(sharing: Sharing) -> AsyncGenerator[Stack]:
            async with self._led(one, servers, sharing) as stack:
                yield stack

        standing = one.standing = Standing(servers, member, one.lease, led, peer="")
        standing.watch_s = WATCH_S
        standing.failed = lambda _name, error: world.never(f"a task of a server failed: {_name}: {error!r}")
        try:
            await standing.run()
        except PortError as error:
            world.tell(f"[{life.number}] ends: {error}")
            if not world.plan.trouble(world.now):
                world.never(f"a server cannot go on, though nothing is wrong: {error!r}")
        world.kill(life, "by itself", "ended by itself")

    def died(self, life: Life) -> None:
        """Start a server again that has ended."""
        world, one = self._world, life.member
        number = one.number
        self._incidents.append(world.now)
        if one.place.holder is life:
            one.place.holder = None
        if one.lease.id == self.state.lead.id:
            self._expect_take_over()
        world.after(0.1 + 40 * world.chance() ** 3, lambda: self.start(number))

    def _has_died(self, asking: OneServer, other: str) -> bool:
        """Return whether a server is known to be gone, where another one runs: processes of other machines are not seen."""
        found = self._by_id.get(other)
        return found is not None and found.place is asking.place and not found.life.alive

    def _end(self, other: str) -> None:
        found = self._by_id.get(other)
        if found is not None and found.life.alive:
            self._world.kill(found.life, "by who takes over", "killed by who takes over")

    # -- leading -----------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _led(self, one: OneServer, servers: SimServers, sharing: Sharing) -> AsyncGenerator[Stack]:
        world, site, life, lease = self._world, self._site, one.life, sharing.lease
        self._plan_death(life)

        async def step(name: str, work: Callable[[], T]) -> T:
            return await world.effect(life, f"lead.{name}", lambda: self._reached(one, name, work))

        await self.state.take(lease, servers, step)
        shared = SharedStore(world, life, self.state, lease, site.state)
        near = PatientStore(NearStore(world, life, one.place.near))
        try:
            await world.effect(life, "near.open", lambda: self._hold(one))
            await settle_in(lease, near, lambda: self._start_over(one, near), one.place.machine.let_run)
            store = PatientStore(shared)
            engine = site.engine(life, one.place, store, near)
            self._watch(life)
            try:
                await engine.open()
                site.opened(life)
                try:
                    yield Stack(app=_nobody, token="", drain=engine.hold_pods)
                finally:
                    let_go(lease, engine)
            finally:
                life.ready = False
                await engine.close()
        finally:
            if one.place.holder is life:
                one.place.holder = None
            one.lets_go = True
            await shared.close()
            if world.life is life:
                world.life = None

    def _reached(self, one: OneServer, name: str, work: Callable[[], T]) -> T:
        world = self._world
        if world.now < one.life.cut_until or world.plan.takes("store away", world.now):
            raise Unreachable("the state store cannot be reached")
        before = self.state.lead
        found = work()
        if name == "take":
            self._taken(one, before)
        return found

    def _hold(self, one: OneServer) -> None:
        """Open the file of a home, which one process has at a time."""
        holder = one.place.holder
        if holder is not None and holder.alive and holder is not one.life:
            raise InUse("the home's own file is in use by another server")
        one.place.holder = one.life

    async def _start_over(self, one: OneServer, near: PatientStore) -> None:
        self._world.tell(f"[{one.life.number}] starts over in {one.place.name}")
        await forget_promises(near)
        await self._world.effect(one.life, "pods.discard", one.place.machine.discard)

    def _watch(self, life: Life) -> None:
        world = self._world
        life.dataplane._owner._failed = lambda error: self._failed(life, f"the data plane: {error!r}", error)
        life.engine._owner._on_failure = lambda name, error: self._failed(life, f"the engine: {name}: {error!r}", error)
        world.tell(f"[{life.number}] puts itself together")

    def _failed(self, life: Life, what: str, error: BaseException) -> None:
        """A task of a server ended with an error: that of one that does not lead any more may."""
        if self.state.lead.id == life.member.lease.id or not isinstance(error, PortError):
            self._world.never(f"a task failed of {what}")

    # -- invariants --------------------------------------------------------------------------------------------------------

    def _taken(self, one: OneServer, before: Lead) -> None:
        """Look at all others in the moment in which a server takes the lead."""
        world = self._world
        self.taken += 1
        for life in world.lives:
            lease = life.member.lease
            if life is one.life or life.member.lets_go or not lease.ends_by_itself or lease.lost:
                continue
            if lease.until and lease.left_s > 0:
                world.never(f"{one.lease.id} leads while {lease.id} may, for {lease.left_s:.2f} s")
        if before.home and before.home != one.place.name:
            for place in self._site.places:
                if place is one.place:
                    continue
                if running := place.machine.running:
                    world.never(f"{one.lease.id} leads while pods run in {place.name}: {running}")
                self._note_lost(place)
        world.life, self._site.place = one.life, one.place

    def _note_lost(self, place: Place) -> None:
        """Results that were not sent yet are lost with their machine: their steps may fail."""
        unsent = place.folder / "unsent"
        ended = [key for key, pod in place.machine.pods.items() if pod.end is not None and self._has_ended(key)]
        if ended or (unsent.is_dir() and any(unsent.iterdir())):
            self._world.plan.hurts_more = True

    def _has_ended(self, key: str) -> bool:
        """Return whether the state knows that the node of a pod has ended."""
        node = self._site.node_of(key)
        return node is not None and (node.is_fulfilled or bool(node.held))

    def _expect_take_over(self) -> None:
        """Look whether the workflows are driven again in time, after what has happened now."""
        world, since = self._world, self._world.now
        by = [life for life in world.lives if self._stands(life)]
        if not by or not self._unfinished() or since > TROUBLED_S:
            return
        incidents = len(self._incidents)

        def look() -> None:
            leader = world.life
            if leader is not None and leader.ready and self._stands(leader):
                self.longest_s = max(self.longest_s, leader.ready_at - since)
                return
            others = len(self._incidents) > incidents
            if others or not self._unfinished() or not any(life.alive and self._stands(life) for life in by):
                return
            if any(world.plan.spell(kind, since - 1, world.now) for kind in ("store away", "disk full")):
                return
            world.never(f"nobody has taken over within {TAKE_OVER_S:g} s")

        world.after(TAKE_OVER_S, look)

    def _unfinished(self) -> bool:
        return any(run.row.finished_at is None for run in self._site.state._runs.values())

    def _stands(self, life: Life) -> bool:
        """Return whether a server could lead, or does."""
        return life.alive and max(life.silent_until, life.cut_until) <= self._world.now

    # -- what goes wrong ---------------------------------------------------------------------------------------------------

    def _happens(self, fault: Fault) -> None:
        world = self._world
        if world.now > TROUBLED_S:
            return
        kind, life = fault.kind, world.life
        if kind == "standby killed":
            others = [other for other in world.lives if other is not life]
            life = others[int(world.chance() * len(others))] if others else None
        if life is None:
            return
        self._incidents.append(world.now)
        if kind in {"leader hangs", "leader cut off"}:
            world.injected[kind] += 1
            world.tell(f"[{life.number}] {kind} for {fault.for_s:.1f} s")
        if kind == "leader hangs":
            world.hang(life, fault.for_s)
        elif kind == "leader cut off":
            life.cut_until = max(life.cut_until, world.now + fault.for_s)
        elif kind == "leader stopped":
            world.injected[kind] += 1
            world.tell(f"[{life.number}] is to stop")
            life.member.standing.stopping.set()
        else:
            world.kill(life, f"({kind})", kind)
            if kind == "machine lost":
                life.member.place.machine.stop()
        if kind in {"leader hangs", "leader cut off"}:
            self._expect_take_over()

    def _plan_death(self, life: Life) -> None:
        """Let a server die while it takes over, if that is planned."""
        world = self._world
        fault = world.plan.takes("taker killed", world.now + 1e9) if self.taken else None
        if fault is not None:
            world.tell(f"[{life.number}] is to be killed while it takes over")
            world.plan.crashes.setdefault(world.effects + int(fault.at), fault.how)

    # -- the end -----------------------------------------------------------------------------------------------------------

    def leave_one(self) -> None:
        """When all trouble is over, let those go that stand by."""
        world = self._world
        world.run(world.now + LEAD_PATIENCE_S, self._leads)
        if world.life is None or not self._leads():
            world.never("nobody leads, though nothing is wrong any more")
        self._wanted = {world.life.member.number}
        for life in list(world.lives):
            if life is not world.life:
                world.kill(life, "(not wanted)", "not wanted any more")

    def stop(self) -> None:
        """Stop the last one, as soon as its pods have ended."""
        world, machines = self._world, [place.machine for place in self._site.places]
        world.run(world.now + LEAD_PATIENCE_S, lambda: self._leads() and not any(one.running for one in machines))
        self._wanted.clear()
        if self._leads():
            assert world.life is not None
            world.life.member.standing.stopping.set()
        world.run(world.now + LEAD_PATIENCE_S, lambda: not world.lives)
        if world.lives:
            world.never("a server does not stop")
        for one in machines:
            one.let_run(math.inf)

    def _leads(self) -> bool:
        life = self._world.life
        return life is not None and life.ready and self._stands(life)


_HAPPENINGS = frozenset({"leader killed", "leader hangs", "leader cut off", "leader stopped", "machine lost", "standby killed"})


async def _nobody(scope: object, receive: object, send: object) -> None:
    """Answer nobody: people ask the engine."""
    del scope, receive, send
    await asyncio.sleep(0)


__all__ = ["Servers"]
