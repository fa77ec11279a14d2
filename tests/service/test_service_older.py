"""The older service's endpoints, call by call, through a real server with real rclone between two real S3 stores."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from benchmark.service import Server
from tests.service.service_kit import files_below, served

from jitflow.testing.s3_server import S3Server


class Place:
    """A server, two stores behind its back, and HTTP with its token."""

    def __init__(self, server: Server, one: S3Server, two: S3Server, data: Server) -> None:
        self.server, self.one, self.two, self.data = server, one, two, data
        token = (server.home / "token").read_text().strip().removeprefix("Bearer ")
        base = f"http://127.0.0.1:{server.port}"
        self.http = httpx.Client(base_url=base, trust_env=False, timeout=60, headers={"X-API-Key": token})

    def __call__(self, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, Any]:
        answer = self.http.request(method, f"/rclone/{path}", **({"json": body} if body is not None else {}), **more)
        return answer.status_code, answer.json()

    def failed(self, status: int, says: str, method: str, path: str, body: Any = None, **more: Any) -> None:
        found, answer = self(method, path, body, **more)
        assert (found, says in answer["error"]) == (status, True), answer

    @property
    def arrived(self) -> list[Path]:
        return files_below(self.data.home / "arrivals")


@pytest.fixture(scope="module", params=["whole", "apart"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    root = tmp_path_factory.mktemp("stores")
    (root / "one/bucket/in/deep").mkdir(parents=True)
    (root / "two/bucket").mkdir(parents=True)
    for name, data in {"a.txt": b"a", "b.txt": b"bb", "deep/c.txt": b"ccc"}.items():
        (root / "one/bucket/in" / name).write_bytes(data)
    with S3Server(root / "one") as one, S3Server(root / "two") as two:
        remotes = {name: {"type": "s3", "options": dict(s3.remote(name).options)} for name, s3 in (("one", one), ("two", two))}
        with served(tmp_path_factory.mktemp("served"), {"remotes": remotes}, request.param) as (server, data):
            found = Place(server, one, two, data)
            yield found
            found.http.close()


def test_remotes_are_configured_shown_found_and_deleted(place: Place) -> None:
    options = dict(place.two.remote("x").options)
    body = {
        "name": "mine",
        "type": "s3",
        "access_key": options.pop("access_key_id"),
        "secret_key": options.pop("secret_access_key"),
        "endpoint": options.pop("endpoint"),
        "remote": "",
        "additional_options": {**options, "chunk_size": "5Mi", "upload_concurrency": 2, "no_check_bucket": True},
    }
    assert place("POST", "configure", body) == (200, {"message": "remote 'mine' is configured"})
    assert place("POST", "configure", body)[0] == 200  # again: in its place
    status, shown = place("GET", "configure")
    assert (status, {"one", "two", "mine"} <= shown.keys()) == (200, True)
    mine = shown["mine"]
    assert (mine["type"], mine["endpoint"], mine["secret_access_key"]) == ("s3", body["endpoint"], "***")
    assert (mine["upload_concurrency"], mine["no_check_bucket"]) == ("2", "true")
    assert body["secret_key"] not in json.dumps(shown)
    assert place("GET", "list-folders", params={"remote": "mine"}) == (200, {"folders": ["bucket"]})
    endpoint = place.one.remote("x").options["endpoint"]
    for asked, alias in ((endpoint, "one"), (endpoint + "/", "one"), ("mine", "mine")):
        assert place("GET", "get-endpoint-alias", params={"endpoint": asked}) == (200, {"alias": alias})
    assert place("DELETE", "configure/mine") == (200, {"message": "remote 'mine' is deleted"})
    place.failed(404, "mine", "DELETE", "configure/mine")
    place.failed(404, "mine", "GET", "get-endpoint-alias", params={"endpoint": "mine"})
    place.failed(409, "settings file", "POST", "configure", {**body, "name": "one"})
    place.failed(409, "settings file", "DELETE", "configure/one")
    place.failed(400, "did you mean 's3'", "POST", "configure", {**body, "type": "s4"})
    place.failed(400, "JSON", "POST", "configure", content=b"{")
    place.failed(400, "name", "POST", "configure", {"type": "s3"})


@pytest.mark.parametrize("remote", ["one:", "one", "one:bucket/", "one:bucket"])
def test_files_are_checked_and_listed(place: Place, remote: str) -> None:
    folder = "in" if "bucket" in remote else "bucket/in"
    status, answer = place("GET", "check", params={"path": remote, "file": f"{folder}/a.txt"})
    assert (status, answer) == (200, {"message": f"'{remote}':'{folder}/a.txt' exists"})
    assert place("GET", "check", params={"path": remote, "file": folder})[0] == 200
    status, answer = place("GET", "check", params={"path": remote, "file": f"{folder}/none"})
    assert (status, "does not exist" in answer["message"]) == (404, True)
    wanted = {"a.txt": 1, "b.txt": 2, "deep/c.txt": 3}
    for status, files in (
        place("GET", f"list-files/{remote}/{folder}"),
        place("GET", f"list-files/{remote}", params={"folder": folder}),
        place("GET", "files", params={"remote": remote, "folder": f"/{folder}/"}),
    ):
        assert (status, {one["file_name"]: one["size"] for one in files}) == (200, wanted)
    for path in ("list-folders", "folders"):
        assert place("GET", path, params={"remote": remote, "folder": folder}) == (200, {"folders": ["deep"]})


def test_what_cannot_be_listed_says_why(place: Place) -> None:
    for path in ("check", "list-folders", "folders", "files", "get-endpoint-alias"):
        place.failed(400, "missing", "GET", path)
    place.failed(404, "no remote 'none'", "GET", "check", params={"path": "none:", "file": "a"})
    place.failed(404, "none", "GET", "list-files/none/a")
    place.failed(400, "..", "GET", "check", params={"path": "one:", "file": "../a"})
    for status, answer in (place("GET", "list-folders", params={"remote": "no remote"}), place("GET", "list-files/a%20b/c")):
        assert (status, "names no object" in answer["error"]) == (400, True)


def test_files_are_copied(place: Place) -> None:
    pair = {"source": "one:", "destination": "two:", "parallel_files": 4}
    status, answer = place("POST", "copy", {**pair, "files": ["bucket/in/a.txt", "/bucket/in/deep/c.txt"]})
    assert (status, answer["message"]) == (200, "all files are copied")
    assert place.server.get(answer["jobs"][0])["phase"] == "Succeeded"
    copied = place.two.root / "bucket/in"
    assert [(copied / name).read_bytes() for name in ("a.txt", "deep/c.txt")] == [b"a", b"ccc"]
    assert not (copied / "b.txt").exists()
    place.failed(400, "no files", "POST", "copy", pair)
    place.failed(502, "gone.txt", "POST", "copy", {**pair, "files": ["bucket/in/gone.txt"]})
    place.failed(400, "no path", "POST", "copy", {**pair, "files": ["../a"]})
    place.failed(400, "files at once", "POST", "copy", {**pair, "files": ["a"], "parallel_files": 1000})
    place.failed(404, "none", "POST", "copy", {**pair, "source": "none:", "files": ["a"]})
    place.failed(400, "expected form", "POST", "copy", {**pair, "files": "a"})
    place.failed(400, "wait_s", "POST", "copy", {**pair, "files": ["a"]}, params={"wait_s": "soon"})


def test_folders_are_synced(place: Place) -> None:
    (place.two.root / "bucket/synced/in").mkdir(parents=True, exist_ok=True)
    (place.two.root / "bucket/synced/in/old.txt").write_bytes(b"old")
    time.sleep(2 * S3Server.DIRECTORY_CACHE_S)
    pair = {"source": "one:bucket/", "destination": "two:bucket/synced"}
    status, answer = place("POST", "sync", {**pair, "folders": ["in/deep", "in"]})
    assert (status, len(answer["jobs"])) == (200, 2), answer
    assert sorted(path.name for path in files_below(place.two.root / "bucket/synced")) == ["a.txt", "b.txt", "c.txt"]
    assert place("POST", "sync", {"source": "one:bucket/in", "destination": "two:bucket/whole", "folders": None})[0] == 200
    assert len(files_below(place.two.root / "bucket/whole")) == 3
    jobs = len(place.server.get("/data/v1/jobs")["items"])
    place.failed(404, "none", "POST", "sync", {**pair, "destination": "none:", "folders": ["in"]})
    place.failed(400, "..", "POST", "sync", {**pair, "folders": ["in", "../x"]})
    place.failed(400, "too many", "POST", "sync", {**pair, "folders": [str(number) for number in range(101)]})
    assert len(place.server.get("/data/v1/jobs")["items"]) == jobs  # none was begun


def test_who_does_not_wait_is_told_of_the_job(place: Place) -> None:
    body = {"source": "one:bucket/in", "destination": "two:bucket/later", "files": ["a.txt"]}
    answer = place.http.post("/rclone/copy", json=body, params={"wait_s": 0})
    assert (answer.status_code, answer.headers["location"]) == (202, answer.json()["jobs"][0])
    limit = time.monotonic() + 30
    while place.server.get(answer.headers["location"])["phase"] != "Succeeded":
        assert time.monotonic() < limit
        time.sleep(0.05)


def test_files_are_uploaded_and_deleted(place: Place) -> None:
    data = bytes(range(256)) * 24_000  # more than a body may have that is no file
    form = {"remote": "two:", "folder": "bucket/up"}
    files = {"file": ("../größe 1.bin", data + b"\r\n--")}
    status, answer = place("POST", "upload", data=form, files=files)
    assert (status, "größe 1.bin" in answer["message"]) == (201, True), answer
    assert (place.two.root / "bucket/up/größe 1.bin").read_bytes() == data + b"\r\n--"
    for text, known in (("files/bucket/up/größe 1.bin?remote=two:", 200), ("files/two:bucket/up/größe 1.bin", 404)):
        status, answer = place("DELETE", text)
        assert status == known, answer
    assert place("POST", "upload", data={"remote": "two:bucket"}, files={"file": ("x", b"")})[0] == 201
    assert place("DELETE", "files", params={"remote": "two", "file_path": "bucket/x"})[0] == 200
    place.failed(400, "missing", "DELETE", "files")
    assert not place.arrived


def test_forms_that_make_no_sense_leave_nothing(place: Place) -> None:
    file = {"file": ("x.bin", b"x" * 100_000)}
    place.failed(400, "field remote", "POST", "upload", data={"folder": "a"}, files=file)
    place.failed(400, "field file", "POST", "upload", data={"remote": "two:"}, files={"other": ("x", b"x")})
    place.failed(404, "none", "POST", "upload", data={"remote": "none:"}, files=file)
    place.failed(400, "..", "POST", "upload", data={"remote": "two:bucket", "folder": "../.."}, files=file)
    place.failed(400, "longer than", "POST", "upload", data={"remote": "x" * 20_000}, files=file)
    place.failed(400, "no form", "POST", "upload", {"file": "x"})
    head = {"content-type": "multipart/form-data; boundary=b"}
    named = b'--b\r\ncontent-disposition: form-data; name="file"; filename="\xff"\r\n\r\nx\r\n--b--\r\n'
    answer = place.http.post("/rclone/upload", content=named, headers=head)
    assert (answer.status_code, "is no UTF-8" in answer.text) == (400, True), answer.text
    start = b'--b\r\ncontent-disposition: form-data; name="file"; filename="cut"\r\n\r\n'
    for body in (b"", b"--b", b"--b\r\nx", start + b"data", start + b"data\r\n--b", b"x" * 50_000, b"--bxxxxxxxx"):
        place.failed(400, "form", "POST", "upload", content=body, headers=head)
    with socket.create_connection(("127.0.0.1", place.server.port)) as link:
        token = place.http.headers["x-api-key"]
        link.sendall(f"POST /rclone/upload HTTP/1.1\r\nhost: localhost\r\nx-api-key: {token}\r\n".encode())
        link.sendall(b"content-type: multipart/form-data; boundary=b\r\ncontent-length: 1000\r\n\r\n" + start)
    limit = time.monotonic() + 10
    while place.arrived and time.monotonic() < limit:
        time.sleep(0.05)
    assert not place.arrived
    assert not list(place.two.root.rglob("cut"))


@pytest.mark.parametrize("path", ["folder", "folders"])
def test_folders_are_made_and_deleted_with_all_in_them(place: Place, path: str) -> None:
    body = {"remote": "two:bucket/", "folder": "made"}
    status, answer = place("POST", path, body)
    assert (status, answer) == (201, {"message": "folder 'made' is created in 'two:bucket/'"})
    assert place("POST", "upload", data=body, files={"file": ("x", b"x")})[0] == 201
    assert place("DELETE", path, body)[0] == 200
    assert not (place.two.root / "bucket/made/x").exists()
    place.failed(404, "no folder", "DELETE", path, {"remote": "two:bucket", "folder": "never"})
    place.failed(400, "whole remote", "DELETE", path, {"remote": "two:", "folder": ""})
    place.failed(400, "folder", "POST", path, {"remote": "two:"})


def test_health_needs_no_token_and_the_rest_does(place: Place) -> None:
    with httpx.Client(base_url=str(place.http.base_url), trust_env=False) as nobody:
        answer = nobody.get("/health")
        assert (answer.status_code, answer.json()) == (200, {"status": "healthy"})
        refused = nobody.get("/rclone/configure")
        assert (refused.status_code, "error" in refused.json()) == (401, True)
