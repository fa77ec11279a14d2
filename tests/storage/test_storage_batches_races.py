"""Small objects that are fetched together, at the moments when it matters: streams are shared, nothing is seen half."""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace
from storage_worlds import HASTY, at, ignore, new_bucket, settle, write_files

from jitflow.model.data import ObjectInfo
from jitflow.storage import batches, files
from jitflow.storage.daemon import RcloneDaemon
from jitflow.storage.rclone_storage import RcloneStorage
from jitflow.testing.s3_server import S3Server
from jitflow.testing.slow_link import SlowLink


async def watched(link: SlowLink, storage: RcloneStorage, infos: list[ObjectInfo], target: Path) -> tuple[int, set[bytes]]:
    """Fetch all; return how many connections there were at most, and the contents that were seen under final names."""
    most, seen = 0, set[bytes]()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(storage.fetch(info, target / str(number), ignore)) for number, info in enumerate(infos)]
        while not all(task.done() for task in tasks):
            most = max(most, link.counters.open_connections)
            seen |= {(target / name).read_bytes() for name in os.listdir(target) if not name.startswith(files.PARTIAL_PREFIX)}
            await asyncio.sleep(0.005)
    return most, seen


def test_jobs_share_the_streams_of_a_remote_and_nothing_is_seen_before_it_is_whole(s3: S3Server, tmp_path: Path) -> None:
    """The next job begins when the last objects of one leave streams free, and all together use no more than there are."""

    async def story() -> None:
        bucket, directory = new_bucket(s3)
        data = {f"o{number:02}": os.urandom(20_000) for number in range(80)}
        write_files(directory, data)
        await settle(s3)
        async with SlowLink("127.0.0.1", s3.port, rtt_s=0.02, rate_Bps=2_000_000) as link:
            storage = RcloneStorage(RcloneDaemon(), [replace(s3.remote("far", endpoint=link.url), tuning=HASTY)], at_once=8)
            await storage.open()
            try:
                found = await storage.stat_many([at("far", f"{bucket}/{name}") for name in data])
                infos = [info for info in found.values() if isinstance(info, ObjectInfo)]
                idle = link.counters.open_connections
                most, seen = await watched(link, storage, infos, tmp_path)
            finally:
                await storage.close()
        assert 6 <= most <= idle + 8
        assert seen <= set(data.values())
        assert {(tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == set(data.values())

    asyncio.run(story())


def test_what_is_taken_back_while_it_is_handed_over_is_not_there(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that gives an object its name cannot be stopped: who has cancelled must not see the name come afterwards."""
    handing, go_on = threading.Event(), threading.Event()
    is_right: Callable[[str, int, str, str], bool] = files.is_right

    def held(path: str, size_bytes: int, kind: str, value: str) -> bool:
        if path.endswith("/o4") and not handing.is_set():
            handing.set()
            assert go_on.wait(20)
        return is_right(path, size_bytes, kind, value)

    async def story() -> None:
        monkeypatch.setattr(batches, "LOOKED_HERE_BYTES", 0)
        monkeypatch.setattr(files, "is_right", held)
        bucket, directory = new_bucket(s3)
        names = [f"o{number}" for number in range(10)]
        write_files(directory, {name: os.urandom(50_000) for name in names})
        await settle(s3)
        storage = RcloneStorage(RcloneDaemon(), [s3.remote("far")])
        await storage.open()
        try:
            infos = [await storage.stat(at("far", f"{bucket}/{name}")) for name in names]
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(storage.fetch(info, tmp_path / str(number), ignore)) for number, info in enumerate(infos)
                ]
                await asyncio.to_thread(handing.wait, 20)
                tasks[4].cancel()
                await asyncio.sleep(0.05)
                assert not tasks[4].done(), "it waits for the thread"
                go_on.set()
            assert tasks[4].cancelled()
        finally:
            go_on.set()
            await storage.close()
        assert sorted(os.listdir(tmp_path)) == sorted(str(number) for number in range(10) if number != 4)
        assert all((tmp_path / str(n)).read_bytes() == (directory / f"o{n}").read_bytes() for n in range(10) if n != 4)

    asyncio.run(story())


def test_the_bytes_are_told_before_they_are_compared(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who fills the link need not wait until what has come is hashed and handed over."""
    go_on = threading.Event()
    is_right = files.is_right

    def patient(path: str, size_bytes: int, kind: str, value: str) -> bool:
        go_on.wait(30)
        return is_right(path, size_bytes, kind, value)

    async def story() -> None:
        bucket, directory = new_bucket(s3)
        write_files(directory, {f"o{number:02}": os.urandom(20_000 + number) for number in range(40)})
        await settle(s3)
        monkeypatch.setattr(batches, "LOOKED_HERE_BYTES", 0)
        monkeypatch.setattr(files, "is_right", patient)
        async with SlowLink("127.0.0.1", s3.port, rate_Bps=500_000) as link:
            storage = RcloneStorage(RcloneDaemon(), [replace(s3.remote("far", endpoint=link.url), tuning=HASTY)], at_once=8)
            await storage.open()
            try:
                found = await storage.stat_many([at("far", f"{bucket}/o{number:02}") for number in range(40)])
                told: dict[int, list[int]] = {number: [] for number in range(40)}
                async with asyncio.TaskGroup() as group:
                    tasks = [
                        group.create_task(storage.fetch(info, tmp_path / str(number), told[number].append))
                        for number, info in enumerate(found.values())
                        if isinstance(info, ObjectInfo)
                    ]
                    while not any(20_000 + number in sizes for number, sizes in told.items()):
                        await asyncio.sleep(0.01)
                    assert not any(task.done() for task in tasks)
                    go_on.set()
            finally:
                await storage.close()
        assert all(max(sizes) == sizes[-1] == 20_000 + number for number, sizes in told.items())

    asyncio.run(story())


def test_what_comes_last_is_told_before_it_is_compared_by_several(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When rclone is done with a job others may begin; its hashes keep more than one thread busy."""
    count, size_bytes = 12, 900_000
    go_on, begun = threading.Event(), list[int]()
    is_right = files.is_right

    def patient(path: str, size_bytes: int, kind: str, value: str) -> bool:
        begun.append(threading.get_ident())
        go_on.wait(30)
        return is_right(path, size_bytes, kind, value)

    async def story() -> None:
        bucket, directory = new_bucket(s3)
        write_files(directory, {f"o{number:02}": os.urandom(size_bytes) for number in range(count)})
        await settle(s3)
        monkeypatch.setattr(batches, "LOOK_S", 60.0)
        monkeypatch.setattr(batches, "THREADS", 2)
        monkeypatch.setattr(files, "is_right", patient)
        storage = RcloneStorage(RcloneDaemon(), [s3.remote("far")])
        await storage.open()
        try:
            found = await storage.stat_many([at("far", f"{bucket}/o{number:02}") for number in range(count)])
            told: list[int] = []
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(storage.fetch(info, tmp_path / str(number), told.append))
                    for number, info in enumerate(found.values())
                    if isinstance(info, ObjectInfo)
                ]
                async with asyncio.timeout(30):
                    while len(set(begun)) < 2 or len(told) < count:
                        await asyncio.sleep(0.01)
                assert not any(task.done() for task in tasks)
                go_on.set()
        finally:
            go_on.set()
            await storage.close()
        assert told == [size_bytes] * count
        assert all((tmp_path / str(number)).stat().st_size == size_bytes for number in range(count))

    asyncio.run(story())


def test_a_slow_directory_is_left_to_threads(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The event loop handles few small files itself, until that takes long."""
    is_right = files.is_right
    here: list[bool] = []
    slow = [False]

    def watched(path: str, size_bytes: int, kind: str, value: str) -> bool:
        here.append(threading.current_thread() is threading.main_thread())
        if slow[0]:
            time.sleep(2 * batches.SLOW_LOOK_S)
        return is_right(path, size_bytes, kind, value)

    async def fetched(storage: RcloneStorage, infos: list[ObjectInfo], target: Path) -> list[bool]:
        """Fetch all into a directory; return whether the event loop compared them, each in its turn."""
        here.clear()
        target.mkdir(exist_ok=True)
        await asyncio.gather(*[storage.fetch(info, target / str(number), ignore) for number, info in enumerate(infos)])
        assert all((target / str(number)).stat().st_size == info.size_bytes for number, info in enumerate(infos))
        return list(here)

    async def story() -> None:
        bucket, directory = new_bucket(s3)
        write_files(directory, {f"o{number}": os.urandom(1000 + number) for number in range(10)})
        await settle(s3)
        monkeypatch.setattr(files, "is_right", watched)
        monkeypatch.setattr(batches, "SLOW_FOR_S", 3600.0)
        storage = RcloneStorage(RcloneDaemon(), [s3.remote("far")])
        await storage.open()
        try:
            found = await storage.stat_many([at("far", f"{bucket}/o{number}") for number in range(10)])
            infos = [info for info in found.values() if isinstance(info, ObjectInfo)]
            slow[0] = True
            assert (await fetched(storage, infos, tmp_path / "one"))[0]
            slow[0] = False
            assert not any(await fetched(storage, infos, tmp_path / "one"))
            assert all(await fetched(storage, infos, tmp_path / "two")), "another directory is not to blame"
        finally:
            await storage.close()

    asyncio.run(story())
