"""The conformance suite of whole trees, over real rclones and the fake; and what only a real one shows."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from storage_worlds import new_bucket, settle, write_files

from jitflow.model.bandwidth import Rate
from jitflow.model.data import ObjectRef
from jitflow.ports.bulk import BulkOrder, BulkProgress
from jitflow.storage.daemon import RcloneDaemon
from jitflow.storage.lanes import Lanes
from jitflow.storage.rclone_storage import RcloneStorage
from jitflow.storage.remotes import RemoteConfig
from jitflow.testing.bulk_contract import BulkContract, BulkWorld
from jitflow.testing.fake_bulk import FakeBulk
from jitflow.testing.s3_server import S3Server


def files(root: Path) -> dict[str, bytes]:
    return {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*") if file.is_file()}


@asynccontextmanager
async def lanes(*remotes: RemoteConfig) -> AsyncIterator[Lanes]:
    found = Lanes(lambda configs: RcloneStorage(RcloneDaemon(), configs, stall_s=20), remotes)
    await found.open()
    try:
        yield found
    finally:
        await found.close()


def ref(remote: str, path: str) -> ObjectRef:
    return ObjectRef(remote=remote, path=path)


class TestDirectories(BulkContract):
    def world(self, tmp_path: Path) -> AbstractAsyncContextManager[BulkWorld]:
        return _directories(tmp_path)


class TestS3(BulkContract):
    @pytest.fixture(autouse=True)
    def _server(self, s3: S3Server) -> None:
        self.server = s3

    def world(self, tmp_path: Path) -> AbstractAsyncContextManager[BulkWorld]:
        return _s3(self.server)


class TestFake(BulkContract):
    def world(self, tmp_path: Path) -> AbstractAsyncContextManager[BulkWorld]:
        return _fake()


@asynccontextmanager
async def _directories(root: Path) -> AsyncIterator[BulkWorld]:
    one, two = root / "one", root / "two"
    one.mkdir()
    two.mkdir()

    async def seed(given: Mapping[str, bytes]) -> None:
        write_files(one / "in", given)

    remotes = [RemoteConfig(name=place.name, type="local", options={"root": str(place)}) for place in (one, two)]
    async with lanes(*remotes) as bulk:
        roots = {"one": one / "in", "two": two}
        yield BulkWorld(
            bulk=bulk, source=ref("one", "in/"), target=ref("two", ""), seed=seed, read=lambda at: files(roots[at.remote])
        )


@asynccontextmanager
async def _s3(server: S3Server) -> AsyncIterator[BulkWorld]:
    (first, one), (second, two) = new_bucket(server), new_bucket(server)

    async def seed(given: Mapping[str, bytes]) -> None:
        write_files(one / "in", given)
        await settle(server)

    async with lanes(server.remote("one"), server.remote("two")) as bulk:
        roots = {"one": one / "in", "two": two / "out"}
        source, target = ref("one", f"{first}/in/"), ref("two", f"{second}/out/")
        yield BulkWorld(bulk=bulk, source=source, target=target, seed=seed, read=lambda at: files(roots[at.remote]))


@asynccontextmanager
async def _fake() -> AsyncIterator[BulkWorld]:
    bulk = FakeBulk("one", "two")

    async def seed(given: Mapping[str, bytes]) -> None:
        bulk.stores["one"].update({f"in/{path}": data for path, data in given.items()})

    def read(at: ObjectRef) -> dict[str, bytes]:
        return {path.removeprefix(at.path): data for path, data in bulk.stores[at.remote].items() if path.startswith(at.path)}

    yield BulkWorld(bulk=bulk, source=ref("one", "in/"), target=ref("two", "out/"), seed=seed, read=read)


def test_a_cancelled_copy_leaves_nothing_half_written(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with _directories(tmp_path) as world:
            await world.seed({"large": os.urandom(3 * 2**20)})
            async with world.bulk.lane("slow", Rate(up_Bps=2**20, down_Bps=2**20)):
                order = BulkOrder(source=world.source, destination=world.target, lane="slow")
                copy = asyncio.get_running_loop().create_task(world.bulk.perform(order, lambda _: None))
                await asyncio.sleep(0.7)
                copy.cancel()
                await asyncio.wait([copy])
                assert copy.cancelled()
            assert "large" not in world.read(world.target)
            assert not [name for name in world.read(world.target) if not name.endswith(".partial")]

    asyncio.run(scenario())


def test_a_lane_holds_its_limit_and_the_common_one_does_not_feel_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with _directories(tmp_path) as world:
            await world.seed({"a": os.urandom(2 * 2**20)})
            async with world.bulk.lane("slow", Rate(up_Bps=2**20, down_Bps=2**20)):
                began = time.monotonic()
                order = BulkOrder(source=world.source, destination=world.target, lane="slow")
                await world.bulk.perform(order, lambda _: None)
                slow_s = time.monotonic() - began
                began = time.monotonic()
                await world.copy()
                assert time.monotonic() - began < slow_s / 2
            assert slow_s > 1.0

    asyncio.run(scenario())


def test_small_files_are_copied_within_a_store_by_the_store(s3: S3Server) -> None:
    async def scenario() -> None:
        bucket, root = new_bucket(s3)
        given = {f"in/{number}": os.urandom(100) for number in range(5)}
        write_files(root, given)
        await settle(s3)
        told: list[BulkProgress] = []
        async with lanes(s3.remote("one")) as bulk:
            source, target = ref("one", f"{bucket}/in/"), ref("one", f"{bucket}/out/")
            await bulk.perform(BulkOrder(source=source, destination=target, small=True), told.append)
        assert files(root / "out") == {path.removeprefix("in/"): data for path, data in given.items()}
        assert (told[-1].moved_bytes, told[-1].within_bytes) == (500, 500)

    asyncio.run(scenario())
