"""Who holds a state: this process, named so that another one on the same machine can tell whether it still lives."""

import os
import platform
from pathlib import Path

import msgspec
from msgspec import Struct

from jitflow.ports.errors import Broken

HOLD_S = 15.0
"""A holder that has not been heard of for so long has died, or is cut off: another server may take its place."""

HEARTBEAT_S = 4.0


class Process(Struct, frozen=True, kw_only=True):
    """A process of a machine since its start."""

    host: str
    space: str
    """Boot and process namespace: within one space, numbers of processes mean the same."""
    pid: int
    started: str

    def says(self) -> str:
        """Return it for people."""
        return f"process {self.pid} on {self.host}"


def this_process() -> Process:
    """Return who we are."""
    return Process(host=platform.node(), space=_space(), pid=os.getpid(), started=_started(os.getpid()))


def encode(process: Process) -> str:
    """Return it as text."""
    return msgspec.json.encode(process).decode()


def decode(text: str) -> Process | None:
    """Return what `encode` wrote, None for anything else."""
    try:
        return msgspec.json.decode(text, type=Process)
    except msgspec.DecodeError:
        return None


def has_died(process: Process | None) -> bool:
    """Return whether a process is known to be gone; one of another machine never is."""
    return process is not None and _is_near(process) and _started(process.pid) != process.started


def lives(process: Process | None) -> bool:
    """Return whether a process is known to live; one of another machine never is."""
    return process is not None and _is_near(process) and _started(process.pid) == process.started


def in_use(place: str, process: Process | None) -> Broken:
    """Return the refusal of a state that another server holds."""
    said = process.says() if process else "unknown"
    return Broken(f"the state at {place} is in use by another jitflow server ({said}); stop it, or choose another state")


def taken_over(place: str) -> str:
    """Return what a server is told that has lost its state to another."""
    return (
        f"another jitflow server has taken over the state at {place}, as this one was not heard of for {HOLD_S:g} s; "
        "stop this one"
    )


def _is_near(process: Process) -> bool:
    own = this_process()
    return bool(own.space) and (process.host, process.space) == (own.host, own.space)


def _space() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Return when a process began, in the kernel's ticks; empty if there is none, or only what is left of one."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in {"Z", "X"} else fields[19]
