"""What a campaign runs in: a far store behind a link, a near disk of its own, a database, a server, and who may be killed."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Protocol

from benchmark.chaos.shapes import BUCKET, MARKS, REMOTE
from benchmark.link import LinkThread
from benchmark.service import MeasurementError, Server, descendants
from jitflow.testing.s3_server import S3Server

STORES = ("sqlite", "postgresql", "mongodb")
CAPACITY_BYTES = 4 << 20
_INPUTS = 24
_MiB = 1 << 20


class Database(Protocol):
    """A server of a database that may be killed."""

    def start(self) -> None:
        """Start it and wait until it answers."""
        ...

    def stop(self, how: signal.Signals = ...) -> None:
        """End it with a signal."""
        ...


@dataclass(kw_only=True)
class World:
    """The processes of a campaign."""

    root: Path
    server: Server
    far: S3Server
    link: LinkThread
    database: Database | None
    inputs: dict[str, bytes]
    state_url: str
    """The URL of the state; empty: in the home."""
    disk: Path | None
    """The near disk, where one of its own could be had."""
    killed_pods: set[str] = field(default_factory=set[str])
    """The keys of pods whose parents were killed."""

    @property
    def home(self) -> Path:
        """The server's data home."""
        return self.server.home

    @property
    def primary(self) -> Path:
        """The near store."""
        return (self.disk or self.home) / "primary"

    @property
    def marks(self) -> Path:
        """Where steps leave marks."""
        return self.home / "volumes" / "default" / MARKS

    def parents(self) -> dict[str, int]:
        """Return the pods whose parents live, with their process ids."""
        found: dict[str, int] = {}
        for pod in (self.home / "executor" / "pods").iterdir():
            try:
                pid, began = os.readlink(pod / "parent").split()  # a link that leads nowhere
                words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if words[19] == began and words[0] not in {"Z", "X"}:
                found[pod.name] = int(pid)
        return found

    def at_rest(self) -> bool:
        """Return whether every pod that was begun has recorded its end."""
        return all((pod / "end.json").exists() for pod in (self.home / "executor" / "pods").iterdir())

    def rclones(self) -> list[int]:
        """Return the process ids of the server's rclones."""
        try:
            return [pid for pid in descendants(self.server.pid) if _command(pid).startswith("rclone")]
        except AssertionError:  # the server is not there
            return []

    def strays(self) -> list[str]:
        """Return the processes below this one that belong to no server of the world itself."""
        known = {self.far.pid, *descendants(self.far.pid)}
        database = getattr(self.database, "_process", None)
        if database is not None:
            known |= {database.pid, *descendants(database.pid)}
        return [f"{pid} {_command(pid)}" for pid in descendants(os.getpid()) if pid not in known and _lives(pid)]

    def used_bytes(self) -> int:
        """Return how many bytes lie in the primary now."""
        total = 0
        for part in ("objects", "incoming"):
            for folder, _, files in os.walk(self.primary / part):
                for name in files:
                    with contextlib.suppress(OSError):
                        total += os.lstat(os.path.join(folder, name)).st_size
        return total


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except OSError:
        return False


@contextlib.contextmanager
def world(root: Path, store: str, random: Random, *, faults: bool = True) -> Iterator[World]:
    """Make a world below `root` and end it; the server is not started.

    Raises:
        MeasurementError: the database cannot be had here.
    """
    root.mkdir(parents=True, exist_ok=True)
    inputs = _far_objects(root / "far" / BUCKET, random)
    with ExitStack() as stack:
        database, url = _database(store, stack)
        far = stack.enter_context(S3Server(root / "far", hash_cache=root / "hashes"))
        link = stack.enter_context(LinkThread(far.port, rtt_s=0.02, rate_bps=8e6))
        disk = _disk(root / "disk", stack) if faults else None
        settings: dict[str, Any] = {
            "max_pods": 4,
            "grace_s": 2.0,
            "state": {"url": url, "patience_s": 60.0},
            "primary": {
                "capacity": CAPACITY_BYTES,
                "stall_s": 4.0,
                "free_floor": 0,
                "path": str((disk or root / "home") / "primary"),
            },
            "remotes": {REMOTE: {"type": "s3", "options": dict(far.remote(REMOTE, endpoint=link.url).options)}},
            "artifact_repository": {"remote": REMOTE, "prefix": f"{BUCKET}/between"},
        }
        server = Server(root / "home", settings)
        made = World(root=root, server=server, far=far, link=link, database=database, inputs=inputs, state_url=url, disk=disk)
        try:
            yield made
        finally:
            server.stop(timeout_s=15)


def _far_objects(bucket: Path, random: Random) -> dict[str, bytes]:
    bucket.mkdir(parents=True)
    inputs: dict[str, bytes] = {}
    for number in range(_INPUTS):
        name = f"in-{number}"
        inputs[name] = random.randbytes(random.randrange(50_000, 500_000))
        (bucket / name).write_bytes(inputs[name])
    return inputs


def _database(store: str, stack: ExitStack) -> tuple[Database | None, str]:
    try:
        if store == "postgresql":
            from jitflow.testing.postgresql_server import postgresql_server  # noqa: PLC0415 - its driver is an extra

            server = stack.enter_context(postgresql_server(durable=True))
            return server, server.url
        if store == "mongodb":
            from jitflow.testing.mongodb_server import mongodb_server  # noqa: PLC0415 - its driver is an extra

            database = stack.enter_context(mongodb_server())
            return database, database.new_database()
    except (FileNotFoundError, ImportError) as error:
        raise MeasurementError(str(error)) from error
    return None, ""


def _disk(place: Path, stack: ExitStack) -> Path | None:
    """Return a small disk, None where this user may not make one."""
    place.mkdir()
    size = CAPACITY_BYTES + 4 * _MiB
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return None
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "chaos", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        return None
    stack.callback(_unmount, place)
    return place


def _unmount(place: Path) -> None:
    for _ in range(20):
        if not subprocess.run(["umount", str(place)], capture_output=True, check=False).returncode:
            return
        time.sleep(0.25)
    subprocess.run(["umount", "-l", str(place)], capture_output=True, check=False)
