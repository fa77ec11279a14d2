"""An `rclone rcd` that others started: TLS, credentials, restarts, and what it is refused for."""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from storage_worlds import at, ignore, new_bucket, opened, settle, write_files
from tests.security.certificates import Authority

from jitflow.model.bandwidth import FREE, Rate
from jitflow.ports.bulk import BulkOrder
from jitflow.ports.errors import Broken, PortError, RemoteUnknown, Retryable, Unreachable
from jitflow.storage import binary
from jitflow.storage.daemon import RcloneDaemon
from jitflow.storage.endpoints import endpoint_of
from jitflow.storage.external import ExternalRclone
from jitflow.storage.lanes import Lanes
from jitflow.storage.rclone import Rclone
from jitflow.storage.rclone_storage import RcloneStorage
from jitflow.storage.remotes import RemoteConfig
from jitflow.testing.machine import freeze
from jitflow.testing.rclone_server import RcloneServer
from jitflow.testing.s3_server import S3Server
from jitflow.testing.slow_link import SlowLink

MB = 1_000_000


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def secured(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RcloneServer]:
    folder = tmp_path_factory.mktemp("rclone")
    with RcloneServer(folder, certificate=authority.issue("127.0.0.1"), base="transfers") as server:
        yield server


def client(server: RcloneServer, *, ca: str | Path = "", password: str = "", url: str = "", **more: Any) -> ExternalRclone:
    endpoint = endpoint_of(url or server.url, str(ca))
    return ExternalRclone(endpoint, server.user, password or server.password, **{"patience_s": 0.0, **more})


@asynccontextmanager
async def known(rclone: ExternalRclone) -> AsyncIterator[dict[str, Any]]:
    """Give what an rclone has been told of remotes."""
    await rclone.open()
    try:
        yield json.loads(await rclone.call("config/dump", {}, subject="config"))
    finally:
        await rclone.close()


async def outcome(awaitable: Any) -> Any:
    try:
        return await awaitable
    except PortError as error:
        return error


def test_objects_come_and_go_over_tls(secured: RcloneServer, authority: Authority, s3: S3Server, tmp_path: Path) -> None:
    async def story() -> None:
        bucket, directory = new_bucket(s3)
        large = os.urandom(20 * MB)
        write_files(directory, {"x": b"one", "large": large, "d/1": b"1", "d/2": b"2"})
        await settle(s3)
        names = tmp_path / "names"
        names.mkdir()
        rclone = client(secured, ca=authority.ca, shared=[tmp_path], names_dir=names)
        async with opened(s3.remote("far"), daemon=rclone) as storage:
            info = await storage.fetch(await storage.stat(at("far", f"{bucket}/x")), tmp_path / "x", ignore)
            assert (info.size_bytes, (tmp_path / "x").read_bytes()) == (3, b"one")
            # In ranges, which threads read from connections of their own; and as a stream.
            found = await storage.stat(at("far", f"{bucket}/large"))
            await storage.fetch(found, tmp_path / "large", ignore, parts=3, kept=tmp_path / "kept")
            assert (tmp_path / "large").read_bytes() == large
            assert b"".join([chunk async for chunk in storage.read(found.ref, offset=5, count=7)]) == large[5:12]
            await storage.store(tmp_path / "x", at("far", f"{bucket}/back"), ignore)
            assert (directory / "back").read_bytes() == b"one"
            order = BulkOrder(source=at("far", f"{bucket}/d/"), destination=at("far", f"{bucket}/e/"), paths=("2",))
            await storage.bulk.perform(order, ignore)  # pyright: ignore[reportArgumentType]
            assert (directory / "e" / "2").read_bytes() == b"2"
            assert not (directory / "e" / "1").exists()
        async with known(client(secured, ca=authority.ca)) as told:
            assert told == {}, "the secrets of remotes stay with a server that nobody uses any more"
        assert not list(tmp_path.glob(".jitflow-probe*"))
        assert s3.secret not in secured.log.read_text()

    asyncio.run(story())


def test_what_is_refused_says_what_to_do(secured: RcloneServer, authority: Authority, tmp_path: Path) -> None:
    async def refused(rclone: ExternalRclone, *says: str) -> None:
        with pytest.raises(Broken) as caught:
            await rclone.open()
        for words in says:
            assert words in str(caught.value)

    async def story() -> None:
        await refused(client(secured, ca=authority.ca, password="not-this-one"), "user name and password", "rclone.password")
        other = Authority(tmp_path / "other")
        await refused(client(secured, ca=other.ca), "certificate is not believed", "rclone.ca")
        await refused(client(secured, url=secured.url.replace("https", "http")), "write https://")
        await refused(client(secured, url="http://127.0.0.1:9"), "http://127.0.0.1:9", "not connected", "waited 0 s")
        await refused(client(secured, url=f"unix://{tmp_path}/none.sock"), "none.sock", "waited 0 s")

    asyncio.run(story())


def test_an_rclone_that_does_not_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(rclone: ExternalRclone, words: str) -> None:
        with pytest.raises(Broken, match=words):
            await rclone.open()

    async def story() -> None:
        config = tmp_path / "rclone.conf"
        with RcloneServer(tmp_path, config=str(config)) as server:
            await refused(client(server), r"rclone\.conf; start it with --config")
            await refused(client(server, url=server.url.replace("http", "https")), "does not speak TLS")
        assert not config.exists()
        with RcloneServer(tmp_path, objects=False) as server:
            await refused(client(server, shared=[tmp_path]), "start it with --rc-serve")
            monkeypatch.setattr(binary, "OLDEST", (99, 0))
            await refused(client(server), r"version 1\.\d+\.\d+, older than 99\.0")

    asyncio.run(story())


def test_the_same_path_must_be_the_same_directory(secured: RcloneServer, authority: Authority, tmp_path: Path) -> None:
    """Here the other side sees another directory: as it would in another container."""

    class Elsewhere(type(tmp_path)):
        """A path whose files are written where rclone does not look."""

        def write_bytes(self, data: Any) -> int:
            (tmp_path / "ours").mkdir(exist_ok=True)
            return (tmp_path / "ours" / self.name).write_bytes(data)

    async def story() -> None:
        rclone = client(secured, ca=authority.ca, shared=[Elsewhere(tmp_path)])
        with pytest.raises(Broken, match="mount the same directory at the same path") as caught:
            await rclone.open()
        assert str(tmp_path) in str(caught.value)

    asyncio.run(story())


def test_a_start_waits_for_it(tmp_path: Path) -> None:
    async def story() -> None:
        server = RcloneServer(tmp_path)
        rclone = client(server, patience_s=20.0)
        try:
            async with asyncio.TaskGroup() as group:
                opening = group.create_task(rclone.open())
                await asyncio.sleep(0.3)
                assert not opening.done()
                server.start()
            await rclone.call("rc/noop", {}, subject="it")
        finally:
            await rclone.close()
            server.kill()

    asyncio.run(story())


def test_a_killed_one_is_an_error_to_retry_and_gets_its_remotes_again(s3: S3Server, tmp_path: Path) -> None:
    async def story() -> None:
        bucket, directory = new_bucket(s3)
        write_files(directory, {"big": bytes(9 * MB)})
        await settle(s3)
        folder = tmp_path / "shared"
        folder.mkdir()
        with RcloneServer(tmp_path) as server:
            rclone = client(server, shared=[folder])
            async with SlowLink("127.0.0.1", s3.port, rate_Bps=5 * MB) as link:  # noqa: SIM117
                async with opened(s3.remote("far", endpoint=link.url), daemon=rclone) as storage:
                    info, life = await storage.stat(at("far", f"{bucket}/big")), rclone.life
                    async with asyncio.TaskGroup() as group:
                        fetch = group.create_task(outcome(storage.fetch(info, folder / "big", ignore)))
                        while link.counters.down_bytes < MB:
                            await asyncio.sleep(0.01)
                        server.kill()
                        await asyncio.sleep(0.1)
                        waiting = group.create_task(storage.stat(info.ref))
                        await asyncio.sleep(0.3)
                        assert not waiting.done(), "calls wait for it"
                        server.start()
                    assert isinstance(fetch.result(), Retryable), fetch.result()
                    assert waiting.result().size_bytes == 9 * MB
                    assert rclone.life not in {"", life}
                    assert rclone.restarts == 1
                    # Replaced between two looks: what it has forgotten is no error of who asks.
                    server.kill()
                    server.start()
                    assert (await outcome(forgotten(storage, rclone, info.ref))) is True

    async def forgotten(storage: RcloneStorage, rclone: ExternalRclone, ref: Any) -> bool:
        for _ in range(50):
            found = await outcome(storage.stat(ref))
            assert not isinstance(found, RemoteUnknown)
            if not isinstance(found, Unreachable):
                return found.size_bytes == 9 * MB
        return False

    asyncio.run(story())


def test_ranges_over_tls_end_when_nobody_wants_them_and_go_on_later(
    secured: RcloneServer, authority: Authority, s3: S3Server, tmp_path: Path
) -> None:
    async def story() -> None:
        bucket, directory = new_bucket(s3)
        data = os.urandom(20 * MB)
        write_files(directory, {"large": data})
        await settle(s3)
        async with SlowLink("127.0.0.1", s3.port, rate_Bps=8 * MB) as link:  # noqa: SIM117
            async with opened(s3.remote("far", endpoint=link.url), daemon=client(secured, ca=authority.ca)) as storage:
                info = await storage.stat(at("far", f"{bucket}/large"))
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(1.5):
                        await storage.fetch(info, tmp_path / "large", ignore, parts=2, kept=tmp_path / "kept")
                before = link.counters.down_bytes
                assert MB < before < len(data)
                await storage.fetch(info, tmp_path / "large", ignore, parts=2, kept=tmp_path / "kept")
                assert (tmp_path / "large").read_bytes() == data
                assert link.counters.down_bytes - before < len(data) - MB, "what had come was kept"

    asyncio.run(story())


def test_a_remote_with_a_limit_of_its_own_has_a_child(
    secured: RcloneServer, authority: Authority, s3: S3Server, tmp_path: Path
) -> None:
    """A limit is that of a whole process, and the external one serves the others."""
    made: list[Rclone] = []

    def over(rclone: Rclone, remotes: Iterable[RemoteConfig]) -> RcloneStorage:
        made.append(rclone)
        return RcloneStorage(rclone, remotes, stall_s=20)

    async def story() -> None:
        bucket, directory = new_bucket(s3)
        write_files(directory, {"x": bytes(2 * MB)})
        await settle(s3)
        lanes = Lanes(
            lambda remotes: over(RcloneDaemon(), remotes),
            [s3.remote("far"), s3.remote("other")],
            common=lambda remotes: over(client(secured, ca=authority.ca), remotes),
        )
        await lanes.open()
        try:
            await lanes.limit(FREE, {"far": Rate(down_Bps=2 * MB, up_Bps=2 * MB)})
            assert [type(rclone) for rclone in made] == [ExternalRclone, RcloneDaemon]
            began = time.monotonic()
            await lanes.fetch(await lanes.stat(at("other", f"{bucket}/x")), tmp_path / "other", ignore)
            free_s, began = time.monotonic() - began, time.monotonic()
            await lanes.fetch(await lanes.stat(at("far", f"{bucket}/x")), tmp_path / "far", ignore)
            assert time.monotonic() - began > max(0.5, free_s)
        finally:
            await lanes.close()

    asyncio.run(story())


def test_one_that_hangs_is_given_up_and_used_again_when_it_goes_on(tmp_path: Path) -> None:
    async def story() -> None:
        with RcloneServer(tmp_path) as server:
            rclone = client(server)
            await rclone.open()
            try:
                freeze(server.pid)
                async with asyncio.TaskGroup() as group:
                    call = group.create_task(outcome(rclone.call("rc/noop", {}, subject="it")))
                    await asyncio.sleep(0.2)
                    assert not call.done()
                    rclone.kill()
                assert isinstance(call.result(), Retryable), call.result()
                os.kill(server.pid, signal.SIGCONT)
                await rclone.call("rc/noop", {}, subject="it")
            finally:
                await rclone.close()

    asyncio.run(story())


def test_a_remote_that_it_really_does_not_know_is_said_so(secured: RcloneServer, authority: Authority) -> None:
    async def story() -> None:
        alias = RemoteConfig(name="far", type="alias", options={"remote": "nowhere:x"})
        async with opened(alias, daemon=client(secured, ca=authority.ca)) as storage:
            assert isinstance(await outcome(storage.test("far")), RemoteUnknown)

    asyncio.run(story())


@pytest.mark.pure
@pytest.mark.parametrize("url", ["", "127.0.0.1:5572", "ftp://x", "https://", "unix://host/x", "https://me:pw@host"])
def test_addresses_that_mean_nothing_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"write https|leave the user"):
        endpoint_of(url)


@pytest.mark.pure
def test_addresses_mean_what_they_say() -> None:
    assert endpoint_of("unix:///run/rclone.sock").path == "/run/rclone.sock"
    found = endpoint_of("http://[::1]:5572/a/b/")
    assert (found.host, found.port, found.base, found.origin) == ("::1", 5572, "a/b", "http://[::1]:5572/a/b")
    assert endpoint_of("https://rclone.example.org").origin == "https://rclone.example.org:443"
