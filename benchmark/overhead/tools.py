"""The tools that are measured. Each runs a shape with so many steps and tells the seconds from start to end."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from benchmark.overhead import shapes
from benchmark.service import MeasurementError, Server, checked, descendants, pss_bytes, venv_program

TIMEOUT_S = 600.0


class Unavailable(Exception):
    """A tool that cannot be had here; the message says why."""


class Tool(Protocol):
    """One tool in one way of running."""

    name: str

    def prepare(self) -> None:
        """Install or find what it needs.

        Raises:
            Unavailable: that is not to be had.
        """
        ...

    def run(self, shape: str, steps: int) -> float:
        """Run and return the seconds.

        Raises:
            MeasurementError: the run failed.
        """
        ...


class Make:
    """GNU make with two jobs; it keeps no state."""

    name = "GNU make"

    def __init__(self, work: Path) -> None:
        """Use a folder of its own."""
        self._work = _fresh(work / "make")

    def prepare(self) -> None:
        """Find make."""
        if not shutil.which("make"):
            raise Unavailable("make is not installed")

    def run(self, shape: str, steps: int) -> float:
        """Run make once."""
        file = self._work / f"{shape}-{steps}.mk"
        file.write_text(shapes.makefile(shape, steps))
        return _timed(["make", "--silent", f"--jobs={shapes.PARALLEL}", f"--file={file}"], self._work)


class Snakemake:
    """Snakemake with two cores; its state is the files that steps leave."""

    name = "Snakemake"

    def __init__(self, work: Path) -> None:
        """Use a folder and a virtual environment of its own."""
        self._work = _fresh(work / "snakemake")
        self._venv = work / "venvs" / "snakemake"

    def prepare(self) -> None:
        """Install it."""
        install(self._venv, "snakemake")

    def run(self, shape: str, steps: int) -> float:
        """Run Snakemake once in an empty folder."""
        folder = _fresh(self._work / f"{shape}-{steps}")
        (folder / "Snakefile").write_text(shapes.snakefile(shape, steps))
        return _timed([str(self._venv / "bin" / "snakemake"), "--quiet", f"--cores={shapes.PARALLEL}"], folder)


class Prefect:
    """Prefect with its own temporary server on SQLite, and two threads."""

    name = "Prefect"

    def __init__(self, work: Path) -> None:
        """Use a folder and a virtual environment of its own."""
        self._work = _fresh(work / "prefect")
        self._venv = work / "venvs" / "prefect"

    def prepare(self) -> None:
        """Install it; newer FastAPI than 0.150 cannot be imported by it."""
        install(self._venv, "prefect", "fastapi<0.150")
        # Its first run ever makes a database.
        self.run(shapes.FAN, 1)

    def run(self, shape: str, steps: int) -> float:
        """Run a flow once."""
        file = self._work / f"{shape}_{steps}.py"
        file.write_text(shapes.prefect_flow(shape, steps))
        environment = {
            "PREFECT_HOME": str(self._work / "home"),
            "PREFECT_LOGGING_LEVEL": "ERROR",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        }
        return _timed([str(self._venv / "bin" / "python"), str(file)], self._work, environment)


class Jitflow:
    """A fresh server for each run; timed from the submission over HTTP to the end of the workflow."""

    def __init__(self, work: Path, executor: str) -> None:
        """Measure one executor."""
        self.name = f"jitflow, {executor}"
        self._executor = executor
        self._work = _fresh(work / f"jitflow-{executor}")
        self._number = 0
        self.ready_s: list[float] = []
        self.server_bytes: list[int] = []
        self.all_bytes: list[int] = []
        """Memory after a run: of the server's process, and with its spawner and rclone."""

    def prepare(self) -> None:
        """Find the command."""
        venv_program("jitflow")

    def run(self, shape: str, steps: int) -> float:
        """Start a server, run one workflow, stop the server."""
        self._number += 1
        images = {"noop:1": {"root": "", "env": {"PATH": "/usr/bin:/bin"}}}
        settings: dict[str, Any] = {"executor": self._executor, "max_pods": shapes.PARALLEL, "images": images}
        server = Server(self._work / f"home-{self._number}", settings)
        self.ready_s.append(server.start())
        try:
            taken = self._submit(server, shape, steps)
            self.server_bytes.append(pss_bytes([server.pid]))
            self.all_bytes.append(pss_bytes([server.pid, *descendants(server.pid)]))
        finally:
            server.stop()
            shutil.rmtree(server.home, ignore_errors=True)
        return taken

    @staticmethod
    def _submit(server: Server, shape: str, steps: int) -> float:
        manifest = shapes.argo(shape, steps)
        # The first call opens the connection: it is not part of the workflow.
        server.get("/api/v1/version")
        began = time.perf_counter()
        answer = checked(server.call("POST", "/api/v1/workflows/default", {"namespace": "default", "workflow": manifest}))
        path = f"/api/v1/workflows/default/{answer['metadata']['name']}"
        while True:
            phase = server.get(path, fields="status.phase").get("status", {}).get("phase")
            taken = time.perf_counter() - began
            if phase == "Succeeded":
                return taken
            if phase in {"Failed", "Error"} or taken > TIMEOUT_S:
                raise MeasurementError(f"the workflow ended as {phase} after {taken:.0f} s; see {server.log}")
            # Looking takes the server's time: not more often than 2 % of what has passed.
            time.sleep(max(0.005, 0.02 * taken))


def all_tools(work: Path) -> list[Tool]:
    """Return every tool, ours first."""
    return [Jitflow(work, "process"), Jitflow(work, "sandbox"), Make(work), Snakemake(work), Prefect(work)]


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder.absolute()


def _timed(command: list[str], folder: Path, environment: dict[str, str] | None = None) -> float:
    log = folder / "run.log"
    with log.open("wb") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=os.environ | (environment or {}),
        )
        try:
            code = process.wait(TIMEOUT_S)
        except BaseException:
            process.kill()
            process.wait()
            raise
        taken = time.perf_counter() - began
    if code:
        raise MeasurementError(f"{command[0]} ended with {code}:\n{log.read_text(errors='replace')[-800:]}")
    return taken


def install(venv: Path, *packages: str) -> None:
    """Make a virtual environment with some packages, unless it is there.

    Raises:
        Unavailable: they cannot be had.
    """
    mark = venv / ".installed"
    wanted = "\n".join(packages)
    if mark.exists() and mark.read_text() == wanted:
        return
    uv = venv_program("uv")
    steps: list[Callable[[], list[str]]] = [
        lambda: [uv, "venv", "--quiet", "--clear", str(venv)],
        lambda: [uv, "pip", "install", "--quiet", f"--python={venv / 'bin' / 'python'}", *packages],
    ]
    for step in steps:
        try:
            subprocess.run(step(), check=True, capture_output=True, text=True, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL)
        except (OSError, subprocess.SubprocessError) as error:
            told = getattr(error, "stderr", "") or str(error)
            raise Unavailable(f"{packages[0]} cannot be installed: {str(told).strip()[-300:]}") from error
    with contextlib.suppress(OSError):
        mark.write_text(wanted)
