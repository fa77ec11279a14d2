"""A real PostgreSQL server for tests, in a directory of its own."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

_START_S = 30.0


def find_programs() -> Path | None:
    """Return the directory with `postgres` and `initdb`, None if there is none on this machine."""
    for program in ("postgres", "initdb"):
        found = shutil.which(program)
        if found and (Path(found).resolve().parent / "initdb").exists():
            return Path(found).resolve().parent
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda place: int(place.parent.name), reverse=True)
    return next((place for place in places if (place / "initdb").exists()), None)


class PostgresqlServer:
    """Starts, stops and kills a server; `durable` without its shortcuts for tests."""

    def __init__(self, programs: Path, *, durable: bool = False) -> None:
        """Make a cluster; nothing is started."""
        self._programs = programs
        self._root = Path(tempfile.mkdtemp(prefix="jitflow-postgresql-"))
        # PostgreSQL refuses to run as root.
        self._user: str | None = "postgres" if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(self._root, self._user, self._user)
        self._process: subprocess.Popen[bytes] | None = None
        self._options = [] if durable else ["-c", "fsync=off", "-c", "full_page_writes=off"]
        self.port = _free_port()
        self._call(
            "initdb", "--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "-D", self._data
        )

    @property
    def _data(self) -> str:
        return str(self._root / "data")

    @property
    def url(self) -> str:
        """The URL of its first database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def _call(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd=self._root, user=self._user, group=self._user)

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        sockets = ["-c", f"unix_socket_directories={self._root}", "-c", "listen_addresses=127.0.0.1", "-p", str(self.port)]
        command = [str(self._programs / "postgres"), "-D", self._data, *sockets, *self._options]
        with (self._root / "log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._root, user=self._user, group=self._user)
        self._process = process
        deadline = time.monotonic() + _START_S
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
            except psycopg.OperationalError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise RuntimeError((self._root / "log").read_text()) from None
                time.sleep(0.05)
            else:
                return

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT cuts all connections, SIGQUIT is like a crash, SIGKILL is one."""
        if self._process is None:
            return
        children = _children(self._process.pid)
        self._process.send_signal(how)
        self._process.wait(30)
        self._process = None
        for child in children:
            _wait_gone(child)

    def new_schema(self) -> str:
        """Make an empty schema and return the URL that leads to it."""
        name = f"t{secrets.token_hex(6)}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}".encode())
        return f"{self.url}?options=-csearch_path%3D{name}"

    def close(self) -> None:
        """Stop it and remove all it has written."""
        self.stop()
        shutil.rmtree(self._root, ignore_errors=True)


@contextlib.contextmanager
def postgresql_server(*, durable: bool = False) -> Iterator[PostgresqlServer]:
    """Run a server for the time of the context.

    Raises:
        FileNotFoundError: there is no PostgreSQL on this machine.
    """
    programs = find_programs()
    if programs is None:
        raise FileNotFoundError("there is no PostgreSQL here: apt-get install postgresql")
    server = PostgresqlServer(programs, durable=durable)
    try:
        server.start()
        yield server
    finally:
        server.close()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _wait_gone(pid: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _lives(pid):
        time.sleep(0.01)


def _lives(pid: int) -> bool:
    """Return whether a process runs; one that has ended may wait for long for a parent that does not ask."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except OSError:
        return False
