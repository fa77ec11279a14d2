"""Artifacts that steps only hand on, in a real server: never sent unless their room is needed, found by retries, never lost."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from benchmark.service import Server
from tests.service.service_kit import WORKFLOWS, ended, settings_for, submit, until

from jitflow.testing.s3_server import S3Server

MIB = 1 << 20

CHAIN = """apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: chain-}
spec:
  entrypoint: main
  templates:
  - name: main
    outputs: {artifacts: [{name: result, from: "{{tasks.third.outputs.artifacts.out}}"}]}
    dag:
      tasks:
      - {name: first, template: make}
      - name: second
        template: double
        dependencies: [first]
        arguments: {artifacts: [{name: in, from: "{{tasks.first.outputs.artifacts.out}}"}]}
      - name: third
        template: double
        dependencies: [second]
        arguments: {artifacts: [{name: in, from: "{{tasks.second.outputs.artifacts.out}}"}]}
  - name: make
    container: {image: busybox, command: [sh, -c], args: ["seq 100000 > /tmp/out; FIRST"]}
    outputs: {artifacts: [{name: out, path: /tmp/out, archive: {none: {}}}]}
  - name: double
    inputs: {artifacts: [{name: in, path: /tmp/in}]}
    container: {image: busybox, command: [sh, -c], args: ["cat /tmp/in /tmp/in > /tmp/out; SECOND"]}
    outputs: {artifacts: [{name: out, path: /tmp/out, archive: {none: {}}}]}
"""


def chain(first: str = "true", second: str = "true", *, annotation: str = "", gc: str = "") -> str:
    said = f"annotations: {{jitflow.io/intermediates: {annotation}}}, " if annotation else ""
    text = CHAIN.replace("metadata: {", f"metadata: {{{said}").replace("FIRST", first).replace("SECOND", second)
    return text.replace("  entrypoint: main\n", f"  entrypoint: main\n  artifactGC: {{strategy: {gc}}}\n") if gc else text


def settings(s3: S3Server, intermediates: str = "when-needed", capacity: str = "64MiB") -> dict[str, Any]:
    repository = {"remote": "far", "prefix": "bucket", "intermediates": intermediates}
    return settings_for(s3, artifact_repository=repository, primary={"capacity": capacity, "stall_s": 2.0})


def sizes_far(root: Path) -> list[int]:
    return sorted(path.stat().st_size for path in (root / "bucket").rglob("*") if path.is_file())


def eventually(holds: Callable[[], bool], within_s: float = 20.0) -> None:
    limit = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < limit
        time.sleep(0.05)


def node_of(workflow: dict[str, Any], name: str) -> dict[str, Any]:
    return next(node for node in workflow["status"]["nodes"].values() if node["displayName"] == name)


def is_running(name: str) -> Callable[[dict[str, Any]], bool]:
    def holds(workflow: dict[str, Any]) -> bool:
        nodes = workflow["status"].get("nodes", {}).values()
        return any(node["phase"] == "Running" and node["displayName"] == name for node in nodes)

    return holds


def again(server: Server, name: str, node: str = "") -> None:
    """Retry a workflow, from a node that has succeeded if one is named."""
    chosen = {"restartSuccessful": True, "nodeFieldSelector": f"id={node}"} if node else {}
    answer = server.call("PUT", f"{WORKFLOWS}/{name}/retry", {"namespace": "default", "name": name, **chosen})
    assert answer.status_code == 200, answer.text


SIZE = len("".join(f"{n}\n" for n in range(1, 100001)))


def test_only_results_reach_the_repository_and_the_rest_is_said_to_be_gone(tmp_path: Path) -> None:
    root = tmp_path / "far"
    (root / "bucket").mkdir(parents=True)
    with S3Server(root) as s3, Server(tmp_path / "home", settings(s3)) as server:
        name = submit(server, chain(second="sleep 1"))
        seen = until(server, name, is_running("second"))
        first = node_of(seen, "first")
        answer = server.call("GET", f"/artifacts/default/{name}/{first['id']}/out")
        assert answer.status_code == 200
        assert len(answer.content) == SIZE
        workflow = ended(server, name)
        assert workflow["status"]["phase"] == "Succeeded", workflow["status"]
        assert sizes_far(root) == [4 * SIZE]
        eventually(lambda: server.get("/data/v1/primary")["fill"]["resident_bytes"] == 4 * SIZE)
        answer = server.call("GET", f"/artifacts/default/{name}/{first['id']}/out")
        assert answer.status_code == 404
        assert "let go when it had been read" in answer.text
        # A retry that asks for what is gone is told so, and what to do.
        third = node_of(workflow, "third")
        again(server, name, third["id"])
        workflow = until(server, name, lambda it: it["status"].get("phase") == "Error")
        assert "let go when it had been read; retry from the node that writes it" in node_of(workflow, "third")["message"]
        again(server, name, first["id"])
        workflow = until(server, name, lambda it: it["status"].get("phase") in {"Succeeded", "Failed"})
        assert workflow["status"]["phase"] == "Succeeded", workflow["status"]


@pytest.mark.parametrize("way", ["keep", "annotation", "gc"])
def test_settings_annotations_and_garbage_collection_decide(tmp_path: Path, way: str) -> None:
    root = tmp_path / "far"
    (root / "bucket").mkdir(parents=True)
    with (
        S3Server(root) as s3,
        Server(tmp_path / "home", settings(s3, "keep" if way != "annotation" else "when-needed")) as server,
    ):
        text = chain(annotation="keep" if way == "annotation" else "", gc="OnWorkflowCompletion" if way == "gc" else "")
        workflow = ended(server, submit(server, text))
        assert workflow["status"]["phase"] == "Succeeded", workflow["status"]
        stored = server.get("/data/v1/primary")["fill"]["stored_bytes"]
        if way == "gc":
            eventually(lambda: server.get("/data/v1/primary")["fill"]["used_bytes"] == 0)
            assert stored == 0
            assert sizes_far(root) == []
        else:
            assert stored == 7 * SIZE
            assert sizes_far(root) == [SIZE, 2 * SIZE, 4 * SIZE]


def test_a_failed_workflow_is_retried_with_what_it_had_made_after_kills_and_with_little_room(tmp_path: Path) -> None:
    root = tmp_path / "far"
    (root / "bucket").mkdir(parents=True)
    flag = tmp_path / "flag"
    with S3Server(root) as s3, Server(tmp_path / "home", settings(s3, capacity=str(8 * SIZE))) as server:
        name = submit(server, chain(second="sleep 1; exit 1"))
        until(server, name, is_running("second"))
        assert sizes_far(root) == []
        server.kill()
        server.start()
        workflow = ended(server, name)
        assert workflow["status"]["phase"] == "Failed", workflow["status"]
        eventually(lambda: sizes_far(root) == [SIZE, 2 * SIZE])
        server.kill()
        server.start()
        again(server, name)
        workflow = until(server, name, lambda it: it["status"].get("phase") == "Failed")
        assert node_of(workflow, "second")["message"].startswith("main: Error (exit code 1)")
        assert not flag.exists()
