"""How much may be asked: rates and bodies of each token, CORS, and requests that come drop by drop."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.security.access_kit import HERE, House, Role

from jitflow.access import Buckets, Identity, Limits
from jitflow.bootstrap.local import ServerInfo, serve_in_thread
from jitflow.control_api import MAX_BODY_BYTES, Rules
from jitflow.settings import ServerSettings, Settings

ORIGIN = "https://pages.example.org"


def test_a_bucket_fills_with_time() -> None:
    buckets, ada = Buckets(Limits(requests_per_s=2.0, burst=3)), Identity(subject="ada")
    assert [buckets.take(ada, 0.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert buckets.take(ada, 0.0) == pytest.approx(0.5)
    assert buckets.take(Identity(subject="bob"), 0.0) == 0.0, "each has his own"
    assert buckets.take(ada, 0.5) == 0.0
    assert buckets.take(ada, 0.5) > 0
    assert [buckets.take(ada, 100.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert buckets.take(ada, 100.0) > 0, "it holds no more than a burst"


def test_a_clock_that_goes_back_gives_nothing() -> None:
    buckets, ada = Buckets(Limits(requests_per_s=1.0)), Identity(subject="ada")
    assert buckets.take(ada, 10.0) == 0.0
    assert buckets.take(ada, 5.0) == pytest.approx(1.0)


def test_too_many_requests_are_told_when_to_come_again() -> None:
    async def scenario(house: House) -> None:
        house.keys["slow"] = await house.key("slow", {HERE: Role.VIEWER}, limits=Limits(requests_per_s=0.5, burst=2))
        answers = [await house.ask("slow", "GET", "/api/v1/version") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
        assert answers[2].headers["retry-after"] == "2"
        assert answers[2].json()["code"] == 8
        assert (await house.ask("viewer", "GET", "/api/v1/version")).status_code == 200

    House().play(scenario)


def test_the_settings_limit_who_has_no_limits_of_his_own() -> None:
    async def scenario(house: House) -> None:
        house.keys["free"] = await house.key("free", {HERE: Role.VIEWER}, limits=Limits(requests_per_s=1e6))
        assert [(await house.ask("viewer", "GET", "/api/v1/version")).status_code for _ in range(3)] == [200, 429, 429]
        assert {(await house.ask("free", "GET", "/api/v1/version")).status_code for _ in range(9)} == {200}
        assert (await house.ask("", "GET", "/healthz")).status_code == 200

    House(rules=Rules(limits=Limits(requests_per_s=0.001))).play(scenario)


@pytest.mark.parametrize("declared", [True, False])
def test_bodies_have_a_limit_for_each_token(declared: bool) -> None:
    async def chunks(size: int):
        for _ in range(size // 100):
            yield b" " * 100

    async def scenario(house: House) -> None:
        house.keys["small"] = await house.key("small", {HERE: Role.OPERATOR}, limits=Limits(body_bytes=2_000))
        path = f"/api/v1/workflows/{HERE}/lint"

        def body(size: int):
            return b" " * size if declared else chunks(size)

        assert (await house.ask("small", "POST", path, content=body(2_000))).status_code == 400
        large = await house.ask("small", "POST", path, content=body(2_100))
        assert (large.status_code, "2000 bytes" in large.text) == (413, True)
        assert (await house.ask("operator", "POST", path, content=body(2_100))).status_code == 400
        assert (await house.ask("operator", "POST", path, content=body(MAX_BODY_BYTES + 100))).status_code == 413

    House().play(scenario)


def test_pages_of_other_origins_are_told_nothing_unless_they_are_listed() -> None:
    asked = {"origin": ORIGIN, "access-control-request-method": "POST", "access-control-request-headers": "authorization"}

    async def closed(house: House) -> None:
        assert (await house.ask("", "OPTIONS", f"/api/v1/workflows/{HERE}", headers=asked)).status_code == 401
        answer = await house.ask("viewer", "GET", "/api/v1/version", headers={"origin": ORIGIN})
        assert not [name for name in answer.headers if name.startswith("access-control")]

    async def listed(house: House) -> None:
        answer = await house.ask("", "OPTIONS", f"/api/v1/workflows/{HERE}", headers=asked)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, ORIGIN)
        assert "access-control-allow-credentials" not in answer.headers
        answer = await house.ask("viewer", "GET", "/api/v1/version", headers={"origin": ORIGIN})
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        evil = {**asked, "origin": "https://evil.example"}
        answer = await house.ask("", "OPTIONS", f"/api/v1/workflows/{HERE}", headers=evil)
        assert (answer.status_code, "access-control-allow-origin" in answer.headers) == (400, False)
        refused = await house.ask("", "GET", "/api/v1/version", headers={"origin": ORIGIN})
        assert refused.status_code == 401

    House().play(closed)
    House(rules=Rules(cors_origins=(ORIGIN,))).play(listed)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerInfo]:
    """A real server that does not wait for long."""
    home: Path = tmp_path_factory.mktemp("limits") / "home"
    times = ServerSettings(head_timeout_s=0.4, body_timeout_s=0.4)
    with serve_in_thread(Settings(home=str(home), executor="process", server=times)) as info:
        yield info


def dripped(server: ServerInfo, head: bytes, drop: bytes, *, every_s: float = 0.05, within_s: float = 5.0) -> bytes:
    """Send a head and then one drop after another; return what was answered when the server has had enough."""
    port = int(server.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(every_s)
        connection.sendall(head)
        answer, limit = b"", time.monotonic() + within_s
        while time.monotonic() < limit:
            try:
                got = connection.recv(65536)
            except TimeoutError:
                try:
                    connection.sendall(drop)
                except OSError:
                    return answer
                continue
            except OSError:
                return answer
            if not got:
                return answer
            answer += got
    raise AssertionError(f"the server still waits; it has answered {answer!r}")


def test_a_head_that_comes_drop_by_drop_is_not_waited_for(server: ServerInfo) -> None:
    assert dripped(server, b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n", b"x: y\r\n") == b""
    assert dripped(server, b"", b"") == b"", "nor one that never begins"
    whole = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"
    assert dripped(server, whole, b"GET").startswith(b"HTTP/1.1 200"), "the second request of a connection must come in time too"


def test_a_body_that_comes_drop_by_drop_is_not_waited_for(server: ServerInfo) -> None:
    head = f"POST /api/v1/workflows/default/lint HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {server.token}\r\n"
    answer = dripped(server, f"{head}content-length: 1000\r\n\r\n".encode(), b" ")
    assert answer.startswith(b"HTTP/1.1 408")


def test_a_head_has_a_longest_length(server: ServerInfo) -> None:
    answer = dripped(server, b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 200_000, b"y" * 1000)
    assert not answer or answer.startswith(b"HTTP/1.1 400")


def test_watches_outlive_the_times_of_requests(server: ServerInfo) -> None:
    headers = {"authorization": f"Bearer {server.token}"}
    url = f"{server.url}/api/v1/workflow-events/default?listOptions.timeoutSeconds=2"
    began = time.monotonic()
    assert httpx.get(url, headers=headers, timeout=10, trust_env=False).status_code == 200
    assert time.monotonic() - began > 1.5
