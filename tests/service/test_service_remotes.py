"""Remotes through a real server: options are checked by rclone's descriptions, changes hold, tests tell what is wrong."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from benchmark.service import Server

from jitflow.testing.s3_server import S3Server

REMOTES = "/data/v1/remotes"


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    root = tmp_path_factory.mktemp("far")
    (root / "bucket").mkdir()
    (root / "bucket/a").write_bytes(b"a")
    with S3Server(root) as found:
        yield found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = {"remotes": {"fixed": {"type": "memory", "options": {}}}}
    with Server(tmp_path_factory.mktemp("served") / "home", settings) as found:
        yield found


@pytest.mark.parametrize(
    ("kind", "options", "says"),
    [
        ("s4", {}, "did you mean 's3'"),
        ("s3", {"end_point": "x"}, "did you mean 'endpoint'"),
        ("s3", {"chunk_size": "large"}, "write a size, such as 5Mi"),
        ("s3", {"env_auth": "perhaps"}, "write true or false"),
        ("s3", {"upload_concurrency": "many"}, "write a whole number"),
        ("sftp", {"host": "x", "idle_timeout": "soon"}, "write a time, such as 30s"),
        ("sftp", {}, "needs the option 'host'"),
        ("crypt", {"remote": "fixed:x"}, "needs the option 'password'"),
        ("local", {"root": "relative"}, "begins with /"),
    ],
)
def test_options_that_make_no_sense_are_named(server: Server, kind: str, options: dict[str, str], says: str) -> None:
    answer = server.call("POST", REMOTES, {"name": "bad", "type": kind, "options": options})
    assert (answer.status_code, says in answer.text) == (400, True), answer.text
    (problem,) = answer.json()["problems"]
    assert problem["place"]["path"].startswith("remotes.bad.")
    assert server.call("GET", f"{REMOTES}/bad").status_code == 404


def test_types_and_their_options_are_described(server: Server) -> None:
    kinds = {one["type"]: one["about"] for one in server.get("/data/v1/providers")["items"]}
    assert len(kinds) > 50
    options = {one["name"]: one for one in server.get("/data/v1/providers/sftp")["options"]}
    assert (options["host"]["is_required"], options["pass"]["is_password"], options["port"]["type"]) == (True, True, "int")
    unknown = server.call("GET", "/data/v1/providers/sftpp")
    assert (unknown.status_code, "did you mean 'sftp'" in unknown.text) == (404, True)


def test_a_remote_is_changed_replaced_and_kept_over_a_kill(server: Server, s3: S3Server) -> None:
    right = dict(s3.remote("far").options)
    wrong = {**right, "secret_access_key": "wrong", "region": "nowhere"}
    assert server.call("POST", REMOTES, {"name": "far", "type": "s3", "options": wrong}).status_code == 200
    assert server.call("POST", f"{REMOTES}/far/test").status_code == 400
    change = {"options": {"secret_access_key": right["secret_access_key"], "region": None}}
    changed = server.call("PATCH", f"{REMOTES}/far", change).json()
    assert ("region" in changed["options"], changed["options"]["secret_access_key"]) == (False, "***")
    assert server.call("POST", f"{REMOTES}/far/test").json() == {"ok": True}
    refused = server.call("PATCH", f"{REMOTES}/far", {"options": {"endpoitn": "x"}})
    assert (refused.status_code, "did you mean 'endpoint'" in refused.text) == (400, True)
    server.kill()
    server.start()
    assert server.call("POST", f"{REMOTES}/far/test").json() == {"ok": True}
    shown = server.get(f"{REMOTES}/far")["options"]
    assert server.call("PUT", f"{REMOTES}/far", {"options": shown}).json()["options"] == shown
    assert [item["ref"]["path"] for item in server.get("/data/v1/objects", ref="far:bucket/")["items"]] == ["bucket/a"]
    assert server.call("PATCH", f"{REMOTES}/fixed", {"options": {}}).status_code == 409
    assert server.call("PATCH", f"{REMOTES}/none", {"options": {}}).status_code == 404


def test_a_test_tells_what_is_wrong(server: Server, s3: S3Server) -> None:
    def test(name: str, body: Any = None, **options: str) -> tuple[int, str, float]:
        given = {**dict(s3.remote("x").options), **options}
        server.call("POST", REMOTES, {"name": name, "type": "s3", "options": given})
        began = time.monotonic()
        answer = server.call("POST", f"{REMOTES}/{name}/test", body)
        return answer.status_code, answer.text, time.monotonic() - began

    assert test("good", {"path": "bucket"})[0] == 200
    status, text, _ = test("bucketless", {"path": "no-such-bucket"})
    assert (status, "there is no such object" in text) == (404, True), text
    status, text, _ = test("keyless", secret_access_key="wrong")
    assert (status, "credentials" in text, "wrong" in text) == (400, True, False), text
    status, text, took_s = test("dead", endpoint="http://127.0.0.1:9")
    assert (status, "does not answer" in text, took_s < 21) == (503, True, True), text
    status, text, took_s = test("nameless", endpoint="http://no-such-host.invalid")
    assert (status, took_s < 21) == (503, True), text
    assert test("good", {"path": "../x"})[0] == 400
    status, text, _ = test("half", secret_access_key="")
    assert (status, "credentials" in text) == (400, True), text


@pytest.mark.parametrize(
    ("kind", "options", "says"),
    [
        ("combine", {"upstreams": "fixed:"}, "cannot be used with the options"),
        ("sftp", {"host": "127.0.0.1", "key_file": "/no/such/key"}, "cannot be used with the options"),
        ("webdav", {"url": "nonsense"}, "no URL"),
        ("drive", {}, "credentials"),
        ("google cloud storage", {"env_auth": "true"}, "credentials"),
    ],
)
def test_what_rclone_cannot_begin_with_is_the_remotes_fault(
    server: Server, kind: str, options: dict[str, str], says: str
) -> None:
    assert server.call("POST", REMOTES, {"name": "odd", "type": kind, "options": options}).status_code == 200
    try:
        for answer in (server.call("POST", f"{REMOTES}/odd/test"), server.call("GET", "/data/v1/objects?ref=odd:x/")):
            assert (answer.status_code, says in answer.text) == (400, True), answer.text
    finally:
        server.call("DELETE", f"{REMOTES}/odd")
