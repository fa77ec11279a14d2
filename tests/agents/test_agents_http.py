"""http templates against real servers on loopback."""

import asyncio
import base64
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.agents.agent_worlds import Answer, WebServer, engine, is_ended, node, run, task, until, workflow

from jitflow.agents import HostRules, HttpAgent
from jitflow.model.objects import NO_OBJECTS, Secret
from jitflow.model.problems import Refused
from jitflow.model.runs import ShutdownRequested
from jitflow.testing.memory_store import MemoryStore

AGENT = HttpAgent(NO_OBJECTS)


def _answer(method: str, path: str, headers: Mapping[str, str], body: str) -> Answer:
    if path == "/moved":
        return 302, {"Location": "/ok"}, ""
    if path == "/kept":
        return 307, {"Location": "/ok"}, ""
    if path == "/loop":
        return 302, {"Location": "/loop"}, ""
    if path == "/long":
        return 200, {}, "x" * 300_000
    return (200 if path == "/ok" else 503), {"X-Kind": "a"}, f"{method} {body or 'nothing'}"


class _Secrets:
    def find(self, kind: type[Any], namespace: str, name: str) -> Any:
        value = Secret(data={"token": base64.b64encode(b"very-secret").decode()})
        return value if (kind, namespace, name) == (Secret, "default", "login") else None


def test_a_request_is_get_by_default_and_its_body_is_the_result() -> None:
    """SEMANTICS http: default GET, result = body, non-2xx => Failed `received non-2xx response code: N`."""
    with WebServer(_answer) as web:
        good = run(AGENT, task("http", http={"url": f"{web.url}/ok"}))
        bad = run(AGENT, task("http", http={"url": f"{web.url}/bad", "method": "PUT", "body": "b"}))
    assert good.phase == "Succeeded"
    assert good.outputs is not None
    assert good.outputs.result == "GET nothing"
    assert (bad.phase, bad.message) == ("Failed", "received non-2xx response code: 503")
    assert web.asked[1][0] == "PUT"


@pytest.mark.parametrize(
    ("condition", "phase"),
    [
        ("response.statusCode == 503", "Succeeded"),
        ('response.body contains "nothing" && request.method == "GET"', "Succeeded"),
        ('response.headers["X-Kind"][0] == "a"', "Succeeded"),
        ("response.statusCode == 200", "Failed"),
        ("response.statusCode ==", "Error"),
    ],
)
def test_a_success_condition_decides_alone(condition: str, phase: str) -> None:
    """SEMANTICS http: successCondition sees request/response{statusCode,body,headers}."""
    with WebServer(_answer) as web:
        result = run(AGENT, task("http", http={"url": f"{web.url}/bad", "successCondition": condition}))
    assert result.phase == phase, result.message
    if phase == "Failed":
        assert result.message == f"successCondition '{condition}' evaluated false"


def test_redirects_go_as_with_gos_client() -> None:
    with WebServer(_answer) as web:
        moved = run(AGENT, task("http", http={"url": f"{web.url}/moved", "method": "POST", "body": "b"}))
        kept = run(AGENT, task("http", http={"url": f"{web.url}/kept", "method": "POST", "body": "b"}))
        loop = run(AGENT, task("http", http={"url": f"{web.url}/loop"}))
    assert moved.outputs is not None
    assert moved.outputs.result == "GET nothing"
    assert kept.outputs is not None
    assert kept.outputs.result == "POST b"
    assert loop.phase == "Error"
    assert len([1 for asked in web.asked if asked[1] == "/loop"]) == 11


def test_headers_come_from_secrets_which_no_message_tells() -> None:
    agent = HttpAgent(_Secrets())
    header = {"name": "Authorization", "valueFrom": {"secretKeyRef": {"name": "login", "key": "token"}}}
    with WebServer(_answer) as web:
        run(agent, task("http", http={"url": f"{web.url}/ok", "headers": [header, {"name": "X-A", "value": "b"}]}))
        broken = run(agent, task("http", http={"url": "http://very-secret.invalid/", "headers": [header], "timeoutSeconds": 5}))
        missing = {"name": "A", "valueFrom": {"secretKeyRef": {"name": "nobody", "key": "token"}}}
        with pytest.raises(Refused, match='secret "nobody" not found'):
            run(agent, task("http", http={"url": f"{web.url}/ok", "headers": [missing]}))
    assert web.asked[0][2]["Authorization"] == "very-secret"
    assert web.asked[0][2]["X-A"] == "b"
    assert broken.phase == "Error"
    assert "very-secret" not in broken.message


def test_a_body_may_be_bytes_and_an_answer_is_bounded() -> None:
    with WebServer(_answer) as web:
        body = {"bytes": base64.b64encode(b"raw").decode()}
        result = run(AGENT, task("http", http={"url": f"{web.url}/ok", "method": "POST", "bodyFrom": body}))
        with pytest.raises(Refused, match="longer than 262144 bytes"):
            run(AGENT, task("http", http={"url": f"{web.url}/long"}))
        with pytest.raises(Refused, match="not base64"):
            run(AGENT, task("http", http={"url": f"{web.url}/ok", "bodyFrom": {"bytes": "?"}}))
    assert result.outputs is not None
    assert result.outputs.result == "POST raw"


def test_some_hosts_are_not_asked() -> None:
    for url in ("http://169.254.169.254/latest/meta-data", "http://[::ffff:169.254.169.254]/"):
        with pytest.raises(Refused, match="link-local"):
            run(AGENT, task("http", http={"url": url}))
    only = HttpAgent(NO_OBJECTS, HostRules(["*.example.org"]))
    with WebServer(_answer) as web, pytest.raises(Refused, match="not allowed"):
        run(only, task("http", http={"url": f"{web.url}/ok"}))
    assert not web.asked


def test_a_server_that_does_not_answer_ends_the_node_in_error_and_it_is_tried_again(tmp_path: Path) -> None:
    spec = {
        "entrypoint": "t",
        "templates": [
            {"name": "t", "retryStrategy": {"limit": 1, "retryPolicy": "Always"}, "http": {"url": "http://127.0.0.1:1/"}}
        ],
    }

    async def scenario() -> None:
        async with engine(tmp_path, MemoryStore(), {"http": AGENT}) as opened:
            row = await opened.create(workflow(spec))
            found = await until(opened, row.uid, is_ended)
        assert node(found, "wf(1)").type == "HTTP"
        assert node(found, "wf(1)").phase == "Error"
        assert "http://127.0.0.1:1/" in (node(found, "wf(1)").message or "")

    asyncio.run(scenario())


def _waiting(gate: threading.Event) -> WebServer:
    def answer(method: str, path: str, headers: Mapping[str, str], body: str) -> Answer:
        del method, path, headers, body
        return (200, {}, "late") if gate.wait(20) else (500, {}, "")

    return WebServer(answer)


def test_a_restart_sends_the_request_again(tmp_path: Path) -> None:
    gate, store = threading.Event(), MemoryStore()

    async def scenario(web: WebServer) -> None:
        spec = {"entrypoint": "t", "templates": [{"name": "t", "http": {"url": web.url}}]}
        async with engine(tmp_path, store, {"http": AGENT}) as opened:
            row = await opened.create(workflow(spec))
            await until(opened, row.uid, lambda found: node(found).phase == "Running" and len(web.asked) == 1)
        gate.set()
        async with engine(tmp_path, store, {"http": AGENT}) as opened:
            found = await until(opened, row.uid, is_ended)
        assert node(found).outputs is not None
        assert node(found).outputs.result == "late"
        assert found.status is not None
        assert found.status.progress == "1/1"
        assert len(web.asked) == 2

    with _waiting(gate) as web:
        asyncio.run(scenario(web))


@pytest.mark.parametrize("timeout", ["", "1s"])
def test_a_request_is_given_up_at_its_timeout_and_when_the_workflow_is_stopped(tmp_path: Path, timeout: str) -> None:
    gate = threading.Event()

    async def scenario(web: WebServer) -> None:
        template = {"name": "t", "http": {"url": web.url}} | ({"timeout": timeout} if timeout else {})
        async with engine(tmp_path, MemoryStore(), {"http": AGENT}) as opened:
            row = await opened.create(workflow({"entrypoint": "t", "templates": [template]}))
            await until(opened, row.uid, lambda found: node(found).phase == "Running")
            if not timeout:
                await opened.send(row.uid, ShutdownRequested(strategy="Stop"))
            found = await until(opened, row.uid, is_ended)
        assert node(found).phase == "Failed"
        wanted = "Pod was active on the node longer" if timeout else "workflow shutdown with strategy:  Stop"
        assert (node(found).message or "").startswith(wanted)
        gate.set()

    with _waiting(gate) as web:
        asyncio.run(scenario(web))
