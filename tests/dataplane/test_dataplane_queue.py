"""The transfer queue over real rclone, a real S3 server and a slow link: kills, giving way, and how much moves at once."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import msgspec
import pytest
from far_store import a_step, ref

from jitflow.dataplane import LocalDataPlane, PrimaryDirectory
from jitflow.dataplane.links import LEVELS, Climb, Links, LinkUse
from jitflow.model.data import ReplicaState
from jitflow.ports.dataplane import DataEvent, Lease
from jitflow.storage.daemon import RcloneDaemon
from jitflow.storage.rclone_storage import RcloneStorage
from jitflow.storage.remotes import RemoteConfig
from jitflow.stores.sqlite import SqliteStore
from jitflow.testing.s3_server import S3Server
from jitflow.testing.slow_link import SlowLink

MB = 1_000_000
LARGE = 36 * MB
CAPACITY = 80 * MB


class WallClock:
    def now(self) -> float:
        return time.time()

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)


@asynccontextmanager
async def a_plane(
    root: Path, remote: RemoteConfig, **link_transfers: int
) -> AsyncIterator[tuple[LocalDataPlane, list[DataEvent]]]:
    storage = RcloneStorage(RcloneDaemon(), [remote])
    await storage.open()
    try:
        async with SqliteStore.open(root / "state.db") as store:
            plane = LocalDataPlane(
                PrimaryDirectory(root / "primary", storage), CAPACITY, storage, store, WallClock(), link_transfers=link_transfers
            )
            events: list[DataEvent] = []
            await plane.open(events.append)
            yield plane, events
            await plane.close()
    finally:
        await storage.close()


async def until(true: Callable[[], object]) -> None:
    limit = time.monotonic() + 30
    while not true():
        assert time.monotonic() < limit, "it never happened"
        await asyncio.sleep(0.01)


def seed(root: Path, **sizes: int) -> None:
    (root / "bucket").mkdir(parents=True)
    for name, size in sizes.items():
        (root / "bucket" / name).write_bytes(os.urandom(size))


def on_disk(root: Path) -> int:
    folders = (root / "primary" / name for name in ("objects", "incoming"))
    return sum(
        file.stat().st_size for folder in folders for file in folder.rglob("*") if file.is_file() and file.name != "ranges"
    )


if __name__ == "__main__":

    async def victim() -> None:
        async with a_plane(Path(sys.argv[1]), msgspec.json.decode(sys.argv[2], type=RemoteConfig)) as (plane, _):
            plane.acquire("w", a_step("s", ref("bucket/large")))
            await asyncio.sleep(60)

    asyncio.run(victim())


def test_a_server_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    seed(tmp_path / "far", large=LARGE)

    async def story(server: S3Server) -> None:
        async with SlowLink("127.0.0.1", server.port, rate_Bps=20 * MB) as link:
            remote = server.remote("far", endpoint=link.url)
            for share in (0.4, 0.75):
                words = [str(tmp_path), msgspec.json.encode(remote).decode()]
                child = subprocess.Popen(
                    [sys.executable, __file__, *words], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
                )
                try:
                    await until(lambda share=share: link.counters.down_bytes > share * LARGE)
                finally:
                    child.kill()
                    child.wait()
                assert on_disk(tmp_path) <= CAPACITY
            async with a_plane(tmp_path, remote) as (plane, events):
                assert plane.fill().used_bytes == LARGE
                plane.acquire("w", a_step("s", ref("bucket/large")))
                await until(lambda: any(isinstance(event, Lease) for event in events))
                assert plane.fill().used_bytes == plane.fill().resident_bytes == LARGE
                lease = next(event for event in events if isinstance(event, Lease))
                (path,) = lease.paths.values()
                assert Path(path).read_bytes() == (tmp_path / "far/bucket/large").read_bytes()
            # Each stream loses less than what is noted at once (8 MiB of two), each time.
            assert link.counters.down_bytes < LARGE + 2 * 16 * 2**20 + 2 * MB
            assert on_disk(tmp_path) == LARGE

    with S3Server(tmp_path / "far") as server:
        asyncio.run(story(server))


def test_what_is_read_ahead_gives_way_and_goes_on(tmp_path: Path) -> None:
    seed(tmp_path / "far", later=LARGE, now=5 * MB, urgent=LARGE)

    async def story(server: S3Server) -> None:
        async with SlowLink("127.0.0.1", server.port, rate_Bps=15 * MB) as link:
            async with a_plane(tmp_path, server.remote("far", endpoint=link.url), far=2) as (plane, events):
                plane.announce("w", [a_step("future", ref("bucket/later"))])
                await until(lambda: link.counters.down_bytes > 10 * MB)
                plane.acquire("w", a_step("s", ref("bucket/urgent")))
                flights = plane._transfers.flights
                await until(lambda: ref("bucket/urgent") in flights)
                await until(lambda: flights[ref("bucket/later")].paused)
                assert plane._core.planner.item(ref("bucket/later")).state is ReplicaState.TRANSFERRING  # type: ignore[union-attr]
                await until(lambda: any(isinstance(event, Lease) for event in events))
                await until(lambda: not flights)
                moved = link.counters.down_bytes
                assert plane.fill().resident_bytes == 2 * LARGE
            assert moved < 2 * LARGE + 8 * MB  # what was in the buffers when it gave way came twice

    with S3Server(tmp_path / "far") as server:
        asyncio.run(story(server))


def test_what_gives_way_goes_on_when_it_is_wanted_before_it_has_stopped(tmp_path: Path) -> None:
    seed(tmp_path / "far", later=LARGE, now=MB)

    async def story(server: S3Server) -> None:
        async with (
            SlowLink("127.0.0.1", server.port, rate_Bps=30 * MB) as link,
            a_plane(tmp_path, server.remote("far", endpoint=link.url), far=1) as (plane, events),
        ):
            plane.announce("w", [a_step("first", ref("bucket/now")), a_step("second", ref("bucket/later"))])
            await until(lambda: plane.fill().resident_bytes == MB)
            await plane.evict(ref("bucket/now"))
            flights = plane._transfers.flights
            await until(lambda: ref("bucket/later") in flights and link.counters.down_bytes > 6 * MB)
            plane.acquire("w", a_step("first", ref("bucket/now")))
            await asyncio.sleep(0)
            assert flights[ref("bucket/later")].paused
            plane.acquire("w", a_step("second", ref("bucket/later")))
            await until(lambda: {event.step for event in events if isinstance(event, Lease)} == {"w/first", "w/second"})
            assert not flights

    with S3Server(tmp_path / "far") as server:
        asyncio.run(story(server))


# -- how much at once ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "stream", "fewest", "most"),
    [(50e6, 12.5e6, 4, 6), (50e6, 1e6, 32, 64), (100e6, 100e6, 1, 2), (12e6, 3e6, 4, 6)],
)
def test_the_fewest_streams_that_fill_a_link_are_found(rate: float, stream: float, fewest: int, most: int) -> None:
    random = Random(3)
    climb = Climb(64)
    seen: list[int] = []
    for second in range(120):
        gives = min(rate, climb.streams * stream) * random.uniform(0.99, 1.01)
        climb.saw(gives, float(second))
        seen.append(climb.streams)
    settled = sorted(seen[30:])
    assert fewest <= settled[len(settled) // 2] <= most, settled
    assert set(seen) <= set(LEVELS)


def test_a_window_in_which_the_link_was_not_busy_teaches_nothing() -> None:
    now = 0.0
    told: list[tuple[str, LinkUse]] = []
    links = Links(64, {"near": 4}, lambda: now, lambda *facts: told.append(facts))
    links.know("near")
    use = LinkUse(most_streams=4, streams=4, fill_bytes=16_000_000, part_bytes=2 * 2**20)
    assert told == [("near", use)]
    links.began("far", 4, 200 * MB)
    for second in range(10):
        now = float(second)
        links.moved("far", 5 * MB)
    assert links.streams("far") == 8
    links.began("far", 4, 200 * MB)
    for second in range(10, 12):
        now = float(second)
        links.moved("far", 50 * MB)
    assert links.streams("far") == 6
    assert links.states()[0].rate_Bps == pytest.approx(50e6, rel=0.6)


@pytest.mark.parametrize(
    ("rate", "fill_bytes", "part_bytes"), [(2.4, 1_800_000, 2**20), (16, 12_000_000, 1_600_000), (800, 160_000_000, 16 * 2**20)]
)
def test_what_fills_a_link_and_what_a_range_is_worth_follow_from_what_it_gives(
    rate: float, fill_bytes: int, part_bytes: int
) -> None:
    now = 0.0
    links = Links(64, {}, lambda: now, lambda *_: None)
    links.began("far", 8, 4000 * MB)
    for tenth in range(11):
        now = tenth / 10
        links.moved("far", int(rate * MB / 10))
    (state,) = links.states()
    assert state.rate_Bps == pytest.approx(rate * MB, rel=0.01)
    assert state.fill_bytes == pytest.approx(fill_bytes, rel=0.01)
    assert state.part_bytes == pytest.approx(part_bytes)


def test_more_of_an_unknown_link_is_asked_when_it_gives_more() -> None:
    now = 0.0
    told: list[LinkUse] = []
    links = Links(64, {}, lambda: now, lambda _, use: told.append(use))
    for _ in range(16):
        links.began("far", 1, MB)
    for hundredth in range(1, 11):
        now = hundredth / 100
        links.moved("far", 800_000)
    assert told[0].fill_bytes == 16 * MB
    assert told[-1].fill_bytes == 60 * MB, "what it gives in three quarters of a second"
    assert len(told) < 4, "and that is not told with each byte"
    for _ in range(16):
        links.ended("far", 1, 0)
    links.settled("far")
    now = 100.0
    links.began("far", 1, 4 * MB)
    for hundredth in range(1, 11):
        now = 100.0 + hundredth / 100
        links.moved("far", 400_000)
    assert links.states()[0].fill_bytes == 60 * MB, "it is the same link"


def test_what_many_streams_gave_says_nothing_of_few() -> None:
    now = 0.0
    links = Links(64, {}, lambda: now, lambda *_: None)
    links.began("far", 40, 4000 * MB)
    for second in range(5):
        now = float(second)
        links.moved("far", 50 * MB)
    assert links.states()[0].rate_Bps == pytest.approx(50e6)
    assert links.streams("far") == 8


def test_a_window_at_whose_end_little_was_left_to_come_tells_no_rate() -> None:
    now = 0.0
    links = Links(64, {}, lambda: now, lambda *_: None)
    links.began("far", 8, 11 * MB)
    for second in range(2):
        now = float(second)
        links.moved("far", 5 * MB)
    assert links.states()[0].rate_Bps is None
