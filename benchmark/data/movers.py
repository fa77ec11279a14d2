"""The two that are compared: jobs through the real data plane, and `rclone copy`."""

import asyncio
import os
import resource
import subprocess
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import Struct

from benchmark.data.rounds import Rounds
from benchmark.data.stores import Case
from jitflow.dataplane import QUEUED_AHEAD, LocalDataPlane, PrimaryDirectory
from jitflow.model.data import FutureInput, FutureStep, ObjectRef
from jitflow.ports.dataplane import DataEvent, Lease, LeaseRefused
from jitflow.storage.binary import clean_environment, find_rclone
from jitflow.storage.daemon import RcloneDaemon
from jitflow.storage.rclone_storage import RcloneStorage
from jitflow.storage.remotes import RemoteConfig
from jitflow.stores.sqlite import SqliteStore

PATIENCE_S = 600.0


class Sample(Struct, frozen=True, kw_only=True):
    """What it took to move a case once: seconds, and seconds of processor time of all processes but the servers.

    `rclone_cpu_s`: what of that rclone took.
    """

    wall_s: float
    cpu_s: float
    rclone_cpu_s: float


class _Clock:
    def now(self) -> float:
        return time.time()

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)


class Jobs:
    """All steps are known, and ready from the start. Everything is up when the clock starts."""

    def __init__(self, daemon: RcloneDaemon, storage: RcloneStorage, rounds: Rounds) -> None:
        """Use a storage that is open."""
        self._daemon = daemon
        self._storage = storage
        self._rounds = rounds

    async def move(self, case: Case) -> Sample:
        """Move a case into an empty primary."""
        with self._rounds.folder() as work:
            return await self._move(case, work)

    async def _move(self, case: Case, work: Path) -> Sample:
        refs = [ObjectRef(remote="far", path=path) for path in case.paths()]
        each = len(refs) // case.steps
        steps = [
            FutureStep(id=f"w/{first}", inputs=tuple(FutureInput(ref=ref) for ref in refs[first : first + each]))
            for first in range(0, len(refs), each)
        ]
        async with SqliteStore.open(work / "state.db") as store:
            primary = PrimaryDirectory(work / "primary", self._storage)
            plane = LocalDataPlane(primary, 2 * case.total_bytes, self._storage, store, _Clock(), queued_ahead=QUEUED_AHEAD)
            events: asyncio.Queue[DataEvent] = asyncio.Queue()
            await plane.open(events.put_nowait)
            cpu, rclone, began = self._cpu(), cpu_of(self._daemon.pid), time.perf_counter()
            async with asyncio.timeout(PATIENCE_S):
                await _run(plane, steps, events)
            wall = time.perf_counter() - began
            sample = Sample(wall_s=wall, cpu_s=self._cpu() - cpu, rclone_cpu_s=cpu_of(self._daemon.pid) - rclone)
            there = plane.fill().resident_bytes
            await plane.close()
        if there != case.total_bytes:
            raise RuntimeError(f"{there} bytes came of {case.total_bytes}")
        return sample

    def _cpu(self) -> float:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return used.ru_utime + used.ru_stime + cpu_of(self._daemon.pid)


async def _run(plane: LocalDataPlane, steps: Sequence[FutureStep], events: asyncio.Queue[DataEvent]) -> None:
    plane.announce("w", steps)
    for step in steps:
        plane.acquire("w", step)
    left = len(steps)
    while left:
        event = await events.get()
        if isinstance(event, LeaseRefused):
            raise RuntimeError(event.message)  # noqa: TRY004 - an event, not an argument
        if isinstance(event, Lease):
            left -= 1
            plane.release(event.step, [])


@asynccontextmanager
async def jobs(remote: RemoteConfig, rounds: Rounds) -> AsyncGenerator[Jobs]:
    """Give what moves by jobs."""
    daemon = RcloneDaemon()
    storage = RcloneStorage(daemon, [remote])
    await storage.open()
    try:
        yield Jobs(daemon, storage, rounds)
    finally:
        await storage.close()


def copy(remote: RemoteConfig, case: Case, rounds: Rounds) -> Sample:
    """Move a case by one `rclone copy`."""
    with rounds.folder() as work:
        return _copy(remote, case, work)


def _copy(remote: RemoteConfig, case: Case, work: Path) -> Sample:
    config = work / "rclone.conf"
    config.touch(mode=0o600)
    config.write_text("\n".join(["[far]", f"type = {remote.type}", *(f"{k} = {v}" for k, v in remote.options.items())]) + "\n")
    before, began = children_cpu(), time.perf_counter()
    command = [str(find_rclone("")), "--config", str(config), "copy", f"far:{case.folder}", str(work / "data"), *case.flags]
    subprocess.run(command, check=True, env=clean_environment({}), stdin=subprocess.DEVNULL)
    wall, cpu = time.perf_counter() - began, children_cpu() - before
    there = sum(file.stat().st_size for file in (work / "data").iterdir())
    if there != case.total_bytes:
        raise RuntimeError(f"{there} bytes were copied of {case.total_bytes}")
    return Sample(wall_s=wall, cpu_s=cpu, rclone_cpu_s=cpu)


def children_cpu() -> float:
    """Return the seconds of processor time of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def cpu_of(pid: int | None) -> float:
    """Return the seconds of processor time of a process that runs."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
