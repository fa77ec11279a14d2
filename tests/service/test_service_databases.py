"""A server whose database goes away for a while: nothing lost, nothing doubled, and requests are told so meanwhile."""

import signal
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from benchmark.service import Server
from tests.service.service_kit import WORKFLOWS, ended, submit, until

from jitflow.testing.postgresql_server import PostgresqlServer, find_programs, postgresql_server

STEPS = """apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: steps-}
spec:
  entrypoint: main
  templates:
  - name: main
    steps:
    - - {name: a, template: mark, arguments: {parameters: [{name: word, value: a}]}}
    - - name: b
        template: mark
        arguments: {parameters: [{name: word, value: "{{item}}"}]}
        withItems: [b1, b2, b3]
    - - {name: c, template: mark, arguments: {parameters: [{name: word, value: c}]}}
  - name: mark
    inputs: {parameters: [{name: word}]}
    container: {image: busybox, command: [sh, -c], args: ["echo {{inputs.parameters.word}} >> MARKS; sleep 0.7"]}
"""


def settings(url: str) -> dict[str, Any]:
    return {"max_pods": 4, "executor": "process", "grace_s": 2.0, "state": {"url": url}}


@pytest.mark.skipif(find_programs() is None, reason="needs PostgreSQL: apt-get install postgresql")
def test_workflows_go_on_when_their_database_is_back(tmp_path: Path) -> None:
    with postgresql_server(durable=True) as database, Server(tmp_path / "home", settings(database.url)) as server:
        marks = tmp_path / "marks"
        manifest = STEPS.replace("MARKS", str(marks))
        name = submit(server, manifest)
        until(server, name, lambda _: marks.exists())
        _is_away(database, server, manifest)
        workflow = ended(server, name)
        assert workflow["status"]["phase"] == "Succeeded", workflow["status"]
        assert sorted(marks.read_text().split()) == ["a", "b1", "b2", "b3", "c"], "each step ran once"
        names = {item["metadata"]["name"] for item in server.call("GET", WORKFLOWS).json()["items"]}
        assert names == {name}, "what was refused is not there"
        server.kill()  # and the whole of it is in the database
        server.start()
        assert ended(server, name)["status"]["phase"] == "Succeeded"
        again = submit(server, manifest)
        assert ended(server, again)["status"]["phase"] == "Succeeded"


def _is_away(database: PostgresqlServer, server: Server, manifest: str) -> None:
    """Let the database crash while steps run, ask for something, and let it come back."""
    database.stop(signal.SIGQUIT)
    body = {"workflow": yaml.safe_load(manifest)}
    for method, path, sent in (("POST", WORKFLOWS, body), ("GET", f"{WORKFLOWS}/unknown-one", None)):
        began = time.monotonic()
        answer = server.call(method, path, sent)
        assert time.monotonic() - began < 10
        if method == "POST":
            assert answer.status_code == 503, answer.text
            assert "state store" in answer.json()["message"]
            assert "all goes on when it is back" in answer.json()["message"]
        assert answer.status_code < 500 or answer.status_code == 503, answer.text
    time.sleep(1.5)  # steps end meanwhile
    database.start()
