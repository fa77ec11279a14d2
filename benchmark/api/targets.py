"""The servers that are measured, each a process of its own: the bare endpoint, jitflow, Prefect."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Protocol

import httpx
from msgspec import Struct

from benchmark.overhead.tools import Unavailable, install
from benchmark.service import MeasurementError, Server, free_port, pss_bytes

NAMESPACE = "default"
COUNT = "@COUNT@@"
"""Stands for the number of a request, see `benchmark.api.load`."""
MANIFEST = {
    "metadata": {"generateName": "w-"},
    "spec": {
        "suspend": True,
        "entrypoint": "main",
        "arguments": {"parameters": [{"name": "run", "value": "1"}]},
        "templates": [{"name": "main", "container": {"image": "noop:1", "command": ["echo", "{{workflow.parameters.run}}"]}}],
    },
}
"""A workflow that is checked, stored and begun, and then waits for `resume`: what its step costs is not measured here."""


class Call(Struct, frozen=True, kw_only=True):
    """A request. `verb`: what it is compared with."""

    name: str
    verb: str
    method: str
    path: str
    body: bytes = b""


class Target(Protocol):
    """A server with the calls that are measured."""

    name: str
    port: int
    token: str

    def start(self) -> float:
        """Start it; return after how many seconds it answered.

        Raises:
            Unavailable: it cannot be had here. MeasurementError: it does not come up.
        """
        ...

    def calls(self) -> list[Call]:
        """Return what is measured."""
        ...

    def usage(self) -> tuple[float, int]:
        """Return the seconds of CPU and the bytes of memory of its process."""
        ...

    def stored(self) -> int | None:
        """End it with SIGKILL; return how many submissions its file holds, None if that is not looked at."""
        ...


class Process:
    """A server that is one command. Subclasses say which, and how it is asked."""

    name = ""

    def __init__(self, work: Path) -> None:
        """Use a folder that is empty."""
        self.work = work / self.name.lower().replace(" ", "-")
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        self.port = free_port()
        self.token = ""
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """Return the command line."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """Return what the command needs around it."""
        return {}

    def answers(self, client: httpx.Client) -> bool:
        """Return whether it serves."""
        return client.get("/").status_code < 500

    def start(self) -> float:
        """Start it (see `Target`)."""
        began = time.perf_counter()
        log = self.work / "log"
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                self.command(), env=os.environ | self.environment(), stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                start_new_session=True,
            )  # fmt: skip
        with httpx.Client(base_url=f"http://127.0.0.1:{self.port}", trust_env=False, timeout=5) as client:
            while time.perf_counter() - began < 120 and self._process.poll() is None:
                try:
                    if self.answers(client):
                        return time.perf_counter() - began
                except httpx.HTTPError:
                    time.sleep(0.05)
        raise MeasurementError(f"{self.name} did not come up:\n{log.read_text(errors='replace')[-1000:]}")

    def usage(self) -> tuple[float, int]:
        """Return CPU and memory (see `Target`)."""
        assert self._process, "not started"
        return usage_of(self._process.pid)

    def kill(self) -> None:
        """End it and what it has started."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)
            self._process = None


class Bare(Process):
    """Starlette and one SQLite row for each submission (`benchmark.api.bare`)."""

    name = "bare endpoint"

    def command(self) -> list[str]:
        """Return the command line."""
        return [sys.executable, "-m", "benchmark.api.bare", str(self.work / "bare.db"), str(self.port)]

    def calls(self) -> list[Call]:
        """Return what is measured: the body of jitflow's submission is stored as it is."""
        body = json.dumps({"workflow": MANIFEST}).encode()
        answer = httpx.post(f"http://127.0.0.1:{self.port}/runs", content=body, trust_env=False).json()
        return [
            Call(name="submit", verb="submit", method="POST", path="/runs", body=body),
            Call(name="status", verb="status", method="GET", path=f"/runs/{answer['id']}"),
        ]

    def stored(self) -> int:
        """Return how many rows there are (see `Target`)."""
        self.kill()
        return rows_of(self.work / "bare.db", "run")


class Jitflow:
    """`jitflow server`, with its token and all that stands before and behind a request."""

    name = "jitflow"

    def __init__(self, work: Path) -> None:
        """Use a home that is empty."""
        shutil.rmtree(work / "jitflow", ignore_errors=True)
        settings = {"executor": "process", "max_pods": 2, "log_level": "warning"}
        self._server = Server(work / "jitflow" / "home", settings)
        self.port = self._server.port
        self.token = ""

    def start(self) -> float:
        """Start it (see `Target`)."""
        took = self._server.start()
        self.token = (self._server.home / "token").read_text().strip()
        return took

    def calls(self) -> list[Call]:
        """Return what is measured: one manifest over and over, another parameter each time, the status whole and in part."""
        path = f"/api/v1/workflows/{NAMESPACE}"
        spec = MANIFEST["spec"] | {"arguments": {"parameters": [{"name": "run", "value": COUNT}]}}
        one = self._server.call("POST", path, {"workflow": MANIFEST}).json()["metadata"]["name"]
        part = "fields=metadata.name,status.phase,status.progress"
        return [
            Call(name="submit", verb="submit", method="POST", path=path, body=json.dumps({"workflow": MANIFEST}).encode()),
            Call(
                name="submit, another parameter each",
                verb="submit",
                method="POST",
                path=path,
                body=json.dumps({"workflow": MANIFEST | {"spec": spec}}).encode(),
            ),
            Call(name="status", verb="status", method="GET", path=f"{path}/{one}"),
            Call(name="status, some fields", verb="status", method="GET", path=f"{path}/{one}?{part}"),
        ]

    def usage(self) -> tuple[float, int]:
        """Return CPU and memory (see `Target`)."""
        return usage_of(self._server.pid)

    def stored(self) -> int:
        """Return how many workflows there are (see `Target`)."""
        self._server.kill()
        return rows_of(next(self._server.home.rglob("*.db")), "runs")


class Prefect(Process):
    """Prefect's server on SQLite: a flow run is recorded, nothing runs it."""

    name = "Prefect"

    def __init__(self, work: Path) -> None:
        """Use a virtual environment of its own, kept from one measurement to the next."""
        super().__init__(work)
        self._venv = work.parent / "venvs" / "prefect"

    def start(self) -> float:
        """Install it if it is not there, make its database, and start it."""
        install(self._venv, "prefect<3.9", "fastapi<0.150")
        self._prefect("server", "database", "upgrade", "-y")
        return super().start()

    def _prefect(self, *arguments: str) -> None:
        command = [str(self._venv / "bin" / "prefect"), *arguments]
        done = subprocess.run(
            command, env=os.environ | self.environment(), capture_output=True, text=True, timeout=300, check=False
        )
        if done.returncode:
            raise Unavailable(f"prefect {' '.join(arguments)} failed: {(done.stderr or done.stdout)[-300:]}")

    def command(self) -> list[str]:
        """Return the command line."""
        address = ["--host", "127.0.0.1", "--port", str(self.port)]
        return [str(self._venv / "bin" / "prefect"), "server", "start", "--no-ui", *address]

    def environment(self) -> dict[str, str]:
        """Return its home and that it calls nobody."""
        return {
            "PREFECT_HOME": str(self.work / "home"),
            "PREFECT_LOGGING_LEVEL": "ERROR",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "PATH": f"{self._venv / 'bin'}:{os.environ.get('PATH', '')}",
        }

    def answers(self, client: httpx.Client) -> bool:
        """Return whether it serves."""
        return client.get("/api/health").status_code == 200

    def calls(self) -> list[Call]:
        """Return what is measured."""
        base = f"http://127.0.0.1:{self.port}/api"
        flow = _made(f"{base}/flows/", {"name": "bench"})
        wish = {"flow_id": flow, "state": {"type": "PENDING"}}
        run, body = _made(f"{base}/flow_runs/", wish), json.dumps(wish).encode()
        return [
            Call(name="create run", verb="submit", method="POST", path="/api/flow_runs/", body=body),
            Call(name="read run", verb="status", method="GET", path=f"/api/flow_runs/{run}"),
        ]

    def stored(self) -> None:
        """End it."""
        self.kill()


def _made(url: str, body: dict[str, Any]) -> str:
    """Return the id of what a POST makes; while its database is busy with something else, Prefect answers 503."""
    until = time.perf_counter() + 20
    while True:
        answer = httpx.post(url, json=body, trust_env=False, timeout=30)
        if answer.is_success:
            return answer.json()["id"]
        if time.perf_counter() > until:
            raise MeasurementError(f"{url}: {answer.status_code} {answer.text[:300]}")
        time.sleep(0.2)


def usage_of(pid: int) -> tuple[float, int]:
    """Return a process's seconds of CPU and its bytes of memory."""
    values = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(values[11]) + int(values[12])) / os.sysconf("SC_CLK_TCK"), pss_bytes([pid])


def rows_of(path: Path, table: str) -> int:
    """Return how many rows a table has, after its server was killed."""
    with sqlite3.connect(path) as database:
        return int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def describe(call: Call) -> dict[str, Any]:
    """Return a call for the results file."""
    return {"name": call.name, "method": call.method, "path": call.path, "body_bytes": len(call.body)}
