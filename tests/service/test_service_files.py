"""Files and folders through a real server, at a real S3 store and in a directory: whole, or not at all."""

import asyncio
import base64
import hashlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from benchmark.service import Server
from tests.service.service_kit import files_below, served

from jitflow.testing.s3_server import S3Server

CONTENT, PARTS = "/data/v1/content", "/data/v1/multipart"


class Place:
    """A server, its stores behind its back, and HTTP with its token."""

    def __init__(self, server: Server, s3: S3Server, root: Path, data: Server | None = None) -> None:
        self.server = server
        self.data = data or server
        self.s3 = s3
        self.root = root
        token = (server.home / "token").read_text().strip().removeprefix("Bearer ")
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{server.port}", trust_env=False, timeout=60, headers={"Authorization": f"Bearer {token}"}
        )

    def put(self, ref: str, data: Any, **headers: str) -> httpx.Response:
        return self.http.put(CONTENT, params={"ref": ref}, content=data, headers=headers)

    def get(self, ref: str, **headers: str) -> httpx.Response:
        given = {name.replace("_", "-"): text for name, text in headers.items()}
        return self.http.get(CONTENT, params={"ref": ref}, headers=given)

    @property
    def arrivals(self) -> list[Path]:
        return files_below(self.data.home / "arrivals")


@pytest.fixture(scope="module", params=["whole", "apart"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    root = tmp_path_factory.mktemp("stores")
    (root / "s3/bucket").mkdir(parents=True)
    (root / "dir").mkdir()
    with S3Server(root / "s3") as s3:
        remotes = {
            "far": {"type": "s3", "options": dict(s3.remote("far").options)},
            "dir": {"type": "local", "options": {"root": str(root / "dir")}},
        }
        with served(tmp_path_factory.mktemp("served"), {"remotes": remotes}, request.param) as (server, data):
            found = Place(server, s3, root, data)
            yield found
            found.http.close()


@pytest.mark.parametrize("ref", ["far:bucket/up/größe 1.bin", "dir:up/größe 1.bin"])
def test_a_file_is_sent_read_and_deleted(place: Place, ref: str) -> None:
    data = os.urandom(6 * 2**20)  # more than any other body may have
    stored = place.put(ref, iter([data[:1000], data[1000:]]))
    assert (stored.status_code, stored.json()["size_bytes"]) == (200, len(data)), stored.text
    read = place.get(ref)
    assert (read.status_code, read.content == data, read.headers["content-length"]) == (200, True, str(len(data)))
    assert read.headers["content-disposition"].startswith("attachment; ")
    assert (read.headers["x-content-type-options"], read.headers["content-type"]) == ("nosniff", "application/octet-stream")
    tag = read.headers["etag"]
    part = place.get(ref, range="bytes=10-19")
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, data[10:20], f"bytes 10-19/{len(data)}")
    assert place.get(ref, range="bytes=-5").content == data[-5:]
    assert place.get(ref, range=f"bytes={len(data)}-").status_code == 416
    assert place.get(ref, if_none_match=tag).status_code == 304
    assert place.get(ref, if_match='"other"').status_code == 412
    assert place.get(ref, range="bytes=0-1", if_range='"other"').status_code == 200
    head = place.http.head(CONTENT, params={"ref": ref})
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(data)), b"")
    assert place.put(ref, b"x", **{"If-None-Match": "*"}).status_code == 409
    assert place.http.delete(CONTENT, params={"ref": ref}).status_code == 200
    for gone in (place.get(ref), place.http.delete(CONTENT, params={"ref": ref}), place.http.head(CONTENT, params={"ref": ref})):
        assert gone.status_code == 404
    assert not place.arrivals


def test_an_object_that_vanished_since_it_was_listed_is_not_found(place: Place) -> None:
    place.put("far:bucket/vanishing", b"soon gone")
    assert place.http.get("/data/v1/objects", params={"ref": "far:bucket/"}).json()["items"]
    (place.s3.root / "bucket/vanishing").unlink()
    time.sleep(place.s3.DIRECTORY_CACHE_S * 2)
    gone = place.get("far:bucket/vanishing")
    assert (gone.status_code, gone.json()["code"]) == (404, 5)


def test_a_body_that_is_cut_off_leaves_nothing(place: Place) -> None:
    request = (
        f"PUT {CONTENT}?ref=dir:cut.bin HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {place.http.headers['authorization']}\r\n"
        "Content-Length: 5000000\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", place.server.port)) as connection:
        connection.sendall(request.encode() + os.urandom(2_000_000))
        limit = time.monotonic() + 10
        while not place.arrivals and not list((place.data.home / "arrivals").iterdir()) and time.monotonic() < limit:
            time.sleep(0.02)
    limit = time.monotonic() + 10
    while list((place.data.home / "arrivals").iterdir()) and time.monotonic() < limit:
        time.sleep(0.02)
    assert not list((place.data.home / "arrivals").iterdir())
    assert not (place.root / "dir/cut.bin").exists()


def test_who_sends_all_before_it_reads_hears_a_refusal_that_came_early(place: Place) -> None:
    body = os.urandom(4_000_000)
    head = (
        f"PUT {CONTENT}?ref=dir:early HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer no\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", place.server.port), timeout=20) as connection:
        connection.sendall(head.encode() + body[:1000])
        time.sleep(0.3)  # it is answered now
        connection.sendall(body[1000:])
        time.sleep(0.3)
        answer = connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 401 "), answer
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 "), "and the connection goes on"


def test_a_program_that_sends_too_much_at_once_is_told_so(place: Place) -> None:
    async def send() -> httpx.Response:
        async with httpx.AsyncClient(base_url=place.http.base_url, headers=place.http.headers, trust_env=False) as client:
            return await client.post("/data/v1/jobs", content=b" " * 30_000_000)

    answer = asyncio.run(send())
    assert (answer.status_code, "is longer than" in answer.text) == (413, True)


def test_a_body_that_is_not_what_was_announced_is_refused(place: Place) -> None:
    data = b"some bytes"
    good = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
    assert place.put("dir:sum", data, **{"Content-MD5": good}).status_code == 200
    bad = place.put("dir:sum2", data + b"!", **{"Content-MD5": good})
    assert (bad.status_code, "another MD5" in bad.text, (place.root / "dir/sum2").exists()) == (400, True, False)


def test_parts_come_in_any_order_survive_a_kill_and_become_one_file(place: Place) -> None:
    data = os.urandom(300_000)
    upload = place.http.post(PARTS, json={"ref": "far:bucket/parts.bin"}).json()["id"]
    for number, piece in ((3, data[200_000:]), (1, b"wrong")):
        assert place.http.put(f"{PARTS}/{upload}/{number}", content=piece).status_code == 200
    early = place.http.post(f"{PARTS}/{upload}/complete")
    assert (early.status_code, "part 2" in early.text) == (409, True)
    place.data.kill()
    place.data.start()
    place.http.put(f"{PARTS}/{upload}/2", content=data[100_000:200_000])
    part = place.http.put(f"{PARTS}/{upload}/1", content=data[:100_000]).json()
    assert part == {"number": 1, "size_bytes": 100_000, "md5": hashlib.md5(data[:100_000], usedforsecurity=False).hexdigest()}
    state = place.http.get(f"{PARTS}/{upload}").json()
    assert [(one["number"], one["size_bytes"]) for one in state["parts"]] == [(1, 100_000), (2, 100_000), (3, 100_000)]
    done = place.http.post(f"{PARTS}/{upload}/complete")
    assert (done.status_code, done.json()["size_bytes"]) == (200, 300_000)
    assert place.get("far:bucket/parts.bin").content == data
    for gone in (place.http.get(f"{PARTS}/{upload}"), place.http.post(f"{PARTS}/{upload}/complete")):
        assert gone.status_code == 404
    other = place.http.post(PARTS, json={"ref": "far:bucket/never.bin"}).json()["id"]
    for number in ("0", "10001", "x"):
        assert place.http.put(f"{PARTS}/{other}/{number}", content=b"x").status_code == 400
    assert place.http.delete(f"{PARTS}/{other}").status_code == 200
    assert not place.arrivals


def test_folders_and_whether_things_are_there(place: Place) -> None:
    def exists(ref: str) -> tuple[bool, str]:
        answer = place.http.get("/data/v1/exists", params={"ref": ref})
        assert answer.status_code == 200, answer.text
        found = answer.json()
        return found["exists"], found["kind"]

    made = place.http.post("/data/v1/folders", json={"ref": "dir:a/b"})
    assert (made.json()["kept"], (place.root / "dir/a/b").is_dir()) == (True, True)
    assert place.http.post("/data/v1/folders", json={"ref": "far:bucket/f/"}).json()["kept"] is False
    place.put("dir:a/x", b"x")
    assert [exists(ref) for ref in ("dir:a/x", "dir:a", "dir:none", "dir:a/x/")] == [
        (True, "file"), (True, "folder"), (False, ""), (False, ""),
    ]  # fmt: skip
    assert exists("dir:a/b")[0] is True
    full = place.http.delete("/data/v1/folders", params={"ref": "dir:a/"})
    assert (full.status_code, "is not empty" in full.text) == (409, True)
    assert place.http.delete("/data/v1/folders", params={"ref": "dir:a/b/"}).status_code == 200
    assert not (place.root / "dir/a/b").exists()
    assert place.http.delete("/data/v1/folders", params={"ref": "dir:a/", "recursive": "true"}).status_code == 200
    assert not (place.root / "dir/a").exists()
    assert place.http.delete("/data/v1/folders", params={"ref": "dir:"}).status_code == 400
    place.put("dir:alone", b"x")
    for gone in ("dir:a/", "dir:a/b/", "far:bucket/none/", "dir:alone/"):
        for more in ({}, {"recursive": "true"}):
            answer = place.http.delete("/data/v1/folders", params={"ref": gone, **more})
            assert (answer.status_code, "there is no folder" in answer.text) == (404, True), answer.text
    assert (place.root / "dir/alone").read_bytes() == b"x"


def test_a_remote_that_nobody_knows_is_not_found_wherever_it_is_named(place: Place, tmp_path: Path) -> None:
    ref, other = "nowhere:x", "dir:y"
    asked: list[tuple[str, str, Any]] = [
        *(("GET", path, {"ref": ref}) for path in ("objects", "stat", "content", "exists", "inventory")),
        *(("DELETE", path, {"ref": ref}) for path in ("content", "folders")),
        ("PUT", "content", {"ref": ref}),
        *(("POST", path, {"ref": ref}) for path in ("folders", "files/link", "multipart", "inventory/refresh")),
        *(("POST", f"primary/{verb}", {"ref": ref}) for verb in ("stage", "pin", "unpin", "evict")),
        *(("POST", f"primary/{verb}", {"ref": f"{ref}/"}) for verb in ("pin", "unpin")),
        ("POST", "primary/adopt", {"place": str(tmp_path), "ref": f"{ref}/"}),
        *(("POST", f"uploads/{verb}", {"ref": ref}) for verb in ("retry", "drop")),
        *(("POST", f"files/{verb}", {"source": ref, "destination": other}) for verb in ("copy", "move")),
        *(("POST", f"files/{verb}", {"source": other, "destination": ref}) for verb in ("copy", "move")),
        *(("POST", "jobs", {"kind": "copy", "source": a, "destination": b}) for a, b in ((ref, other), (other, ref))),
        ("PUT", "bandwidth", {"limits": {"nowhere": "1M"}}),
        *((method, "remotes/nowhere", {"options": {}}) for method in ("GET", "PUT", "PATCH", "DELETE")),
        ("POST", "remotes/nowhere/test", {}),
    ]
    place.put(other, b"y")
    for method, path, given in asked:
        how = {"json": given} if method == "POST" or "ref" not in given else {"params": given}
        answer = place.http.request(method, f"/data/v1/{path}", **how)
        assert answer.status_code == 404, (method, path, given, answer.text)
    for method, path, given in (
        ("GET", "check", {"path": ref}),
        ("GET", "files", {"remote": "nowhere"}),
        ("GET", "folders", {"remote": "nowhere"}),
        ("DELETE", "files/x", {"remote": "nowhere"}),
    ):
        assert place.http.request(method, f"/rclone/{path}", params=given).status_code == 404, (method, path)


def test_nothing_lies_below_a_file_and_names_have_an_end(place: Place) -> None:
    place.put("dir:a/x", b"kept")
    before = files_below(place.root / "dir")
    assert place.http.get("/data/v1/exists", params={"ref": "dir:a/x/y"}).json()["exists"] is False
    for answer in (
        place.get("dir:a/x/y"),
        place.put("dir:a/x/y", b"below"),
        place.http.post("/data/v1/files/copy", json={"source": "dir:a/x", "destination": "dir:a/x/y"}),
    ):
        assert (answer.status_code, "leads through a file" in answer.text) == (404, True), answer.text
    made = place.http.post("/data/v1/folders", json={"ref": "dir:a/x/y/"})
    assert (made.status_code, "leads through a file" in made.text) == (400, True), made.text
    long = place.put(f"dir:{'n' * 300}", b"long")
    assert (long.status_code, "too long" in long.text) == (400, True), long.text
    assert files_below(place.root / "dir") == before
    assert place.get("dir:a/x").content == b"kept"


def test_files_are_copied_moved_and_linked_between_stores(place: Place) -> None:
    place.put("dir:one", b"12345")
    copied = place.http.post("/data/v1/files/copy", json={"source": "dir:one", "destination": "far:bucket/copies/"})
    assert copied.json()["ref"]["path"] == "bucket/copies/one"
    moved = place.http.post("/data/v1/files/move", json={"source": "far:bucket/copies/one", "destination": "dir:two"})
    assert (moved.status_code, (place.root / "dir/two").read_bytes()) == (200, b"12345")
    assert place.get("far:bucket/copies/one").status_code == 404
    link = place.http.post("/data/v1/files/link", json={"ref": "dir:two"})
    assert (link.status_code, "make no links" in link.text) == (400, True)
    place.put("far:bucket/linked", b"linked")
    link = place.http.post("/data/v1/files/link", json={"ref": "far:bucket/linked", "expires_s": 60})
    assert link.json()["url"].startswith(place.s3.endpoint)
    for wrong in ("dir:one", "dir:../x", "nowhere:x", "far:bucket/"):
        answer = place.http.post("/data/v1/files/copy", json={"source": wrong, "destination": "dir:one"})
        assert answer.status_code in {400, 404}, wrong


@pytest.mark.parametrize("ref", ["dir:../x", "dir:/etc/x", "dir:a//b", "dir:", "dir:folder/", "x", ""])
def test_paths_that_lead_elsewhere_are_refused(place: Place, ref: str) -> None:
    before = files_below(place.root / "dir")
    assert place.put(ref, b"x").status_code == 400
    assert place.get(ref).status_code == 400
    assert files_below(place.root / "dir") == before


def test_a_disk_that_fills_during_an_upload_stores_nothing(place: Place, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("a small disk can be mounted by root only")
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", small], check=False, capture_output=True).returncode:
        pytest.skip("this machine mounts no tmpfs")
    try:
        kind = "whole" if place.data is place.server else "apart"
        home = tmp_path / ("home" if kind == "whole" else "data")
        home.mkdir()
        (home / "arrivals").symlink_to(small)
        settings = {
            "primary": {"free_floor": 0},
            "remotes": {"dir": {"type": "local", "options": {"root": str(place.root / "dir")}}},
        }
        with served(tmp_path, settings, kind) as (server, _):
            there = Place(server, place.s3, place.root)
            full = there.put("dir:full.bin", iter([os.urandom(2**20)] * 4))
            assert (full.status_code, "is full" in full.json()["message"]) == (507, True)
            assert there.put("dir:full.bin", os.urandom(4 * 2**20)).status_code == 507
            assert not list(small.iterdir())
            assert not (place.root / "dir/full.bin").exists()
            upload = there.http.post(PARTS, json={"ref": "dir:full.bin"}).json()["id"]
            assert there.http.put(f"{PARTS}/{upload}/1", content=os.urandom(2 * 2**20)).status_code == 200
            assert there.http.post(f"{PARTS}/{upload}/complete").status_code == 507
            assert len(there.http.get(f"{PARTS}/{upload}").json()["parts"]) == 1
            assert there.put("dir:fits.bin", b"fits").status_code == 200
            there.http.close()
    finally:
        subprocess.run(["umount", small], check=True)


def test_what_staging_would_take_is_told_before_it_is_done(place: Place) -> None:
    place.put("far:bucket/wanted/a", os.urandom(200_000))
    place.put("far:bucket/wanted/b", os.urandom(100_000))
    time.sleep(place.s3.DIRECTORY_CACHE_S * 2)

    def told(*refs: str) -> dict[str, Any]:
        answer = place.http.post("/data/v1/primary/explain", json={"refs": refs})
        assert answer.status_code == 200, answer.text
        return answer.json()

    before = told("far:bucket/wanted/", "far:bucket/wanted/a")
    assert (before["objects"], before["to_move_bytes"], before["resident_bytes"], before["fits"]) == (2, 500_000, 0, True)
    used = place.http.get("/data/v1/primary").json()["fill"]["used_bytes"]
    assert place.http.post("/data/v1/primary/stage", json={"ref": "far:bucket/wanted/a"}).status_code == 200
    after = told("far:bucket/wanted/", "far:bucket/wanted/a")
    assert (after["to_move_bytes"], after["resident_bytes"]) == (300_000, 200_000)
    assert before["free_bytes"] - after["free_bytes"] == 200_000
    assert place.http.get("/data/v1/primary").json()["fill"]["used_bytes"] == used + 200_000
    rate = after["link_Bps"]  # a short transfer does not always tell it
    assert after["transfer_s"] == (pytest.approx(300_000 / rate) if rate else None)
    gone = place.http.post("/data/v1/primary/explain", json={"refs": ["far:bucket/wanted/a", "far:bucket/wanted/none"]})
    assert (gone.status_code, "wanted/none" in gone.text) == (404, True), gone.text
