import json
import os
import socketserver
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from cli_samples import node, workflow
from cli_stub import CUT, Stub, stub

from jitflow.cli import views
from jitflow.client import (
    ApiError,
    Client,
    Conflict,
    Endpoint,
    InvalidRequest,
    LogEntry,
    NotFound,
    ServerFault,
    ServerLost,
    TooManyRequests,
    Unauthenticated,
    Unreadable,
    Untrusted,
    WaitTimeout,
)
from jitflow.client._logs import Seen
from jitflow.client._streams import Lines
from jitflow.testing.client_shells import SHELLS, opened

LOG = "GET /api/v1/workflows/default/wf/log"
GET = "GET /api/v1/workflows/default/wf"
WATCH = "GET /api/v1/workflow-events/default"


@pytest.fixture
def server() -> Iterator[Stub]:
    with stub() as found:
        yield found


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    return request.param


def client(shell: str, server: Stub, **more: Any) -> AbstractContextManager[Any]:
    return opened(shell, Endpoint(server.url, server.token), **{"pause": lambda _: None} | more)


def log(time: str, text: str, pod: str = "wf-work-1") -> dict[str, Any]:
    return {"result": {"content": f"{time} {text}", "podName": pod}}


def event(body: dict[str, Any], kind: str = "MODIFIED") -> dict[str, Any]:
    return {"result": {"type": kind, "object": body}}


def test_calls_carry_the_token_and_answers_are_typed(shell: str, server: Stub) -> None:
    server.routes["GET /api/jit/v1/workflows/default/wf/data"] = lambda _q, _b: (
        200,
        {"items": [{"step": "u/wf-1", "phase": "fetching", "bytes_total": 5, "newer": 1}]},
    )
    with client(shell, server) as found:
        (item,) = found.workflows.data("wf")
    assert (item.phase, item.bytes_total) == ("fetching", 5)


@pytest.mark.parametrize(
    ("sent", "code", "message", "kind"),
    [
        ((404, {"code": 5, "message": "workflow 'wf' not found"}), 5, "workflow 'wf' not found", NotFound),
        ((400, {"code": 3, "message": "bad", "details": []}), 3, "bad", InvalidRequest),
        ((409, {"code": 6, "message": "exists"}), 6, "exists", Conflict),
        ((502, b"<html>proxy</html>"), 2, "the server answered with HTTP status 502", ServerFault),
        ((302, b""), 2, "the server answered with HTTP status 302", ApiError),
    ],
)
def test_errors_are_translated(
    shell: str, server: Stub, *, sent: tuple[int, Any], code: int, message: str, kind: type[ApiError]
) -> None:
    server.routes[GET] = lambda _q, _b: sent
    with client(shell, server) as found, pytest.raises(kind) as caught:
        found.workflows.get("wf")
    assert (caught.value.code, str(caught.value), caught.value.status) == (code, message, sent[0])


def test_a_wrong_token_says_where_the_token_comes_from(shell: str, server: Stub) -> None:
    with opened(shell, Endpoint(server.url, "wrong")) as found, pytest.raises(Unauthenticated, match="JITFLOW_TOKEN") as caught:
        found.version()
    assert caught.value.where == "GET /api/v1/version"


def test_no_server_is_said_with_its_address(shell: str) -> None:
    waited: list[float] = []
    with opened(shell, "127.0.0.1:9", pause=waited.append) as found:
        with pytest.raises(ServerLost, match=r"http://127.0.0.1:9 does not answer") as caught:
            found.version()
        assert not caught.value.sent
        # What cannot have arrived is sent again, also what must not be done twice.
        with pytest.raises(ServerLost):
            found.workflows.create({})
    assert waited == [0.1, 0.2, 0.5] * 2


@pytest.mark.parametrize("address", ["http://", "ftp://127.0.0.1", "http://[::1"])
def test_an_address_that_is_none_is_said(shell: str, address: str) -> None:
    with opened(shell, address, attempts=1) as found, pytest.raises(ServerLost, match="is no usable server address"):
        found.version()


def test_something_that_is_no_jitflow_server_is_said(shell: str, server: Stub) -> None:
    server.routes["GET /api/v1/version"] = lambda _q, _b: (200, b"<html>hello</html>")
    with client(shell, server) as found, pytest.raises(Unreadable, match="is it a jitflow server"):
        found.version()


def test_names_are_quoted(shell: str, server: Stub) -> None:
    server.routes["GET /api/v1/workflows/a b/x?y/z"] = lambda _q, _b: (200, {"metadata": {}})
    with client(shell, server) as found:
        assert found.workflows.get.into(dict)("x?y/z", namespace="a b") == {"metadata": {}}


def test_a_followed_workflow_survives_cuts_and_a_server_that_goes_down_in_order(shell: str, server: Stub) -> None:
    states = [workflow(), workflow(node("wf-1", "wf.a")), workflow(phase="Succeeded")]
    answers = iter([(200, states[0]), (200, states[1]), (200, states[1]), (200, states[2])])
    streams = iter([[event(states[1]), CUT], [CUT], [], [event(states[2])]])
    server.routes[GET] = lambda _q, _b: next(answers)
    server.routes[WATCH] = lambda _q, _b: next(streams)
    phases = []
    with client(shell, server) as found:
        for item in found.workflows.follow("wf"):
            view = views.workflow(item.object)
            phases.append((item.type, view.status.phase, len(view.nodes)))
            if view.is_done:
                break
    assert phases[0] == ("ADDED", "Running", 0)
    assert phases[-1] == ("MODIFIED", "Succeeded", 0)
    assert ("MODIFIED", "Running", 1) in phases


def test_other_workflows_in_the_watch_of_one_are_left_out(shell: str, server: Stub) -> None:
    server.routes[GET] = lambda _q, _b: (200, workflow())
    server.routes[WATCH] = lambda _q, _b: [event(workflow(name="other")), event(workflow(phase="Failed"))]
    with client(shell, server) as found:
        states = found.workflows.follow("wf")
        names = [(item.head.metadata.name, item.head.status.phase) for _, item in zip(range(2), states, strict=False)]
        states.close()
    assert names == [("wf", "Running"), ("wf", "Failed")]


def test_a_workflow_deleted_while_followed_ends_the_follow(shell: str, server: Stub) -> None:
    answers = iter([(200, workflow()), (404, {"code": 5, "message": "not found"})])
    server.routes[GET] = lambda _q, _b: next(answers)
    server.routes[WATCH] = lambda _q, _b: [CUT]
    with client(shell, server) as found:
        assert [item.type for item in found.workflows.follow("wf")] == ["ADDED", "DELETED"]


def test_following_what_does_not_exist_is_an_error(shell: str, server: Stub) -> None:
    server.routes[GET] = lambda _q, _b: (404, {"code": 5, "message": "not found"})
    with client(shell, server) as found, pytest.raises(ApiError, match="not found"):
        list(found.workflows.follow("wf"))


def test_an_error_inside_a_stream_is_raised(shell: str, server: Stub) -> None:
    server.routes[LOG] = lambda _q, _b: [
        {"error": {"grpc_code": 5, "http_code": 404, "message": "no pod", "http_status": "Not Found"}}
    ]
    with client(shell, server) as found, pytest.raises(ApiError, match="no pod") as caught:
        list(found.workflows.logs("wf"))
    assert caught.value.status == 404


def test_a_follow_finds_a_server_that_came_back_elsewhere(shell: str) -> None:
    first, second = Stub(), Stub()
    first.start()
    second.start()
    second.token = "new"
    first.routes[GET] = lambda _q, _b: (200, workflow())
    first.routes[WATCH] = lambda _q, _b: [CUT]
    second.routes[GET] = lambda _q, _b: (200, workflow(phase="Succeeded"))
    with client(shell, first, relocate=lambda: Endpoint(second.url, "new")) as found:
        phases = []
        for item in found.workflows.follow("wf"):
            if not phases:
                first.stop()
            phases.append(views.workflow(item.object).status.phase)
            if phases[-1] == "Succeeded":
                break
    second.stop()
    assert phases == ["Running", "Succeeded"]


def test_patience_ends(shell: str, server: Stub) -> None:
    server.routes[GET] = lambda _q, _b: (200, workflow())
    server.routes[WATCH] = lambda _q, _b: [CUT]
    waited: list[float] = []
    with client(shell, server, pause=waited.append, patience_s=3.0, attempts=1) as found:
        follow = found.workflows.follow("wf")
        next(follow)
        server.stop()
        with pytest.raises(ServerLost):
            list(follow)
    server.start()
    assert 1.5 < sum(waited) <= 3.0


def test_followed_logs_give_each_line_once_across_a_cut(shell: str, server: Stub) -> None:
    lines = [
        log("2026-01-01T00:00:01.000000001Z", "one"),
        log("2026-01-01T00:00:01.000000001Z", "one"),
        log("2026-01-01T00:00:02Z", "two"),
    ]
    other = log("2026-01-01T00:00:01.5Z", "b", "wf-work-2")
    streams = iter([[lines[0], CUT], [lines[0], lines[1], other, CUT], [*lines[:2], other, lines[2]]])
    server.routes[LOG] = lambda _q, _b: next(streams)
    server.routes[GET] = lambda _q, _b: (200, workflow(phase="Succeeded"))
    with client(shell, server) as found:
        entries = list(found.workflows.logs("wf", follow=True, tail=5))
    assert entries == [
        LogEntry("one", "wf-work-1"),
        LogEntry("one", "wf-work-1"),
        LogEntry("b", "wf-work-2"),
        LogEntry("two", "wf-work-1"),
    ]
    tails = [query.get("logOptions.tailLines") for route, query, _ in server.requests if route == LOG]
    assert tails == ["5", None, None]


def test_followed_logs_go_on_when_the_stream_ends_before_the_workflow(shell: str, server: Stub) -> None:
    states = iter(["Running", "Succeeded"])
    streams = iter([[log("2026-01-01T00:00:01Z", "one")], [log("2026-01-01T00:00:01Z", "one"), log("2026-01-01T00:00:02Z", "")]])
    server.routes[LOG] = lambda _q, _b: next(streams)
    server.routes[GET] = lambda _q, _b: (200, workflow(phase=next(states)))
    with client(shell, server) as found:
        entries = list(found.workflows.logs("wf", follow=True, timestamps=True))
    assert [entry.content for entry in entries] == ["2026-01-01T00:00:01Z one", "2026-01-01T00:00:02Z "]


@pytest.mark.pure
def test_streams_may_be_events_or_plain_lines_cut_anywhere() -> None:
    text = b': keep-alive\n\ndata: {"a":1}\n\nevent: x\n{"b":2}\r\n{"c":"\xc3\xa9"}'
    for width in (1, 2, 7, 100):
        lines = Lines()
        chunks = [*(text[start : start + width] for start in range(0, len(text), width)), b""]
        assert [json.loads(line) for chunk in chunks for line in lines.feed(chunk)] == [{"a": 1}, {"b": 2}, {"c": "é"}]


@pytest.mark.pure
def test_seen_lines_of_one_moment_are_counted() -> None:
    seen = Seen()
    a, b = LogEntry("t1 a", "p"), LogEntry("t1 b", "p")
    assert [seen.admit(item) for item in (a, b)] == [LogEntry("a", "p"), LogEntry("b", "p")]
    seen.restart()
    shown = [seen.admit(item) for item in (a, b, LogEntry("t1 c", "p"), LogEntry("t0 z", "p"))]
    assert shown == [None, None, LogEntry("c", "p"), None]


def test_proxies_of_the_environment_are_not_used_for_this_machine(
    shell: str, server: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "http_proxy", "http://127.0.0.1:9")
    server.routes["GET /api/v1/version"] = lambda _q, _b: (200, {"version": "1"})
    with client(shell, server) as found:
        assert found.version().version == "1"


def versioned(version: int, **more: Any) -> dict[str, Any]:
    body = workflow(**more)
    body["metadata"]["resourceVersion"] = str(version)
    return body


def test_a_watch_goes_on_after_the_version_that_it_was_told_last(shell: str, server: Stub) -> None:
    streams = iter([[event(versioned(7)), CUT], [event(versioned(9))], []])
    server.routes[WATCH] = lambda _q, _b: next(streams)
    with client(shell, server) as found:
        watch = found.workflows.watch(labels="team=a")
        versions = [item.workflow.metadata.resource_version for _, item in zip(range(2), watch, strict=False)]
        watch.close()
    assert versions == ["7", "9"]
    asked = [query for route, query, _ in server.requests if route == WATCH]
    assert [query.get("listOptions.resourceVersion") for query in asked] == [None, "7"]
    assert {query["listOptions.labelSelector"] for query in asked} == {"team=a"}


def test_a_watch_begins_anew_when_its_version_is_not_known_any_more(shell: str, server: Stub) -> None:
    refused = (400, {"code": 3, "message": "resourceVersion '7' is none of this server's"})
    streams = iter([[event(versioned(7)), CUT], refused, [event(versioned(1))]])
    server.routes[WATCH] = lambda _q, _b: next(streams)
    with client(shell, server) as found:
        watch = found.workflows.watch()
        versions = [item.head.metadata.resource_version for _, item in zip(range(2), watch, strict=False)]
        watch.close()
    assert versions == ["7", "1"]
    server.routes[WATCH] = lambda _q, _b: refused
    with client(shell, server) as found, pytest.raises(InvalidRequest):
        next(found.workflows.watch(after="7"))


def test_waiting_ends_with_the_workflow_or_with_the_time(shell: str, server: Stub) -> None:
    answers = iter([(200, versioned(1)), (200, versioned(2, phase="Failed"))])
    server.routes[GET] = lambda _q, _b: next(answers)
    server.routes[WATCH] = lambda _q, _b: [event(versioned(2, phase="Failed"))]
    with client(shell, server) as found:
        assert found.workflows.wait("wf").status.phase == "Failed"
        server.routes[GET] = lambda _q, _b: (200, versioned(1))
        server.routes[WATCH] = lambda _q, _b: []
        with pytest.raises(WaitTimeout, match=r"wf has not ended within 0.05 s"):
            found.workflows.wait("wf", timeout_s=0.05)
        gone = iter([(200, versioned(1)), (404, {"code": 5, "message": "not found"})])
        server.routes[GET] = lambda _q, _b: next(gone)
        with pytest.raises(NotFound, match="was deleted"):
            found.workflows.wait("wf")


def test_what_may_be_repeated_is_sent_again_and_nothing_else(shell: str, server: Stub) -> None:
    away = (503, {"code": 14, "message": "starting"})
    reads = iter([away, away, (200, {"version": "1"})])
    server.routes["GET /api/v1/version"] = lambda _q, _b: next(reads)
    server.routes["POST /api/v1/workflows/default"] = lambda _q, _b: away
    broken = iter([(500, {"code": 13, "message": "a defect"})])
    server.routes["GET /api/jit/v1/whoami"] = lambda _q, _b: next(broken)
    waited: list[float] = []
    with client(shell, server, pause=waited.append) as found:
        assert found.version().version == "1"
        assert waited == [0.1, 0.2]
        with pytest.raises(ServerFault, match="starting"):
            found.workflows.create(workflow())
        with pytest.raises(ServerFault, match="a defect"):
            found.whoami()
    assert waited == [0.1, 0.2]


def test_too_many_requests_are_sent_later(shell: str, server: Stub) -> None:
    answers = iter([(429, {"code": 8, "message": "later"})] * 2 + [(200, workflow())])
    server.routes["POST /api/v1/workflows/default"] = lambda _q, _b: next(answers)
    waited: list[float] = []
    with client(shell, server, pause=waited.append) as found:
        assert found.workflows.create(workflow()).metadata.name == "wf"
        server.routes["POST /api/v1/workflows/default"] = lambda _q, _b: (429, {"code": 8, "message": "later"})
        with pytest.raises(TooManyRequests):
            found.workflows.create(workflow())
    assert waited == [0.1, 0.2, 0.1, 0.2, 0.5]


def test_a_deletion_whose_answer_was_lost_is_done(shell: str, server: Stub) -> None:
    route = "DELETE /api/v1/workflows/default/wf"
    answers = iter([[CUT], (404, {"code": 5, "message": "not found"})])
    server.routes[route] = lambda _q, _b: next(answers)
    with client(shell, server) as found:
        assert found.workflows.delete("wf") is None
        server.routes[route] = lambda _q, _b: (404, {"code": 5, "message": "not found"})
        with pytest.raises(NotFound):
            found.workflows.delete("wf")


def test_what_a_newer_server_knows_is_left_out(shell: str, server: Stub) -> None:
    body = workflow(node("wf-1", "wf.a")) | {"newer": 1}
    body["status"]["nodes"]["wf-1"]["newer"] = {"a": [1]}
    body["spec"] = {"entrypoint": "main", "templates": [{"name": "main", "newer": True}], "newer": {"x": 1}}
    server.routes[GET] = lambda _q, _b: (200, body)
    with client(shell, server) as found:
        made = found.workflows.get("wf")
    assert made.spec.entrypoint == "main"
    assert made.spec.templates[0].name == "main"
    assert made.status.nodes["wf-1"].name == "wf.a"


def test_leaving_a_stream_closes_its_connection(shell: str, server: Stub) -> None:
    server.routes[WATCH] = lambda _q, _b: [event(versioned(number)) for number in range(1, 4)]
    server.routes["GET /api/v1/version"] = lambda _q, _b: (200, {"version": "1"})
    with client(shell, server) as found:
        watch = found.workflows.watch()
        next(watch)
        watch.close()
        assert found.version().version == "1"


def test_authorities_that_cannot_be_used_are_said(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    with pytest.raises(Untrusted, match="cannot read the certificates"):
        Client("https://127.0.0.1:1", ca=str(file))
    file.write_text("nothing")
    with pytest.raises(Untrusted, match="holds no PEM certificates"):
        Client("https://127.0.0.1:1", ca=str(file))


def test_the_token_of_the_environment_is_for_its_server(monkeypatch: pytest.MonkeyPatch, server: Stub) -> None:
    server.routes["GET /api/v1/version"] = lambda _q, _b: (200, {"version": "1"})
    monkeypatch.setenv("JITFLOW_SERVER", server.url)
    monkeypatch.setenv("JITFLOW_TOKEN", server.token)
    with Client() as found:
        assert found.version().version == "1"
    monkeypatch.setenv("JITFLOW_SERVER", "http://elsewhere.example.org")
    with Client(server.url) as found, pytest.raises(Unauthenticated):
        found.version()


def test_a_unix_socket_leads_to_a_server(shell: str, tmp_path: Path) -> None:
    path = str(tmp_path / "api.sock")

    class OverSocket(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def address_string(self) -> str:
            return "socket"

        def do_GET(self) -> None:
            body = b'{"version": "%s"}' % (self.headers["authorization"] or "").encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with OverSocket(path, Handler) as listening:
        threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True).start()
        with opened(shell, f"unix:{path}", token="t") as found:
            assert found.version().version == "Bearer t"
        listening.shutdown()
