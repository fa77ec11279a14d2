"""Pods with a root, a process table and a /tmp of their own."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from msgspec import Struct

from jitflow.executors._pod_directory import Plan, PodDirectory, Record
from jitflow.executors._pods import PodExecutor
from jitflow.executors._spawner.command import DEFAULT_PATH
from jitflow.model.pods import Pod, PodImage
from jitflow.ports.errors import FixRequest

PROGRESS_FILE = "/var/run/argo/progress"
"""Where a command writes how far it is, as in Argo."""

_PROBE_TIMEOUT_S = 20.0

Mode = Literal["auto", "overlay", "binds"]


class Way(Struct, frozen=True):
    """A way to make a sandbox: what the root is made of, and whether a user namespace is needed for it."""

    root: Literal["overlay", "binds"]
    user_namespace: bool

    def __str__(self) -> str:
        """Return the way in words."""
        root = "overlay of the host's root" if self.root == "overlay" else "read-only binds of the host's directories"
        return f"{root}, in a user namespace" if self.user_namespace else root


def ways(mode: Mode, *, root: bool) -> tuple[Way, ...]:
    """Return the ways to try, best first, as root or as an ordinary user."""
    privileged = (Way("overlay", user_namespace=False), Way("binds", user_namespace=False)) if root else ()
    every = (*privileged, Way("binds", user_namespace=True))
    return tuple(way for way in every if mode in ("auto", way.root))


class SandboxExecutor(PodExecutor):
    """Runs each pod in a sandbox: parallel pods that write the same paths never meet, and the host is never written.

    Args:
        home: the executor's directory.
        hidden: paths of the host that no pod may see (state, secrets); `home` is always one of them.
        mode: `overlay` of the host's root (needs root), read-only `binds` (any user), or what works, best first.
        guarded: see `PodExecutor`.
    """

    _kind = "sandbox"

    def __init__(self, home: Path, hidden: Sequence[Path] = (), mode: Mode = "auto", *, guarded: bool = False) -> None:
        super().__init__(home, guarded=guarded)
        self._mode: Mode = mode
        self._hidden: tuple[str, ...] = ()
        self.hide((*hidden, home))
        self._way: Way | None = None

    @property
    def way(self) -> Way:
        """How sandboxes are made here; known once open."""
        assert self._way is not None, "open() first"
        return self._way

    def hide(self, paths: Sequence[Path]) -> None:
        """Let no pod that starts from now on see these paths of the host either."""
        self._hidden = tuple(sorted({*self._hidden, *(os.path.realpath(path) for path in paths)}))

    async def _prepare(self) -> None:
        failures: list[str] = []
        for way in ways(self._mode, root=os.geteuid() == 0):
            failure = await self.probe(way)
            if not failure:
                self._way = way
                return
            failures.append(f"{way}: {failure}")
        tried = "; ".join(failures) or f"mode {self._mode!r} needs root"
        raise FixRequest(f"no sandbox can be made here ({tried}); `jitflow doctor` says what to do")

    async def probe(self, way: Way) -> str:
        """Make an empty sandbox this way; returns what failed, or an empty text."""
        key = f"probe-{way.root}-{int(way.user_namespace)}-{os.getpid()}"
        directory = PodDirectory(self.home, key, "trash")  # what a killed server leaves of it is removed at the next start
        pod = Pod(key=key, name="probe", image=PodImage(name=""), command=())
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        plan = self._make_plan(pod, directory.path, way)
        directory.create(Record(pod=pod, plan=plan))
        try:
            pid = await self._spawner.spawn(directory.path, plan.isolation, lambda _: None)
            await self._wait_for(pid, ended)
            end = directory.end()
        finally:
            self._retire(directory)
            directory.delete_log()
        if end is None:
            return "the pod's parent ended without a record"
        return end.error or ("" if end.exit_code == 0 else f"exit code {end.exit_code}")

    async def _wait_for(self, pid: int, ended: "asyncio.Future[str]") -> None:
        loop = asyncio.get_running_loop()
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        loop.add_reader(pidfd, lambda: ended.done() or ended.set_result(""))
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT_S):
                await ended
        except TimeoutError as error:
            raise FixRequest("an empty sandbox did not come up in time") from error
        finally:
            loop.remove_reader(pidfd)
            os.close(pidfd)

    def _plan(self, pod: Pod, directory: Path) -> Plan:
        for what, paths in (
            ("input", [item.path for item in pod.inputs]),
            ("volume", [volume.path for volume in pod.volumes]),
            ("file", [*(file.path for file in pod.files), *pod.image.files]),
        ):
            for path in paths:
                _check_place(pod, what, path)
        working_dir = pod.working_dir or pod.image.working_dir
        if working_dir and not working_dir.startswith("/"):
            raise FixRequest(f"pod {pod.name}: working directory {working_dir!r} is not absolute")
        return self._make_plan(pod, directory, self.way)

    def _make_plan(self, pod: Pod, directory: Path, way: Way) -> Plan:
        return Plan(
            root=way.root,
            user_namespace=way.user_namespace,
            hidden=self._hidden,
            env=_environment(pod),
            working_dir=pod.working_dir or pod.image.working_dir,
            directory=str(directory),
        )


def _check_place(pod: Pod, what: str, path: str) -> None:
    if not path.startswith("/") or ".." in path.split("/") or not path.strip("/"):
        raise FixRequest(f"pod {pod.name}: {what} path {path!r} must be absolute, below / and without '..'")
    if any(path.rstrip("/") == place or path.startswith(f"{place}/") for place in ("/proc", "/sys")):
        raise FixRequest(f"pod {pod.name}: {what} path {path!r} belongs to the kernel; choose another")


def _environment(pod: Pod) -> dict[str, str]:
    """Return the pod's whole environment; the server's own is not passed on, but for PATH where its root is shown."""
    path = DEFAULT_PATH
    if not pod.image.root:
        own = [folder for folder in os.environ.get("PATH", "").split(":") if folder.startswith("/")]
        path = ":".join(dict.fromkeys([*own, *DEFAULT_PATH.split(":")]))
    told = {"PATH": path, "HOME": "/root", "HOSTNAME": pod.name, "ARGO_PROGRESS_FILE": PROGRESS_FILE}
    return {**told, **pod.image.env, **dict(pod.env)}
