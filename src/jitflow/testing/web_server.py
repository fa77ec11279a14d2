"""A real web server for tests: files to GET, PUT and DELETE, and git repositories, with or without a password."""

import base64
import hashlib
import os
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

CHUNK = 1 << 16
_GIT_WAIT_S = 60


class FileServer:
    """`with FileServer(directory) as server: server.url`. What lies below `directory/git` is served as git repositories.

    What a server may do otherwise is told by attributes: `password` (of the user `me`), `has_lengths` (else chunks), `has_etags`,
    `has_head` (else 405), `redirects` (path -> URL), `status` (path -> answered instead). `asked`: method, path and headers of
    every request.
    """

    def __init__(self, root: Path) -> None:
        """Serve `root`, which may still be empty."""
        self.root = root
        self.password = ""
        self.has_lengths = True
        self.has_etags = True
        self.has_head = True
        self.redirects: dict[str, str] = {}
        self.status: dict[str, int] = {}
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        outer = self

        class Handler(_Handler):
            server_of_files = outer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def times(self, method: str, path: str) -> int:
        """Return how often something was asked for."""
        return sum((method, path) == (asked[0], urlsplit(asked[1]).path) for asked in self.asked)


class _Handler(BaseHTTPRequestHandler):
    server_of_files: FileServer
    protocol_version = "HTTP/1.1"

    def _do(self) -> None:
        outer = self.server_of_files
        outer.asked.append((self.command, self.path, dict(self.headers.items())))
        path = urlsplit(self.path).path
        if outer.password and not self._knows_password(outer.password):
            self._answer(401, {"WWW-Authenticate": 'Basic realm="files"'})
        elif path in outer.status:
            self._answer(outer.status[path], {})
        elif path in outer.redirects:
            self._answer(307, {"Location": outer.redirects[path]})
        elif path.startswith("/git/"):
            self._git(path.removeprefix("/git"))
        else:
            self._file(outer.root / path.lstrip("/"))

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _do

    def _knows_password(self, password: str) -> bool:
        return self.headers.get("Authorization") == "Basic " + base64.b64encode(f"me:{password}".encode()).decode()

    def _answer(self, status: int, headers: dict[str, str], body: bytes = b"", *, was_read: bool = False) -> None:
        if not was_read:
            self._read()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _read(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            found = b""
            while size := int(self.rfile.readline(), 16):
                found += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return found
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _file(self, path: Path) -> None:
        outer = self.server_of_files
        if self.command == "PUT":
            data = self._read()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            self._answer(201, {}, was_read=True)
        elif self.command == "DELETE":
            path.unlink(missing_ok=True)
            self._answer(204, {})
        elif self.command == "HEAD" and not outer.has_head:
            self._answer(405, {})
        elif not path.is_file():
            self._answer(404, {})
        else:
            self._send(path)

    def _send(self, path: Path) -> None:
        outer = self.server_of_files
        data = path.read_bytes()
        self.send_response(200)
        if outer.has_etags:
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()[:16]}"')
        self.send_header(*(("Content-Length", str(len(data))) if outer.has_lengths else ("Transfer-Encoding", "chunked")))
        self.end_headers()
        if self.command == "HEAD":
            return
        if outer.has_lengths:
            self.wfile.write(data)
            return
        for start in range(0, len(data), CHUNK):
            part = data[start : start + CHUNK]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        self.wfile.write(b"0\r\n\r\n")

    def _git(self, path: str) -> None:
        """Let git's own program answer (its smart HTTP protocol)."""
        program = shutil.which("git")
        assert program is not None, "git is not installed"
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.server_of_files.root / "git"),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": urlsplit(self.path).query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
        }
        command = [program, "http-backend"]
        done = subprocess.run(command, input=self._read(), env=environment, capture_output=True, timeout=_GIT_WAIT_S, check=False)
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        status = int(headers.pop("Status", "200").split()[0])
        self._answer(status, headers, body, was_read=True)

    def log_message(self, format: str, *args: Any) -> None:
        del format, args
