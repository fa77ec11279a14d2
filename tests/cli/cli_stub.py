"""A tiny HTTP server that speaks the bodies of the APIs, where a test needs to cut, restart or falsify the other side."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Answer = tuple[int, Any]
CUT = object()
"""In a stream: drop the connection here."""


class Stub:
    """Answers `METHOD /path` from a table of functions; a list answers a stream, one message each."""

    def __init__(self, token: str = "secret") -> None:
        self.token = token
        self.routes: dict[str, Callable[[dict[str, str], Any], Any]] = {"GET /healthz": lambda _query, _body: (200, {})}
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self, port: int = 0) -> None:
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def handle_one_request(self) -> None:
                super().handle_one_request()

            def _answer(self) -> None:
                stub._answer(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> int:
        """End it and return the port it had."""
        assert self._server is not None
        port = int(self._server.server_address[1])
        self._server.shutdown()
        self._server.server_close()
        return port

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        split = urlsplit(handler.path)
        query = {key: values[0] for key, values in parse_qs(split.query).items()}
        length = int(handler.headers.get("content-length") or 0)
        body = json.loads(handler.rfile.read(length)) if length else None
        route = f"{handler.command} {unquote(split.path)}"
        self.requests.append((route, query, body))
        if self.token and split.path != "/healthz" and handler.headers.get("authorization") != f"Bearer {self.token}":
            self._send(handler, 401, {"code": 16, "message": "token not valid"})
            return
        function = self.routes.get(route)
        if function is None:
            self._send(handler, 404, {"code": 5, "message": f"no route {route}"})
            return
        found = function(query, body)
        if isinstance(found, tuple):
            self._send(handler, *found)
        else:
            self._stream(handler, found)

    def _send(self, handler: BaseHTTPRequestHandler, status: int, body: Any) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response(status)
        handler.send_header("content-length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def _stream(self, handler: BaseHTTPRequestHandler, messages: Any) -> None:
        handler.close_connection = True
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.send_header("transfer-encoding", "chunked")
        handler.send_header("connection", "close")
        handler.end_headers()

        def chunk(data: bytes) -> None:
            handler.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            handler.wfile.flush()

        chunk(b":\n\n")
        for message in messages:
            if message is CUT:
                handler.connection.close()
                return
            chunk(b"data: " + json.dumps(message).encode() + b"\n\n")
        handler.wfile.write(b"0\r\n\r\n")


@contextmanager
def stub(token: str = "secret") -> Iterator[Stub]:
    """Give a running stub."""
    found = Stub(token)
    found.start()
    try:
        yield found
    finally:
        found.stop()
