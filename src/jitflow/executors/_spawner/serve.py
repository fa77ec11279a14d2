"""The spawner's loop: one request, one parent, one answer. A single thread; ends when the server closes its socket.

Two parents are kept ready (forked, in namespaces of their own, with the pod's first process waiting): a request only has
to tell one of them the pod's directory. They are thrown away when the host's mounts change, for they would not see it.
"""

import contextlib
import gc
import json
import os
import select
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Sequence

from . import parent, rootfs
from . import syscalls as sc

_HEADER = struct.Struct("!I")
_MAX_FRAME_BYTES = 1 << 20
_READY = 2


class _Spawner:
    def __init__(self, connection: socket.socket, notify: socket.socket, stage: str, *, guarded: bool) -> None:
        self._stage = stage
        self._guarded = guarded
        self._connection = connection
        self._notify = notify
        self._ready: list[tuple[int, int]] = []
        self._isolation = ""
        self._mountinfo = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        self._mounts: list[str] = []
        self._read_mounts()
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)
        self._poll.register(self._mountinfo, select.POLLPRI)

    def serve(self) -> None:
        """Answer requests until the socket closes."""
        used = False
        while True:
            idle_ms = 0 if used and len(self._ready) < _READY else None
            events = dict(self._poll.poll(idle_ms))
            if self._mountinfo in events:
                self._read_mounts()
                self._discard_ready()
            if self._connection.fileno() in events:
                request = self._request()
                if request is None:
                    return
                used = True
                self._answer({"id": request["id"], **self._start(request)})
            elif idle_ms == 0 and not events:
                used = self._prepare()

    def _start(self, request: dict[str, str]) -> dict[str, object]:
        """Hand the pod to a parent that is ready, or to a new one."""
        if request["isolation"] == parent.GROUP:
            return self._start_group(request["directory"].encode())
        if request["isolation"] != self._isolation:
            self._discard_ready()
            self._isolation = request["isolation"]
        directory = request["directory"].encode()
        for _ in range(_READY + 2):
            if not self._ready and not self._prepare():
                return {"error": "the system refuses another process"}
            pid, fd = self._ready.pop(0)
            try:
                os.write(fd, directory)
            except BrokenPipeError:
                continue  # it was killed while it waited
            finally:
                os.close(fd)
            return {"pid": pid}
        return {"error": "new processes end at once"}

    def _start_group(self, directory: bytes) -> dict[str, object]:
        """Hand a pod of several containers to a new parent; those that are ready stay so."""
        ready, self._ready = self._ready, []
        isolation, self._isolation = self._isolation, parent.GROUP
        try:
            if not self._prepare(also_close=[fd for _, fd in ready]):
                return {"error": "the system refuses another process"}
            pid, fd = self._ready.pop()
        finally:
            self._ready, self._isolation = ready, isolation
        try:
            os.write(fd, directory)
        finally:
            os.close(fd)
        return {"pid": pid}

    def _prepare(self, also_close: Sequence[int] = ()) -> bool:
        """Fork a parent that waits for its pod; False if the system refuses."""
        read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
        try:
            pid = os.fork()
        except OSError:
            os.close(read_fd)
            os.close(write_fd)
            return False
        if pid:
            os.close(read_fd)
            self._ready.append((pid, write_fd))
            return True
        try:
            for fd in (write_fd, self._mountinfo, self._connection.fileno(), *(fd for _, fd in self._ready), *also_close):
                os.close(fd)
            around = parent.Surroundings(self._isolation, self._stage, self._mounts, self._guarded)
            parent.run(read_fd, around, self._notify)
        except BaseException:
            traceback.print_exc(file=sys.stderr)
            sys.stderr.flush()
        finally:
            os._exit(0)

    def _discard_ready(self) -> None:
        for _, fd in self._ready:
            os.close(fd)  # it reads nothing and ends
        self._ready.clear()

    def _read_mounts(self) -> None:
        os.lseek(self._mountinfo, 0, os.SEEK_SET)
        parts: list[bytes] = []
        while part := os.read(self._mountinfo, 1 << 16):
            parts.append(part)
        self._mounts = rootfs.list_data_mounts(b"".join(parts).decode(errors="surrogateescape"))

    def _read(self, size: int) -> bytes:
        parts: list[bytes] = []
        while size:
            part = self._connection.recv(size)
            if not part:
                return b""
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _request(self) -> dict[str, str] | None:
        head = self._read(_HEADER.size)
        if not head:
            return None
        size: int = _HEADER.unpack(head)[0]
        if size > _MAX_FRAME_BYTES:
            return None
        body = self._read(size)
        return json.loads(body) if body else None

    def _answer(self, value: dict[str, object]) -> None:
        body = json.dumps(value).encode()
        self._connection.sendall(_HEADER.pack(len(body)) + body)


def serve(connection_fd: int, notify_fd: int, kind: str, stage: str, *, guarded: bool) -> None:
    """Answer requests `{"id", "directory", "isolation"}` with `{"id", "pid"}` or `{"id", "error"}`; never returns.

    Args:
        connection_fd: a stream socket to the server.
        notify_fd: a datagram socket to the server; parents send a pod's key when its end is recorded.
        kind: `sandbox`: everything started from here has few capabilities at most; or `process`.
        stage: a directory on which each sandbox mounts what it is made of, in its own namespace.
        guarded: pods end with the lease of their server, see `lease`.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the parents
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM))
    connection, notify = socket.socket(fileno=connection_fd), socket.socket(fileno=notify_fd)
    for fd in (connection_fd, notify_fd):
        os.set_inheritable(fd, False)
    os.umask(0o022)
    if kind == "sandbox":
        sc.bound_capabilities()
    gc.collect()
    gc.freeze()
    gc.disable()
    with contextlib.suppress(OSError):  # the server is gone; the parents go on
        _Spawner(connection, notify, stage, guarded=guarded).serve()
    os._exit(0)
