"""A planted secret, searched for in everything that a real server writes, shows and tells while workflows use it."""

import json
import time
from pathlib import Path

import httpx
from benchmark.service import Server
from tests.security.receiver import Receiver

from jitflow.testing.s3_server import S3Server

PLANTED = "planted-7f3a91-secret"
HOOK = "planted-hook-secret"
WORKFLOW = """\
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: uses-secret-}
spec:
  entrypoint: main
  templates:
  - name: main
    steps:
    - - {name: read, template: read, continueOn: {failed: true}}
      - {name: ask, template: ask, continueOn: {failed: true, error: true}}
  - name: read
    container:
      image: busybox
      command: [sh, -c]
      args: ["test ${#PASSWORD} -gt 10 && echo \\"it is $PASSWORD.\\" && env >&2; echo $PASSWORD > WORDS; sleep 1.5 && exit 3"]
      terminationMessagePath: WORDS
      env: [{name: PASSWORD, valueFrom: {secretKeyRef: {name: planted, key: password}}}]
  - name: ask
    http:
      url: "http://127.0.0.1:1/"
      headers: [{name: authorization, valueFrom: {secretKeyRef: {name: planted, key: password}}}]
"""


def command_lines() -> str:
    found: list[str] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().decode(errors="replace"))
        except OSError:
            continue  # it has ended
    return "\n".join(found)


def ended(server: Server, name: str) -> bool:
    found = server.get(f"/api/v1/workflows/default/{name}")
    return found["status"].get("phase") in {"Succeeded", "Failed", "Error"}


def answers(server: Server, name: str) -> str:
    """Return everything that the APIs tell of it."""
    one, jit = f"/api/v1/workflows/default/{name}", f"/api/jit/v1/workflows/default/{name}"
    paths = [
        one,
        f"{one}/log?logOptions.container=main",
        "/api/v1/workflows/",
        f"{jit}/notes",
        f"{jit}/data",
        f"{jit}/why?node={name}",
        "/api/jit/v1/objects/default/Secret",
        "/api/jit/v1/objects/default/Secret/planted",
        "/api/jit/v1/audit",
        "/api/jit/v1/webhooks",
        "/api/jit/v1/tokens",
        "/data/v1/remotes",
        "/data/v1/remotes/far",
        "/metrics",
        "/api/jit/v1/timeline",
        "/api/v1/workflow-events/default?listOptions.timeoutSeconds=1",
    ]
    return "\n".join(server.call("GET", path).text for path in paths)


def test_a_planted_secret_is_found_nowhere(tmp_path: Path) -> None:
    with Receiver() as receiver, S3Server(tmp_path / "s3") as s3:
        settings = {
            "executor": "process",
            "archive_logs": True,
            "log_level": "debug",
            "events": {
                "private_hosts": ["127.0.0.1"],
                "webhooks": {
                    "all": {"url": receiver.url, "secret": HOOK, "events": ["workflow.started", "workflow.failed", "node.failed"]}
                },
            },
        }
        server = Server(tmp_path / "home", settings)
        with server:
            secret = {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "planted"}, "stringData": {"password": PLANTED}}
            made = server.post_text("/api/jit/v1/objects/default/Secret", json.dumps(secret))
            assert made.status_code == 200, made.text
            options = {**s3.remote("far").options, "secret_access_key": PLANTED}
            told = [made.text, server.call("POST", "/data/v1/remotes", {"name": "far", "type": "s3", "options": options}).text]
            token = server.call("POST", "/api/jit/v1/tokens", {"name": "t", "grants": {"*": "viewer"}}).json()["token"]
            told.append(server.call("GET", "/data/v1/objects?ref=far:bucket/").text)  # the wrong key: an error that names no key
            manifest = WORKFLOW.replace("WORDS", str(tmp_path / "words"))
            name = server.post_text("/api/v1/workflows/default", manifest).json()["metadata"]["name"]
            running: list[str] = []
            limit = time.monotonic() + 60
            while not ended(server, name) and time.monotonic() < limit:
                running.append(command_lines())
                time.sleep(0.1)
            status = server.get(f"/api/v1/workflows/default/{name}")["status"]
            phases = {node["displayName"]: node["phase"] for node in status["nodes"].values()}
            assert (phases["read"], phases["ask"]) == ("Failed", "Error"), "the step had the secret, and the request was tried"
            messages = [node.get("message", "") for node in status["nodes"].values()]
            assert [text for text in messages if text.endswith(": [hidden]")], "its last words are told without it"
            receiver.wait(lambda: "node.failed" in receiver.types)
            log = server.call("GET", f"/api/v1/workflows/default/{name}/log", **{"logOptions.container": "main"}).text
            assert "it is [hidden]." in log
            assert "PASSWORD=[hidden]" in log
            told += [log, answers(server, name), *running, command_lines(), str(receiver.got)]
            with_token = httpx.get(
                f"http://127.0.0.1:{server.port}/api/v1/userinfo", headers={"authorization": f"Bearer {token}"}, trust_env=False
            )
            assert with_token.status_code == 200
            told.append(server.call("GET", "/api/jit/v1/tokens").text)
        told.append(server.log.read_text())
        own = (server.home / "token").read_text().strip()
        written = {
            str(path): path.read_bytes()
            for path in server.home.rglob("*")
            if path.is_file() and path != server.home / "token" and "primary" not in path.parts
        }
        for hidden in (PLANTED, HOOK, token, own):
            assert not [text[:200] for text in told if hidden in text]
            assert not [path for path, body in written.items() if hidden.encode() in body]
        assert str(server.home / "state.db") in written
