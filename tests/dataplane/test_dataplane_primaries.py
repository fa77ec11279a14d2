"""The conformance suite of near stores: a directory, a remote in memory, a real S3 server, a directory behind rclone."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from jitflow.dataplane import PrimaryDirectory, RemotePrimary, Scratch
from jitflow.model.data import ObjectInfo, ObjectRef
from jitflow.storage.daemon import RcloneDaemon
from jitflow.storage.rclone_storage import RcloneStorage
from jitflow.storage.remotes import RemoteConfig
from jitflow.testing.fake_storage import FakeStorage
from jitflow.testing.primary_contract import PrimaryContract, PrimaryWorld
from jitflow.testing.s3_server import S3Server

_numbers = itertools.count()


def ref(remote: str, path: str) -> ObjectRef:
    return ObjectRef(remote=remote, path=path)


def write(root: Path, files: Mapping[str, bytes | None]) -> None:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if data is None:
            path.unlink()
        else:
            path.write_bytes(data)


@asynccontextmanager
async def fake_world(tmp: Path, *, remote: bool) -> AsyncIterator[PrimaryWorld]:
    storage = FakeStorage(["far", "near"])

    async def seed(files: Mapping[str, bytes]) -> None:
        for path, data in files.items():
            storage.put(ref("far", f"data/{path}"), data)

    async def spoil(name: str, data: bytes | None) -> None:
        if not remote:
            write(tmp / "primary", {name: data})
        elif data is None:
            await storage.delete(ref("near", f"bucket/primary/{name}"))
        else:
            storage.put(ref("near", f"bucket/primary/{name}"), data)

    def make() -> PrimaryDirectory | RemotePrimary:
        if remote:
            return RemotePrimary(ref("near", "bucket/primary"), storage, Scratch(tmp / "scratch", 10_000))
        return PrimaryDirectory(tmp / "primary", storage)

    yield PrimaryWorld(primary=make(), again=make, storage=storage, far=ref("far", "data/"), seed=seed, spoil=spoil)


@asynccontextmanager
async def rclone_world(tmp: Path, near: RemoteConfig, far: RemoteConfig, roots: tuple[Path, Path]) -> AsyncIterator[PrimaryWorld]:
    storage = RcloneStorage(RcloneDaemon(tmp / "run"), [near, far], stall_s=20.0)
    await storage.open()

    async def seed(files: Mapping[str, bytes]) -> None:
        write(roots[1] / "data", dict(files))
        await asyncio.sleep(S3Server.DIRECTORY_CACHE_S * 1.5)

    async def spoil(name: str, data: bytes | None) -> None:
        write(roots[0] / "primary", {name: data})
        await asyncio.sleep(S3Server.DIRECTORY_CACHE_S * 1.5)

    bucket = f"{roots[1].name}/" if far.type == "s3" else ""
    place = f"{roots[0].name}/primary" if near.type == "s3" else "primary"

    def make() -> RemotePrimary:
        return RemotePrimary(ref(near.name, place), storage, Scratch(tmp / "scratch", 10_000))

    try:
        yield PrimaryWorld(
            primary=make(), again=make, storage=storage, far=ref(far.name, f"{bucket}data/"), seed=seed, spoil=spoil
        )
    finally:
        await storage.close()


class TestDirectory(PrimaryContract):
    def world(self, tmp_path: Path) -> AbstractAsyncContextManager[PrimaryWorld]:
        return fake_world(tmp_path, remote=False)


class TestRemoteInMemory(PrimaryContract):
    def world(self, tmp_path: Path) -> AbstractAsyncContextManager[PrimaryWorld]:
        return fake_world(tmp_path, remote=True)


class TestRemoteS3(PrimaryContract):
    @pytest.fixture(autouse=True)
    def _server(self, s3: S3Server) -> None:
        self.server = s3
        number = next(_numbers)
        self.roots = (s3.root / f"near-{number}", s3.root / f"far-{number}")
        for root in self.roots:
            root.mkdir()

    def world(self, tmp_path: Path) -> AbstractAsyncContextManager[PrimaryWorld]:
        return rclone_world(tmp_path, self.server.remote("near"), self.server.remote("far"), self.roots)


class TestRemoteDirectory(PrimaryContract):
    def world(self, tmp_path: Path) -> AbstractAsyncContextManager[PrimaryWorld]:
        roots = (tmp_path / "near", tmp_path / "far")
        for root in roots:
            root.mkdir()
        near, far = (RemoteConfig(name=root.name, type="local", options={"root": str(root)}) for root in roots)
        return rclone_world(tmp_path, near, far, roots)


class _Slow(FakeStorage):
    """Returns some turns of the event loop after an object has its name, as a thread or a server may."""

    placed = 0

    async def fetch(self, *args: Any, **options: Any) -> ObjectInfo:
        read = await super().fetch(*args, **options)
        self.placed += 1
        for _ in range(3):
            await asyncio.sleep(0)
        return read


def test_who_gives_up_while_an_object_arrives_leaves_nothing(tmp_path: Path) -> None:
    """At whatever moment: a file below `objects` that no row tells of would take room for ever."""

    async def story() -> int:
        storage = _Slow(["far"])
        storage.put(ref("far", "a"), b"data")
        info = await storage.stat(ref("far", "a"))
        primary = PrimaryDirectory(tmp_path / "primary", storage)
        await primary.open()
        for turns in itertools.count():
            location = primary.location(info.ref, f"{turns}")
            task = asyncio.get_running_loop().create_task(primary.receive(info, location, lambda _: None))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled():
                return storage.placed
            assert not (primary.root / location).exists()
        raise AssertionError

    assert asyncio.run(story()) > 3, "none was given up after it had its name"
