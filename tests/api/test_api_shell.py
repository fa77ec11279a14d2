"""Who may come in: token, cookie, host names; and that nothing that is sent ends in a 500."""

import asyncio
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.routing import Route

from jitflow.access import OPEN, Gate
from jitflow.control_api import Application, make_app
from jitflow.control_api.shell import Shell
from jitflow.data_api import routes as data_routes
from jitflow.telemetry.metrics import CustomMetrics, Exposition
from jitflow.testing.fake_engine import World

pytestmark = pytest.mark.pure

TOKEN = "a-token-for-tests"
GOOD = {"authorization": f"Bearer {TOKEN}"}
MANIFEST: dict[str, Any] = {
    "metadata": {"name": "one"},
    "spec": {"entrypoint": "main", "templates": [{"name": "main", "container": {"image": "busybox", "command": ["true"]}}]},
}


def an_app(world: World, **more: Any) -> Application:
    return make_app(world.service, TOKEN, extra=data_routes(world.data, world.jobs, world.files), **more)


OLDER_PARTS = ("remote", "folder:path", "file_path:path")
ARTIFACT_PARTS = ("id", "uid", "node", "side", "artifact", "path:path")


def every_route(app: Application) -> Iterator[tuple[str, str]]:
    for route in app.routes:
        assert isinstance(route, Route)
        path = route.path
        for name in (
            "namespace",
            "name",
            "pod",
            "kind",
            "key",
            "discriminator",
            "number",
            "rest:path",
            *OLDER_PARTS,
            *ARTIFACT_PARTS,
        ):
            path = path.replace("{" + name + "}", "x")
        assert "{" not in path
        for method in route.methods or ():
            yield method, path


def send(
    method: str, url: str, *, base: str = "http://127.0.0.1:2746", app: Application | None = None, **more: Any
) -> httpx.Response:
    async def run() -> httpx.Response:
        used = app or an_app(World())
        async with httpx.AsyncClient(transport=httpx.ASGITransport(used), base_url=base) as client:
            return await client.request(method, url, **more)

    return asyncio.run(run())


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": TOKEN},
        {"authorization": f"bearer {TOKEN}"},
        {"authorization": f"Bearer {TOKEN} "},
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": "Bearer "},
        {"authorization": ""},
        {"cookie": "authorization=Bearer wrong"},
        {"cookie": f"other=Bearer {TOKEN}"},
    ],
)
def test_no_route_opens_without_the_token(headers: dict[str, str]) -> None:
    app = an_app(World())
    count = 0
    for method, path in every_route(app):
        if path in OPEN:
            continue
        answer = send(method, path, app=app, headers=headers)
        assert answer.status_code == 401, (method, path)
        if method != "HEAD":
            assert answer.json()["code"] == 16
        assert TOKEN not in answer.text
        count += 1
    assert count > 40


def test_an_unknown_path_does_not_tell_without_the_token() -> None:
    assert send("GET", "/nothing").status_code == 401


def test_health_needs_no_token_and_no_name() -> None:
    assert send("GET", "/healthz").status_code == 200
    assert send("GET", "/healthz", base="http://10.0.0.1").status_code == 200


@pytest.mark.parametrize(
    "cookie", [f"authorization=Bearer {TOKEN}", f'a=b; authorization="Bearer {TOKEN}"', f"authorization=Bearer%20{TOKEN}"]
)
def test_a_cookie_opens_too(cookie: str) -> None:
    assert send("GET", "/api/v1/version", headers={"cookie": cookie}).status_code == 200


def test_the_token_may_stand_in_a_header_of_its_own() -> None:
    assert send("GET", "/api/v1/version", headers={"x-api-key": TOKEN}).status_code == 200
    assert send("GET", "/api/v1/version", headers={"x-api-key": "wrong"}).status_code == 401
    assert send("GET", "/api/v1/version", headers={"x-api-key": TOKEN, "authorization": "Bearer wrong"}).status_code == 401


def test_a_page_elsewhere_cannot_use_the_cookie_to_change_anything() -> None:
    cookie = {"cookie": f"authorization=Bearer {TOKEN}"}
    path = "/api/v1/workflows/argo/one/stop"
    assert send("PUT", path, headers={**cookie, "origin": "http://evil.example"}).status_code == 403
    assert send("PUT", path, headers={**cookie, "origin": "http://127.0.0.1:2746"}).status_code == 404
    assert send("PUT", path, headers={**GOOD, "origin": "http://evil.example"}).status_code == 404


@pytest.mark.parametrize(
    ("base", "status"),
    [
        ("http://127.0.0.1:2746", 200),
        ("http://localhost", 200),
        ("http://LOCALHOST:1", 200),
        ("http://[::1]:2746", 200),
        ("http://jit.example.org", 200),
        ("http://evil.example", 403),
        ("http://127.0.0.1.evil.example", 403),
        ("http://localhost.evil.example:2746", 403),
    ],
)
def test_only_names_of_this_server_are_answered(base: str, status: int) -> None:
    app = an_app(World(), hosts={"jit.example.org"})
    answer = send("GET", "/api/v1/version", base=base, app=app, headers=GOOD)
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["code"] == 7


def test_any_name_where_that_was_asked_for() -> None:
    app = an_app(World(), hosts={"*"})
    assert send("GET", "/api/v1/version", base="http://any.example", app=app, headers=GOOD).status_code == 200


def test_a_server_without_a_token_does_not_start() -> None:
    with pytest.raises(ValueError, match="token"):
        send("GET", "/healthz", app=make_app(World().service, ""))


def test_every_answer_carries_the_security_headers() -> None:
    for answer in (
        send("GET", "/api/v1/version", headers=GOOD), send("GET", "/api/v1/version"), send("GET", "/no", headers=GOOD)
    ):  # fmt: skip
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_data_alone_serves_no_workflows() -> None:
    world = World()
    app = make_app(world.service, TOKEN, extra=data_routes(world.data, world.jobs, world.files), control=False)
    assert send("GET", "/data/v1/primary", app=app, headers=GOOD).status_code == 200
    assert send("GET", "/api/v1/workflows/argo", app=app, headers=GOOD).status_code == 404


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["workflow", "metadata", "name", "namespace", "spec", "templates", "entrypoint", "kind", "ref", "type", "options"]
)
BODIES = st.one_of(
    st.binary(max_size=40),
    JSON_VALUES.map(msgspec.json.encode),
    st.dictionaries(KEYS, JSON_VALUES | st.dictionaries(KEYS, JSON_VALUES, max_size=3), max_size=4).map(msgspec.json.encode),
    st.tuples(st.sampled_from(["metadata", "spec"]), JSON_VALUES).map(
        lambda change: msgspec.json.encode({"workflow": {**MANIFEST, change[0]: change[1]}})
    ),
)
READY = ["argo", "one", "@latest", "lint", "log", "%00", "%2e%2e", "%ff", "workflows"]
SEGMENTS = st.text(max_size=8) | st.sampled_from(READY)
PATHS = st.one_of(
    st.sampled_from(
        [
            "/api/v1/workflows/argo", "/api/v1/workflows/argo/lint", "/api/v1/workflows/argo/one/stop", "/api/jit/v1/explain",
            "/api/v1/workflows/argo/one/retry", "/data/v1/remotes", "/data/v1/primary/stage", "/data/v1/primary/pin",
        ]
    ),
    st.tuples(st.sampled_from(["/api/v1/workflows/", "/data/v1/", "/api/v1/"]), st.lists(SEGMENTS, max_size=3)).map(
        lambda parts: parts[0] + "/".join(part if part in READY else quote(part, safe="", errors="replace") for part in parts[1])
    ),
)  # fmt: skip
QUERIES = st.dictionaries(
    st.sampled_from(
        [
            "listOptions.labelSelector", "listOptions.fieldSelector", "listOptions.limit", "listOptions.continue", "fields",
            "uid", "nameFilter", "createdAfter", "ref", "grep", "logOptions.tailLines", "logOptions.sinceTime", "since",
        ]
    ),
    st.text(max_size=12) | st.sampled_from(["-1", "1e999", "9" * 40, "far:../x", "far:a", "a in (", "metadata.name=x", "(a+)+"]),
    max_size=3,
)  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    PATHS,
    QUERIES,
    BODIES,
    st.sampled_from(["application/json", "text/yaml", ""]),
)
def test_nothing_that_is_sent_ends_in_a_500(method: str, path: str, query: dict[str, str], body: bytes, kind: str) -> None:
    async def run() -> httpx.Response:
        world = World()
        await world.service.open()
        await world.service.create(MANIFEST, "argo")
        async with httpx.AsyncClient(transport=httpx.ASGITransport(an_app(world)), base_url="http://localhost") as client:
            headers = {**GOOD, "content-type": kind}
            return await client.request(method, path, params=query, content=body, headers=headers)

    answer = asyncio.run(run())
    assert answer.status_code in {200, 400, 404, 405, 409, 501}, answer.text
    if answer.status_code != 200:
        assert set(answer.json()) <= {"code", "message", "problems"}
        assert answer.json()["message"]


def test_metrics_need_the_token_unless_the_settings_open_them():
    exposition = Exposition(CustomMetrics(lambda: 0.0), dict)
    closed = an_app(World(), metrics=exposition)
    assert send("GET", "/metrics", app=closed).status_code == 401
    answer = send("GET", "/metrics", app=closed, headers=GOOD)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'jitflow_api_requests_total{method="GET",status="401"} 1.0' in answer.text
    assert send("GET", "/metrics", app=an_app(World(), metrics=exposition, open_metrics=True)).status_code == 200
    assert send("GET", "/metrics", headers=GOOD).status_code == 404, "without an exposition there is no such path"


def test_an_answer_leaves_only_when_what_is_told_of_it_is_written_down() -> None:
    async def scenario() -> None:
        told: list[tuple[int, list[Any]]] = []
        sent: list[Any] = []

        def answered(_scope: Any, status: int) -> None:
            told.append((status, list(sent)))

        async def app(_scope: Any, _receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 201, "headers": []})
            await send({"type": "http.response.body", "body": b"made"})

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b""}

        async def send(message: Any) -> None:
            sent.append(message["type"])

        headers = [(b"host", b"127.0.0.1"), (b"authorization", f"Bearer {TOKEN}".encode())]
        scope = {"type": "http", "method": "POST", "path": "/made", "headers": headers}
        await Shell(app, Gate(TOKEN), answered=answered)(scope, receive, send)
        assert told == [(201, [])]
        assert sent == ["http.response.start", "http.response.body"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("method", "target", "said"),
    [
        ("GET", "/data/v1/stat?ref=far:%ff", "query parameter ref is no UTF-8: ref=far:%ff"),
        ("PUT", "/data/v1/content?namespace=a&ref=far:%C3%28", "query parameter ref is no UTF-8"),
        ("GET", "/data/v1/jobs?%fe=1", "query parameter \ufffd is no UTF-8"),
        ("GET", "/api/v1/workflows/default?nameFilter=%80", "query parameter nameFilter is no UTF-8"),
        ("DELETE", "/data/v1/remotes/%ff", "the path is no UTF-8: /data/v1/remotes/%ff"),
        ("GET", "/api/v1/workflows/default/%ed%a0%80", "the path is no UTF-8"),
        ("GET", "/%ff", "the path is no UTF-8"),
    ],
)
def test_a_target_that_is_no_text_is_refused(method: str, target: str, said: str) -> None:
    answer = send(method, target, headers=GOOD)
    assert (answer.status_code, answer.json()["code"], said in answer.json()["message"]) == (400, 3, True), answer.text
    assert send(method, target).status_code == 401


@pytest.mark.parametrize("name", ["%EF%BF%BD", "gr%C3%B6%C3%9Fe", "100%25", "%F0%9F%90%8B", "a+b"])
def test_a_target_that_is_text_is_read(name: str) -> None:
    answer = send("GET", f"/data/v1/remotes/{name}?more={name}", headers=GOOD)
    assert (answer.status_code, "UTF-8" in answer.text) == (404, False)
