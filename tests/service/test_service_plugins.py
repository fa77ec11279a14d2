"""Executor plugins that workflows bring along: they serve with their token, outlive the server, and end with their workflow."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmark.service import Server, free_port
from tests.service.service_kit import PYTHON, WORKFLOWS, ended, submit, until

PLUGIN = """
import json, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

port, begins = int(sys.argv[1]), sys.argv[2]
if begins == "fails":
    sys.exit(3)
token = Path("/var/run/argo/token").read_text()
asked = {}

class Plugin(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["Authorization"] != "Bearer " + token or self.path != "/api/v1/template.execute":
            self.send_response(403); self.end_headers(); return
        wanted = body["template"]["plugin"]["mine"]
        uid = body["workflow"]["metadata"]["uid"]
        asked[uid] = asked.get(uid, 0) + 1
        waits = time.time() < float(wanted.get("until", 0))
        node = {"phase": "Running"} if waits else {"phase": "Succeeded", "message": f"workflows {len(asked)}"}
        self.send_response(200); self.end_headers()
        self.wfile.write(json.dumps({"node": node, "requeue": "200ms"}).encode())

HTTPServer(("", port), Plugin).serve_forever()
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "home", {"max_pods": 1, "grace_s": 1.0}) as server:
        yield server


def manifest(port: int, begins: str = "serves", **wanted: str) -> str:
    """Return a workflow whose two nodes are done by its own plugin."""
    container = {
        "name": "mine", "image": "python", "command": [PYTHON, "-c", PLUGIN], "args": [str(port), begins],
        "ports": [{"containerPort": port}],
    }  # fmt: skip
    plugins = [{"metadata": {"name": "mine"}, "spec": {"sidecar": {"container": container}}}]
    main = {"name": "main", "steps": [[{"name": "a", "template": "own"}], [{"name": "b", "template": "own"}]]}
    templates = [main, {"name": "own", "plugin": {"mine": wanted}}]
    spec = {"entrypoint": "main", "executorPlugins": plugins, "templates": templates}
    head = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"generateName": "own-"}}
    return json.dumps({**head, "spec": spec})


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def node(workflow: dict[str, Any], name: str) -> dict[str, Any]:
    nodes = (workflow["status"].get("nodes") or {}).values()
    return next((one for one in nodes if one["displayName"] == name), {})


def test_a_plugin_serves_over_a_restart_and_ends_with_its_workflow(server: Server) -> None:
    port = free_port()
    name = submit(server, manifest(port, until=str(time.time() + 8)))
    until(server, name, lambda found: node(found, "a").get("phase") == "Running" and listens(port))
    server.kill()
    assert listens(port)
    server.start()
    found = ended(server, name)
    assert found["status"]["phase"] == "Succeeded", found["status"]
    assert node(found, "b")["type"] == "Plugin"
    assert node(found, "b")["message"] == "workflows 1"
    until(server, name, lambda _: not listens(port), within_s=20)


def test_two_workflows_with_one_port_have_it_one_after_the_other(server: Server) -> None:
    port = free_port()
    first = submit(server, manifest(port, until=str(time.time() + 5)))
    until(server, first, lambda found: node(found, "a").get("phase") == "Running" and listens(port))
    second = submit(server, manifest(port))
    message = f"Waiting for port {port}, on which another program or workflow listens"
    until(server, second, lambda found: node(found, "a").get("message") == message)
    for name in (first, second):
        found = ended(server, name)
        assert (found["status"]["phase"], node(found, "b")["message"]) == ("Succeeded", "workflows 1")


def test_a_plugin_that_cannot_serve_is_an_error_of_the_nodes(server: Server) -> None:
    found = ended(server, submit(server, manifest(free_port(), "fails")))
    assert found["status"]["phase"] == "Failed"
    assert node(found, "a")["phase"] == "Error"
    assert "plugin mine ended 5 times, the last time with exit code 3" in node(found, "a")["message"]


def test_a_workflow_that_is_stopped_ends_its_plugins(server: Server) -> None:
    port = free_port()
    name = submit(server, manifest(port, until=str(time.time() + 1000)))
    until(server, name, lambda _: listens(port))
    assert server.call("PUT", f"{WORKFLOWS}/{name}/terminate", {}).status_code == 200
    ended(server, name)
    until(server, name, lambda _: not listens(port), within_s=20)


def test_a_plugin_is_not_left_behind_by_a_server_that_stops_as_its_workflow_ends(server: Server) -> None:
    port = free_port()
    name = submit(server, manifest(port))
    assert ended(server, name)["status"]["phase"] == "Succeeded"
    server.stop()
    limit = time.monotonic() + 20
    while listens(port):
        assert time.monotonic() < limit, "the plugin still runs"
        time.sleep(0.05)
