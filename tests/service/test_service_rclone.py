"""A whole server over an `rclone rcd` that somebody else runs: far inputs and outputs, a kill in mid-transfer, refusals."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmark.link import LinkThread
from benchmark.service import Server
from tests.security.certificates import Authority
from tests.service.service_kit import ended, settings_for, submit

from jitflow.testing.rclone_server import RcloneServer
from jitflow.testing.s3_server import S3Server

SIZE = 6_000_000
MANIFEST = """apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: far-}
spec:
  entrypoint: main
  templates:
  - name: main
    inputs:
      artifacts:
      - {name: a, path: /in/a, plugin: {name: rclone, key: "far:bucket/a"}}
      - {name: d, path: /in/d, plugin: {name: rclone, key: "far:bucket/d/"}}
    outputs:
      artifacts:
      - {name: o, path: /tmp/o, archive: {none: {}}, plugin: {name: rclone, key: "far:bucket/out/joined"}}
    container:
      image: busybox
      command: [sh, -c]
      args: ["cat /in/a /in/d/x /in/d/e/y > /tmp/o"]
"""


@pytest.fixture
def far(tmp_path: Path) -> Iterator[S3Server]:
    below = tmp_path / "far" / "bucket"
    (below / "d" / "e").mkdir(parents=True)
    (below / "a").write_bytes(b"a" * SIZE)
    (below / "d" / "x").write_bytes(b"x\n")
    (below / "d" / "e" / "y").write_bytes(b"y")
    with S3Server(tmp_path / "far") as server:
        yield server


def given(rclone: RcloneServer, folder: Path, **more: Any) -> dict[str, Any]:
    """Return the settings of a server that uses it; the password is in a file."""
    (folder / "password").write_text(f"{rclone.password}\n")
    return {"url": rclone.url, "user": rclone.user, "password": {"file": str(folder / "password")}, **more}


def test_a_workflow_runs_over_it_and_its_death_in_mid_transfer_loses_nothing(far: S3Server, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    with (
        LinkThread(far.port, rate_bps=4_000_000) as link,
        RcloneServer(tmp_path, certificate=authority.issue("127.0.0.1")) as rclone,
    ):
        settings = settings_for(far, endpoint=link.url, rclone=given(rclone, tmp_path, ca=str(authority.ca)))
        with Server(tmp_path / "home", settings) as server:
            children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
            commands = [Path(f"/proc/{child}/cmdline").read_bytes() for child in children]
            assert not [line for line in commands if b"\0rcd\0" in line], "it starts none of its own"
            name = submit(server, MANIFEST)
            limit = time.monotonic() + 20
            came: list[int] = [0]
            while came[-1] < SIZE // 6 and time.monotonic() < limit:
                link.call(lambda each: came.append(each.counters.down_bytes))
                time.sleep(0.02)
            rclone.kill()
            assert SIZE // 6 <= came[-1] < SIZE, "it was killed in mid-transfer"
            time.sleep(1.0)
            rclone.start()
            status = ended(server, name)["status"]
            assert status["phase"] == "Succeeded", status
            assert len(status["nodes"]) == 1, "the step ran once"
            assert (far.root / "bucket" / "out" / "joined").read_bytes() == b"a" * SIZE + b"x\ny"
            assert rclone.password not in server.log.read_text()
        assert far.secret not in rclone.log.read_text()


def test_another_one_goes_on_where_one_of_several_dies_in_mid_transfer(far: S3Server, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    with (
        LinkThread(far.port, rate_bps=4_000_000) as link,
        RcloneServer(folders[0]) as one,
        RcloneServer(folders[1]) as two,
    ):
        several = {"servers": {"one": given(one, folders[0]), "two": given(two, folders[1])}}
        with Server(tmp_path / "home", settings_for(far, endpoint=link.url, rclone=several)) as server:
            name = submit(server, MANIFEST)
            limit = time.monotonic() + 20
            came: list[int] = [0]
            while came[-1] < SIZE // 6 and time.monotonic() < limit:
                link.call(lambda each: came.append(each.counters.down_bytes))
                time.sleep(0.02)
            one.kill()
            assert SIZE // 6 <= came[-1] < SIZE, "it was killed in mid-transfer"
            status = ended(server, name)["status"]
            assert (status["phase"], len(status["nodes"])) == ("Succeeded", 1), status
            assert (far.root / "bucket" / "out" / "joined").read_bytes() == b"a" * SIZE + b"x\ny"
            assert server.call("GET", "/readyz").status_code == 200


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"password": "another"}, "rclone does not take the user name and password"),
        ({"url": "http://127.0.0.1:9"}, "rclone at http://127.0.0.1:9"),
        ({"url": "http://192.0.2.1:5572"}, "would send the secrets of remotes in clear"),
        ({"url": "rclone:5572"}, "rclone.url: write https://"),
        ({"servers": {"a": {"url": "rclone:5572"}}}, "rclone.servers.a.url: write https://"),
        ({"url": "", "servers": {"a": {"url": "http://127.0.0.1:9"}}}, "no rclone is there: rclone at http://127.0.0.1:9"),
    ],
)
def test_a_server_that_cannot_use_it_says_why(far: S3Server, tmp_path: Path, change: dict[str, Any], says: str) -> None:
    with RcloneServer(tmp_path) as rclone:
        settings = settings_for(far, rclone=given(rclone, tmp_path) | {"patience_s": 0.2} | change)
        server = Server(tmp_path / "home", settings)
        server.spawn()
        assert server.wait_ended(20) != 0
    log = server.log.read_text()
    assert says in log, log
    assert "Traceback" not in log
