"""A real S3 server for tests and demonstrations: `rclone serve s3` over a directory, on a free port of 127.0.0.1."""

import os
import secrets
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from jitflow.storage.binary import clean_environment, find_rclone, with_parent
from jitflow.storage.remotes import RemoteConfig

READY_WAIT_S = 20.0
STOP_WAIT_S = 5.0


class S3Server:
    """`with S3Server(directory) as server: server.remote("far")`. Each directory below `root` is a bucket.

    The server ends with the process (and the thread) that started it, however that ends. Files that are put into the
    directory behind its back are seen after `DIRECTORY_CACHE_S`.
    """

    DIRECTORY_CACHE_S = 0.1

    def __init__(
        self,
        root: Path,
        *,
        port: int = 0,
        program: str = "",
        key_id: str = "",
        secret: str = "",
        hash_cache: Path | None = None,
    ) -> None:
        """Remember what to serve; without credentials random ones are made.

        `hash_cache`: a directory where the hashes of objects are kept. Without it all objects of a folder are read and hashed
        again for each answer, which costs what no real store needs: name one where time is measured over large objects.
        """
        self.root = root
        self._hash_cache = hash_cache
        self.key_id = key_id or f"AK{secrets.token_hex(8).upper()}"
        self.secret = secret or secrets.token_hex(20)
        self.port = port
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    def __enter__(self) -> Self:
        """Start, and wait until it answers."""
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop."""
        self.stop()

    @property
    def endpoint(self) -> str:
        """Return the server's URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Return the server's process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start, and return when it answers.

        Raises:
            RuntimeError: it ended or does not answer; its log is in the message.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        self.port = self.port or _free_port()
        if _answers(self.endpoint):
            raise RuntimeError(f"{self.endpoint} is in use by another server")
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop
        command = [
            str(find_rclone(self._program)), "serve", "s3", self._served(), "--addr", f"127.0.0.1:{self.port}", "--config", "",
            "--vfs-cache-mode", "off", "--dir-cache-time", f"{self.DIRECTORY_CACHE_S}s", "--poll-interval", "0",
            "--log-level", "ERROR",
        ]  # fmt: skip
        if self._hash_cache:
            command += ["--cache-dir", str(self._hash_cache)]
        self._process = subprocess.Popen(
            with_parent(command),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
            env=clean_environment({"RCLONE_AUTH_KEY": f'"{self.key_id},{self.secret}"'}),
        )
        limit = time.monotonic() + READY_WAIT_S
        while not _answers(self.endpoint):
            if self._process.poll() is not None or time.monotonic() > limit:
                said = self.log()
                self.stop()
                raise RuntimeError(f"rclone serve s3 does not answer at {self.endpoint}: {said or 'it said nothing'}")
            time.sleep(0.02)

    def _served(self) -> str:
        """Return what rclone is to serve."""
        if self._hash_cache is None:
            return str(self.root)
        quoted = str(self.root.absolute()).replace("'", "''")
        return f":hasher,remote='{quoted}',hashes=md5,max_age=off:"

    def stop(self) -> None:
        """Stop; once stopped it can be started again at the same port."""
        if self._process and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_WAIT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._log:
            self._log.close()
            self._log = None

    def log(self) -> str:
        """Return what the server has said so far."""
        if self._log is None:
            return ""
        return os.pread(self._log.fileno(), 2**20, 0).decode(errors="replace").strip()

    def remote(self, name: str, *, endpoint: str = "") -> RemoteConfig:
        """Return a remote for this server, through another `endpoint` (a slow link) if one is given."""
        return self._remote(name, endpoint or self.endpoint, self.secret)

    def wrong_remote(self, name: str, *, endpoint: str = "") -> RemoteConfig:
        """Return a remote for this server with a secret that is not right."""
        return self._remote(name, endpoint or self.endpoint, "wrong" + self.secret[:-5])

    def options(self, *, endpoint: str = "") -> dict[str, str]:
        """Return the options of a remote for this server."""
        return dict(self.remote("s3", endpoint=endpoint).options)

    def _remote(self, name: str, endpoint: str, secret: str) -> RemoteConfig:
        options = {
            "provider": "Rclone",
            "endpoint": endpoint,
            "access_key_id": self.key_id,
            "secret_access_key": secret,
            "force_path_style": "true",
        }
        return RemoteConfig(name=name, type="s3", options=options, secrets=frozenset({"secret_access_key"}))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=2):
            return True
    except HTTPError as error:
        error.close()
        return True
    except (URLError, OSError):
        return False
