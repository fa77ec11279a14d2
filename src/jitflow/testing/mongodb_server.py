"""A MongoDB server for tests: `mongod` where there is one, else SecantusDB, which speaks its protocol over WiredTiger.

SecantusDB is good enough for what a store relies on (single-document updates, unique indexes, bulk writes, transactions); it is
not `mongod`. Either is the only member of a replica set, unless it is asked to stand alone.
"""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

_START_S = 120.0
SECANTUSD = "JITFLOW_SECANTUSD"
"""Environment variable: the path of `secantusd-py`, if it is not on the PATH."""
RUNNING = "JITFLOW_TEST_MONGODB"
"""Environment variable: the URL of a server that runs already, for tests that need not stop it."""


def find_program() -> str:
    """Return the program of a server, empty if there is none on this machine."""
    beside = Path(sys.executable).parent / "secantusd-py"
    known = (shutil.which("mongod"), os.environ.get(SECANTUSD), shutil.which("secantusd-py"), str(beside))
    return next((program for program in known if program and Path(program).exists()), "")


class MongodbServer:
    """Starts, stops and kills a server."""

    def __init__(self, program: str, *, alone: bool = False) -> None:
        """Choose a port and a directory; nothing is started. `alone`: it is no member of a replica set."""
        self._program = program
        self._alone = alone
        self._root = Path(tempfile.mkdtemp(prefix="jitflow-mongodb-"))
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = int(found.getsockname()[1])

    @property
    def name(self) -> str:
        """What it is: `mongod` or `secantusd-py`."""
        return Path(self._program).name

    def start(self) -> None:
        """Start it and wait until it answers."""
        data = self._root / "data"
        data.mkdir(exist_ok=True)
        place = ["--dbpath", str(data), "--bind_ip", "127.0.0.1"]
        if self.name != "mongod":
            place = ["--storage-path", str(data), "--host", "127.0.0.1", "--log-level", "WARNING", "--sync-on-commit"]
            place += ["--standalone"] if self._alone else []
        elif not self._alone:
            place += ["--replSet", "rs0"]
        with (self._root / "log").open("ab") as log:
            command = [self._program, "--port", str(self.port), *place]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._root)
        deadline = time.monotonic() + _START_S
        client: MongoClient[dict[str, Any]]
        at = f"mongodb://127.0.0.1:{self.port}/"
        with MongoClient(at, serverSelectionTimeoutMS=200, directConnection=True) as client:
            while True:
                try:
                    if self._is_ready(client):
                        return
                    time.sleep(0.1)
                except PyMongoError:
                    if time.monotonic() > deadline or self._process.poll() is not None:
                        raise RuntimeError(self._why()) from None

    def _is_ready(self, client: "MongoClient[dict[str, Any]]") -> bool:
        """Return whether it takes writes; one that is to have a replica set and has none yet is given it."""
        hello = client.admin.command("hello")
        if self.name == "mongod" and not self._alone and "setName" not in hello:
            member = {"_id": 0, "host": f"127.0.0.1:{self.port}"}
            client.admin.command("replSetInitiate", {"_id": "rs0", "members": [member]})
            return False
        return bool(hello["isWritablePrimary"])

    def _why(self) -> str:
        assert self._process is not None
        ended = self._process.poll()
        said = f"does not answer within {_START_S:g} s" if ended is None else f"ended with {ended}"
        return f"{self.name} {said}; its log: {(self._root / 'log').read_text()[-2000:]}"

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop it, with SIGKILL as in a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def new_database(self) -> str:
        """Return the URL of a database that is empty."""
        return _new_database(f"mongodb://127.0.0.1:{self.port}")

    def close(self) -> None:
        """Stop it and remove all it has written."""
        self.stop(signal.SIGKILL)
        shutil.rmtree(self._root, ignore_errors=True)


class RunningServer:
    """A server that runs already: it is neither started nor stopped here."""

    def __init__(self, url: str) -> None:
        """Name it, as `mongodb://host:port`."""
        self._url = url

    def new_database(self) -> str:
        """Return the URL of a database that is empty."""
        return _new_database(self._url)


def _new_database(url: str) -> str:
    return f"{url.rstrip('/')}/t{secrets.token_hex(6)}"


@contextlib.contextmanager
def mongodb_server(*, alone: bool = False) -> Iterator[MongodbServer]:
    """Run a server for the time of the context, with a replica set or `alone`.

    Raises:
        FileNotFoundError: there is none on this machine.
    """
    program = find_program()
    if not program:
        raise FileNotFoundError("there is no MongoDB here: install mongod, or SecantusDB (pip install secantusdb)")
    server = MongodbServer(program, alone=alone)
    try:
        server.start()
        yield server
    finally:
        server.close()


def has_transactions(url: str) -> bool:
    """Return whether a server is a member of a replica set."""
    client: MongoClient[dict[str, Any]]
    with MongoClient(url) as client:
        return "setName" in client.admin.command("hello")


def is_there() -> bool:
    """Return whether tests can have a server here: one that runs already, or one of their own."""
    return bool(os.environ.get(RUNNING) or find_program())


@contextlib.contextmanager
def any_server() -> Iterator[MongodbServer | RunningServer]:
    """Lend the server that runs already, else run one for the time of the context.

    Raises:
        FileNotFoundError: there is none on this machine.
    """
    if url := os.environ.get(RUNNING):
        yield RunningServer(url)
    else:
        with mongodb_server() as server:
            yield server
