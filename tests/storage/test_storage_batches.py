"""Small objects that are fetched together: real rclone, a real S3 server, a link that can be held back."""

import asyncio
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from storage_worlds import HASTY, at, ignore, new_bucket, opened, settle, write_files

from jitflow.model.data import ObjectInfo
from jitflow.ports.errors import Corrupt, DiskFull, ObjectMissing, SourceChanged, Stalled, Unreachable
from jitflow.storage.rclone_storage import RcloneStorage
from jitflow.storage.remotes import RemoteConfig
from jitflow.testing.s3_server import S3Server
from jitflow.testing.slow_link import SlowLink

ODD_NAMES = ("with space", "# no comment", "; nor this", "-dash", "umlaut-ü", "[a]{b}*?", " leading", "trailing ", "%41")


async def stats(storage: RcloneStorage, bucket: str, names: Sequence[str]) -> list[ObjectInfo]:
    return [await storage.stat(at("far", f"{bucket}/{name}")) for name in names]


async def fetch_all(storage: RcloneStorage, infos: Sequence[ObjectInfo], target: Path) -> list[Any]:
    fetches = (storage.fetch(info, target / str(number), ignore) for number, info in enumerate(infos))
    return await asyncio.gather(*fetches, return_exceptions=True)


async def jobs_so_far(storage: RcloneStorage) -> int:
    """Return how many jobs rclone has run in this life."""
    answer = msgspec.json.decode(await storage._ask("job/list", {}))
    return max(answer["jobids"] or [0])


def test_many_small_objects_come_with_few_jobs(s3: S3Server, tmp_path: Path) -> None:
    async def story() -> None:
        bucket, directory = new_bucket(s3)
        data = {f"d/{number % 7}/{number}": os.urandom(100 + number) for number in range(200)}
        write_files(directory, data)
        await settle(s3)
        async with opened(s3.remote("far")) as storage:
            infos = await stats(storage, bucket, list(data))
            before = await jobs_so_far(storage)
            results = await fetch_all(storage, infos, tmp_path)
            assert [result.ref for result in results] == [info.ref for info in infos]
            assert await jobs_so_far(storage) - before < 20
        assert [(tmp_path / str(number)).read_bytes() for number in range(200)] == list(data.values())
        async with asyncio.timeout(10):  # what jobs worked in is taken away after their objects have been handed over
            while len(os.listdir(tmp_path)) != 200:
                await asyncio.sleep(0.05)

    asyncio.run(story())


def test_what_comes_over_a_slow_link_is_told_while_it_comes(s3: S3Server, tmp_path: Path) -> None:
    """Each object takes two seconds beside the others, and all of them end together."""

    async def story() -> None:
        bucket, directory = new_bucket(s3)
        names = [f"o{number}" for number in range(8)]
        write_files(directory, {name: os.urandom(500_000) for name in names})
        await settle(s3)
        told: dict[str, list[int]] = {name: [] for name in names}
        async with (
            SlowLink("127.0.0.1", s3.port, rate_Bps=2_000_000) as link,
            opened(s3.remote("far", endpoint=link.url)) as storage,
        ):
            infos = await stats(storage, bucket, names)
            fetches = (storage.fetch(info, tmp_path / name, told[name].append) for info, name in zip(infos, names, strict=True))
            await asyncio.gather(*fetches)
        assert all(counts[-1] == 500_000 and max(counts) == 500_000 for counts in told.values()), told
        assert sum(len({count for count in counts if count < 500_000}) >= 2 for counts in told.values()) >= 6, told

    asyncio.run(story())


def test_names_come_as_they_are(s3: S3Server, tmp_path: Path) -> None:
    async def story() -> None:
        bucket, directory = new_bucket(s3)
        write_files(directory, {name: name.encode() for name in ODD_NAMES})
        await settle(s3)
        async with opened(s3.remote("far")) as storage:
            infos = await stats(storage, bucket, ODD_NAMES)
            await fetch_all(storage, infos, tmp_path)
        assert [(tmp_path / str(number)).read_bytes().decode() for number in range(len(ODD_NAMES))] == list(ODD_NAMES)

    asyncio.run(story())


def test_what_is_wrong_with_one_is_no_other_ones_matter(s3: S3Server, tmp_path: Path) -> None:
    async def story() -> None:
        bucket, directory = new_bucket(s3)
        names = [f"o{number}" for number in range(12)]
        write_files(directory, {name: name.encode() * 50 for name in names})
        await settle(s3)
        async with opened(s3.remote("far")) as storage:
            infos = await stats(storage, bucket, names)
            (directory / "o3").unlink()
            (directory / "o5").write_bytes(b"other" * 30)
            await settle(s3)
            results = await fetch_all(storage, infos, tmp_path)
        assert isinstance(results[3], ObjectMissing), results[3]
        assert isinstance(results[5], SourceChanged | Corrupt), results[5]
        assert sorted(os.listdir(tmp_path)) == sorted(str(number) for number in range(12) if number not in {3, 5})

    asyncio.run(story())


def test_an_object_asked_for_twice_comes_twice(s3: S3Server, tmp_path: Path) -> None:
    async def story() -> None:
        bucket, directory = new_bucket(s3)
        write_files(directory, {"a": b"a" * 10, "b": b"b" * 10})
        await settle(s3)
        async with opened(s3.remote("far")) as storage:
            infos = await stats(storage, bucket, ("a", "b", "a", "b"))
            await fetch_all(storage, infos, tmp_path)
        assert [(tmp_path / str(number)).read_bytes()[:1] for number in range(4)] == [b"a", b"b", b"a", b"b"]

    asyncio.run(story())


def test_one_taken_back_leaves_nothing_and_the_others_come(s3: S3Server, tmp_path: Path) -> None:
    async def story() -> None:
        bucket, directory = new_bucket(s3)
        names = [f"o{number}" for number in range(10)]
        write_files(directory, {name: os.urandom(200_000) for name in names})
        await settle(s3)
        async with (
            SlowLink("127.0.0.1", s3.port, rate_Bps=1_000_000) as link,
            opened(replace(s3.remote("far", endpoint=link.url), tuning=HASTY)) as storage,
        ):
            infos = await stats(storage, bucket, names)
            seen = link.counters.down_bytes
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(storage.fetch(info, tmp_path / str(number), ignore)) for number, info in enumerate(infos)
                ]
                while link.counters.down_bytes < seen + 100_000:
                    await asyncio.sleep(0.01)
                tasks[4].cancel()
            assert tasks[4].cancelled()
        assert sorted(os.listdir(tmp_path)) == sorted(str(number) for number in range(10) if number != 4)
        assert (tmp_path / "7").read_bytes() == (directory / "o7").read_bytes()

    asyncio.run(story())


def test_a_link_that_is_cut_or_stands_still_is_told_to_all(s3: S3Server, tmp_path: Path) -> None:
    async def story() -> None:
        bucket, directory = new_bucket(s3)
        names = [f"o{number}" for number in range(8)]
        write_files(directory, {name: os.urandom(250_000) for name in names})
        await settle(s3)
        async with (
            SlowLink("127.0.0.1", s3.port, rate_Bps=500_000) as link,
            opened(replace(s3.remote("far", endpoint=link.url), tuning=HASTY), stall_s=1.0) as storage,
        ):
            infos = await stats(storage, bucket, names)
            for way, kinds in ((link.stall, {Stalled}), (lambda: link.cut(refuse=True), {Stalled, Unreachable})):
                seen = link.counters.down_bytes
                async with asyncio.TaskGroup() as group:
                    task = group.create_task(fetch_all(storage, infos, tmp_path))
                    while link.counters.down_bytes < seen + 100_000:
                        await asyncio.sleep(0.01)
                    way()
                assert {type(result) for result in task.result()} <= kinds, task.result()
                assert os.listdir(tmp_path) == []
                link.resume()
        async with opened(s3.remote("far")) as storage:
            await fetch_all(storage, infos, tmp_path)
        assert len(os.listdir(tmp_path)) == 8

    asyncio.run(story())


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own on which not a byte is free."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "full", place], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("this user may not mount a file system")
    try:
        with suppress(OSError), (place / "ballast").open("wb", buffering=0) as ballast:
            while ballast.write(bytes(4096)):
                pass
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_is_told_as_one_and_worth_another_try(s3: S3Server, full_disk: Path) -> None:
    async def story() -> None:
        bucket, directory = new_bucket(s3)
        names = [f"o{number}" for number in range(12)]
        write_files(directory, dict.fromkeys(names, b"x" * 9000))
        async with opened(s3.remote("far")) as storage:
            infos = await stats(storage, bucket, names)
            answers = await fetch_all(storage, infos, full_disk)
            assert {type(answer) for answer in answers} == {DiskFull}, answers
            (full_disk / "ballast").unlink()
            assert not [answer for answer in await fetch_all(storage, infos, full_disk) if isinstance(answer, Exception)]

    asyncio.run(story())


def test_a_hundred_thousand_objects_below_a_prefix_are_one_listing(tmp_path: Path) -> None:
    (tmp_path / "bucket").mkdir()
    for number in range(1000):
        (tmp_path / "bucket" / f"{number}").write_bytes(b"x")

    async def story() -> None:
        async with opened(RemoteConfig(name="near", type="local", options={"root": str(tmp_path)})) as storage:
            refs = [at("near", f"bucket/{number}") for number in range(100_000)]
            await storage.stat(refs[0])
            before = await jobs_so_far(storage)
            found = await storage.stat_many(refs)
            assert await jobs_so_far(storage) - before < 60  # with the questions how it goes on
            assert sum(isinstance(one, ObjectInfo) for one in found.values()) == 1000
            assert len(found) == 100_000

    asyncio.run(story())
