import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from cli_samples import node, workflow
from cli_stub import CUT, Stub, stub

from jitflow.cli import views
from jitflow.cli.client import ApiError, Client, Endpoint, LogEntry, ServerLost
from jitflow.cli.wire import Seen
from jitflow.cli.wire import lines as lines_of

LOG = "GET /api/v1/workflows/default/wf/log"
GET = "GET /api/v1/workflows/default/wf"
WATCH = "GET /api/v1/workflow-events/default"


@pytest.fixture
def server() -> Iterator[Stub]:
    with stub() as found:
        yield found


def client(server: Stub, **more: Any) -> Client:
    return Client(Endpoint(server.url, server.token), pause=lambda _: None, **more)


def log(time: str, text: str, pod: str = "wf-work-1") -> dict[str, Any]:
    return {"result": {"content": f"{time} {text}", "podName": pod}}


def event(body: dict[str, Any], kind: str = "MODIFIED") -> dict[str, Any]:
    return {"result": {"type": kind, "object": body}}


def test_calls_carry_the_token_and_answers_are_typed(server: Stub) -> None:
    server.routes["GET /api/jit/v1/workflows/default/wf/data"] = lambda _q, _b: (
        200,
        {"items": [{"step": "u/wf-1", "phase": "fetching", "bytes_total": 5, "newer": 1}]},
    )
    with client(server) as found:
        (item,) = found.workflow_data("default", "wf")
    assert (item.phase, item.bytes_total) == ("fetching", 5)


@pytest.mark.parametrize(
    ("status", "body", "code", "message"),
    [
        (404, {"code": 5, "message": "workflow 'wf' not found"}, 5, "workflow 'wf' not found"),
        (400, {"code": 3, "message": "bad", "details": []}, 3, "bad"),
        (502, b"<html>proxy</html>", 2, "the server answered with HTTP status 502"),
        (302, b"", 2, "the server answered with HTTP status 302"),
    ],
)
def test_errors_are_translated(server: Stub, status: int, body: Any, code: int, message: str) -> None:
    server.routes[GET] = lambda _q, _b: (status, body)
    with client(server) as found, pytest.raises(ApiError) as caught:
        found.get_workflow("default", "wf")
    assert (caught.value.code, str(caught.value), caught.value.status) == (code, message, status)


def test_a_wrong_token_says_where_the_token_comes_from(server: Stub) -> None:
    with Client(Endpoint(server.url, "wrong")) as found, pytest.raises(ApiError, match="JITFLOW_TOKEN"):
        found.version()


def test_no_server_is_said_with_its_address() -> None:
    with Client(Endpoint("http://127.0.0.1:9")) as found, pytest.raises(ServerLost, match=r"http://127.0.0.1:9 does not answer"):
        found.version()


def test_something_that_is_no_jitflow_server_is_said(server: Stub) -> None:
    server.routes["GET /api/v1/version"] = lambda _q, _b: (200, b"<html>hello</html>")
    with client(server) as found, pytest.raises(ApiError, match="is it a jitflow server"):
        found.version()


def test_names_are_quoted(server: Stub) -> None:
    server.routes["GET /api/v1/workflows/a b/x?y/z"] = lambda _q, _b: (200, {"metadata": {}})
    with client(server) as found:
        assert found.get_workflow("a b", "x?y/z") == {"metadata": {}}


def test_a_followed_workflow_survives_cuts_and_a_server_that_goes_down_in_order(server: Stub) -> None:
    states = [workflow(), workflow(node("wf-1", "wf.a")), workflow(phase="Succeeded")]
    answers = iter([(200, states[0]), (200, states[1]), (200, states[1]), (200, states[2])])
    streams = iter([[event(states[1]), CUT], [CUT], [], [event(states[2])]])
    server.routes[GET] = lambda _q, _b: next(answers)
    server.routes[WATCH] = lambda _q, _b: next(streams)
    phases = []
    with client(server) as found:
        for item in found.follow_workflow("default", "wf"):
            view = views.workflow(item.object)
            phases.append((item.type, view.status.phase, len(view.nodes)))
            if view.is_done:
                break
    assert phases[0] == ("ADDED", "Running", 0)
    assert phases[-1] == ("MODIFIED", "Succeeded", 0)
    assert ("MODIFIED", "Running", 1) in phases


def test_other_workflows_in_the_watch_are_left_out(server: Stub) -> None:
    server.routes[WATCH] = lambda _q, _b: [event(workflow(name="other")), event(workflow(phase="Failed"))]
    with client(server) as found:
        (item,) = found.watch_workflows("default", name="wf")
    assert views.workflow(item.object).metadata.name == "wf"


def test_a_workflow_deleted_while_followed_ends_the_follow(server: Stub) -> None:
    answers = iter([(200, workflow()), (404, {"code": 5, "message": "not found"})])
    server.routes[GET] = lambda _q, _b: next(answers)
    server.routes[WATCH] = lambda _q, _b: [CUT]
    with client(server) as found:
        assert [item.type for item in found.follow_workflow("default", "wf")] == ["ADDED", "DELETED"]


def test_following_what_does_not_exist_is_an_error(server: Stub) -> None:
    server.routes[GET] = lambda _q, _b: (404, {"code": 5, "message": "not found"})
    with client(server) as found, pytest.raises(ApiError, match="not found"):
        list(found.follow_workflow("default", "wf"))


def test_an_error_inside_a_stream_is_raised(server: Stub) -> None:
    server.routes[LOG] = lambda _q, _b: [
        {"error": {"grpc_code": 5, "http_code": 404, "message": "no pod", "http_status": "Not Found"}}
    ]
    with client(server) as found, pytest.raises(ApiError, match="no pod") as caught:
        list(found.logs("default", "wf"))
    assert caught.value.status == 404


def test_a_follow_finds_a_server_that_came_back_elsewhere() -> None:
    first, second = Stub(), Stub()
    first.start()
    second.start()
    second.token = "new"
    first.routes[GET] = lambda _q, _b: (200, workflow())
    first.routes[WATCH] = lambda _q, _b: [CUT]
    second.routes[GET] = lambda _q, _b: (200, workflow(phase="Succeeded"))
    found = Client(Endpoint(first.url, "secret"), relocate=lambda: Endpoint(second.url, "new"), pause=lambda _: None)
    with found:
        phases = []
        for item in found.follow_workflow("default", "wf"):
            if not phases:
                first.stop()
            phases.append(views.workflow(item.object).status.phase)
            if phases[-1] == "Succeeded":
                break
    second.stop()
    assert phases == ["Running", "Succeeded"]


def test_patience_ends(server: Stub) -> None:
    server.routes[GET] = lambda _q, _b: (200, workflow())
    server.routes[WATCH] = lambda _q, _b: [CUT]
    waited: list[float] = []
    with Client(Endpoint(server.url, server.token), pause=waited.append, patience_s=3.0) as found:
        follow = found.follow_workflow("default", "wf")
        next(follow)
        server.stop()
        with pytest.raises(ServerLost):
            list(follow)
    server.start()
    assert 1.5 < sum(waited) <= 3.0


def test_followed_logs_give_each_line_once_across_a_cut(server: Stub) -> None:
    lines = [
        log("2026-01-01T00:00:01.000000001Z", "one"),
        log("2026-01-01T00:00:01.000000001Z", "one"),
        log("2026-01-01T00:00:02Z", "two"),
    ]
    other = log("2026-01-01T00:00:01.5Z", "b", "wf-work-2")
    streams = iter([[lines[0], CUT], [lines[0], lines[1], other, CUT], [*lines[:2], other, lines[2]]])
    server.routes[LOG] = lambda _q, _b: next(streams)
    server.routes[GET] = lambda _q, _b: (200, workflow(phase="Succeeded"))
    with client(server) as found:
        entries = list(found.follow_logs("default", "wf", tail=5))
    assert entries == [
        LogEntry("one", "wf-work-1"),
        LogEntry("one", "wf-work-1"),
        LogEntry("b", "wf-work-2"),
        LogEntry("two", "wf-work-1"),
    ]
    tails = [query.get("logOptions.tailLines") for route, query, _ in server.requests if route == LOG]
    assert tails == ["5", None, None]


def test_followed_logs_go_on_when_the_stream_ends_before_the_workflow(server: Stub) -> None:
    states = iter(["Running", "Succeeded"])
    streams = iter([[log("2026-01-01T00:00:01Z", "one")], [log("2026-01-01T00:00:01Z", "one"), log("2026-01-01T00:00:02Z", "")]])
    server.routes[LOG] = lambda _q, _b: next(streams)
    server.routes[GET] = lambda _q, _b: (200, workflow(phase=next(states)))
    with client(server) as found:
        entries = list(found.follow_logs("default", "wf", timestamps=True))
    assert [entry.content for entry in entries] == ["2026-01-01T00:00:01Z one", "2026-01-01T00:00:02Z "]


@pytest.mark.pure
def test_streams_may_be_events_or_plain_lines_cut_anywhere() -> None:
    text = b': keep-alive\n\ndata: {"a":1}\n\nevent: x\n{"b":2}\r\n{"c":"\xc3\xa9"}'
    for width in (1, 2, 7, 100):
        chunks = (text[start : start + width] for start in range(0, len(text), width))
        assert [json.loads(line) for line in lines_of(chunks)] == [{"a": 1}, {"b": 2}, {"c": "é"}]


@pytest.mark.pure
def test_seen_lines_of_one_moment_are_counted() -> None:
    seen = Seen()
    a, b = LogEntry("t1 a", "p"), LogEntry("t1 b", "p")
    assert [seen.admit(item) for item in (a, b)] == [LogEntry("a", "p"), LogEntry("b", "p")]
    seen.restart()
    shown = [seen.admit(item) for item in (a, b, LogEntry("t1 c", "p"), LogEntry("t0 z", "p"))]
    assert shown == [None, None, LogEntry("c", "p"), None]


def test_proxies_of_the_environment_are_not_used_for_this_machine(server: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "http_proxy", "http://127.0.0.1:9")
    server.routes["GET /api/v1/version"] = lambda _q, _b: (200, {"version": "1"})
    with client(server) as found:
        assert found.version() == {"version": "1"}
