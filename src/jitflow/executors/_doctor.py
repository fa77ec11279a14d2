"""Which executors work on this machine, found out by trying them, and what to do about those that do not."""

import os
import sys
import tempfile
from pathlib import Path

from msgspec import Struct

from jitflow.executors.process import ProcessExecutor
from jitflow.executors.sandbox import SandboxExecutor, Way, ways
from jitflow.model.pods import Pod, PodEnd, PodImage
from jitflow.ports.errors import PortError

_SWITCHES = {
    "/proc/sys/kernel/unprivileged_userns_clone": ("0", "sysctl -w kernel.unprivileged_userns_clone=1"),
    "/proc/sys/user/max_user_namespaces": ("0", "sysctl -w user.max_user_namespaces=15000"),
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": (
        "1",
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 (or an AppArmor profile with `userns` for this Python)",
    ),
}


class Check(Struct, frozen=True, kw_only=True):
    """One thing that was tried. `remedy`: what to do if it failed, else empty."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""


async def doctor(home: Path | None = None) -> list[Check]:
    """Try each executor of this machine with a throw-away pod.

    Args:
        home: where pods will live (its file system matters to an overlay); a temporary directory if not given.
    """
    if home is not None:
        os.makedirs(home, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="jitflow-doctor-", dir=home) as folder:
        place = Path(folder)
        checks = [_pidfd(), _user_namespaces()]
        checks += await _sandbox_ways(place / "ways")
        checks.append(await _whole("sandbox", SandboxExecutor(place / "sandbox")))
        checks.append(await _whole("process", ProcessExecutor(place / "process")))
        checks.append(await _addresses(place / "addresses"))
    return checks


def _pidfd() -> Check:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError) as error:
        return Check(name="pidfd", ok=False, detail=str(error), remedy="use Linux 5.4 or newer, or allow pidfd_open in seccomp")
    return Check(name="pidfd", ok=True, detail=f"Linux {os.uname().release}")


def _user_namespaces() -> Check:
    """Look at the switches; whether they really work is shown by the sandbox that uses them."""
    off: list[str] = []
    for path, (bad, remedy) in _SWITCHES.items():
        try:
            value = Path(path).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if value == bad:
            off.append(remedy)
    if off:
        return Check(
            name="user namespaces",
            ok=False,
            detail="switched off: an ordinary user can make no sandbox",
            remedy="as root: " + "; ".join(off),
        )
    return Check(name="user namespaces", ok=True, detail="not switched off")


async def _sandbox_ways(home: Path) -> list[Check]:
    """Try every way to make a sandbox that this user could have."""
    root = os.geteuid() == 0
    checks: list[Check] = []
    tried = ways("auto", root=root)
    for way in tried:
        executor = _Probe(home, mode=way.root)
        await executor.open(lambda _: None)
        try:
            failure = await executor.probe(way)
        finally:
            await executor.close()
        checks.append(
            Check(
                name=f"sandbox by {way}",
                ok=not failure,
                detail=failure or "works",
                remedy=_remedy(way) if failure else "",
            )
        )
    if not root:
        checks.insert(
            0,
            Check(
                name="sandbox by overlay of the host's root",
                ok=True,
                detail="needs root; read-only binds are used instead",
            ),
        )
    return checks


class _Probe(SandboxExecutor):
    """An executor that decides nothing at `open`, to try ways one by one."""

    async def _prepare(self) -> None:
        """Nothing: `probe` is called by the doctor."""


def _remedy(way: Way) -> str:
    if way.root == "overlay":
        return (
            "put the state directory on ext4, xfs, btrfs or tmpfs (not on an overlay or a network file system) and, in a"
            " container, give it CAP_SYS_ADMIN (docker run --privileged); read-only binds are used instead where they work"
        )
    if way.user_namespace:
        return (
            "enable user namespaces: as root `sysctl -w user.max_user_namespaces=15000`, on Debian"
            " `sysctl -w kernel.unprivileged_userns_clone=1`, on Ubuntu"
            " `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`; in a container, a seccomp profile that allows"
            " unshare and mount (docker run --security-opt seccomp=unconfined); Linux 5.12 or newer"
        )
    return "give this process CAP_SYS_ADMIN (in a container: docker run --privileged); Linux 5.12 or newer"


async def _addresses(home: Path) -> Check:
    """Let a command of a pod with an address bind to localhost, and see where it is."""
    name, address = "addresses of daemons", "127.127.127.1"
    code = "import socket; one = socket.socket(); one.bind(('127.0.0.1', 0)); print(one.getsockname()[0])"
    command = (sys.executable, "-I", "-S", "-c", code)
    pod = Pod(
        key="doctor",
        name="doctor",
        image=PodImage(name="host"),
        command=command,
        capture_result=True,
        deadline_s=20.0,
        address=address,
    )
    end = await _ended(ProcessExecutor(home), pod)
    if end is not None and end.result == address:
        return Check(name=name, ok=True, detail=_low_ports())
    remedy = "use Linux 5.9 or newer; in a container, a seccomp profile that allows seccomp, pidfd_getfd and process_vm_readv"
    return Check(
        name=name, ok=False, detail="pods share the ports of the machine: two daemons cannot listen on one port", remedy=remedy
    )


def _low_ports() -> str:
    """Say from which port on a daemon of this user may listen."""
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text(encoding="ascii"))
    except (OSError, ValueError):
        first = 1024
    if os.geteuid() == 0 or first <= 1:
        return "works"
    return f"works from port {first} on (lower ones: as root, `sysctl -w net.ipv4.ip_unprivileged_port_start=0`)"


async def _ended(executor: ProcessExecutor | SandboxExecutor, pod: Pod) -> PodEnd | None:
    """Run a pod to its end.

    Raises:
        PortError: it cannot be run here.
    """
    ends: list[PodEnd] = []
    await executor.open(ends.append)
    try:
        await executor.start(pod)
        async for _ in executor.logs(pod.key, follow=True):
            pass
    finally:
        await executor.close()
    return ends[0] if ends else None


async def _whole(name: str, executor: SandboxExecutor | ProcessExecutor) -> Check:
    """Run a real pod and look at what it printed and how it ended."""
    pod = Pod(
        key="doctor",
        name="doctor",
        image=PodImage(name="host"),
        command=("/bin/sh", "-c", "echo well"),
        capture_result=True,
        deadline_s=20.0,
    )
    try:
        end = await _ended(executor, pod)
    except PortError as error:
        return Check(name=f"executor {name}", ok=False, detail=str(error), remedy="see the failed checks above")
    if end is not None and end.exit_code == 0 and end.result == "well":
        return Check(name=f"executor {name}", ok=True, detail="ran a pod")
    detail = (end.error or f"exit code {end.exit_code}") if end is not None else "the pod did not end"
    return Check(name=f"executor {name}", ok=False, detail=detail, remedy=f"look into {executor.home / 'spawner.log'}")
