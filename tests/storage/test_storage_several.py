"""Several rclones that others run: whose turn it is, and what goes on when one of them dies."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from storage_worlds import at, ignore, new_bucket, settle, write_files

from jitflow.model.bandwidth import Rate
from jitflow.ports.bulk import BulkOrder
from jitflow.ports.errors import Broken, PortError, Unreachable
from jitflow.storage.endpoints import endpoint_of
from jitflow.storage.external import ExternalRclone
from jitflow.storage.lanes import Lanes
from jitflow.storage.rclone_storage import RcloneStorage
from jitflow.storage.remotes import RemoteConfig
from jitflow.storage.several import Member, Several
from jitflow.testing.rclone_server import RcloneServer
from jitflow.testing.s3_server import S3Server
from jitflow.testing.slow_link import SlowLink

MB = 1_000_000


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[RcloneServer]]:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    with RcloneServer(folders[0]) as one, RcloneServer(folders[1]) as two:
        yield [one, two]


class World:
    """Two rclones as one storage."""

    def __init__(
        self, servers: Sequence[RcloneServer], remotes: Sequence[RemoteConfig], patterns: Sequence[Sequence[str]]
    ) -> None:
        self.rclones = [
            ExternalRclone(endpoint_of(one.url), one.user, one.password, patience_s=0.5, needed=False) for one in servers
        ]
        self._members = [
            Member(f"m{number}", RcloneStorage(rclone, remotes, stall_s=20.0), patterns[number])
            for number, rclone in enumerate(self.rclones)
        ]
        self.several = Several(self._members, patience_s=1.0)
        self.lanes = Lanes(lambda configs: RcloneStorage(self.rclones[0], configs), remotes, common=lambda _: self.several)

    async def moved(self) -> list[int]:
        """Return the bytes that each has moved."""
        answers = [await rclone.call("core/stats", {}, subject="stats") for rclone in self.rclones]
        return [json.loads(answer)["bytes"] for answer in answers]

    async def known(self, number: int) -> dict[str, Any]:
        return json.loads(await self.rclones[number].call("config/dump", {}, subject="config"))


@asynccontextmanager
async def world(
    servers: Sequence[RcloneServer], *remotes: RemoteConfig, patterns: Sequence[Sequence[str]] = ((), ())
) -> AsyncIterator[World]:
    found = World(servers, remotes, patterns)
    await found.lanes.open()
    try:
        yield found
    finally:
        await found.lanes.close()


def local(name: str, root: Path, **files: bytes) -> RemoteConfig:
    root.mkdir(parents=True, exist_ok=True)
    write_files(root, files)
    return RemoteConfig(name=name, type="local", options={"root": str(root)})


async def until_up(rclone: ExternalRclone, *, up: bool) -> None:
    async with asyncio.timeout(10):
        while rclone.is_up is not up:
            await asyncio.sleep(0.02)


def test_a_remote_goes_through_the_rclone_that_names_it_and_the_others_through_the_rest(
    servers: list[RcloneServer], tmp_path: Path
) -> None:
    async def story() -> None:
        kept = local("kept-1", tmp_path / "kept", x=b"k" * 1000)
        plain = local("plain", tmp_path / "plain", x=b"p" * 10)
        async with world(servers, kept, plain, patterns=(["kept-*"], ())) as two:
            for remote, came in (("kept-1", [1000, 0]), ("plain", [1000, 10])):
                info = (await two.lanes.stat_many([at(remote, "x")]))[at(remote, "x")]
                assert not isinstance(info, Exception)
                await two.lanes.fetch(info, tmp_path / f"came-{remote}", ignore)
                assert await two.moved() == came
            # A copy between two goes through one, which knows both.
            await two.lanes.copy(await two.lanes.stat(at("plain", "x")), at("kept-1", "copy"), ignore)
            chunks = [chunk async for chunk in two.lanes.read(at("kept-1", "copy"))]
            assert b"".join(chunks) == b"p" * 10
            assert {info.ref.path async for info in two.lanes.list(at("kept-1", ""))} == {"x", "copy"}

    asyncio.run(story())


def test_what_nobody_names_is_spread_over_all(servers: list[RcloneServer], s3: S3Server, tmp_path: Path) -> None:
    async def story() -> None:
        bucket, directory = new_bucket(s3)
        write_files(directory, {name: b"x" * MB for name in "abcd"})
        await settle(s3)
        async with world(servers, s3.remote("far")) as two:
            infos = [await two.lanes.stat(at("far", f"{bucket}/{name}")) for name in "abcd"]
            async with asyncio.TaskGroup() as tasks:
                for info in infos:
                    tasks.create_task(two.lanes.fetch(info, tmp_path / info.ref.path[-1], ignore))
            assert await two.moved() == [2 * MB, 2 * MB]
            order = BulkOrder(source=at("far", f"{bucket}/"), destination=at("far", f"{bucket}/copy/"), paths=("a", "b"))
            await two.lanes.perform(order, lambda _: None)
            assert {info.ref.path[-1] for info in await two.lanes.tree(at("far", f"{bucket}/copy/"))} == {"a", "b"}

    asyncio.run(story())


def test_one_that_dies_in_mid_transfer_is_stood_in_for_and_given_what_it_missed(
    servers: list[RcloneServer], s3: S3Server, tmp_path: Path
) -> None:
    async def story() -> None:
        bucket, directory = new_bucket(s3)
        write_files(directory, {"big": b"x" * 4 * MB})
        await settle(s3)
        kept = local("kept", tmp_path / "kept", x=b"k")
        async with SlowLink("127.0.0.1", s3.port, rate_Bps=4 * MB) as link:
            far = s3.remote("far", endpoint=link.url)
            async with world(servers, far, kept, patterns=((), ())) as two:
                lanes = two.lanes
                info = await lanes.stat(at("far", f"{bucket}/big"))
                fetch = asyncio.get_running_loop().create_task(lanes.fetch(info, tmp_path / "big", ignore))
                while link.counters.down_bytes < MB // 2:
                    await asyncio.sleep(0.01)
                servers[0].kill()
                with pytest.raises(Unreachable):
                    await fetch
                assert (await lanes.fetch(info, tmp_path / "big", ignore)).size_bytes == 4 * MB
                assert (tmp_path / "big").read_bytes() == b"x" * 4 * MB
                await until_up(two.rclones[0], up=False)
                await lanes.ready()
                await lanes.configure(local("late", tmp_path / "late", x=b"late"))
                await lanes.unconfigure("kept")
                await lanes.limit(Rate(down_Bps=2 * MB), {})
                assert (await lanes.stat(at("late", "x"))).size_bytes == 4
                servers[0].start()
                await until_up(two.rclones[0], up=True)
                assert [set(await two.known(number)) for number in (0, 1)] == [{"far", "late"}] * 2
                told = [await rclone.call("core/bwlimit", {}, subject="limit") for rclone in two.rclones]
                assert [json.loads(one)["bytesPerSecondRx"] for one in told] == [MB, MB]

    asyncio.run(story())


def test_a_remote_that_one_names_waits_for_it(servers: list[RcloneServer], tmp_path: Path) -> None:
    async def story() -> None:
        remotes = local("kept", tmp_path / "kept", x=b"k"), local("plain", tmp_path / "plain", x=b"p")
        async with world(servers, *remotes, patterns=(["kept"], ())) as two:
            servers[0].kill()
            await until_up(two.rclones[0], up=False)
            assert (await two.lanes.stat(at("plain", "x"))).size_bytes == 1
            waits = asyncio.get_running_loop().create_task(two.lanes.stat(at("kept", "x")))
            await asyncio.sleep(0.5)
            assert not waits.done()
            servers[0].start()
            assert (await waits).size_bytes == 1

    asyncio.run(story())


def test_a_start_goes_on_without_one_that_is_away_but_not_without_all(servers: list[RcloneServer], tmp_path: Path) -> None:
    async def story() -> None:
        plain = local("plain", tmp_path / "plain", x=b"p")
        servers[0].kill()
        async with world(servers, plain) as two:
            assert (await two.lanes.stat(at("plain", "x"))).size_bytes == 1
            assert two.lanes.providers
            assert two.lanes.remotes == ("plain",)
            servers[0].start()
            await until_up(two.rclones[0], up=True)
        for server in servers:
            server.kill()
        with pytest.raises(Broken, match="no rclone is there: rclone at"):
            async with world(servers, plain):
                pass

    asyncio.run(story())


def test_one_that_cannot_be_used_is_told_at_the_start(servers: list[RcloneServer], tmp_path: Path) -> None:
    async def story() -> None:
        servers[1].password = "another"
        with pytest.raises(PortError, match="does not take the user name and password"):
            async with world(servers, local("plain", tmp_path / "plain")):
                pass

    asyncio.run(story())
