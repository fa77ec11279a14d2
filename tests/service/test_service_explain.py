"""`explain` of a real server over a slow link: what is foreseen is what happens, and what runs can be asked about."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmark.link import LinkThread
from benchmark.service import Server
from tests.service.service_kit import WORKFLOWS, ended, settings_for, submit
from tests.service.test_service_why import cli

from jitflow.testing.s3_server import S3Server

RATE = 1_000_000
KEYS = ("a", "b", "c", "d")
SIZE = 1_500_000
FAN = """apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: fan-}
spec:
  entrypoint: main
  templates:
  - name: main
    steps:
    - [{name: read, template: read, arguments: {parameters: [{name: key, value: "SET-{{item}}"}]}, withItems: [a, b, c, d]}]
    - [{name: end, template: end}]
  - name: read
    inputs:
      parameters: [{name: key}]
      artifacts: [{name: in, path: /tmp/in, plugin: {name: rclone, key: "far:bucket/{{inputs.parameters.key}}"}}]
    container: {image: busybox, command: [sh, -c], args: ["cat /tmp/in > /dev/null; sleep 1.5"]}
  - name: end
    container: {image: busybox, command: [sleep, "0.5"]}
"""


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    root = tmp_path_factory.mktemp("far")
    (root / "bucket").mkdir()
    for group in ("one", "two"):
        for key in KEYS:
            (root / "bucket" / f"{group}-{key}").write_bytes(f"{group}{key}".encode() * (SIZE // len(f"{group}{key}")))
    with S3Server(root) as server:
        yield server


def explain(server: Server, text: str) -> dict[str, Any]:
    answer = server.post_text("/api/jit/v1/explain", text)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_what_is_foreseen_is_what_happens(s3: S3Server, tmp_path: Path) -> None:
    with (
        LinkThread(s3.port, rate_bps=RATE, rtt_s=0.02) as link,
        Server(tmp_path / "home", settings_for(s3, endpoint=link.url, max_pods=2)) as server,
    ):
        first, second = FAN.replace("SET", "one"), FAN.replace("SET", "two")
        before = explain(server, first)
        assert (before["steps"], before["timed"], before["objects"]) == (5, 0, 4)
        assert (before["expected_s"], before["on_demand_s"], before["chain_s"]) == (None, None, None)
        assert before["to_move_bytes"] == pytest.approx(4 * SIZE, rel=0.01)
        name = submit(server, first)
        running = server.get(f"/api/jit/v1/workflows/default/{name}/explain")
        assert running["steps"] == 5
        assert server.get("/api/jit/v1/explain")["steps"] == 5
        assert "bytes to move" in cli(server, "explain", "@latest")
        assert ended(server, name)["status"]["phase"] == "Succeeded"
        assert server.get("/api/jit/v1/explain")["steps"] == 0
        assert server.call("GET", f"/api/jit/v1/workflows/default/{name}/explain").status_code == 409
        # Everything was seen once: rate and run times are learned, and the second set of objects is as far as the first was.
        server.stop()
        server.start()
        found = explain(server, second)
        assert (found["timed"], found["resident_bytes"]) == (5, 0)
        assert found["compute_s"] == pytest.approx(2.0, abs=0.5)
        assert [step.rpartition(".")[2][:4] for step in found["compute_chain"]] == ["read", "end"]
        assert found["chain_s"] == pytest.approx(SIZE / found["link_Bps"], rel=0.01)
        assert found["on_demand_s"] >= found["expected_s"] > found["transfer_s"]
        began = time.monotonic()
        assert ended(server, submit(server, second))["status"]["phase"] == "Succeeded"
        took_s = time.monotonic() - began
        assert 0.5 < found["expected_s"] / took_s < 1.6, (found["expected_s"], took_s)
        again = explain(server, second)
        assert (again["to_move_bytes"], again["resident_bytes"]) == (0, found["to_move_bytes"])
        assert again["expected_s"] < found["expected_s"]
        assert server.get(WORKFLOWS)["items"] is not None
