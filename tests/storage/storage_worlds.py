"""Worlds of real rclone for the tests of this room."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from jitflow.model.data import ObjectRef
from jitflow.storage.daemon import RcloneDaemon
from jitflow.storage.rclone import Rclone
from jitflow.storage.rclone_storage import RcloneStorage
from jitflow.storage.remotes import RemoteConfig, Tuning
from jitflow.storage.several import Member, Several
from jitflow.testing.s3_server import S3Server
from jitflow.testing.storage_contract import BUCKET, StorageWorld

_numbers = itertools.count()
HASTY = Tuning(connect_timeout_s=2, io_timeout_s=2, low_level_retries=1)


def ignore(done_bytes: int) -> None:
    del done_bytes


def write_files(root: Path, files: Mapping[str, bytes]) -> None:
    for path, data in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)


def reader(root: Path) -> Callable[[str], bytes | None]:
    def read(path: str) -> bytes | None:
        file = root / path
        return file.read_bytes() if file.is_file() else None

    return read


@asynccontextmanager
async def opened(*remotes: RemoteConfig, stall_s: float = 20.0, daemon: Rclone | None = None) -> AsyncIterator[RcloneStorage]:
    storage = RcloneStorage(daemon or RcloneDaemon(), remotes, stall_s=stall_s)
    await storage.open()
    try:
        yield storage
    finally:
        await storage.close()


def new_bucket(server: S3Server) -> tuple[str, Path]:
    """Return the name and directory of a new bucket."""
    name = f"test-{os.getpid()}-{next(_numbers)}"
    (server.root / name).mkdir()
    return name, server.root / name


async def settle(server: S3Server) -> None:
    """Wait until the server sees what was put into its directory behind its back."""
    await asyncio.sleep(server.DIRECTORY_CACHE_S * 1.5)


@asynccontextmanager
async def s3_bucket_world(server: S3Server) -> AsyncIterator[StorageWorld]:
    """A world whose remote is the server itself: what the suite calls the bucket is one, alone on a server of its own."""

    async def seed(files: Mapping[str, bytes]) -> None:
        write_files(server.root / BUCKET, files)
        await settle(server)

    async with opened(server.remote("far")) as storage:
        yield StorageWorld(storage=storage, remote="far", seed=seed, read=reader(server.root / BUCKET))


@asynccontextmanager
async def local_world(root: Path) -> AsyncIterator[StorageWorld]:
    (root / BUCKET).mkdir(parents=True)

    async def seed(files: Mapping[str, bytes]) -> None:
        write_files(root / BUCKET, files)

    async with opened(RemoteConfig(name="near", type="local", options={"root": str(root)})) as storage:
        yield StorageWorld(storage=storage, remote="near", seed=seed, read=reader(root / BUCKET))


@asynccontextmanager
async def several_world(root: Path) -> AsyncIterator[StorageWorld]:
    """A local directory that two rclones serve in turn."""
    (root / BUCKET).mkdir(parents=True)
    remote = RemoteConfig(name="near", type="local", options={"root": str(root)})

    async def seed(files: Mapping[str, bytes]) -> None:
        write_files(root / BUCKET, files)

    storage = Several([Member(name, RcloneStorage(RcloneDaemon(), [remote], stall_s=20.0)) for name in ("one", "two")])
    await storage.open()
    try:
        yield StorageWorld(storage=storage, remote="near", seed=seed, read=reader(root / BUCKET))
    finally:
        await storage.close()


def at(remote: str, path: str) -> ObjectRef:
    return ObjectRef(remote=remote, path=path)
