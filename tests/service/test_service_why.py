"""`why` of a real server over a slow link: what a step waits for, when it is expected, and what it read in the end."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmark.link import LinkThread
from benchmark.service import Server
from tests.service.service_kit import ended, settings_for, submit

from jitflow.testing.s3_server import S3Server

RATE = 1_000_000
READERS = """apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: readers-}
spec:
  entrypoint: main
  templates:
  - name: main
    dag:
      tasks:
      - {name: first, template: read, arguments: {parameters: [{name: key, value: a.bin}]}}
      - {name: second, template: read, dependencies: [first], arguments: {parameters: [{name: key, value: b.bin}]}}
  - name: read
    inputs:
      parameters: [{name: key}]
      artifacts: [{name: in, path: /tmp/in, plugin: {name: rclone, key: "far:bucket/{{inputs.parameters.key}}"}}]
    container: {image: busybox, command: [sh, -c], args: ["wc -c < /tmp/in; sleep 1.5"]}
"""
CROWD = """apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: crowd-}
spec:
  entrypoint: main
  templates:
  - name: main
    steps: [[{name: one, template: work}, {name: two, template: work}, {name: three, template: work}]]
  - name: work
    synchronization: {semaphores: [{configMapKeyRef: {name: limits, key: two}}]}
    container: {image: busybox, command: [sleep, "3"]}
"""


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    root = tmp_path_factory.mktemp("far")
    (root / "bucket").mkdir()
    (root / "bucket" / "a.bin").write_bytes(os.urandom(3_000_000))
    (root / "bucket" / "b.bin").write_bytes(os.urandom(1_000_000))
    with S3Server(root) as server:
        yield server


def why(server: Server, name: str, node: str) -> dict[str, Any]:
    return server.get(f"/api/jit/v1/workflows/default/{name}/why?node={node}")


def once(server: Server, name: str, node: str, holds: Callable[[dict[str, Any]], bool], within_s: float = 30.0) -> dict[str, Any]:
    limit = time.monotonic() + within_s
    while time.monotonic() < limit:
        found = why(server, name, node)
        if holds(found):
            return found
        time.sleep(0.05)
    raise AssertionError(f"never so: {found}")


def cli(server: Server, *arguments: str) -> str:
    environment = os.environ | {"JITFLOW_HOME": str(server.home), "NO_COLOR": "1"}
    command = [str(Path(sys.executable).parent / "jitflow"), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_step_that_waits_for_its_data_says_which_and_until_when(s3: S3Server, tmp_path: Path) -> None:
    with (
        LinkThread(s3.port, rate_bps=RATE, rtt_s=0.02) as link,
        Server(tmp_path / "home", settings_for(s3, endpoint=link.url)) as server,
    ):
        name = submit(server, READERS)
        found = once(server, name, "first", lambda it: (it.get("data") or {}).get("objects", [{}])[0].get("rate_Bps"))
        (one,) = found["data"]["objects"]
        assert (one["ref"], one["state"], one["size_bytes"]) == ("far:bucket/a.bin", "transferring", 3_000_000)
        assert 0 < one["done_bytes"] < 3_000_000
        # The other object shares the link: no more than the whole rate, and a time that fits.
        assert 0 < one["rate_Bps"] <= 1.5 * RATE
        assert 0 < one["expected_s"] < 30
        assert found["node"]["obstacles"][0]["kind"] == "data"
        assert "far:bucket/a.bin" in found["summary"]
        text = cli(server, "why", "@latest", "second")
        assert "waits for" in text
        assert f"{name}.first" in text
        assert "far:bucket/b.bin" in text
        assert why(server, name, "second")["node"]["phase"] == ""
        assert ended(server, name)["status"]["phase"] == "Succeeded"
        first = why(server, name, "first")["data"]
        assert (first["phase"], first["read"][0]["source"]) == ("done", "waited")
        assert first["waited_s"] > 1.5
        second = json.loads(cli(server, "why", name, "second", "-o", "json"))["data"]
        assert (second["read"][0]["ref"], second["read"][0]["source"]) == ("far:bucket/b.bin", "ahead")
        assert second["waited_s"] < first["waited_s"]
        assert "was fetched from far" in cli(server, "why", name, "second")


def test_places_and_locks_say_who_is_before(s3: S3Server, tmp_path: Path) -> None:
    with Server(tmp_path / "home", settings_for(s3, max_pods=1)) as server:
        limits = tmp_path / "limits.yaml"
        limits.write_text('apiVersion: v1\nkind: ConfigMap\nmetadata: {name: limits}\ndata: {two: "2"}\n')
        cli(server, "apply", str(limits))
        name = submit(server, CROWD)
        found = once(server, name, "two", lambda it: [one["kind"] for one in it["node"]["obstacles"]] == ["place"])
        assert "1 of 1 are taken, 0 wait before it" in found["summary"]
        (lock,) = why(server, name, "three")["node"]["obstacles"]
        assert lock["kind"] == "lock"
        assert "default/ConfigMap/limits/two" in lock["message"]
        assert lock["message"].endswith(f"held by {name}[0].one, {name}[0].two")
        missing = server.call("GET", f"/api/jit/v1/workflows/default/{name}/why?node=nobody")
        assert missing.status_code == 404
