"""A daemon serves the steps beside it, has a place of its own, survives the server, and ends with its workflow."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmark.service import Server
from tests.service.service_kit import PYTHON, ended, settings_for, submit, until

from jitflow.testing.s3_server import S3Server

SERVED = """apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {{generateName: served-}}
spec:
  entrypoint: main
  templates:
  - name: main
    dag:
      tasks:
      - {{name: server, template: server}}
      - {{name: other, template: server}}
      - name: client
        depends: server && other
        template: client
        arguments: {{parameters: [{{name: ips, value: "{{{{tasks.server.ip}}}} {{{{tasks.other.ip}}}}"}}]}}
  - name: server
    daemon: true
    container:
      image: busybox
      command: ["{python}", -m, http.server, "{port}"]
      ports: [{{name: web, containerPort: {port}}}]
      readinessProbe: {{{probe}, periodSeconds: 1}}
  - name: client
    inputs: {{parameters: [{{name: ips}}]}}
    container:
      image: busybox
      command: ["{python}", -c]
      args:
      - |
        import time, urllib.request
        time.sleep(2)
        for ip in "{{{{inputs.parameters.ips}}}}".split():
            print(urllib.request.urlopen(f"http://{{ip}}:{port}/", timeout=5).status)
"""


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    root = tmp_path_factory.mktemp("far")
    (root / "bucket").mkdir()
    with S3Server(root) as server:
        yield server


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


ASKS = "import urllib.request, sys; urllib.request.urlopen('http://localhost:' + sys.argv[1])"


@pytest.mark.parametrize("kind", ["httpGet", "exec"])
def test_a_daemon_serves_others_over_a_restart_and_ends_with_its_dag(kind: str, s3: S3Server, tmp_path: Path) -> None:
    port = _free_port()
    command = json.dumps([PYTHON, "-c", ASKS, str(port)])
    probe = "httpGet: {path: /, port: web}" if kind == "httpGet" else f"timeoutSeconds: 20, exec: {{command: {command}}}"
    with Server(tmp_path / "home", settings_for(s3, max_pods=1)) as server:
        name = submit(server, SERVED.format(python=PYTHON, port=port, probe=probe))

        def phase(workflow: dict[str, Any], task: str) -> str:
            nodes = workflow["status"].get("nodes") or {}
            return next((node["phase"] for node in nodes.values() if node["displayName"] == task), "")

        serving = until(server, name, lambda workflow: phase(workflow, "client") == "Running")
        daemons = [node for node in serving["status"]["nodes"].values() if node.get("daemoned")]
        addresses = [node["podIP"] for node in daemons]
        assert len(set(addresses)) == 2
        assert all(_listens(address, port) for address in addresses)
        server.kill()
        server.start()
        workflow = ended(server, name)
        assert workflow["status"]["phase"] == "Succeeded", workflow["status"]
        assert phase(workflow, "server") == "Succeeded"
        until(server, name, lambda _: not any(_listens(address, port) for address in addresses), within_s=20)


def _listens(address: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0
