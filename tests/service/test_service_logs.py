"""Logs of all the containers of a real pod, over the API."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmark.service import Server
from tests.service.service_kit import WORKFLOWS, ended, settings_for, submit

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
