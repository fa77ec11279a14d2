"""Data planes over a real rclone: in this process, and behind a real HTTP server."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn

from jitflow.access import Gate
from jitflow.app.datalink import DataLink
from jitflow.bootstrap.system import SystemClock
from jitflow.control_api import make_data_app
from jitflow.data_api import link_routes
from jitflow.datalink import Channel, LinkedDataPlane, LinkedFar, LinkedView, LinkedWitness
from jitflow.dataplane import LocalDataPlane, LocalView, PrimaryDirectory, Provenance, SpendingKeeper, Tuning
from jitflow.engine.tasks import Owner
from jitflow.model.data import ObjectRef
from jitflow.model.problems import Refused
from jitflow.model.spending import Budget
from jitflow.ports.datalink import Known, RemoteSaid, Resealed, Served
from jitflow.ports.dataplane import DataEvent
from jitflow.storage.daemon import RcloneDaemon
from jitflow.storage.rclone_storage import RcloneStorage
from jitflow.storage.remotes import RemoteConfig
from jitflow.testing.dataplane_contract import CAPACITY_BYTES, DataPlaneWorld
from jitflow.testing.memory_store import MemoryStore

FAR = ObjectRef(remote="far", path="data/")
TOKEN, LINK = "t" * 32, "l" * 32


class DataHost:
    """The data side's parts over one directory; `start` and `kill` as often as is wanted."""

    def __init__(self, tmp: Path, storage: RcloneStorage) -> None:
        self.tmp = tmp
        self.storage = storage
        self.store = MemoryStore()
        self.provenance: Provenance | None = None
        self.plane: LocalDataPlane | None = None
        self.spending: SpendingKeeper | None = None

    def view(self) -> LocalView:
        assert self.plane is not None
        return LocalView(self.plane, self.spending)

    async def make(self) -> LocalDataPlane:
        self.spending = SpendingKeeper(self.store, SystemClock(), prices={}, budgets={"tight": Budget(moved_bytes=5)})
        await self.spending.open()
        self.provenance = Provenance(self.store, checksums=True)
        self.provenance.open()
        primary = PrimaryDirectory(self.tmp / "primary", self.storage)
        self.plane = LocalDataPlane(
            primary,
            CAPACITY_BYTES,
            self.storage,
            self.store,
            SystemClock(),
            default_output_bytes=0,
            free_floor_bytes=0,
            tuning=Tuning(check_every_s=0, backoff_s=0.05),
            provenance=self.provenance,
            spending=self.spending,
        )
        return self.plane

    async def kill(self) -> None:
        """End the plane as SIGKILL would: nothing is written any more, nothing tidied."""
        assert self.plane is not None
        assert self.provenance is not None
        self.plane._core.closing = True
        self.plane._owner._closed = True
        for task in tuple(self.plane._owner._tasks):
            task.cancel()
        await self.provenance.close()
        if self.spending is not None:
            await self.spending.close()
        await asyncio.sleep(0.01)


@asynccontextmanager
async def hosts(tmp: Path) -> AsyncIterator[DataHost]:
    (tmp / "pods").mkdir()
    (tmp / "far").mkdir()
    far = RemoteConfig(name="far", type="local", options={"root": str(tmp / "far")})
    storage = RcloneStorage(RcloneDaemon(tmp / "run"), [far], stall_s=20.0)
    await storage.open()
    try:
        yield DataHost(tmp, storage)
    finally:
        await storage.close()


async def seed_of(tmp: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        path = tmp / "far" / FAR.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def held_of(tmp: Path) -> dict[str, bytes]:
    root = tmp / "far" / FAR.path
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in root.rglob("*") if file.is_file()}


@asynccontextmanager
async def local_world(tmp: Path) -> AsyncIterator[DataPlaneWorld]:
    async with hosts(tmp) as host:
        events: list[DataEvent] = []

        async def again() -> None:
            await host.kill()
            world.plane = await host.make()
            world.view, world.witness = host.view(), _witness(host)
            await world.plane.open(events.append)

        plane = await host.make()
        world = DataPlaneWorld(
            plane=plane,
            view=host.view(),
            witness=_witness(host),
            reading=host.storage,
            far=FAR,
            pods=tmp / "pods",
            events=events,
            seed=lambda files: seed_of(tmp, files),
            held=lambda: held_of(tmp),
            again=again,
        )
        await plane.open(events.append)
        try:
            yield world
        finally:
            await world.plane.close()
            await _witness(host).close()
            if host.spending is not None:
                await host.spending.close()


def _witness(host: DataHost) -> Provenance:
    assert host.provenance is not None
    return host.provenance


class LinkServer:
    """A data service's HTTP side on one port, over whatever plane it is given."""

    def __init__(self, host: DataHost) -> None:
        self.host = host
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.socket.close()
        self.owner = Owner(print)
        self.link: DataLink | None = None
        self.known: list[Known] = []
        self.served: list[Served] = []
        self.refusal = ""
        self.traced: list[tuple[str, str]] = []
        self.remotes = [RemoteSaid(name="far", type="local")]
        self._server: uvicorn.Server | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        plane = await self.host.make()
        self.link = DataLink(
            plane,
            self.host.view(),
            _witness(self.host),
            self.host.storage,
            remotes=lambda: self.remotes,
            know=self.known.append,
            near=self.host.tmp / "primary",
            hidden=[self.host.tmp / "hidden"],
            clock=SystemClock(),
            keep=self._keep,
            rotate=self._rotate,
            traced=lambda uid, trace: self.traced.append((uid, trace)),
            spawn=self.owner.spawn,
        )
        await self.link.open()
        app = make_data_app(Gate(TOKEN, link=LINK), link_routes(self.link))
        config = uvicorn.Config(app, host="127.0.0.1", port=self.port, log_level="error", lifespan="off", ws="none")
        self._server = uvicorn.Server(config)
        self._server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
        self._task = asyncio.get_running_loop().create_task(self._server.serve())
        while not self._server.started:
            await asyncio.sleep(0.005)

    async def _keep(self, served: Served) -> None:
        self.served.append(served)

    async def _rotate(self) -> Resealed:
        if self.refusal:
            raise Refused(self.refusal)
        return Resealed(resealed=2, old_key_removed=True)

    async def kill(self) -> None:
        """Cut all connections and end everything as a kill would."""
        assert self._server is not None
        assert self._task is not None
        for server in self._server.servers:
            server.close()
        for connection in list(self._server.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()
        self._server.force_exit = self._server.should_exit = True
        await self._task
        await self.host.kill()

    async def stop(self) -> None:
        assert self.link is not None
        self.link.end()
        await self.link.close()
        await self.kill()
        await self.owner.close()


def plane_to(server: LinkServer, store: MemoryStore, tmp: Path, *, token: str = LINK, control: str = "one") -> LinkedDataPlane:
    return LinkedDataPlane(
        Channel(f"http://127.0.0.1:{server.port}", lambda: token),
        store,
        SystemClock(),
        control=control,
        host="here",
        pods=tmp / "pods",
        resolve=lambda origin: Known(origin=origin),
        patience_s=3.0,
    )


@asynccontextmanager
async def linked_world(tmp: Path) -> AsyncIterator[DataPlaneWorld]:
    """A data plane behind HTTP; `again` kills both ends, as the contract's word is about the state that is left."""
    async with hosts(tmp) as host:
        server = LinkServer(host)
        await server.start()
        events: list[DataEvent] = []
        store = MemoryStore()
        plane = plane_to(server, store, tmp)
        channel = Channel(f"http://127.0.0.1:{server.port}", lambda: LINK)

        async def again() -> None:
            await world.plane.close()
            await server.kill()
            await server.start()
            world.plane = fresh = plane_to(server, store, tmp)
            world.view, world.witness, world.reading = LinkedView(fresh), LinkedWitness(fresh), LinkedFar(channel, fresh)
            await world.plane.open(events.append)

        world = DataPlaneWorld(
            plane=plane,
            view=LinkedView(plane),
            witness=LinkedWitness(plane),
            reading=LinkedFar(channel, plane),
            far=FAR,
            pods=tmp / "pods",
            events=events,
            seed=lambda files: seed_of(tmp, files),
            held=lambda: held_of(tmp),
            again=again,
        )
        await plane.open(events.append)
        try:
            yield world
        finally:
            await world.plane.close()
            await channel.close()
            await server.stop()
