"""Logs of all the containers of a real pod, over the API."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmark.service import Server
from tests.service.service_kit import WORKFLOWS, ended, settings_for, submit, until

from jitflow.testing.s3_server import S3Server

GROUP = """apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: group-}
spec:
  entrypoint: main
  templates:
  - name: main
    initContainers: [{name: before, image: busybox, command: [echo, from before]}]
    sidecars: [{name: beside, image: busybox, command: [sh, -c, "echo from beside; sleep 60"]}]
    containerSet:
      containers:
      - {name: one, image: busybox, command: [sh, -c, "sleep 0.3; echo from one"]}
      - {name: two, image: busybox, command: [echo, from two], dependencies: [one]}
"""


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    root = tmp_path_factory.mktemp("far")
    (root / "bucket").mkdir()
    with S3Server(root) as server:
        yield server


def printed(server: Server, name: str, query: str) -> list[str]:
    answer = server.call("GET", f"{WORKFLOWS}/{name}/log?{query}")
    assert answer.status_code == 200, answer.text
    return [json.loads(line)["result"]["content"] for line in answer.text.splitlines()]


def test_every_container_of_a_pod_has_its_log(s3: S3Server, tmp_path: Path) -> None:
    with Server(tmp_path / "home", settings_for(s3)) as server:
        name = submit(server, GROUP)
        assert ended(server, name)["status"]["phase"] == "Succeeded"
        for container in ("before", "beside", "one", "two"):
            assert printed(server, name, f"logOptions.container={container}") == [f"from {container}"]
        answer = server.call("GET", f"{WORKFLOWS}/{name}/log?logOptions.container=three")
        assert answer.status_code == 400
        assert "before, beside, one, two" in answer.json()["message"]


ARCHIVED = """apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: archived-}
spec:
  entrypoint: main
  archiveLogs: true
  templates:
  - name: main
    container: {image: busybox, command: [sh, -c, "echo kept; echo too >&2; exit 3"]}
"""


def test_the_log_of_a_failed_pod_reaches_its_far_store(tmp_path: Path) -> None:
    root = tmp_path / "far"
    (root / "bucket").mkdir(parents=True)
    with S3Server(root) as own:
        settings = settings_for(own, artifact_repository={"remote": "far", "prefix": "bucket/kept"})
        with Server(tmp_path / "home", settings) as server:
            name = submit(server, ARCHIVED)
            workflow = ended(server, name)
            assert workflow["status"]["phase"] == "Failed"
            (artifact,) = workflow["status"]["nodes"][name]["outputs"]["artifacts"]
            assert artifact == {"name": "main-logs", "s3": {"key": f"{name}/{name}/main.log"}}
            kept = root / "bucket" / "kept" / name / name / "main.log"
            assert sorted(kept.read_text().splitlines()) == ["kept", "too"]


ENDED = """apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: ended-}
spec:
  entrypoint: main
  archiveLogs: true
  templates:
  - name: main
    steps: [[{name: daemon, template: daemon}], [{name: prepared, template: prepared, continueOn: {failed: true, error: true}}]]
  - name: daemon
    daemon: true
    container:
      image: busybox
      command: [sh, -c, "trap 'sleep LINGERS; echo bye; exit 0' TERM; echo serving; while :; do sleep 0.1; done"]
  - name: prepared
    initContainers: [{name: prepare, image: busybox, command: [sh, -c, "echo prepare; exit 4"]}]
    container: {image: busybox, command: [echo, never]}
"""


@pytest.mark.parametrize("lingers_s", [0.5, 6])
def test_a_daemons_log_is_kept_over_a_kill_of_the_server(lingers_s: float, tmp_path: Path) -> None:
    """As in Argo, whose wait container saves a daemon's log when it is told to end; after a failed init container none runs."""
    root = tmp_path / "far"
    (root / "bucket").mkdir(parents=True)
    with S3Server(root) as own:
        settings = settings_for(own, artifact_repository={"remote": "far", "prefix": "bucket/kept"})
        with Server(tmp_path / "home", settings) as server:
            name = submit(server, ENDED.replace("LINGERS", str(lingers_s)))

            def node(workflow: dict[str, Any], step: str) -> dict[str, Any]:
                nodes = workflow["status"].get("nodes") or {}
                return next((node for node in nodes.values() if node["displayName"] == step), {})

            until(server, name, lambda workflow: node(workflow, "daemon").get("phase") == "Succeeded")
            server.kill()
            server.start()
            workflow = ended(server, name)
            assert (workflow["status"]["phase"], node(workflow, "prepared")["phase"]) == ("Succeeded", "Error")
            (artifact,) = node(workflow, "daemon")["outputs"]["artifacts"]
            assert (root / "bucket" / "kept" / artifact["s3"]["key"]).read_text().split() == ["serving", "bye"]
            assert not node(workflow, "prepared").get("outputs", {}).get("artifacts")
