"""A jitflow server, and the processes around it, as separate processes that a measurement starts and ends."""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

_PR_SET_CHILD_SUBREAPER = 36


class MeasurementError(Exception):
    """A measurement that cannot be made; the message is for people."""


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def toml(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> str:
    """Return a settings tree as TOML."""
    lines: list[str] = []
    tables = {key: value for key, value in tree.items() if isinstance(value, dict)}
    if path and (len(tables) < len(tree) or not tree):
        lines.append("[" + ".".join(json.dumps(part) for part in path) + "]")
    # A JSON string, number, boolean or list of strings is TOML too.
    lines += [f"{json.dumps(key)} = {json.dumps(value)}" for key, value in tree.items() if key not in tables]
    return "\n".join(lines) + "\n" + "".join(toml(value, (*path, key)) for key, value in tables.items())


def venv_program(name: str) -> str:
    """Return a program beside the running interpreter.

    Raises:
        MeasurementError: it is not installed.
    """
    path = Path(sys.executable).with_name(name)
    if not path.exists():
        raise MeasurementError(f"{path} is missing: run this through `make`")
    return str(path)


class Server:
    """One `jitflow server` with a data home and settings of its own. Use as a context manager."""

    def __init__(self, home: Path, settings: dict[str, Any]) -> None:
        """Write the settings; nothing runs yet."""
        self.home = home.absolute()
        self.home.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        tree: dict[str, Any] = {"home": str(self.home)} | settings
        tree["server"] = {"host": "127.0.0.1", "port": self.port} | tree.get("server", {})
        self.config = self.home.parent / f"{self.home.name}.toml"
        self.config.write_text(toml(tree))
        self.config.chmod(0o600)
        self.log = self.home.parent / f"{self.home.name}.log"
        self.wrapper: list[str] = []
        """What the server's command line is put behind, for example to give it a mount namespace."""
        self.arguments: list[str] = []
        """What follows `jitflow server`."""
        self.log.unlink(missing_ok=True)
        self._process: subprocess.Popen[bytes] | None = None
        self._http: httpx.Client | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What the command line needs to reach this server."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("JITFLOW_")}
        return kept | {"JITFLOW_CONFIG": str(self.config)}

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process, "not started"
        return self._process.pid

    def start(self, *, timeout_s: float = 30.0) -> float:
        """Start it and return after how many seconds it answered.

        Raises:
            MeasurementError: it ended or did not answer in time; the message holds the end of its log.
        """
        began = time.perf_counter()
        self.spawn()
        if self.answers_within(timeout_s):
            return time.perf_counter() - began
        tail = self.log.read_text(errors="replace")[-2000:]
        self.kill()
        raise MeasurementError(f"`jitflow server` did not come up; the end of {self.log}:\n{tail}")

    def spawn(self) -> None:
        """Start it, and do not wait for it."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self.wrapper, venv_program("jitflow"), "server", *self.arguments],
                env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def answers_within(self, timeout_s: float) -> bool:
        """Wait until it answers; False: it has ended, or did not answer in time."""
        until = time.perf_counter() + timeout_s
        with httpx.Client(trust_env=False) as probe:
            while time.perf_counter() < until and self._process is not None and self._process.poll() is None:
                try:
                    if probe.get(f"http://127.0.0.1:{self.port}/healthz", timeout=2).status_code < 500:
                        return True
                except httpx.HTTPError:
                    time.sleep(0.02)
        return False

    @property
    def token(self) -> str:
        """The server's own token."""
        return (self.home / "token").read_text().strip().removeprefix("Bearer ")

    def wait_ended(self, timeout_s: float) -> int:
        """Return the exit code of a server that was told to end.

        Raises:
            subprocess.TimeoutExpired: it has not ended in time.
        """
        assert self._process, "not started"
        code = self._process.wait(timeout_s)
        self._end(signal.SIGTERM, timeout_s)
        return code

    def kill(self) -> None:
        """End it with SIGKILL, as a power cut would."""
        self._end(signal.SIGKILL, 10)

    def stop(self, *, timeout_s: float = 40.0) -> None:
        """Ask it to end; SIGKILL if it does not."""
        self._end(signal.SIGTERM, timeout_s)

    def _end(self, number: int, timeout_s: float) -> None:
        if self._http:
            self._http.close()
            self._http = None
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._process = None

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop it."""
        self.stop()

    def call(self, method: str, path: str, body: Any = None, **params: Any) -> httpx.Response:
        """Send one request with the server's token.

        Raises:
            MeasurementError: the server is gone. httpx.HTTPError: it does not answer.
        """
        try:
            return self._client().request(method, path, json=body, params=params or None)
        except httpx.ConnectError as error:
            ended = self._process.poll() if self._process else "not started"
            raise MeasurementError(f"the server cannot be reached (exit code {ended}); its log: {self.log}") from error

    def post_text(self, path: str, text: str) -> httpx.Response:
        """Send a text as the body of a POST."""
        return self._client().post(path, content=text, headers={"Content-Type": "application/yaml"})

    @contextmanager
    def events(self, path: str, **params: Any) -> Iterator[Iterator[dict[str, Any]]]:
        """Open a stream of events and yield what it tells, one document after the other, for as long as the block lasts."""
        headers = {"Accept": "text/event-stream"}
        with self._client().stream("GET", path, params=params, headers=headers) as response:
            if response.is_error:
                response.read()
                checked(response)
            yield (json.loads(line.removeprefix("data:"))["result"] for line in response.iter_lines() if line.startswith("data:"))

    def _client(self) -> httpx.Client:
        if self._http is None:
            self._http = httpx.Client(
                base_url=f"http://127.0.0.1:{self.port}", trust_env=False, timeout=60,
                headers={"Authorization": f"Bearer {self.token}"},
            )  # fmt: skip
        return self._http

    def get(self, path: str, **params: Any) -> Any:
        """Return the JSON answer of a GET.

        Raises:
            MeasurementError: the server answered with an error.
        """
        return checked(self.call("GET", path, **params))


def checked(response: httpx.Response) -> Any:
    """Return the JSON of an answer.

    Raises:
        MeasurementError: it is an error.
    """
    if response.is_error:
        raise MeasurementError(
            f"{response.request.method} {response.request.url.path}: {response.status_code} {response.text[:1000]}"
        )
    return response.json()


@contextmanager
def background(command: list[str], log: Path, *, port: int, environment: dict[str, str] | None = None) -> Iterator[int]:
    """Run a helper process that listens at a port, yield its id, and end it.

    Raises:
        MeasurementError: it does not listen within ten seconds.
    """
    with log.open("ab") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True,
            env=os.environ | (environment or {}),
        )  # fmt: skip
    try:
        _await_port(process, port, log, command)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def _await_port(process: subprocess.Popen[bytes], port: int, log: Path, command: list[str]) -> None:
    until = time.monotonic() + 10
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise MeasurementError(f"{' '.join(command[:4])} … does not listen; see {log}:\n{log.read_text(errors='replace')[-1000:]}")


@contextmanager
def no_orphans() -> Iterator[None]:
    """End every process that was started below, however deep, when the block is left: pods outlive a killed server by design."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # TERM is as good a reason to clean up as Ctrl-C.
    before = signal.signal(signal.SIGTERM, _interrupted)
    try:
        yield
    finally:
        _end_descendants()
        signal.signal(signal.SIGTERM, before)


def _interrupted(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _end_descendants() -> None:
    until = time.monotonic() + 10
    while (pids := descendants(os.getpid())) and time.monotonic() < until:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        _reap()
        time.sleep(0.02)


def _reap() -> None:
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return
        except ChildProcessError:
            return


def descendants(root: int) -> list[int]:
    """Return the ids of all processes below one, itself left out."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            stat = Path("/proc", entry, "stat").read_text()
        except OSError:
            continue
        children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry))
    found: list[int] = []
    todo = [root]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def pss_bytes(pids: list[int]) -> int:
    """Return the memory of processes, shared pages counted in shares; those that may not be read or have ended count nothing."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
    return total


def shown_in_pods(*paths: Path) -> dict[str, str]:
    """Return an image's `files` that show host paths in pods: `/tmp` is each pod's own, so what lies there has to be named."""
    real = {path.absolute() for path in paths} | {path.resolve() for path in paths}
    return {str(path): str(path) for path in real if path.is_relative_to("/tmp")}
