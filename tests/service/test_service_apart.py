"""Control service and data service as two real processes, with a real S3 far store; each is killed on the way."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from benchmark.link import LinkThread
from benchmark.service import Server
from tests.service.service_kit import WORKFLOWS, ended, settings_for, submit, until

from jitflow.testing.machine import freeze
from jitflow.testing.s3_server import S3Server

SIZE = 600_000
STEPS = 3
MANIFEST = f"""apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {{generateName: apart-}}
spec:
  entrypoint: main
  templates:
  - name: main
    dag:
      tasks:
      - {{name: one, template: each, arguments: {{parameters: [{{name: num, value: "1"}}]}}}}
      - {{name: two, template: each, arguments: {{parameters: [{{name: num, value: "2"}}]}}}}
      - {{name: three, template: each, arguments: {{parameters: [{{name: num, value: "3"}}]}}, depends: one}}
      - {{name: all, template: all, depends: two && three}}
  - name: each
    inputs:
      parameters: [{{name: num}}]
      artifacts:
      - {{name: a, path: /in/a, plugin: {{name: rclone, key: "far:bucket/in/{{{{inputs.parameters.num}}}}"}}}}
    outputs:
      artifacts:
      - name: o
        path: /tmp/o
        archive: {{none: {{}}}}
        plugin: {{name: rclone, key: "far:bucket/out/{{{{inputs.parameters.num}}}}"}}
    container:
      image: busybox
      command: [sh, -c]
      args: ["tr a-c d-f < /in/a > /tmp/o; sleep 0.3"]
  - name: all
    inputs:
      artifacts:
      - {{name: d, path: /in/d, plugin: {{name: rclone, key: "far:bucket/out/"}}}}
    container:
      image: busybox
      command: [sh, -c]
      args: ["test $(cat /in/d/* | wc -c) = {STEPS * SIZE}"]
"""


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3Server]:
    folder = tmp_path / "far" / "bucket" / "in"
    folder.mkdir(parents=True)
    for number, letter in enumerate("abc", 1):
        (folder / str(number)).write_bytes(letter.encode() * SIZE)
    with S3Server(tmp_path / "far") as server:
        yield server


class Apart:
    """A data service and a control service, not started yet."""

    def __init__(self, tmp: Path, s3: S3Server, *, endpoint: str = "", **tree: Any) -> None:
        whole = settings_for(s3, endpoint=endpoint, **tree)
        remotes = whole.pop("remotes")
        primary = {"primary": whole.pop("primary")}
        self.data = Server(tmp / "data", {"remotes": remotes, **primary})
        self.data.arguments = ["--only", "data"]
        link = {"url": f"http://127.0.0.1:{self.data.port}", "token": {"file": str(self.data.home / "link.token")}}
        self.control = Server(tmp / "control", whole | {"data": {"patience_s": 5.0} | link})
        self.control.arguments = ["--only", "control"]

    def stop(self) -> None:
        self.control.stop()
        self.data.stop()


@pytest.fixture
def apart(tmp_path: Path, s3: S3Server) -> Iterator[Apart]:
    made = Apart(tmp_path, s3)
    yield made
    made.stop()


def port_of(s3: S3Server) -> int:
    return int(s3.endpoint.rpartition(":")[2].strip("/"))


def results(tmp: Path) -> list[bytes]:
    return [(tmp / "far" / "bucket" / "out" / str(number)).read_bytes()[:1] for number in range(1, STEPS + 1)]


def fetched(server: Server) -> tuple[int, int]:
    fill = server.get("/data/v1/primary")["fill"]
    return fill["fetched_bytes"], fill["fetched_twice_bytes"]


def ready(server: Server) -> dict[str, str]:
    answer = server.call("GET", "/readyz")
    return {} if answer.status_code == 200 else answer.json()["parts"]


def until_ready(server: Server) -> None:
    limit = time.monotonic() + 20
    while ready(server):
        assert time.monotonic() < limit, ready(server)
        time.sleep(0.05)


def test_a_workflow_runs_through_two_processes(apart: Apart, tmp_path: Path) -> None:
    apart.data.start()
    apart.control.start()
    name = submit(apart.control, MANIFEST)
    assert ended(apart.control, name)["status"]["phase"] == "Succeeded"
    assert results(tmp_path) == [b"d", b"e", b"f"]
    # One address is enough: the control service hands the Data API on, with what its own tokens may.
    assert [one["name"] for one in apart.control.get("/data/v1/remotes")["items"]] == ["artifacts", "far"]
    assert fetched(apart.control) == fetched(apart.data)
    made = apart.control.call("PUT", "/data/v1/content?ref=far:bucket/new", body={"a": 1})
    assert made.status_code in {200, 201}, made.text
    got = apart.data.call("GET", "/data/v1/content?ref=far:bucket/new")
    assert got.json() == {"a": 1}
    assert len(apart.control.call("GET", "/data/v1/stat?ref=far:bucket/new").headers.get_list("x-request-id")) == 1
    # What the link needs in the near store is none of a stranger's.
    assert apart.control.call("POST", "/data/v1/primary/check", {}).json()["strangers"] == {}
    # The artifact of a node is read where it lies; its crate knows what was read.
    workflow = apart.control.get(f"{WORKFLOWS}/{name}")
    node = next(one["id"] for one in workflow["status"]["nodes"].values() if one["displayName"] == "one")
    file = apart.control.call("GET", f"/artifact-files/default/workflows/{name}/{node}/outputs/o")
    assert file.content[:1] == b"d"
    assert len(file.content) == SIZE
    crate = apart.control.call("GET", f"/api/jit/v1/workflows/default/{name}/provenance").text
    assert "far:bucket/in/1" in crate or "bucket/in/1" in crate
    refused = apart.data.call("GET", WORKFLOWS)
    assert refused.status_code == 404
    assert "control service" in refused.json()["message"]


def test_a_control_service_says_which_part_of_its_data_service_fails(apart: Apart) -> None:
    apart.data.start()
    apart.control.start()
    until_ready(apart.control)
    found = subprocess.run(["pgrep", "-P", str(apart.data.pid), "-f", "rclone"], capture_output=True, text=True, check=True)
    rclones = [int(pid) for pid in found.stdout.split()]
    for pid in rclones:
        freeze(pid)
    try:
        assert ready(apart.data) == {"rclone": "no answer"}
        assert ready(apart.control) == {"data.rclone": "no answer"}
        assert apart.control.call("GET", "/livez").status_code == 200
    finally:
        for pid in rclones:
            os.kill(pid, signal.SIGCONT)
    until_ready(apart.control)
    apart.data.stop()
    limit = time.monotonic() + 20
    while ready(apart.control) != {"data": "failed"}:
        assert time.monotonic() < limit, ready(apart.control)
        time.sleep(0.05)


def test_only_the_token_of_the_link_opens_it(apart: Apart) -> None:
    apart.data.start()
    link = f"http://127.0.0.1:{apart.data.port}/link/v1/sessions"
    own = (apart.data.home / "link.token").read_text().strip()
    with httpx.Client(trust_env=False) as client:
        assert client.post(link, json={}).status_code == 401
        assert client.post(link, json={}, headers={"authorization": "Bearer wrong"}).status_code == 401
        narrow = client.get(link.replace("/link/v1/sessions", "/data/v1/remotes"), headers={"authorization": f"Bearer {own}"})
        assert narrow.status_code == 403
    config = apart.control.config.read_text().replace("link.token", "wrong.token")
    (apart.data.home / "wrong.token").write_text("wrong" * 8)
    apart.control.config.write_text(config)
    apart.control.start()
    assert ready(apart.control) == {"data": "failed"}
    answer = apart.control.post_text(WORKFLOWS, MANIFEST)
    assert answer.status_code == 503
    assert "does not take the token" in answer.json()["message"]
    assert "wrong" * 8 not in apart.control.log.read_text()
    (apart.data.home / "wrong.token").write_text(own)
    until_ready(apart.control)
    assert ended(apart.control, submit(apart.control, MANIFEST))["status"]["phase"] == "Succeeded"


def test_a_data_service_may_come_later_and_go(apart: Apart, tmp_path: Path) -> None:
    apart.control.start()
    assert ready(apart.control) == {"data": "failed"}
    assert apart.control.call("GET", "/data/v1/remotes").status_code == 503
    answer = apart.control.post_text(WORKFLOWS, MANIFEST)
    assert answer.status_code == 503
    assert apart.control.get(WORKFLOWS)["items"] is None
    apart.data.start()
    until_ready(apart.control)
    name = submit(apart.control, MANIFEST)
    apart.data.kill()
    waiting = until(apart.control, name, lambda one: "data service" in str(one["status"].get("nodes")))
    node = next(one["name"] for one in waiting["status"]["nodes"].values() if "data service" in one.get("message", ""))
    why = apart.control.get(f"/api/jit/v1/workflows/default/{name}/why", node=node)
    assert "does not answer" in str(why)
    # Steps that need no data go on without it.
    plain = MANIFEST.split("  templates:", maxsplit=1)[0].replace("apart-", "plain-").replace("main", "hello") + (
        "  templates:\n  - name: hello\n    container: {image: busybox, command: [echo, hi]}\n"
    )
    assert ended(apart.control, submit(apart.control, plain))["status"]["phase"] == "Succeeded"
    apart.data.start()
    assert ended(apart.control, name)["status"]["phase"] == "Succeeded"
    assert results(tmp_path) == [b"d", b"e", b"f"]


def test_kills_of_either_change_nothing(s3: S3Server, tmp_path: Path) -> None:
    with LinkThread(port_of(s3), rate_bps=1_500_000) as slow:
        apart = Apart(tmp_path, s3, endpoint=slow.url)
        try:
            apart.data.start()
            apart.control.start()
            name = submit(apart.control, MANIFEST)
            for pause, server in ((0.2, apart.data), (0.3, apart.control), (0.4, apart.data), (0.2, apart.control)):
                time.sleep(pause)
                server.kill()
                server.start()
            workflow = ended(apart.control, name)
            assert workflow["status"]["phase"] == "Succeeded", workflow["status"]
            assert results(tmp_path) == [b"d", b"e", b"f"]
            pods = [one for one in workflow["status"]["nodes"].values() if one["type"] == "Pod"]
            assert len(pods) == STEPS + 1
            assert fetched(apart.control)[1] == 0
            assert apart.data.get("/data/v1/primary")["fill"]["pinned_bytes"] == 0
            assert apart.data.get("/data/v1/uploads")["items"] == []
        finally:
            apart.stop()
