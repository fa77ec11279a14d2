"""A server that is killed and started again: the same results, nothing done twice, nothing lost."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmark.link import LinkThread
from benchmark.service import Server
from tests.service.service_kit import WORKFLOWS, ended, reader, settings_for, submit, until

from jitflow.testing.s3_server import S3Server

CHAIN = """apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: chain-}
spec:
  entrypoint: main
  templates:
  - name: main
    dag:
      tasks:
      - {name: first, template: count}
      - name: second
        template: sum
        dependencies: [first]
        arguments: {artifacts: [{name: in, from: "{{tasks.first.outputs.artifacts.out}}"}]}
  - name: count
    container: {image: busybox, command: [sh, -c], args: ["date +%s.%N > /tmp/out; sleep 2; seq 1000 >> /tmp/out"]}
    outputs: {artifacts: [{name: out, path: /tmp/out}]}
  - name: sum
    inputs: {artifacts: [{name: in, path: /tmp/in}]}
    container: {image: busybox, command: [sh, -c], args: ["wc -l < /tmp/in > /tmp/n; head -1 /tmp/in > /tmp/when"]}
    outputs: {parameters: [{name: lines, valueFrom: {path: /tmp/n}}, {name: when, valueFrom: {path: /tmp/when}}]}
"""


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    root = tmp_path_factory.mktemp("far")
    (root / "bucket").mkdir()
    (root / "bucket" / "a.bin").write_bytes(os.urandom(300_000))
    with S3Server(root) as server:
        yield server


def test_a_pod_that_survives_the_server_is_adopted_and_not_repeated(s3: S3Server, tmp_path: Path) -> None:
    with Server(tmp_path / "home", settings_for(s3)) as server:
        name = submit(server, CHAIN)
        running = until(server, name, lambda workflow: _phase(workflow, "first") == "Running")
        server.kill()
        time.sleep(1)
        restarted = time.time()
        server.start()
        workflow = ended(server, name)
        assert workflow["status"]["phase"] == "Succeeded", workflow["status"]
        outputs = {p["name"]: p["value"] for p in _node(workflow, "second")["outputs"]["parameters"]}
        assert outputs["lines"] == "1001"
        assert float(outputs["when"]) < restarted, "the surviving attempt's own output"
        # Its parent knows better than the server when it began; one that was started again would have begun later.
        assert _node(workflow, "first")["startedAt"] <= _node(running, "first")["startedAt"]
        assert len([node for node in workflow["status"]["nodes"].values() if node["type"] == "Pod"]) == 2


def test_a_pod_that_ends_while_no_server_runs_is_not_repeated(s3: S3Server, tmp_path: Path) -> None:
    with Server(tmp_path / "home", settings_for(s3)) as server:
        name = submit(server, CHAIN)
        until(server, name, lambda workflow: _phase(workflow, "first") == "Running")
        server.kill()
        time.sleep(3)
        restarted = time.time()
        server.start()
        workflow = ended(server, name)
        assert workflow["status"]["phase"] == "Succeeded", workflow["status"]
        outputs = {p["name"]: p["value"] for p in _node(workflow, "second")["outputs"]["parameters"]}
        assert float(outputs["when"]) < restarted


def test_kills_at_many_moments_change_nothing(s3: S3Server, tmp_path: Path) -> None:
    with Server(tmp_path / "home", settings_for(s3)) as server:
        name = submit(server, CHAIN)
        for pause in (0.02, 0.3, 0.1, 0.9, 0.05, 0.6):
            time.sleep(pause)
            server.kill()
            server.start()
        assert ended(server, name)["status"]["phase"] == "Succeeded"
        assert server.get("/data/v1/primary")["fill"]["dirty_bytes"] == 0


def test_equal_inputs_of_many_workflows_are_fetched_once(s3: S3Server, tmp_path: Path) -> None:
    with Server(tmp_path / "home", settings_for(s3)) as server:
        names = [submit(server, reader("bucket/a.bin")) for _ in range(6)]
        logs = set()
        for name in names:
            assert ended(server, name)["status"]["phase"] == "Succeeded"
            logs.add(server.call("GET", f"{WORKFLOWS}/{name}/log").text.split('"content":"')[1].split('"')[0])
        fill = server.get("/data/v1/primary")["fill"]
        assert fill["fetched_bytes"] == 300_000
        assert fill["fetched_twice_bytes"] == 0
        assert len(logs) == 1


GATHER = """apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: gather-}
spec:
  entrypoint: main
  templates:
  - name: main
    dag:
      tasks:
      - {name: list, template: list}
      - name: part
        template: part
        dependencies: [list]
        arguments: {parameters: [{name: part, value: "{{item}}"}]}
        withParam: "{{tasks.list.outputs.result}}"
      - {name: whole, template: whole, dependencies: [part]}
  - name: list
    script: {image: busybox, command: [sh], source: "echo '[1, 2, 3, 4]'"}
  - name: part
    inputs: {parameters: [{name: part}]}
    container: {image: busybox, command: [sh, -c], args: ["head -c 300000 /dev/zero > /tmp/part"]}
    outputs:
      artifacts:
      - name: part
        path: /tmp/part
        archive: {none: {}}
        plugin: {name: rclone, key: "far:bucket/KEY/{{inputs.parameters.part}}"}
  - name: whole
    inputs: {artifacts: [{name: parts, path: /parts, plugin: {name: rclone, key: "far:bucket/KEY"}}]}
    container: {image: busybox, command: [sh, -c], args: ["cat /parts/* | wc -c > /tmp/size"]}
    outputs: {parameters: [{name: size, valueFrom: {path: /tmp/size}}]}
"""


def test_a_directory_is_read_when_all_that_was_written_into_it_is_there(s3: S3Server, tmp_path: Path) -> None:
    with (
        LinkThread(s3.port, rate_bps=1_000_000) as link,
        Server(tmp_path / "home", settings_for(s3, endpoint=link.url)) as server,
    ):
        for _ in range(2):
            name = submit(server, GATHER.replace("KEY", "gathered"))
            workflow = ended(server, name)
            assert workflow["status"]["phase"] == "Succeeded", workflow["status"]
            assert _node(workflow, "whole")["outputs"]["parameters"][0]["value"].strip() == "1200000"
        lonely = server.post_text(WORKFLOWS, reader("bucket/nothing/here"))
        assert lonely.status_code == 404, lonely.text
        as_directory = submit(server, reader("bucket/gathered", command="cat /in/0/* | wc -c"))
        assert ended(server, as_directory)["status"]["phase"] == "Succeeded"


def test_control_of_a_running_workflow(s3: S3Server, tmp_path: Path) -> None:
    with Server(tmp_path / "home", settings_for(s3)) as server:
        name = submit(server, CHAIN.replace("sleep 2", "sleep 30"))
        until(server, name, lambda workflow: _phase(workflow, "first") == "Running")
        assert server.call("PUT", f"{WORKFLOWS}/{name}/suspend", {}).status_code == 200
        assert server.call("PUT", f"{WORKFLOWS}/{name}/resume", {}).status_code == 200
        assert server.call("PUT", f"{WORKFLOWS}/{name}/terminate", {}).status_code == 200
        workflow = ended(server, name, within_s=20)
        assert workflow["status"]["phase"] == "Failed"
        assert server.call("PUT", f"{WORKFLOWS}/{name}/retry", {}).status_code == 200
        until(server, name, lambda workflow: workflow["status"]["phase"] == "Running")
        assert server.call("DELETE", f"{WORKFLOWS}/{name}").status_code == 200
        assert server.call("GET", f"{WORKFLOWS}/{name}").status_code == 404
        assert server.get(WORKFLOWS)["items"] is None


def _node(workflow: dict, name: str) -> dict:
    return next(node for node in workflow["status"]["nodes"].values() if node["displayName"] == name)


def _phase(workflow: dict, name: str) -> str:
    nodes = (workflow["status"].get("nodes") or {}).values()
    return next((node["phase"] for node in nodes if node["displayName"] == name), "")
