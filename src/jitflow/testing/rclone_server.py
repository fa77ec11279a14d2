"""A real `rclone rcd` that is started apart from jitflow, as an operator would: with TLS, with a user, on a port of 127.0.0.1."""

import os
import secrets
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from jitflow.storage.binary import clean_environment, find_rclone, with_parent

READY_WAIT_S = 20.0
STOP_WAIT_S = 5.0


class RcloneServer:
    """`with RcloneServer(folder) as server: server.url`. It can be killed and started again at the same port.

    It ends with the process (and the thread) that started it, however that ends.
    """

    def __init__(
        self,
        folder: Path,
        *,
        certificate: tuple[Path, Path] | None = None,
        objects: bool = True,
        config: str = "",
        base: str = "",
    ) -> None:
        """Remember how to start it.

        Args:
            folder: where its log is.
            certificate: the PEM files of a certificate and its key; without them it speaks plain HTTP.
            objects: whether it gives objects (`--rc-serve`).
            config: its configuration file; empty: it has none.
            base: what the paths of its API begin with.
        """
        self.user, self.password = f"user-{secrets.token_hex(4)}", secrets.token_urlsafe(16)
        self.port = _free_port()
        self.log = folder / "rclone.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._base = base
        self._flags = ["--rc-serve"] if objects else []
        self._flags += ["--config", config]
        self._scheme = "http"
        if base:
            self._flags += ["--rc-baseurl", base]
        if certificate is not None:
            self._scheme = "https"
            self._flags += ["--rc-cert", str(certificate[0]), "--rc-key", str(certificate[1])]

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop."""
        self.kill()

    @property
    def url(self) -> str:
        """Return where it listens."""
        return f"{self._scheme}://127.0.0.1:{self.port}" + (f"/{self._base}" if self._base else "")

    @property
    def pid(self) -> int:
        """Return its process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and return when it listens.

        Raises:
            RuntimeError: it has ended, or does not listen.
        """
        command = [str(find_rclone()), "rcd", "--rc-addr", f"127.0.0.1:{self.port}", *self._flags]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                with_parent(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=clean_environment({"RCLONE_RC_USER": self.user, "RCLONE_RC_PASS": self.password}),
            )
        limit = time.monotonic() + READY_WAIT_S
        while not _listens(self.port):
            if self._process.poll() is not None or time.monotonic() > limit:
                self.kill()
                raise RuntimeError(f"rclone rcd does not listen at {self.url}: {self.log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.02)

    def kill(self) -> None:
        """End it at once, whatever it does."""
        if self._process is not None and self._process.poll() is None:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait(STOP_WAIT_S)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
