"""The spawner's loop: one request, one fork, one answer. A single thread; ends when the server's end of the socket closes."""

import gc
import json
import os
import signal
import socket
import struct
import sys
import traceback

from . import parent

_HEADER = struct.Struct("!I")
_MAX_FRAME_BYTES = 1 << 20


def _read(connection: socket.socket, size: int) -> bytes:
    parts: list[bytes] = []
    while size:
        part = connection.recv(size)
        if not part:
            return b""
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _request(connection: socket.socket) -> dict[str, str] | None:
    head = _read(connection, _HEADER.size)
    if not head:
        return None
    size: int = _HEADER.unpack(head)[0]
    if size > _MAX_FRAME_BYTES:
        return None
    body = _read(connection, size)
    return json.loads(body) if body else None


def _answer(connection: socket.socket, value: dict[str, object]) -> None:
    body = json.dumps(value).encode()
    connection.sendall(_HEADER.pack(len(body)) + body)


def _spawn(connection: socket.socket, directory: str) -> dict[str, object]:
    try:
        pid = os.fork()
    except OSError as error:
        return {"error": f"cannot fork: {error.strerror}"}
    if pid:
        return {"pid": pid}
    code = 70
    try:
        connection.close()
        parent.run(directory)
        code = 0
    except BaseException:
        traceback.print_exc(file=sys.stderr)
        sys.stderr.flush()
    finally:
        os._exit(code)


def serve(fd: int) -> None:
    """Answer requests `{"id", "directory"}` with `{"id", "pid"}` or `{"id", "error"}` until the socket closes."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the parents
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM))
    connection = socket.socket(fileno=fd)
    os.set_inheritable(fd, False)
    os.umask(0o022)
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        while (request := _request(connection)) is not None:
            _answer(connection, {"id": request["id"], **_spawn(connection, request["directory"])})
    except OSError:
        pass  # the server is gone; the parents go on
    os._exit(0)
