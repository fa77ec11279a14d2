"""What comes in a moment over a fast link is written by rclone itself: real rclone, a real S3 server."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from storage_worlds import at, ignore, new_bucket, opened, settle, write_files

from jitflow.model.data import ObjectInfo
from jitflow.ports.errors import Corrupt
from jitflow.storage import speeds as speeds_module
from jitflow.storage.ranges import Ranges
from jitflow.storage.rclone_storage import RcloneStorage
from jitflow.storage.speeds import FAST_BPS, MOMENT_S, Speeds
from jitflow.testing.s3_server import S3Server

MB = 1_000_000
SIZE = 40 * MB


def info(size_bytes: int, remote: str = "far") -> ObjectInfo:
    return ObjectInfo(ref=at(remote, "x"), size_bytes=size_bytes)


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(speeds_module.time, "monotonic", lambda: self.now)


def test_it_is_quick_what_the_rate_of_all_transfers_together_brings_in_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, speeds, told = Clock(monkeypatch), Speeds(), list[int]()
    assert not speeds.is_quick(info(SIZE))
    with (
        speeds.measured(info(SIZE), told.append, resumed=False) as one,
        speeds.measured(info(SIZE), ignore, resumed=False) as other,
    ):
        for count in (SIZE // 2, SIZE // 4, SIZE):  # a copy that begins anew tells of less
            one(count)
        other(SIZE)
        clock.now = 0.5
    assert told == [SIZE // 2, SIZE // 4, SIZE]
    rate_Bps = 2 * (2 * SIZE + SIZE // 4)
    assert rate_Bps > FAST_BPS
    assert speeds.is_quick(info(int(rate_Bps * MOMENT_S)))
    assert not speeds.is_quick(info(int(rate_Bps * MOMENT_S) + 1))
    assert not speeds.is_quick(info(SIZE, "other"))


def test_nothing_is_quick_any_more_when_the_link_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, speeds = Clock(monkeypatch), Speeds()
    for took_s, quick in ((0.1, True), (2.0, False)):
        with speeds.measured(info(SIZE), ignore, resumed=False) as told:
            clock.now += took_s
            told(SIZE)
        assert speeds.is_quick(info(1)) is quick


def test_what_had_come_before_and_what_fails_tells_nothing_of_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, speeds = Clock(monkeypatch), Speeds()
    with speeds.measured(info(SIZE), ignore, resumed=True) as told:
        told(SIZE - 1)
        clock.now += 0.1
        told(SIZE)
    assert not speeds.is_quick(info(1))

    def fail() -> None:
        with speeds.measured(info(SIZE), ignore, resumed=False) as told:
            told(SIZE)
            raise OSError("cut")

    with pytest.raises(OSError, match="cut"):
        fail()
    with speeds.measured(info(MB), ignore, resumed=False) as told:
        told(MB)
    assert not speeds.is_quick(info(1))


class _SteadyServer(S3Server):
    """Remembers the hashes that it has computed once."""

    DIRECTORY_CACHE_S = 36_000


@asynccontextmanager
async def fast(server: S3Server, monkeypatch: pytest.MonkeyPatch, *names: str) -> AsyncIterator[tuple[RcloneStorage, str, Path]]:
    """Objects over a link that is known as fast, and does not have to be on this machine."""
    monkeypatch.setattr(speeds_module, "FAST_BPS", MB)
    monkeypatch.setattr(speeds_module, "MOMENT_S", 60.0)
    bucket, directory = new_bucket(server)
    write_files(directory, {"first": os.urandom(SIZE), **{name: os.urandom(SIZE) for name in names}})
    async with opened(server.remote("far")) as storage:
        first = await storage.stat(at("far", f"{bucket}/first"))
        await storage.fetch(first, directory / "copy", ignore, parts=2)
        monkeypatch.setattr(Ranges, "fetch", lambda *_, **__: pytest.fail("it is read in ranges"))
        yield storage, bucket, directory


@pytest.mark.parametrize("parts", [1, 3])
def test_a_quick_object_comes_whole_and_right(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: int) -> None:
    async def story() -> None:
        async with fast(s3, monkeypatch, "x") as (storage, bucket, directory):
            await settle(s3)
            found, told = await storage.stat(at("far", f"{bucket}/x")), list[int]()
            await storage.fetch(found, tmp_path / "got", told.append, parts=parts, kept=tmp_path / "kept")
            assert (tmp_path / "got").read_bytes() == (directory / "x").read_bytes()
            assert told[-1] == SIZE
            assert os.listdir(tmp_path) == ["got"]

    asyncio.run(story())


@pytest.mark.parametrize("parts", [1, 3])
def test_a_quick_object_of_other_bytes_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: int) -> None:
    async def story() -> None:
        async with fast(server, monkeypatch, "x") as (storage, bucket, directory):
            found = await storage.stat(at("far", f"{bucket}/x"))
            file = directory / "x"
            times = file.stat()
            file.write_bytes(os.urandom(SIZE))
            os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
            (tmp_path / "here").mkdir()
            with pytest.raises(Corrupt):
                await storage.fetch(found, tmp_path / "here" / "got", ignore, parts=parts)
            assert os.listdir(tmp_path / "here") == []

    with _SteadyServer(tmp_path / "far") as server:
        asyncio.run(story())


def test_who_gives_up_a_quick_object_leaves_nothing(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with fast(s3, monkeypatch, "x") as (storage, bucket, _):
            await settle(s3)
            found = await storage.stat(at("far", f"{bucket}/x"))
            for pause_s in (0.01, 0.05, 0.1):
                task = asyncio.get_running_loop().create_task(storage.fetch(found, tmp_path / "got", ignore, parts=3))
                await asyncio.sleep(pause_s)
                task.cancel()
                await asyncio.wait({task})
                assert os.listdir(tmp_path) == ([] if task.cancelled() else ["got"])
                (tmp_path / "got").unlink(missing_ok=True)

    asyncio.run(story())
