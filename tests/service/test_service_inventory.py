"""What planning asks of a real S3: a proxy between the server and the store counts the requests."""

import http.client
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from benchmark.service import Server
from tests.service.service_kit import reader

from jitflow.testing.s3_server import S3Server

OBJECTS = 5_000


class Counting:
    """An HTTP proxy before an S3 server; `seen` counts listings and HEADs."""

    def __init__(self, target: int) -> None:
        self.seen: Counter[str] = Counter()
        counting = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def pass_on(self) -> None:
                listing = self.command == "GET" and "list-type=" in self.path
                counting.seen["list" if listing else self.command] += 1
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                link = http.client.HTTPConnection("127.0.0.1", target, timeout=60)
                link.request(self.command, self.path, body, dict(self.headers))
                answer = link.getresponse()
                data = answer.read()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in {"transfer-encoding", "connection", "content-length", "date", "server"}:
                        self.send_header(name, value)
                length = answer.getheader("content-length") if self.command == "HEAD" else str(len(data))
                self.send_header("Content-Length", length or "0")
                self.end_headers()
                self.wfile.write(data)
                link.close()

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = pass_on

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def taken(self) -> Counter[str]:
        """Return what was counted since it was asked last."""
        found, self.seen = self.seen, Counter()
        return found


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[tuple[Server, Counting, Path]]:
    folder = tmp_path / "far" / "bucket" / "many"
    folder.mkdir(parents=True)
    for number in range(OBJECTS):
        (folder / f"o{number:05}").write_bytes(b"%d" % number)
    with S3Server(tmp_path / "far", hash_cache=tmp_path / "hashes") as s3:
        proxy = Counting(s3.port)
        options = dict(s3.remote("far", endpoint=proxy.url).options)
        settings = {"remotes": {"far": {"type": "s3", "options": options, "inventory_age": "10m"}}}
        with Server(tmp_path / "home", settings) as server:
            yield server, proxy, folder
        proxy.close()


def test_five_thousand_named_objects_cost_the_pages_of_one_listing_and_then_nothing(
    proxied: tuple[Server, Counting, Path],
) -> None:
    server, proxy, folder = proxied
    text = reader(*(f"bucket/many/o{number:05}" for number in range(OBJECTS)))
    proxy.taken()
    first = server.post_text("/api/jit/v1/explain", text)
    assert first.status_code == 200, first.text
    assert first.json()["objects"] == OBJECTS
    seen = proxy.taken()
    assert OBJECTS // 1000 <= seen["list"] <= OBJECTS // 1000 + 2, seen
    assert seen["HEAD"] <= 2, "none for each object"
    again = server.post_text("/api/jit/v1/explain", text)
    assert again.json()["distinct_bytes"] == first.json()["distinct_bytes"]
    assert proxy.taken() == Counter(), "within its age the kept listing answers"
    (folder / "o00000").write_bytes(b"another")
    view = server.call("POST", "/data/v1/inventory/refresh", {"ref": "far:bucket/many/"}).json()
    assert (view["objects"], view["recursive"]) == (OBJECTS, True)
    (folder / "new").write_bytes(b"new")
    view = server.call("POST", "/data/v1/inventory/refresh", {"ref": "far:bucket/many"}).json()
    assert view["changes"]["added_names"] == ["new"]
    page = server.get("/data/v1/inventory", ref="far:bucket/many/", limit=2)
    assert [one["ref"]["path"] for one in page["items"]] == ["bucket/many/new", "bucket/many/o00000"]
    assert page["next"] == "o00000"
    assert server.call("GET", "/data/v1/inventory", ref="far:bucket/other/").status_code == 404
    assert server.call("POST", "/data/v1/inventory/refresh", {"ref": "nowhere:x/"}).status_code == 404
