"""A server's process: the real engine and the real data plane, put together as the product does it, over the world."""

import random
from collections.abc import Callable

from benchmark.simulate.disk import WatchedPrimary
from benchmark.simulate.far import FarStores, SimStorage
from benchmark.simulate.place import Place
from benchmark.simulate.plan import Group
from benchmark.simulate.pods import Machine, SimExecutor
from benchmark.simulate.store import NearStore, SimStore
from benchmark.simulate.workload import RESERVED, Workload
from benchmark.simulate.world import Life, World
from jitflow import machine
from jitflow.bootstrap.stack import ANYWHERE
from jitflow.dataplane import LocalDataPlane, Tuning
from jitflow.engine import Engine, Images
from jitflow.engine.locations import Locator, RemoteName
from jitflow.engine.podkeeper import PodKeeperConfig
from jitflow.engine.throttle import Throttle
from jitflow.machine.node import Node
from jitflow.model.data import ObjectRef
from jitflow.model.pods import PodImage
from jitflow.stores.patient import PatientStore
from jitflow.testing.memory_store import MemoryStore


class SimClock:
    """The machine's clock, as one process sees it."""

    def __init__(self, life: Life, now: Callable[[], float]) -> None:
        self._life = life
        self.now = now

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
    """What outlives a server: the state, the far stores, and the machines.

    With a group of servers, those of `home` have one place, and those of `anywhere` have one each. A server that has the state
    for itself keeps what lies on the machine's disk in the same store.
    """

    def __init__(self, world: World, seed: int, load: Workload, group: Group | None = None) -> None:
        self.world = world
        self.load = load
        self.group = group
        self.state = MemoryStore()
        self.stores = FarStores()
        names = [f"home{number}" for number in range(group.count if group and group.share == "anywhere" else 1)]
        skews = random.Random(f"clocks {seed}")
        self.places = [
            Place(
                world,
                name,
                MemoryStore() if group else self.state,
                skew_s=skews.choice((0.0, skews.uniform(-30, 30))) if n else 0.0,
            )
            for n, name in enumerate(names)
        ]
        self.place = self.places[0]
        """Where the server that leads has its home."""
        self.ids = SimIds(random.Random(f"ids {seed}"))
        self.draw: Callable[[], float] = random.Random(f"jitter {seed}").random
        self.before_fetch: Callable[[Life, ObjectRef], None] = lambda life, ref: None
        self.on_lost: Callable[[Life], None] = lambda life: None

    @property
    def machine(self) -> Machine:
        """The machine of the server that leads."""
        return self.place.machine

    def node_of(self, key: str) -> Node | None:
        """Return what is durable of the node of a pod."""
        uid, _, node_id = key.partition(".")
        run = self.state._runs.get(uid)
        body = run.nodes.get(node_id) if run is not None else None
        return machine.decode_node(body) if body is not None else None

    async def serve(self, life: Life) -> None:
        """Be a server's process that has the state for itself: start as the product starts."""
        store = PatientStore(SimStore(self.world, life, self.state))
        near = store if self.group is None else PatientStore(NearStore(self.world, life, self.place.near))
        engine = self.engine(life, self.place, store, near)
        await engine.open()
        self.opened(life)

    def opened(self, life: Life) -> None:
        """A server leads, and drives."""
        life.ready, life.ready_at = True, self.world.now
        self.world.tell(f"[{life.number}] is ready")

    def engine(self, life: Life, place: Place, store: PatientStore, near: PatientStore) -> Engine:
        """Return the engine of a process, put together with its data plane."""
        world, load = self.world, self.load
        clock = SimClock(life, place.machine.wall)
        storage = SimStorage(world, life, self.stores)
        primary = WatchedPrimary(place.folder / "primary", storage, world, place.machine, load.capacity)
        storage.after_write = primary.check_capacity
        storage.before_fetch = lambda ref: self.before_fetch(life, ref)
        dataplane = LocalDataPlane(
            primary,
            load.capacity,
            storage,
            near,
            clock,
            transfers=load.transfers,
            workers=load.places,
            window=32,
            default_output_bytes=RESERVED,
            free_floor_bytes=0,
            unsent_dir=place.folder / "unsent",
            tuning=Tuning(draw=self.draw, stopwatch=lambda: world.now),
        )
        executor = SimExecutor(world, life, place.machine)
        executor.on_lost = self.on_lost
        anywhere = self.group is not None and self.group.share == ANYWHERE
        engine = Engine(
            store=store,
            executor=executor,
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
                intermediates="keep" if anywhere else load.intermediates,
            ),
            throttle=Throttle(),
            stopwatch=lambda: world.now,
        )
        life.engine, life.dataplane = engine, dataplane
        return engine


_REMOTES = {name: RemoteName(type="local") for name in ("far", "out")}
_LOCATOR = Locator(remotes=_REMOTES, repository=ObjectRef(remote="out", path="artifacts"))


def _locator() -> Locator:
    return _LOCATOR
