"""Large objects in ranges: real rclone, a real S3 server, real kills, and a store that knows no ranges."""

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace
from storage_worlds import HASTY, at, ignore, new_bucket, opened, settle, write_files

from jitflow.model.data import ObjectInfo
from jitflow.ports.errors import SourceChanged, Unreachable
from jitflow.storage import holdings as holdings_module
from jitflow.storage import ranges as ranges_module
from jitflow.storage.holdings import JOURNAL, Holdings, merged, split
from jitflow.storage.rclone_storage import RcloneStorage
from jitflow.storage.remotes import RemoteConfig
from jitflow.testing.s3_server import S3Server
from jitflow.testing.slow_link import SlowLink

MB = 1_000_000
SIZE = 10 * MB
SMALLER = {"SMALLEST_BYTES": 2**20, "MARK_BYTES": 2**19}


@pytest.fixture(autouse=True)
def _smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SMALLER.items():
        monkeypatch.setattr(ranges_module, name, value)


@asynccontextmanager
async def far(s3: S3Server, **rates: float) -> AsyncIterator[tuple[SlowLink, RcloneStorage, ObjectInfo, Path]]:
    """A large object behind a slow link."""
    bucket, directory = new_bucket(s3)
    write_files(directory, {"large": os.urandom(SIZE)})
    await settle(s3)
    async with (
        SlowLink("127.0.0.1", s3.port, **rates) as link,
        opened(replace(s3.remote("far", endpoint=link.url), tuning=HASTY)) as storage,
    ):
        yield link, storage, await storage.stat(at("far", f"{bucket}/large")), directory / "large"


async def until_bytes(link: SlowLink, count: int) -> None:
    while link.counters.down_bytes < count:
        await asyncio.sleep(0.01)


def test_several_streams_are_faster_than_one(s3: S3Server, tmp_path: Path) -> None:
    async def story() -> None:
        async with far(s3, connection_rate_Bps=8 * MB) as (_, storage, info, original):
            took: dict[int, float] = {}
            for parts in (1, 4):
                began = time.monotonic()
                await storage.fetch(info, tmp_path / str(parts), ignore, parts=parts)
                took[parts] = time.monotonic() - began
                assert (tmp_path / str(parts)).read_bytes() == original.read_bytes()
            assert took[4] < 0.6 * took[1], took
            assert sorted(os.listdir(tmp_path)) == ["1", "4"]

    asyncio.run(story())


def test_an_object_is_sent_to_a_far_bucket_in_parts(s3: S3Server, tmp_path: Path) -> None:
    async def story() -> None:
        source = tmp_path / "source"
        source.write_bytes(os.urandom(15 * MB))
        async with far(s3, connection_rate_Bps=8 * MB) as (link, storage, info, original):
            stored = await storage.store(source, at("far", f"{info.ref.path.partition('/')[0]}/sent"), ignore)
            assert link.counters.connections >= 3
            assert link.counters.up_bytes < 16 * MB
            assert original.with_name("sent").read_bytes() == source.read_bytes()
            assert stored.hashes["md5"] == hashlib.md5(source.read_bytes()).hexdigest()

    asyncio.run(story())


def test_what_came_before_a_cancel_is_not_read_again(s3: S3Server, tmp_path: Path) -> None:
    async def story() -> None:
        async with far(s3, rate_Bps=15 * MB) as (link, storage, info, original):
            kept = tmp_path / "kept"
            async with asyncio.TaskGroup() as group:
                task = group.create_task(storage.fetch(info, tmp_path / "got", ignore, parts=3, kept=kept))
                await until_bytes(link, SIZE // 2)
                task.cancel()
            assert os.listdir(tmp_path) == ["kept"]
            seen = link.counters.down_bytes
            done: list[int] = []
            await storage.fetch(info, tmp_path / "got", done.append, parts=2, kept=kept)
            assert done[0] > SIZE // 4
            assert link.counters.down_bytes - seen < SIZE - done[0] + 2 * MB
            assert (tmp_path / "got").read_bytes() == original.read_bytes()
            assert os.listdir(tmp_path) == ["got"]

    asyncio.run(story())


def test_an_rclone_that_is_killed_costs_next_to_nothing(s3: S3Server, tmp_path: Path) -> None:
    async def story() -> None:
        async with far(s3, rate_Bps=15 * MB) as (link, storage, info, original):
            async with asyncio.TaskGroup() as group:
                group.create_task(storage.fetch(info, tmp_path / "got", ignore, parts=2))
                for share in (0.3, 0.6):
                    await until_bytes(link, int(share * SIZE))
                    pid = storage._daemon.pid
                    assert pid is not None
                    os.kill(pid, signal.SIGKILL)
            assert (tmp_path / "got").read_bytes() == original.read_bytes()
            assert link.counters.down_bytes < 1.5 * SIZE  # what was on its way twice, in all buffers between

    asyncio.run(story())


CHILD = """
import asyncio, sys
from pathlib import Path
import msgspec
from jitflow.model.data import ObjectInfo
from jitflow.storage import ranges
from jitflow.storage.daemon import RcloneDaemon
from jitflow.storage.rclone_storage import RcloneStorage
from jitflow.storage.remotes import RemoteConfig
vars(ranges).update(msgspec.json.decode(sys.argv[4]))
async def main():
    storage = RcloneStorage(RcloneDaemon(), [msgspec.json.decode(sys.argv[2], type=RemoteConfig)])
    await storage.open()
    info = msgspec.json.decode(sys.argv[3], type=ObjectInfo)
    await storage.fetch(info, Path(sys.argv[1]) / "got", lambda done: None, parts=3, kept=Path(sys.argv[1]) / "kept")
asyncio.run(main())
"""


def test_a_process_that_is_killed_leaves_what_has_come(s3: S3Server, tmp_path: Path) -> None:
    async def story() -> None:
        async with far(s3, rate_Bps=10 * MB) as (link, storage, info, original):
            words = [msgspec.json.encode(one).decode() for one in (s3.remote("far", endpoint=link.url), info, SMALLER)]
            child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path), *words])
            await until_bytes(link, SIZE // 2)
            child.kill()
            child.wait()
            await asyncio.sleep(0.2)
            seen, done = link.counters.down_bytes, list[int]()
            await storage.fetch(info, tmp_path / "got", done.append, kept=tmp_path / "kept")
            assert done[0] > SIZE // 5
            assert link.counters.down_bytes - seen < SIZE - done[0] + 2 * MB
            assert (tmp_path / "got").read_bytes() == original.read_bytes()

    asyncio.run(story())


def test_what_has_come_of_another_version_counts_for_nothing(s3: S3Server, tmp_path: Path) -> None:
    async def story() -> None:
        async with far(s3, rate_Bps=15 * MB) as (link, storage, info, original):
            kept = tmp_path / "kept"
            async with asyncio.TaskGroup() as group:
                task = group.create_task(storage.fetch(info, tmp_path / "got", ignore, kept=kept))
                await until_bytes(link, SIZE // 3)
                task.cancel()
            original.write_bytes(os.urandom(SIZE))
            await settle(s3)
            with pytest.raises(SourceChanged):
                await storage.fetch(info, tmp_path / "got", ignore, kept=kept)
            assert os.listdir(tmp_path) == []
            now = await storage.stat(info.ref)
            await storage.fetch(now, tmp_path / "got", ignore, kept=kept)
            assert (tmp_path / "got").read_bytes() == original.read_bytes()

    asyncio.run(story())


def test_a_link_that_is_cut_for_good_is_told_and_what_came_stays(s3: S3Server, tmp_path: Path) -> None:
    async def story() -> None:
        async with far(s3, rate_Bps=15 * MB) as (link, storage, info, original):
            kept = tmp_path / "kept"
            async with asyncio.TaskGroup() as group:
                task = group.create_task(_failure(storage, info, tmp_path / "got", kept))
                await until_bytes(link, SIZE // 2)
                link.cut(refuse=True)
            assert isinstance(task.result(), Unreachable), task.result()
            assert os.listdir(tmp_path) == ["kept"]
            link.resume()
            await storage.fetch(info, tmp_path / "got", ignore, kept=kept)
            assert (tmp_path / "got").read_bytes() == original.read_bytes()

    asyncio.run(story())


async def _failure(storage: RcloneStorage, info: ObjectInfo, target: Path, kept: Path) -> Exception | None:
    try:
        await storage.fetch(info, target, ignore, parts=2, kept=kept)
    except Unreachable as error:
        return error
    return None


# -- a store that gives the whole object whatever is asked for -----------------------------------------------------------------


@contextmanager
def plain_web(data: bytes) -> Iterator[tuple[str, list[str]]]:
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Last-Modified", "Sat, 01 Jan 2022 00:00:00 GMT")
            self.end_headers()

        def do_GET(self) -> None:
            seen.append(self.headers.get("Range", ""))
            self.do_HEAD()
            try:
                self.wfile.write(data)
            except OSError:
                return

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("fill", ["random", "zeros"])
def test_a_store_that_knows_no_ranges_is_read_in_one_piece(tmp_path: Path, fill: str) -> None:
    data = os.urandom(SIZE) if fill == "random" else bytes(SIZE - 1) + b"x"

    async def story() -> None:
        with plain_web(data) as (url, seen):
            async with opened(RemoteConfig(name="web", type="http", options={"url": url})) as storage:
                info = await storage.stat(at("web", "large"))
                for _ in range(2):
                    await storage.fetch(info, tmp_path / "got", ignore, parts=4)
                    assert (tmp_path / "got").read_bytes() == data
                    (tmp_path / "got").unlink()
                assert seen[-2:] == ["", ""] or fill == "zeros"
                assert os.listdir(tmp_path) == []

    asyncio.run(story())


# -- the journal ---------------------------------------------------------------------------------------------------------------


INFO = ObjectInfo(ref=at("far", "b/x"), size_bytes=100, version="v1")


def held(root: Path, info: ObjectInfo = INFO) -> list[tuple[int, int]]:
    holdings = Holdings(root, info)
    holdings.open()
    holdings.close()
    return holdings.done


def test_the_journal_survives_a_torn_line_and_knows_its_version_and_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    holdings = Holdings(tmp_path, INFO)
    assert holdings.open() == 0
    for start, end in ((50, 70), (0, 10), (70, 80), (5, 20)):
        holdings.write(memoryview(bytes([start]) * (end - start)), start)
        holdings.note(start, end)
    assert holdings.missing() == [(20, 50), (80, 100)]
    holdings.close()
    with (tmp_path / JOURNAL).open("ab") as journal:
        journal.write(b"[20,5")
    assert held(tmp_path) == [(0, 20), (50, 80)]
    assert held(tmp_path, replace(INFO, version="v2")) == []
    assert held(tmp_path) == []
    holdings.open()
    holdings.note(0, 10)
    holdings.close()
    assert held(tmp_path) == [(0, 10)]
    monkeypatch.setattr(holdings_module, "_boot", lambda: "another")
    assert held(tmp_path) == []


def test_ranges_are_merged_and_split() -> None:
    assert merged([(5, 9), (0, 3), (3, 4), (8, 12)]) == [(0, 4), (5, 12)]
    assert split([(0, 100)], 4, 10) == [(0, 25), (25, 50), (50, 75), (75, 100)]
    assert split([(0, 100)], 4, 60) == [(0, 50), (50, 100)]
    assert split([(0, 10), (40, 100)], 2, 10) == [(0, 10), (40, 70), (70, 100)]
    assert split([], 4, 10) == []


def test_from_store_to_store_several_streams_are_faster_too(s3: S3Server, tmp_path: Path) -> None:
    async def story() -> None:
        bucket, directory = new_bucket(s3)
        write_files(directory, {"large": os.urandom(24 * MB)})
        await settle(s3)
        async with SlowLink("127.0.0.1", s3.port, connection_rate_Bps=8 * MB) as link:
            far, near = replace(s3.remote("far", endpoint=link.url), tuning=HASTY), s3.remote("near")
            async with opened(far, near) as storage:
                info = await storage.stat(at("far", f"{bucket}/large"))
                took: dict[int, float] = {}
                for parts in (1, 4):
                    began = time.monotonic()
                    await storage.copy(info, at("near", f"{bucket}/copy-{parts}"), ignore, parts=parts)
                    took[parts] = time.monotonic() - began
                    assert (directory / f"copy-{parts}").read_bytes() == (directory / "large").read_bytes()
                assert took[4] < 0.7 * took[1], took

    asyncio.run(story())
