"""Supervises a child `rclone rcd`: private socket, nothing on disk, nothing on the command line, never an orphan."""

import asyncio
import logging
import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from jitflow.model.problems import Refused
from jitflow.ports.errors import Broken, PortError, Retryable
from jitflow.storage import wire
from jitflow.storage.binary import check_age, check_version, clean_environment, find_rclone, with_parent
from jitflow.storage.endpoints import Endpoint
from jitflow.storage.files import PARTIAL_SUFFIX
from jitflow.storage.rc import RcClient
from jitflow.storage.rclone import READY_WAIT_S, Prepare, Rclone

LONGEST_SOCKET_PATH = 107
"""Bytes that Linux takes."""
STOP_WAIT_S = 5.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 10.0
CALM_S = 30.0
"""A daemon that lived so long is started again without a pause."""
LONGEST_LINE = 2**20
CONNECTIONS = 64
"""Transfers and checks at once of calls that do not say; rclone also keeps twice as many connections to a store open as both."""
MEMORY = {"GOGC": "400", "GOMEMLIMIT": "1GiB"}
"""How often rclone looks for memory that it needs no more, unless the environment of this process says so: not before it has
five times what it uses, for to look takes a sixth of what small objects cost of the processor; but as often as it takes to stay
below the second, which only listings of a million objects reach. The variables are those of Go (https://pkg.go.dev/runtime).
"""
_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "notice": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.WARNING,
}

_DIRECTORY = "jitflow-rclone-"

log = logging.getLogger(__name__)


class RcloneDaemon(Rclone):
    """One `rclone rcd` that is started again whenever it dies, until `close`.

    It listens on a unix socket in a directory of mode 0700 and asks for a random password; its configuration lives in its memory
    only and is given again after every start by `prepare`. The kernel kills it when this process dies.
    """

    def __init__(
        self,
        runtime_dir: Path | None = None,
        *,
        program: str = "",
        environment: dict[str, str] | None = None,
        flags: Sequence[str] = (),
    ) -> None:
        """Remember what to start.

        Args:
            runtime_dir: where the private directory is made; a short path is taken when a socket below it would be too long.
            program: the rclone to run; by default the one installed beside Python.
            environment: variables for rclone; its own (`RCLONE_*`) are not inherited from this process.
            flags: more arguments; visible to everybody on this machine.
        """
        super().__init__()
        self._runtime_dir = runtime_dir
        self._program = program
        self._environment = {name: os.environ.get(name, value) for name, value in MEMORY.items()} | (environment or {})
        self._flags = tuple(flags)
        self._directory: Path | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Return the process that runs now."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def open(self, prepare: Prepare | None = None) -> None:
        """Start rclone and return when it answers; `prepare` is awaited after every start, before anybody else may call.

        Raises:
            Broken: there is no usable rclone, or it does not start.
        """
        program = find_rclone(self._program)
        self._prepare = prepare
        self._directory = _private_directory(self._runtime_dir)
        user, password = secrets.token_hex(8), secrets.token_urlsafe(32)
        self.redact.add([password])
        self._client = RcClient(Endpoint(path=str(self._directory / "rc.sock")), user, password, self.redact)
        first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._supervisor = asyncio.get_running_loop().create_task(self._supervise(program, user, password, first), name="rclone")
        try:
            await asyncio.shield(first)
        except Broken:
            await self.close()
            await check_version(program)  # it may be another program, or too old to know our options
            raise
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Stop rclone and remove its directory."""
        if self._supervisor:
            self._supervisor.cancel()
            with suppress(asyncio.CancelledError):
                await self._supervisor
            self._supervisor = None
        self._ready.clear()
        if self._client:
            await self._client.close()
            self._client = None
        if self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def kill(self) -> None:
        """End an rclone that hangs; it is started again."""
        if self._process and self._process.returncode is None:
            self._ready.clear()  # calls from now on wait for the next one
            log.warning("rclone (pid %d) does not answer; it is killed", self._process.pid)
            self._process.kill()

    async def _supervise(self, program: Path, user: str, password: str, first: asyncio.Future[None]) -> None:
        """Run rclone for ever; `first` tells how the first start went. The only owner of the process."""
        pause_s = FIRST_PAUSE_S
        while True:
            born = time.monotonic()
            try:
                await self._live_once(program, user, password, first)
            except Exception as error:
                self._broken = error if isinstance(error, PortError) else Broken(f"rclone cannot be started: {error}")
                if not first.done():
                    first.set_exception(error if isinstance(error, Refused) else self._broken)
                    return
                log.warning("rclone does not start: %s", self.redact(str(error)))
            if time.monotonic() - born > CALM_S:
                pause_s = FIRST_PAUSE_S
            self.restarts += 1
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    async def _live_once(self, program: Path, user: str, password: str, first: asyncio.Future[None]) -> None:
        process = await self._start(program, user, password)
        self._process = process
        try:
            async with asyncio.TaskGroup() as group:
                reader = group.create_task(self._read_log(process))
                dead = group.create_task(process.wait())
                await self._until_ready(dead)
                self._ready.set()
                self._broken = None
                if not first.done():
                    first.set_result(None)
                code = await dead
                self._ready.clear()
                await reader
                log.warning("rclone (pid %d) ended with %s; it is started again", process.pid, code)
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from group
        finally:
            self._ready.clear()
            await _end(process)

    async def _start(self, program: Path, user: str, password: str) -> asyncio.subprocess.Process:
        assert self._directory is not None
        socket = self._directory / "rc.sock"
        socket.unlink(missing_ok=True)
        command = [
            str(program), "rcd", "--rc-serve", "--rc-addr", f"unix://{socket}", "--config", "", "--use-json-log",
            "--log-level", "NOTICE", "--transfers", str(CONNECTIONS), "--checkers", str(CONNECTIONS),
            # A call takes as long as its copy: by default rclone closes the connection after an hour.
            "--rc-server-read-timeout", "0", "--rc-server-write-timeout", "0",
            "--rc-job-expire-duration", "10s", "--rc-job-expire-interval", "5s", "--cache-dir", str(self._directory / "cache"),
            "--temp-dir", str(self._directory), *self._flags,
        ]  # fmt: skip
        return await asyncio.create_subprocess_exec(
            *with_parent(command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            limit=LONGEST_LINE,
            start_new_session=True,
            cwd=self._directory,
            env=clean_environment({**self._environment, "RCLONE_RC_USER": user, "RCLONE_RC_PASS": password}),
        )

    async def _until_ready(self, dead: asyncio.Task[int]) -> None:
        assert self._client is not None
        limit = time.monotonic() + READY_WAIT_S
        while True:
            if dead.done():
                raise Broken(f"rclone ended with code {dead.result()} as soon as it was started; its log says why")
            try:
                jobs = wire.parse(await self._client.call("job/list", {}, subject="rclone"), wire.JobList)
                break
            except Retryable as error:
                if time.monotonic() > limit:
                    raise Broken(f"rclone does not answer {READY_WAIT_S:g} s after its start") from error
                await asyncio.sleep(0.01)
        self.life = jobs.execute_id
        version = wire.parse(await self._client.call("core/version", {}, subject="rclone"), wire.Version)
        check_age(version.decomposed, "the running rclone")
        if self._prepare:
            await self._prepare(self._client)

    async def _read_log(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        while True:
            try:
                line = await process.stderr.readline()
            except ValueError:
                continue  # a line longer than the limit: dropped by the reader
            if not line:
                return
            level, text = log_record(line)
            log.log(level, "rclone: %s", self.redact(text))


class _LogLine(msgspec.Struct, frozen=True):
    """A line of rclone's JSON log."""

    msg: str = ""
    level: str = "info"
    object: str = ""


def log_record(line: bytes) -> tuple[int, str]:
    """Return the level and text of a line of rclone's log; lines that are not JSON (a panic) are warnings."""
    try:
        record = msgspec.json.decode(line, type=_LogLine)
    except msgspec.MsgspecError:
        return logging.WARNING, line.decode(errors="replace").rstrip()
    if record.msg.startswith('rc: "'):
        return logging.DEBUG, record.msg  # the caller gets the same as an error
    text = f"{record.object}: {record.msg}" if record.object else record.msg
    if record.msg.endswith("context canceled") or record.msg.startswith("Didn't finish writing GET request"):
        return logging.DEBUG, text  # whoever cancelled it, or has hung up, knows
    if record.msg.endswith("no such file or directory") and f"{PARTIAL_SUFFIX}/" in record.msg:
        return logging.DEBUG, text  # it had come, and was taken away before rclone looked at it once more
    return _LEVELS.get(record.level, logging.WARNING), text


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a process: TERM, a wait, KILL."""
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), STOP_WAIT_S)
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _sweep(parent: Path) -> None:
    """Remove the directories of servers that were killed."""
    for left in parent.glob(f"{_DIRECTORY}*-*"):
        pid = left.name.removeprefix(_DIRECTORY).partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(left, ignore_errors=True)


def _private_directory(wanted: Path | None) -> Path:
    """Return a new directory of mode 0700, short enough for a socket's path."""
    candidates = [wanted, os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp", "/dev/shm"]
    for parent in candidates:
        if (
            not parent
            or len(os.fsencode(f"{Path(parent).absolute()}/{_DIRECTORY}1234567-12345678/rc.sock")) > LONGEST_SOCKET_PATH
        ):
            continue
        if parent == wanted:
            Path(parent).mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.access(parent, os.W_OK | os.X_OK):
            _sweep(Path(parent))
            return Path(tempfile.mkdtemp(prefix=f"{_DIRECTORY}{os.getpid()}-", dir=Path(parent).absolute()))
    raise Broken("no directory for rclone's socket can be written: set XDG_RUNTIME_DIR to a short path that is yours")
