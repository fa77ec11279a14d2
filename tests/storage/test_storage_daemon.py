"""The life of the child rclone: crashes, orphans, secrets."""

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from msgspec.structs import replace
from storage_worlds import HASTY, at, ignore, new_bucket, opened, settle, write_files

from jitflow.model.problems import Refused
from jitflow.ports.errors import Broken, PortError, RemoteUnknown, Retryable, Stalled
from jitflow.storage import watch, wire
from jitflow.storage.binary import find_rclone
from jitflow.storage.daemon import RcloneDaemon
from jitflow.storage.remotes import Providers, RemoteConfig, Tuning
from jitflow.testing.machine import freeze
from jitflow.testing.s3_server import S3Server
from jitflow.testing.slow_link import SlowLink

MB = 1_000_000


def test_every_key_of_config_is_one_that_rclone_knows() -> None:
    async def story() -> None:
        daemon = RcloneDaemon()
        await daemon.open()
        try:
            known = json.loads(await daemon.call("options/get", {"blocks": "main"}, subject="options"))["main"]
            request = wire.copyfile_request(wire.local("/a"), wire.local("/b"), wire.settings(Tuning()), in_place=True)
            for name, value in request["_config"].items():
                assert name in known, f"rclone ignores {name}"
                kind = int if isinstance(value, str) else type(value)  # durations are given as text and shown in nanoseconds
                assert isinstance(known[name], kind), f"{name} is {known[name]!r}"
            life = wire.parse(await daemon.call("job/list", {}, subject="jobs"), wire.JobList).execute_id
            assert life == daemon.life != ""
        finally:
            await daemon.close()

    asyncio.run(story())


@pytest.mark.parametrize("own", ["", "50"])
def test_rclone_spares_the_processor_unless_the_environment_says_how(own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An administrator may have reasons to give it less memory."""
    for name in ("GOGC", "GOMEMLIMIT"):
        monkeypatch.delenv(name, raising=False)
    if own:
        monkeypatch.setenv("GOGC", own)

    async def story() -> None:
        daemon = RcloneDaemon()
        await daemon.open()
        try:
            pairs = Path(f"/proc/{daemon.pid}/environ").read_text().split("\0")
            told = {pair for pair in pairs if pair.startswith(("GOGC=", "GOMEMLIMIT="))}
            assert told == {f"GOGC={own or '400'}", "GOMEMLIMIT=1GiB"}
        finally:
            await daemon.close()

    asyncio.run(story())


def test_settings_reach_the_call() -> None:
    """A timeout that is set for one remote holds for it."""

    async def story() -> None:
        async with SlowLink("127.0.0.1", 1) as link:
            link.stall()
            options = {"provider": "Other", "endpoint": link.url, "access_key_id": "keykey", "secret_access_key": "secret"}
            remote = RemoteConfig(name="far", type="s3", options=options, tuning=replace(HASTY, io_timeout_s=0.5))
            async with opened(remote) as storage:
                began = time.monotonic()
                with pytest.raises(Retryable):
                    await storage.stat(at("far", "bucket/x"))
                assert time.monotonic() - began < 10

    asyncio.run(story())


def test_unknown_types_and_options_are_refused_by_the_real_rclone(tmp_path: Path) -> None:
    async def story() -> None:
        for remote, says in (
            (RemoteConfig(name="far", type="s33"), "did you mean 's3'"),
            (RemoteConfig(name="far", type="s3", options={"endpont": "x"}), "remotes.far.endpont"),
        ):
            with pytest.raises(Refused, match=says):
                async with opened(remote):
                    pass
            async with opened(RemoteConfig(name="near", type="local", options={"root": str(tmp_path)})) as storage:
                with pytest.raises(Refused, match=says):
                    await storage.configure(remote)
                assert storage.remotes == ("near",)

    asyncio.run(story())


def test_remotes_come_and_go(s3: S3Server, tmp_path: Path) -> None:
    async def story() -> None:
        bucket, directory = new_bucket(s3)
        write_files(directory, {"x": b"1"})
        (tmp_path / "bucket").mkdir()
        (tmp_path / "bucket/x").write_bytes(b"22")
        await settle(s3)
        async with opened() as storage:
            with pytest.raises(RemoteUnknown):
                await storage.test("far")
            await storage.configure(s3.remote("far"))
            assert (await storage.stat(at("far", f"{bucket}/x"))).size_bytes == 1
            await storage.configure(RemoteConfig(name="far", type="local", options={"root": str(tmp_path)}))
            assert (await storage.stat(at("far", "bucket/x"))).size_bytes == 2
            await storage.unconfigure("far")
            await storage.unconfigure("far")
            with pytest.raises(RemoteUnknown):
                await storage.stat(at("far", "bucket/x"))

    asyncio.run(story())


def test_passwords_are_given_in_plain_and_kept_obscured(tmp_path: Path) -> None:
    async def story() -> None:
        # This one looks as if it were obscured already.
        plain = "cGxhaW4tcGFzc3dvcmQtdGhhdC1pcy1iYXNlNjQ"
        daemon = RcloneDaemon()
        remote = RemoteConfig(name="far", type="sftp", options={"host": "example.invalid", "user": "me", "pass": plain})
        async with opened(remote, daemon=daemon):
            kept = json.loads(await daemon.call("config/dump", {}, subject="config"))["far"]
            assert kept["host"] == "example.invalid"
            assert kept["pass"] != plain
            revealed = subprocess.run([find_rclone(), "reveal", kept["pass"]], capture_output=True, text=True, check=True)
            assert revealed.stdout.strip() == plain

    asyncio.run(story())


def test_a_killed_daemon_is_an_error_to_retry_and_the_next_call_works(s3: S3Server, tmp_path: Path) -> None:
    async def story() -> None:
        bucket, directory = new_bucket(s3)
        write_files(directory, {"big": bytes(9 * MB)})
        await settle(s3)
        daemon = RcloneDaemon()
        async with SlowLink("127.0.0.1", s3.port, rate_Bps=5 * MB) as link:  # noqa: SIM117
            async with opened(s3.remote("far", endpoint=link.url), daemon=daemon) as storage:
                info = await storage.stat(at("far", f"{bucket}/big"))
                life, pid = daemon.life, daemon.pid
                assert pid is not None
                async with asyncio.TaskGroup() as group:
                    fetch = group.create_task(_outcome(storage.fetch(info, tmp_path / "big", ignore)))
                    while link.counters.down_bytes < MB:
                        await asyncio.sleep(0.01)
                    os.kill(pid, signal.SIGKILL)
                assert isinstance(fetch.result(), Retryable), fetch.result()
                assert os.listdir(tmp_path) == []
                assert (await storage.stat(info.ref)).size_bytes == 9 * MB
                assert daemon.life not in {"", life}
                assert daemon.pid not in {None, pid}
                assert daemon.restarts == 1

    asyncio.run(story())


def test_a_daemon_that_hangs_is_replaced(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "HUNG_S", 0.5)

    async def story() -> None:
        bucket, directory = new_bucket(s3)
        write_files(directory, {"x": b"1"})
        await settle(s3)
        daemon = RcloneDaemon()
        async with opened(s3.remote("far"), daemon=daemon, stall_s=0.5) as storage:
            info = await storage.stat(at("far", f"{bucket}/x"))
            assert daemon.pid is not None
            freeze(daemon.pid)
            with pytest.raises(Stalled):
                await storage.fetch(info, tmp_path / "x", ignore)
            assert await storage.stat(info.ref) == info
            assert daemon.restarts == 1

    asyncio.run(story())


def test_nothing_remains_after_close() -> None:
    async def story(runtime: Path) -> None:
        daemon = RcloneDaemon(runtime)
        (runtime / "jitflow-rclone-99999999-killed").mkdir(parents=True)
        await daemon.open()
        pid = daemon.pid
        names = list(runtime.iterdir())
        modes = [private.stat().st_mode & 0o777 for private in names]
        await daemon.close()
        assert modes == [0o700]
        assert list(runtime.iterdir()) == []
        assert pid is not None
        assert not _alive(pid)
        with pytest.raises(Broken, match="not open"):
            await daemon.call("rc/noop", {}, subject="x")

    with TemporaryDirectory(prefix="jitflow-") as short:  # tmp_path may be too long for a socket
        asyncio.run(story(Path(short) / "run"))


def test_a_long_runtime_directory_is_replaced_by_a_short_one(tmp_path: Path) -> None:
    async def story() -> None:
        long = tmp_path / ("d" * 90)
        daemon = RcloneDaemon(long)
        await daemon.open()
        try:
            assert not long.exists() or list(long.iterdir()) == []
            await daemon.call("rc/noop", {}, subject="x")
        finally:
            await daemon.close()

    asyncio.run(story())


def test_the_daemon_dies_with_its_server(tmp_path: Path) -> None:
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVER], stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    assert server.stdout is not None
    pid = int(server.stdout.readline())
    assert "rclone" in Path(f"/proc/{pid}/cmdline").read_text()
    server.send_signal(signal.SIGKILL)
    server.wait()
    server.stdout.close()
    limit = time.monotonic() + 10
    while _alive(pid):
        assert time.monotonic() < limit, "an orphan is left"
        time.sleep(0.02)


_SERVER = """
import asyncio
from jitflow.storage.daemon import RcloneDaemon

async def main():
    daemon = RcloneDaemon()
    await daemon.open()
    print(daemon.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def test_secrets_are_nowhere_to_be_seen(
    s3: S3Server, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RCLONE_CONFIG_STRAY_TYPE", "local")
    monkeypatch.setenv("RCLONE_BWLIMIT", "1k")
    caplog.set_level(logging.DEBUG)

    async def story() -> None:
        bucket, directory = new_bucket(s3)
        write_files(directory, {"x": b"1"})
        await settle(s3)
        daemon = RcloneDaemon(flags=["--log-level", "DEBUG", "--dump", "headers"])
        right, wrong = s3.remote("far"), s3.wrong_remote("wrong")
        bad = replace(
            wrong, name="bad", options={**wrong.options, "endpoint": f"http://u:{wrong.options['secret_access_key']}@127.0.0.1:1"}
        )
        wrong, bad = replace(wrong, tuning=HASTY), replace(bad, tuning=HASTY)
        secrets = [right.options["secret_access_key"], wrong.options["secret_access_key"]]
        said: list[str] = [repr(right), str(wrong)]
        async with opened(right, wrong, bad, daemon=daemon) as storage:
            await storage.fetch(await storage.stat(at("far", f"{bucket}/x")), tmp_path / "x", ignore)
            for name in ("wrong", "bad", "absent"):
                said.append(str(await _outcome(storage.stat(at(name, f"{bucket}/x")))))
                said.append(str(await _outcome(storage.test(name))))
            assert daemon.pid is not None
            said += _command_lines()
            environment = Path(f"/proc/{daemon.pid}/environ").read_text()
            assert "RCLONE_BWLIMIT" not in environment
            assert "STRAY" not in environment
            assert not any(secret in environment for secret in secrets)
            config = json.loads(await daemon.call("config/dump", {}, subject="config"))
            assert set(config) == {"far", "wrong", "bad"}
            assert json.loads(await daemon.call("config/paths", {}, subject="config"))["config"] == ""
            password = environment.partition("RCLONE_RC_PASS=")[2].partition("\0")[0]
            assert len(password) > 30
        said.append(caplog.text)
        assert len(caplog.text) > 1000
        for secret in [*secrets, password]:
            assert not [text for text in said if secret in text]

    asyncio.run(story())


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("#!/bin/sh\necho rclone v1.60.1-DEV\n", "older than 1.75"),
        ("#!/bin/sh\necho something else\n", "is not rclone"),
        ("#!/no/such/interpreter\n", "does not run"),
        (None, "not an executable file"),
    ],
)
def test_an_unusable_rclone_is_explained(tmp_path: Path, script: str | None, says: str) -> None:
    program = tmp_path / "rclone"
    if script is not None:
        program.write_text(script)
        program.chmod(0o755)

    async def story() -> None:
        with pytest.raises(Broken, match=says) as caught:
            await RcloneDaemon(tmp_path, program=str(program)).open()
        assert "install" in str(caught.value)

    asyncio.run(story())


def test_an_rclone_that_ends_at_once_is_explained(tmp_path: Path) -> None:
    async def story() -> None:
        with pytest.raises(Broken, match="as soon as it was started"):
            await RcloneDaemon(tmp_path, flags=["--no-such-flag"]).open()
        assert list(tmp_path.iterdir()) == []

    asyncio.run(story())


def test_the_types_that_people_use_are_known() -> None:
    async def story() -> None:
        daemon = RcloneDaemon()
        await daemon.open()
        try:
            providers = wire.parse(await daemon.call("config/providers", {}, subject="providers"), Providers).providers
        finally:
            await daemon.close()
        assert {"s3", "sftp", "webdav", "local", "alias", "azureblob", "drive"} <= {provider.name for provider in providers}
        options = {option.name: option for provider in providers if provider.name == "sftp" for option in provider.options}
        assert options["pass"].is_password

    asyncio.run(story())


async def _outcome(awaitable: object) -> object:
    try:
        return await awaitable  # type: ignore[misc]
    except PortError as error:
        return error


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _command_lines() -> list[str]:
    lines = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                lines.append((process / "cmdline").read_text(errors="replace"))
            except OSError:
                continue
    return lines
