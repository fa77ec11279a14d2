"""A state store whose state outlives its process: what was applied is durable, what was not is lost with the process."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from benchmark.simulate.plan import Plan
from benchmark.simulate.world import Life, World
from jitflow.engine.tasks import Owner
from jitflow.ports.errors import Broken, Retryable, Unreachable
from jitflow.ports.servers import RENEW_S
from jitflow.ports.store import Commit, RunRow, StoredRun
from jitflow.stores import Lease
from jitflow.testing.memory_servers import MemoryState
from jitflow.testing.memory_store import MemoryStore

T = TypeVar("T")


class SimStore:
    """A connection of one process to the durable state."""

    def __init__(self, world: World, life: Life, state: MemoryStore) -> None:
        self._world = world
        self._life = life
        self._state = state
        self._writing = asyncio.Lock()
        """Changes reach the database one after the other, in the order in which they were called for."""

    async def _do(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        return await self._world.effect(self._life, f"store.{name}", lambda: self._now(name, work))

    async def _write(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        async with self._writing:
            return await self._do(name, work)

    def _now(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        if self._world.plan.takes("store away", self._world.now):
            self._world.injected["store away"] += 1
            raise Unreachable(f"the state store is away: {name} changed nothing")
        return at_once(work())

    async def commit(self, commit: Commit) -> int:
        return await self._write(f"commit {commit.row.name}", lambda: self._commit(commit))

    async def _commit(self, commit: Commit) -> int:
        sequence = await self._state.commit(commit)
        self._world.committed(commit.row)
        return sequence

    async def load(self, uid: str) -> StoredRun | None:
        return await self._do("load", lambda: self._state.load(uid))

    async def runs(self, *, namespace: str = "", name: str = "", unfinished: bool = False) -> Sequence[RunRow]:
        return await self._do("runs", lambda: self._state.runs(namespace=namespace, name=name, unfinished=unfinished))

    async def events(self, uid: str, *, after: int = 0, limit: int = 1000) -> Sequence[tuple[int, bytes]]:
        return await self._do("events", lambda: self._state.events(uid, after=after, limit=limit))

    async def remove(self, uid: str) -> None:
        await self._write("remove", lambda: self._state.remove(uid))

    async def restore(self, run: StoredRun, events: Sequence[bytes]) -> None:
        kept = tuple(events)
        await self._write("restore", lambda: self._state.restore(run, kept))

    async def put(self, kind: str, documents: Iterable[tuple[str, bytes | None]]) -> None:
        rows = tuple(documents)
        await self._write(f"put {kind}", lambda: self._state.put(kind, rows))

    async def put_all(self, documents: Mapping[str, Iterable[tuple[str, bytes | None]]]) -> None:
        kinds = {kind: tuple(rows) for kind, rows in documents.items()}
        await self._write(f"put {', '.join(kinds)}", lambda: self._state.put_all(kinds))

    async def get(self, kind: str, key: str) -> bytes | None:
        return await self._do(f"get {kind}", lambda: self._state.get(kind, key))

    async def items(self, kind: str, *, after: str = "", limit: int = 0) -> Sequence[tuple[str, bytes]]:
        return await self._do(f"items {kind}", lambda: self._state.items(kind, after=after, limit=limit))

    async def kinds(self) -> Sequence[str]:
        return await self._do("kinds", self._state.kinds)

    async def ready(self) -> None:
        await self._do("ready", self._state.ready)

    async def close(self) -> None:
        await self._state.close()


def at_once(work: Awaitable[T]) -> T:
    """Return what a coroutine gives that waits for nothing."""
    steps = work.__await__()
    try:
        next(steps)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")


class NearStore(SimStore):
    """The store of what lies on a machine's disk: a file that is always there."""

    def _now(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        return at_once(work())

    async def close(self) -> None:
        """The file is there for the next process."""


class SharedStore(SimStore):
    """The state as the server that leads uses it: each change asks whether it leads, and its answer renews the lease."""

    def __init__(self, world: World, life: Life, shared: MemoryState, lease: Lease, state: MemoryStore) -> None:
        super().__init__(world, life, state)
        self._shared = shared
        self._lease = lease
        self._owner = Owner(lambda _name, _error: None)
        self._owner.spawn(self._keep_hold(), "keep hold of the state")

    async def _keep_hold(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            try:
                await self.put("", ())
            except Retryable:
                continue

    async def _do(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        if self._lease.lost:
            raise Broken(self._lease.lost)
        self._reach(name)
        return await super()._do(name, work)

    async def _write(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        async with self._writing:
            asked_at = self._lease.now()
            found = await self._do(name, lambda: self._led(work))
            while (left_s := self._life.cut_until - self._world.now) > 0:  # the answer is lost; what became of it is looked up
                await asyncio.sleep(left_s)
                self._shared.check(self._lease)
            self._lease.renewed(asked_at)
            return found

    async def _led(self, work: Callable[[], Awaitable[T]]) -> T:
        self._shared.hear(self._lease)
        if self._world.life is not self._life:
            self._world.never(f"[{self._life.number}] changes the state and does not lead")
        return await work()

    def _now(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        self._reach(name)
        return super()._now(name, work)

    def _reach(self, name: str) -> None:
        if self._world.now < self._life.cut_until:
            raise Unreachable(f"the state store cannot be reached: {name} changed nothing")

    async def close(self) -> None:
        """Give the place up, if the state can be reached."""
        await self._owner.close()
        if self._world.now >= self._life.cut_until:
            await self._world.effect(self._life, "lead.release", lambda: self._shared.release(self._lease))


@asynccontextmanager
async def standing_alone() -> AsyncGenerator[SimStore]:
    """Give a store without faults, for the contract, on the event loop that runs."""
    world = World(0, Plan(()), Path())
    life = Life(world, 1)
    life.pause = asyncio.sleep
    store = SimStore(world, life, MemoryStore())
    try:
        yield store
    finally:
        await store.close()
