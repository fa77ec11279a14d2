"""Real rclone, a real S3 server and a link between them that fails."""

import asyncio
import ctypes
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from msgspec.structs import replace
from storage_worlds import HASTY, at, ignore, new_bucket, opened, settle, write_files

from jitflow.model.data import ObjectInfo
from jitflow.ports.errors import AccessRefused, Corrupt, DiskFull, Retryable, SourceChanged, Stalled, Unreachable
from jitflow.storage.rclone_storage import RcloneStorage
from jitflow.testing.s3_server import S3Server
from jitflow.testing.slow_link import SlowLink

MB = 1_000_000


class Far:
    """A bucket behind a link, and a storage that reaches it."""

    def __init__(self, storage: RcloneStorage, link: SlowLink, server: S3Server, bucket: str, directory: Path) -> None:
        self.storage, self.link, self.server, self.bucket, self.directory = storage, link, server, bucket, directory

    async def seed(self, **files: bytes) -> None:
        write_files(self.directory, files)
        await settle(self.server)

    async def stat(self, path: str) -> ObjectInfo:
        return await self.storage.stat(at("far", f"{self.bucket}/{path}"))


@asynccontextmanager
async def far(server: S3Server, *, stall_s: float = 20.0, rate: float | None = None, rtt_s: float = 0.0) -> AsyncIterator[Far]:
    bucket, directory = new_bucket(server)
    async with SlowLink("127.0.0.1", server.port, rtt_s=rtt_s, rate_Bps=rate) as link:
        remote = replace(server.remote("far", endpoint=link.url), tuning=HASTY)
        async with opened(remote, stall_s=stall_s) as storage:
            yield Far(storage, link, server, bucket, directory)


async def until_bytes(link: SlowLink, count: int) -> None:
    """Return when so many bytes came through the link."""
    limit = time.monotonic() + 20
    while link.counters.down_bytes < count:
        assert time.monotonic() < limit, "nothing comes through the link"
        await asyncio.sleep(0.01)


def left(directory: Path) -> list[str]:
    return sorted(os.listdir(directory))


def test_a_fetch_over_a_far_link_tells_its_progress(s3: S3Server, tmp_path: Path) -> None:
    async def story() -> None:
        async with far(s3, rate=20 * MB, rtt_s=0.04) as world:
            data = os.urandom(20 * MB)
            await world.seed(big=data)
            done: list[int] = []
            await world.storage.fetch(await world.stat("big"), tmp_path / "big", done.append)
            assert (tmp_path / "big").read_bytes() == data
            assert left(tmp_path) == ["big"]
            assert done == sorted(set(done))
            assert len(done) >= 3
            assert done[-1] == 20 * MB
            prefix: list[int] = []
            write_files(world.directory, {f"p/{name}": data[: 5 * MB] for name in "ab"})
            await settle(s3)
            await world.storage.fetch(await world.stat("p/"), tmp_path / "p", prefix.append)
            assert len(prefix) >= 2
            assert prefix == sorted(set(prefix))
            assert prefix[-1] == 10 * MB

    asyncio.run(story())


def test_a_large_object_in_ranges(s3: S3Server, tmp_path: Path) -> None:
    async def story() -> None:
        bucket, directory = new_bucket(s3)
        tuning = replace(HASTY, multi_thread_cutoff_bytes=2**20, multi_thread_chunk_bytes=2**20)
        async with opened(replace(s3.remote("far"), tuning=tuning)) as storage:
            data = os.urandom(9 * MB)
            write_files(directory, {"big": data})
            await settle(s3)
            await storage.fetch(await storage.stat(at("far", f"{bucket}/big")), tmp_path / "big", ignore)
            assert (tmp_path / "big").read_bytes() == data

    asyncio.run(story())


def test_a_thousand_small_objects_as_a_prefix(s3: S3Server, tmp_path: Path) -> None:
    async def story() -> None:
        bucket, directory = new_bucket(s3)
        write_files(directory, {f"p/{number // 100}/{number}": b"%d" % number for number in range(1000)})
        await settle(s3)
        async with opened(s3.remote("far")) as storage:
            info = await storage.stat(at("far", f"{bucket}/p/"))
            assert info.count == 1000
            await storage.fetch(info, tmp_path / "p", ignore)
            assert (tmp_path / "p/7/777").read_bytes() == b"777"
            assert sum(len(files) for _, _, files in os.walk(tmp_path / "p")) == 1000

    asyncio.run(story())


def test_a_link_that_is_cut_is_unreachable_and_a_second_try_succeeds(s3: S3Server, tmp_path: Path) -> None:
    async def story() -> None:
        async with far(s3, rate=5 * MB) as world:
            await world.seed(big=bytes(9 * MB))
            info = await world.stat("big")
            async with asyncio.TaskGroup() as group:
                task = group.create_task(_outcome(world.storage, info, tmp_path / "big"))
                await until_bytes(world.link, 2 * MB)
                world.link.cut(refuse=True)
            assert isinstance(task.result(), Unreachable), task.result()
            assert left(tmp_path) == []
            world.link.resume()
            await world.storage.fetch(info, tmp_path / "big", ignore)
            assert os.path.getsize(tmp_path / "big") == 9 * MB

    asyncio.run(story())


def test_a_link_that_stalls_is_given_up(s3: S3Server, tmp_path: Path) -> None:
    async def story() -> None:
        async with far(s3, rate=5 * MB, stall_s=1.0) as world:
            await world.seed(big=bytes(9 * MB))
            info = await world.stat("big")
            async with asyncio.TaskGroup() as group:
                task = group.create_task(_outcome(world.storage, info, tmp_path / "big"))
                await until_bytes(world.link, 2 * MB)
                world.link.stall()
            assert isinstance(task.result(), Stalled), task.result()
            assert "nothing moved for 1 s" in str(task.result())
            assert left(tmp_path) == []
            with pytest.raises(Stalled):
                await world.stat("big")
            world.link.resume()
            assert (await world.stat("big")).size_bytes == 9 * MB

    asyncio.run(story())


def test_cancelling_a_fetch_ends_it_and_leaves_nothing(s3: S3Server, tmp_path: Path) -> None:
    async def story() -> None:
        async with far(s3, rate=5 * MB) as world:
            await world.seed(big=bytes(9 * MB))
            write_files(world.directory, {"p/x": bytes(9 * MB)})
            await settle(s3)
            for path in ("big", "p/"):
                info = await world.stat(path)
                before = world.link.counters.down_bytes
                async with asyncio.TaskGroup() as group:
                    task = group.create_task(world.storage.fetch(info, tmp_path / "got", ignore))
                    await until_bytes(world.link, before + 1 * MB)
                    task.cancel()
                    with suppress(asyncio.CancelledError):
                        await task
                assert task.cancelled()
                assert left(tmp_path) == []
                seen = world.link.counters.down_bytes
                await asyncio.sleep(0.3)
                assert world.link.counters.down_bytes - seen < MB, "rclone goes on reading"
                assert left(tmp_path) == []

    asyncio.run(story())


def test_cancelling_a_store_ends_it_and_leaves_nothing_under_the_name(s3: S3Server, tmp_path: Path) -> None:
    async def story() -> None:
        async with far(s3, rate=5 * MB) as world:
            (tmp_path / "big").write_bytes(bytes(9 * MB))
            async with asyncio.TaskGroup() as group:
                task = group.create_task(world.storage.store(tmp_path / "big", at("far", f"{world.bucket}/big"), ignore))
                while world.link.counters.up_bytes < MB:
                    await asyncio.sleep(0.01)
                task.cancel()
            assert task.cancelled()
            await settle(s3)
            sizes = {name: (world.directory / name).stat().st_size for name in left(world.directory)}
            assert sizes.get("big") != 9 * MB

    asyncio.run(story())


def test_a_source_that_changes_while_it_is_read_is_not_taken(s3: S3Server, tmp_path: Path) -> None:
    async def story() -> None:
        async with far(s3, rate=60 * MB) as world:
            await world.seed(big=b"a" * 40 * MB)  # several times what all the buffers between hold
            for size in (40 * MB, 39 * MB):
                info = await world.stat("big")
                before = world.link.counters.down_bytes
                async with asyncio.TaskGroup() as group:
                    task = group.create_task(_outcome(world.storage, info, tmp_path / "big"))
                    await until_bytes(world.link, before + 2 * MB)
                    write_files(world.directory, {"big": b"b" * size})
                assert isinstance(task.result(), SourceChanged), task.result()
                assert "submit again" in str(task.result())
                assert left(tmp_path) == []
                await settle(s3)

    asyncio.run(story())


def test_an_object_whose_hash_is_another_one_is_not_taken(s3: S3Server, tmp_path: Path) -> None:
    async def story() -> None:
        bucket, directory = new_bucket(s3)
        write_files(directory, {"x": b"abc"})
        await settle(s3)
        async with opened(s3.remote("far")) as storage:
            info = await storage.stat(at("far", f"{bucket}/x"))
            assert set(info.hashes) == {"md5"}
            with pytest.raises((Corrupt, SourceChanged)):
                await storage.fetch(replace(info, hashes={"md5": "0" * 32}), tmp_path / "x", ignore)
            assert left(tmp_path) == []

    asyncio.run(story())


def test_wrong_credentials_are_refused_by_every_method(s3: S3Server, tmp_path: Path) -> None:
    async def story() -> None:
        bucket, directory = new_bucket(s3)
        write_files(directory, {"x": b"abc", "p/y": b"abc"})
        await settle(s3)
        (tmp_path / "x").write_bytes(b"x")
        wrong = s3.wrong_remote("far")
        async with opened(wrong) as storage:
            file, prefix = at("far", f"{bucket}/x"), at("far", f"{bucket}/p/")
            calls = [
                lambda: storage.stat(file),
                lambda: storage.stat(prefix),
                lambda: storage.test("far"),
                lambda: storage.delete(file),
                lambda: storage.store(tmp_path / "x", file, ignore),
                lambda: storage.fetch(ObjectInfo(ref=file, size_bytes=3, version="3-1"), tmp_path / "got", ignore),
                lambda: storage.fetch(ObjectInfo(ref=prefix, size_bytes=3, version="3-1"), tmp_path / "got", ignore),
            ]
            for call in calls:
                with pytest.raises(AccessRefused) as caught:
                    await call()
                assert wrong.options["secret_access_key"] not in str(caught.value)
            assert left(tmp_path) == ["x"]

    asyncio.run(story())


def test_a_port_where_nobody_listens_is_unreachable(s3: S3Server, tmp_path: Path) -> None:
    async def story() -> None:
        remote = replace(s3.remote("far", endpoint="http://127.0.0.1:1"), tuning=HASTY)
        async with opened(remote) as storage:
            with pytest.raises(Unreachable):
                await storage.stat(at("far", "bucket/x"))
            found = await storage.stat_many([at("far", "bucket/x")])
            assert [type(error) for error in found.values()] == [Unreachable]

    asyncio.run(story())


def test_a_full_disk_is_told(s3: S3Server, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    if not _mount_tmpfs(full, 2**20):
        pytest.skip("mounting a small file system needs root; the captured texts are tested elsewhere")

    async def story() -> None:
        bucket, directory = new_bucket(s3)
        write_files(directory, {"big": os.urandom(9 * MB), "small": os.urandom(3 * MB), "p/x": os.urandom(3 * MB)})
        await settle(s3)
        async with opened(s3.remote("far")) as storage:
            for path in ("big", "small", "p/"):
                info = await storage.stat(at("far", f"{bucket}/{path}"))
                with pytest.raises(DiskFull):
                    await storage.fetch(info, full / "got", ignore)
                assert left(full) == []

    try:
        asyncio.run(story())
    finally:
        ctypes.CDLL(None).umount2(os.fsencode(full), 2)


async def _outcome(storage: RcloneStorage, info: ObjectInfo, target: Path) -> ObjectInfo | Exception:
    try:
        return await storage.fetch(info, target, ignore)
    except (Retryable, SourceChanged, Corrupt) as error:
        return error


def _mount_tmpfs(directory: Path, size: int) -> bool:
    return ctypes.CDLL(None).mount(b"tmpfs", os.fsencode(directory), b"tmpfs", 0, f"size={size}".encode()) == 0
