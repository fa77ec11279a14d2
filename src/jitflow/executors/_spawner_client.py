"""The server's side of the spawner: start it, ask it for parents, start it again when it is gone."""

import asyncio
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from jitflow.ports.errors import Broken, Busy

_HEADER = struct.Struct("!I")
_PROGRAM = Path(__file__).with_name("_spawner")


class SpawnerGone(Exception):
    """The spawner ended before it answered."""


class SpawnerClient:
    """One spawner process and the requests that wait for its answer.

    Args:
        home: the executor's directory; what the spawner and the parents print when they fail themselves is appended
            to `spawner.log` there, and `mnt` is where sandboxes are staged.
        kind: what is started: pods in a sandbox, or plain processes.
        on_word: called with a pod's key when its end is recorded, with `+` before it when it has news; some are not told.
        guarded: pods end with the lease that the file `lease` of the directory tells of.
    """

    def __init__(
        self, home: Path, kind: Literal["sandbox", "process"], on_word: Callable[[str], None], *, guarded: bool = False
    ) -> None:
        self._guarded = guarded
        self._home = home
        self._kind = kind
        self._on_word = on_word
        self._notified: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._received = bytearray()
        self._waiting: dict[int, tuple[asyncio.Future[int], Callable[[int], None]]] = {}
        self._next_id = 0
        self._unsent = bytearray()

    @property
    def pid(self) -> int | None:
        """The spawner's pid while it runs."""
        return self._process.pid if self._process is not None else None

    def open(self) -> None:
        """Start the spawner; returns at once, requests wait until it is up."""
        ours, theirs = socket.socketpair()
        notified, notify = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with theirs, notify, (self._home / "spawner.log").open("ab") as errors:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", "-X", "utf8", str(_PROGRAM)),
                    *(str(theirs.fileno()), str(notify.fileno()), self._kind, str(self._home / "mnt")),
                    "guarded" if self._guarded else "",
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                pass_fds=(theirs.fileno(), notify.fileno()),
                start_new_session=True,
                env={"PATH": os.defpath},
                cwd="/",
            )
        ours.setblocking(False)
        notified.setblocking(False)
        self._socket, self._notified = ours, notified
        asyncio.get_running_loop().add_reader(notified, self._on_notified)
        asyncio.get_running_loop().add_reader(ours, self._on_readable)

    async def spawn(self, directory: Path, isolation: str, late: Callable[[int], None]) -> int:
        """Start a parent for the pod of this directory and return its pid.

        Args:
            directory: the pod's directory, with `pod.json`.
            isolation: `privileged` or `user` namespaces, or empty.
            late: called with the pid if the caller was cancelled before the answer came.

        Raises:
            SpawnerGone: the spawner died meanwhile; whether the parent runs is told by the directory.
            Busy: the system refuses another process.
        """
        if self._socket is None:
            self.open()
        assert self._socket is not None
        self._next_id += 1
        number = self._next_id
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[number] = (future, late)
        body = msgspec.json.encode({"id": number, "directory": str(directory), "isolation": isolation})
        self._unsent += _HEADER.pack(len(body)) + body
        self._send()
        return await future

    def close(self) -> None:
        """Let the spawner end; parents go on."""
        self._drop(SpawnerGone("the executor is closed"))

    def _send(self) -> None:
        connection, loop = self._socket, asyncio.get_running_loop()
        if connection is None:
            return
        try:
            sent = connection.send(self._unsent)
            del self._unsent[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._drop(SpawnerGone("the spawner is gone"))
            return
        if self._unsent:
            loop.add_writer(connection, self._send)
        else:
            loop.remove_writer(connection)

    def _on_readable(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(SpawnerGone("the spawner is gone"))
            return
        self._received += data
        while len(self._received) >= _HEADER.size:
            end = _HEADER.size + _HEADER.unpack_from(self._received)[0]
            if len(self._received) < end:
                break
            answer = msgspec.json.decode(bytes(self._received[_HEADER.size : end]))
            del self._received[:end]
            self._settle(answer)

    def _on_notified(self) -> None:
        for _ in range(64):
            try:
                key = self._notified.recv(4096) if self._notified is not None else b""
            except OSError:
                return  # nothing more
            if not key:
                return
            self._on_word(key.decode())

    def _settle(self, answer: dict[str, int | str]) -> None:
        future, late = self._waiting.pop(int(answer["id"]))
        if "pid" in answer and future.done():
            late(int(answer["pid"]))
        elif "pid" in answer:
            future.set_result(int(answer["pid"]))
        elif not future.done():
            future.set_exception(Busy(f"no process for the pod: {answer.get('error', 'unknown')}"))

    def _drop(self, error: SpawnerGone) -> None:
        """Forget the spawner; everybody who waits for it learns why."""
        if self._socket is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._socket)
            loop.remove_writer(self._socket)
            self._socket.close()
            self._socket = None
        if self._notified is not None:
            asyncio.get_running_loop().remove_reader(self._notified)
            self._notified.close()
            self._notified = None
        if self._process is not None:
            try:
                self._process.wait(timeout=5)  # it ends at once when its socket closes
            except subprocess.TimeoutExpired as expired:
                self._process.kill()
                self._process.wait()
                raise Broken("the spawner did not end when it was told to") from expired
            finally:
                self._process = None
        self._received.clear()
        self._unsent.clear()
        waiting, self._waiting = self._waiting, {}
        for future, _ in waiting.values():
            if not future.done():
                future.set_exception(error)
