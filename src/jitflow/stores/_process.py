"""Who holds a state: this process, named so that another one on the same machine can tell whether it still lives."""

import asyncio
import os
import platform
import signal
from pathlib import Path

import msgspec
from msgspec import Struct

from jitflow.ports.errors import InUse
from jitflow.ports.servers import LEASE_S, RENEW_S, Lead, may_lead
from jitflow.stores.lease import Lease, since_of

HOLD_S = LEASE_S
"""A holder that has not been heard of for so long has died, or is cut off: another server may take its place."""

HEARTBEAT_S = RENEW_S

_END_S = 5.0


class Process(Struct, frozen=True, kw_only=True):
    """A process of a machine since its start, and the server that it is: its data home, and with whom it shares the state.

    `since`: the epoch since which servers of this home have had the state, one after the other; 0: that is not known.
    """

    host: str
    space: str
    """Boot and process namespace: within one space, numbers of processes mean the same."""
    pid: int
    started: str
    home: str = ""
    share: str = ""
    since: int = 0

    def says(self) -> str:
        """Return it for people."""
        return f"process {self.pid} on {self.host}"


def this_process(lease: Lease | None = None, before: Process | None = None, *, epoch: int = 0) -> Process:
    """Return who we are, and take the place as number `epoch`.

    Whoever has no home, as a command that looks through the state, keeps that of who held it before.
    """
    home, share = (lease.home, lease.share) if lease is not None else ("", "")
    earlier, since = (before.home, before.since) if before is not None else ("", 0)
    return Process(
        host=platform.node(),
        space=_space(),
        pid=os.getpid(),
        started=_started(os.getpid()),
        home=home or earlier,
        share=share,
        since=since_of(epoch, home=home, before=earlier, since=since),
    )


def lead_of(owner: str, text: str, *, epoch: int, age_s: float, mark: str) -> Lead:
    """Return who leads, as a store keeps it."""
    holder = decode(text)
    return Lead(
        id=owner,
        epoch=epoch,
        age_s=age_s,
        mark=mark,
        home=holder.home if holder else "",
        share=holder.share if holder else "",
        is_dead=has_died(holder),
    )


def may_take(lead: Lead, lease: Lease) -> bool:
    """Return whether the place of a holder may be taken."""
    return may_lead(lead, home=lease.home) or bool(lease.silent and lease.silent == lead.mark)


async def end(process: Process | None, lease: Lease) -> None:
    """End a server of the same home that has lost its place but lives: it hangs, or was stopped, and keeps hold of its files."""
    if process is None or not lease.share or process.home != lease.home or process.pid == os.getpid() or not lives(process):
        return
    pidfd = os.pidfd_open(process.pid)
    try:
        if lives(process):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        for _ in range(int(_END_S / 0.02)):
            if not lives(process):
                return
            await asyncio.sleep(0.02)
    finally:
        os.close(pidfd)


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


def in_use(place: str, process: Process | None) -> InUse:
    """Return the refusal of a state that another server holds."""
    said = process.says() if process else "unknown"
    return InUse(f"the state at {place} is in use by another jitflow server ({said}); stop it, or choose another state")


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
