"""Bad input to the Data API of a real server that no other test sends: stores that fail under files, and a crowd of jobs."""

import os
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from benchmark.service import Server
from tests.service.service_kit import files_below

from jitflow.testing.s3_server import S3Server

CONTENT, JOBS = "/data/v1/content", "/data/v1/jobs"
AT_ONCE = 1_000


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    root = tmp_path_factory.mktemp("far")
    (root / "bucket").mkdir()
    with S3Server(root) as server:
        yield server


@pytest.fixture(scope="module")
def server(s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    options = dict(s3.remote("far").options)
    root = tmp_path_factory.mktemp("here")
    (root / "in").mkdir()
    (root / "in" / "one").write_bytes(b"1")
    remotes: dict[str, Any] = {
        "far": {"type": "s3", "options": options},
        "wrong": {"type": "s3", "options": options | {"secret_access_key": "not this one"}},
        "away": {"type": "s3", "options": options | {"endpoint": "http://127.0.0.1:9"}},
        "here": {"type": "local", "options": {"root": str(root)}},
    }
    served = tmp_path_factory.mktemp("served")
    remotes["disk"] = {"type": "local", "options": {"root": str(served)}}
    with Server(served / "home", {"remotes": remotes, "primary": {"stall_s": 3.0}}) as found:
        yield found


def client(server: Server) -> httpx.Client:
    headers = {"authorization": f"Bearer {server.token}"}
    return httpx.Client(base_url=f"http://127.0.0.1:{server.port}", headers=headers, trust_env=False, timeout=120)


@pytest.mark.parametrize(("remote", "statuses"), [("wrong", {400, 403}), ("away", {503}), ("nowhere", {404})])
def test_a_store_that_takes_nothing_is_named_and_nothing_stays_behind(
    server: Server, s3: S3Server, remote: str, statuses: set[int]
) -> None:
    before = files_below(s3.root)
    with client(server) as http:
        for answer in (
            http.put(CONTENT, params={"ref": f"{remote}:bucket/new"}, content=b"x" * 100_000),
            http.get(CONTENT, params={"ref": f"{remote}:bucket/new"}),
            http.post("/data/v1/files/copy", json={"source": "here:in/one", "destination": f"{remote}:bucket/"}),
        ):
            assert answer.status_code in statuses, answer.text
            assert remote in answer.json()["message"]
            assert "not this one" not in answer.text
    assert files_below(s3.root) == before
    assert not list((server.home / "arrivals").iterdir())


def test_an_object_that_vanishes_while_it_is_sent_is_cut_off_and_never_whole(server: Server, s3: S3Server) -> None:
    path = s3.root / "bucket" / "large"
    path.write_bytes(os.urandom(64_000_000))
    received = 0
    with client(server) as http, http.stream("GET", CONTENT, params={"ref": "far:bucket/large"}) as answer:
        assert answer.status_code == 200
        try:
            for chunk in answer.iter_raw(64_000):
                if not received:
                    os.truncate(path, 1_000_000)
                    path.unlink()
                received += len(chunk)
        except httpx.HTTPError:
            pass  # cut off: whoever reads knows that it is not whole
        else:
            assert received == 64_000_000, "it was sent before it vanished"
    with client(server) as http:
        time.sleep(s3.DIRECTORY_CACHE_S * 3)
        assert http.get(CONTENT, params={"ref": "far:bucket/large"}).status_code == 404
        assert http.get("/data/v1/remotes").status_code == 200, "the server goes on"


@pytest.mark.parametrize(
    ("request_", "status", "says"),
    [
        (("POST", "/data/v1/jobs", {"kind": "copy", "source": "primary:a/", "destination": "here:b/"}), 404, "is no remote"),
        (("POST", "/data/v1/jobs", {"kind": "check", "source": "here:a/", "destination": "primary:"}), 404, "is no remote"),
        (("POST", "/data/v1/jobs", {"kind": "copy", "source": "here:in/", "destination": "disk:home/primary/"}), 400, "lies in"),
        (("POST", "/data/v1/jobs", {"kind": "sync", "source": "here:in/", "destination": "disk:home/"}), 400, "holds"),
        (("POST", "/data/v1/jobs", {"kind": "delete", "source": "disk:home/primary/objects/"}), 400, "lies in"),
        (("PUT", "/data/v1/content?ref=disk:home/primary/objects/x", {}), 400, "lies in"),
        (("DELETE", "/data/v1/content?ref=disk:home/primary/.jitflow-primary", None), 400, "lies in"),
        (("DELETE", "/data/v1/folders?ref=disk:home/&recursive=true", None), 400, "holds"),
        (("POST", "/data/v1/folders", {"ref": "disk:home/primary/mine/"}), 400, "lies in"),
    ],
)
def test_nobody_writes_where_the_near_store_lies(
    server: Server, request_: tuple[str, str, dict[str, Any] | None], status: int, says: str
) -> None:
    before = sorted((server.home / "primary").rglob("*"))
    answer = server.call(*request_)
    assert (answer.status_code, says in answer.text) == (status, True), answer.text
    assert "jitflow data stage" in answer.text
    assert sorted((server.home / "primary").rglob("*")) == before


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("union", {"upstreams": "{home}/primary here:"}),
        ("combine", {"upstreams": "inner={home}/primary"}),
        ("chunker", {"remote": "disk:home/primary"}),
    ],
)
def test_no_remote_around_another_leads_into_the_near_store(server: Server, kind: str, options: dict[str, str]) -> None:
    given = {name: text.format(home=server.home) for name, text in options.items()}
    assert server.call("POST", "/data/v1/remotes", {"name": f"over-{kind}", "type": kind, "options": given}).status_code == 200
    before = sorted((server.home / "primary").rglob("*"))
    answer = server.call("PUT", f"/data/v1/content?ref=over-{kind}:inner/x", {})
    assert (answer.status_code, "lies in the near store" in answer.text) == (400, True), answer.text
    assert sorted((server.home / "primary").rglob("*")) == before


def test_nobody_writes_over_the_servers_state_and_token(server: Server) -> None:
    token = (server.home / "token").read_text()
    for method, path, body in (
        ("PUT", "/data/v1/content?ref=disk:home/token", {}),
        ("DELETE", "/data/v1/content?ref=disk:home/token", None),
        ("POST", "/data/v1/jobs", {"kind": "copy", "source": "here:in/", "destination": "disk:home/audit/"}),
    ):
        answer = server.call(method, path, body)
        assert (answer.status_code, "server's home" in answer.text) == (400, True), answer.text
    assert (server.home / "token").read_text() == token


def test_a_thousand_jobs_at_once_are_all_taken_and_done_over_a_kill(server: Server) -> None:
    def make(number: int) -> str:
        wish = {"kind": "copy", "source": "here:in/", "destination": f"here:out/{number}/", "dry_run": number % 10 != 0}
        answer = http.post(JOBS, json=wish)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    with client(server) as http, ThreadPoolExecutor(16) as crowd:
        jobs = list(crowd.map(make, range(AT_ONCE)))
    assert len(set(jobs)) == AT_ONCE
    server.kill()
    server.start()
    limit = time.monotonic() + 120
    with client(server) as http:
        phases: Counter[str] = Counter()
        while phases["Succeeded"] < AT_ONCE and time.monotonic() < limit:
            time.sleep(0.5)
            phases = Counter(job["phase"] for job in http.get(JOBS, params={"limit": 1000}).json()["items"])
    assert phases == {"Succeeded": AT_ONCE}
