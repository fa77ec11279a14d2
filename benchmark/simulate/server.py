"""A server's process: the real engine and the real data plane, put together as the product does it, over the world."""

import random
from collections.abc import Callable

from benchmark.simulate.disk import WatchedPrimary
from benchmark.simulate.far import FarStores, SimStorage
from benchmark.simulate.pods import Machine, SimExecutor
from benchmark.simulate.store import SimStore
from benchmark.simulate.workload import RESERVED, Workload
from benchmark.simulate.world import Life, World
from jitflow.dataplane import LocalDataPlane, Tuning
from jitflow.engine import Engine, Images
from jitflow.engine.locations import Locator, RemoteName
from jitflow.engine.podkeeper import PodKeeperConfig
from jitflow.engine.throttle import Throttle
from jitflow.model.data import ObjectRef
from jitflow.model.pods import PodImage
from jitflow.stores.patient import PatientStore
from jitflow.testing.memory_store import MemoryStore


class SimClock:
    """The machine's clock, as one process sees it."""

    def __init__(self, world: World, life: Life) -> None:
        self._world = world
        self._life = life

    def now(self) -> float:
        return self._world.wall()

    async def sleep(self, delay_s: float) -> None:
        waiting = self._life.loop.create_future()
        handle = self._life.loop.call_later(delay_s, lambda: waiting.done() or waiting.set_result(None))
        try:
            await waiting
        finally:
            handle.cancel()


class SimIds:
    """Names drawn from the seed."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def uid(self) -> str:
        text = f"{self._rng.getrandbits(128):032x}"
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-8{text[17:20]}-{text[20:]}"

    def suffix(self) -> str:
        return "".join(self._rng.choice("bcdfghjklmnpqrstvwxz2456789") for _ in range(5))


class Site:
    """What outlives a server: its store, its far stores, its machine and its disk."""

    def __init__(self, world: World, seed: int, load: Workload) -> None:
        self.world = world
        self.load = load
        self.state = MemoryStore()
        self.stores = FarStores()
        self.machine = Machine(world)
        self.ids = SimIds(random.Random(f"ids {seed}"))
        self.draw: Callable[[], float] = random.Random(f"jitter {seed}").random
        self.storage: SimStorage | None = None
        self.primary: WatchedPrimary | None = None

    async def serve(self, life: Life) -> None:
        """Be a server's process: start as the product starts."""
        world, load = self.world, self.load
        clock = SimClock(world, life)
        store = PatientStore(SimStore(world, life, self.state))
        storage = self.storage = SimStorage(world, life, self.stores)
        primary = self.primary = WatchedPrimary(world.folder / "primary", storage, world, self.machine, load.capacity)
        storage.after_write = primary.check_capacity
        dataplane = LocalDataPlane(
            primary,
            load.capacity,
            storage,
            store,
            clock,
            transfers=load.transfers,
            workers=load.places,
            window=32,
            default_output_bytes=RESERVED,
            free_floor_bytes=0,
            unsent_dir=world.folder / "unsent",
            tuning=Tuning(draw=self.draw, stopwatch=lambda: world.now),
        )
        engine = Engine(
            store=store,
            executor=SimExecutor(world, life, self.machine),
            dataplane=dataplane,
            clock=clock,
            ids=self.ids,
            images=Images({"*": PodImage(name="*")}),
            locator=_locator,
            config=PodKeeperConfig(
                max_pods=load.places,
                lookahead=load.lookahead,
                environment={},
                grace_s=5.0,
                intermediates=load.intermediates,
            ),
            throttle=Throttle(),
            stopwatch=lambda: world.now,
        )
        life.engine, life.dataplane = engine, dataplane
        await engine.open()
        life.ready, life.ready_at = True, world.now
        world.tell(f"[{life.number}] is ready")


_REMOTES = {name: RemoteName(type="local") for name in ("far", "out")}
_LOCATOR = Locator(remotes=_REMOTES, repository=ObjectRef(remote="out", path="artifacts"))


def _locator() -> Locator:
    return _LOCATOR
