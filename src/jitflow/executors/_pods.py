"""What the executors of this machine share: pods as directories, parents as processes, ends as files."""

import asyncio
import contextlib
import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar, Literal

from msgspec.structs import replace

from jitflow.executors._logs import read_log
from jitflow.executors._pod_directory import (
    MAIN,
    ContainerRecord,
    ParentId,
    Plan,
    PodDirectory,
    Record,
    check_name,
    kill_session,
    remove_tree,
)
from jitflow.executors._spawner_client import SpawnerClient, SpawnerGone
from jitflow.model.pods import ContainerRole, LogLine, Pod, PodContainer, PodEnd, PodKey
from jitflow.ports.errors import Broken, DiskFull, FixRequest, PortError
from jitflow.ports.executor import EndListener, NewsListener

_SPAWN_ATTEMPTS = 3
_NO_SPACE = (28, 122)  # ENOSPC, EDQUOT


class _Watched:
    """A pod that this executor knows: `pidfd` while its parent runs and is watched, -1 before and after."""

    def __init__(self, directory: PodDirectory) -> None:
        self.directory = directory
        self.pid = 0
        self.pidfd = -1
        self.ended = False
        self.terminate_asked = False


def alone(pod: Pod, container: PodContainer) -> Pod:
    """Return the pod that a container would be alone; its deadline is the whole pod's affair."""
    return Pod(
        key=pod.key,
        name=pod.name,
        image=container.image,
        command=container.command,
        env=container.env,
        working_dir=container.working_dir,
        files=container.files,
        inputs=container.inputs,
        outputs=container.outputs,
        volumes=container.volumes,
        grace_s=pod.grace_s,
        capture_result=container.capture_result,
        address=pod.address,
        tty=container.tty,
        message_path=container.message_path,
        message_from_log=container.message_from_log,
        probe=container.probe,
        hidden=container.hidden,
    )


def _check_order(pod: Pod) -> None:
    """Refuse dependencies that are no main containers, or that wait for each other."""
    waiting = {
        container.name: set(container.dependencies) for container in pod.containers if container.role is ContainerRole.MAIN
    }
    for name, dependencies in waiting.items():
        if unknown := sorted(dependencies - set(waiting)):
            raise FixRequest(f"pod {pod.name}: container {name} depends on {', '.join(unknown)}, no main container of the pod")
    while free := [name for name, dependencies in waiting.items() if not dependencies]:
        for name in free:
            del waiting[name]
        for dependencies in waiting.values():
            dependencies.difference_update(free)
    if waiting:
        raise FixRequest(f"pod {pod.name}: the containers {', '.join(sorted(waiting))} wait for each other")


def write_lease(home: Path, until: float) -> None:
    """Let the guarded pods of an executor's directory run until a time, in seconds since this machine has started."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = home / "lease.new"
    partial.write_text(f"{until:.3f}\n", encoding="ascii")
    partial.replace(home / "lease")


def discard_pods(home: Path) -> None:
    """Remove all pods of an executor's directory that is not open, as if they had never been started."""
    pods, trash = home / "pods", home / "trash"
    if not pods.is_dir():
        return
    trash.mkdir(mode=0o700, exist_ok=True)
    for name in os.listdir(pods):
        directory = PodDirectory(home, name)
        parent = directory.parent()
        if parent is not None and parent.pid:
            if parent.is_alive():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(parent.pid, signal.SIGKILL)
            kill_session(parent)
        directory.retire(trash)


class PodExecutor(ABC):
    """Runs each pod under a small parent process of its own that outlives this one.

    Args:
        home: the executor's directory; pods are below `home/pods`, logs of forgotten pods in `home/logs`.
        guarded: pods end, as if they had never been started, when the time in the file `home/lease` has come (see `write_lease`).
    """

    _kind: ClassVar[Literal["sandbox", "process"]]

    def __init__(self, home: Path, *, guarded: bool = False) -> None:
        self.home = Path(os.path.realpath(home))
        self._pods: dict[PodKey, _Watched] = {}
        self._listener: EndListener | None = None
        self._news_listener: NewsListener | None = None
        self._spawner = SpawnerClient(self.home, self._kind, self._on_told, guarded=guarded)
        self._remover: ThreadPoolExecutor | None = None

    @abstractmethod
    def _plan(self, pod: Pod, directory: Path) -> Plan:
        """Decide how the pod runs; FixRequest if it cannot."""

    @abstractmethod
    async def _prepare(self) -> None:
        """Find out, at `open`, what this machine offers."""

    async def open(self, on_end: EndListener, on_news: NewsListener | None = None) -> None:
        """Make the directories, start the spawner, find out what works here.

        Raises:
            FixRequest: this machine cannot run such pods; the text says what to do.
        """
        for name in ("pods", "logs", "trash", "mnt"):
            (self.home / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        self._listener, self._news_listener = on_end, on_news
        self._remover = ThreadPoolExecutor(max_workers=1, thread_name_prefix="jitflow-remove")
        self._spawner.open()
        for leftover in (self.home / "trash").iterdir():
            self._remover.submit(remove_tree, leftover)
        try:
            await self._prepare()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Stop listening; running pods go on."""
        loop = asyncio.get_running_loop()
        for watched in self._pods.values():
            if watched.pidfd >= 0:
                loop.remove_reader(watched.pidfd)
                os.close(watched.pidfd)
        self._pods.clear()
        self._listener = self._news_listener = None
        self._spawner.close()
        if self._remover is not None:
            self._remover.shutdown(wait=True, cancel_futures=True)
            self._remover = None

    async def adopt(self) -> Sequence[PodKey]:
        """Return the keys of all pods known here, and watch or deliver each; see the port."""
        keys: list[PodKey] = []
        for name in sorted(os.listdir(self.home / "pods")):
            if name in self._pods or await self._adopt_one(PodDirectory(self.home, name)):
                keys.append(name)
        return keys

    async def start(self, pod: Pod) -> None:
        """Start the pod under a parent of its own, once for each key; see the port."""
        self._check(pod)
        directory = PodDirectory(self.home, pod.key)
        if pod.key in self._pods:
            return
        if directory.path.exists() and await self._adopt_one(directory):
            return
        record = self._record(pod, directory.path)
        try:
            directory.create(record)
        except OSError as error:
            if error.errno in _NO_SPACE:
                raise DiskFull(f"no room for the pod's directory below {self.home}") from error
            raise Broken(f"cannot make the pod's directory: {error}") from error
        watched = self._pods[pod.key] = _Watched(directory)
        try:
            pid = await self._spawn(watched, record.isolation)
        except PortError:
            self._drop_unstarted(directory)
            raise
        self._watch(watched, pid)

    async def terminate(self, key: PodKey, grace_s: float | None = None) -> None:
        """Send TERM, and KILL after the grace; return at once. Unknown or ended pods are ignored."""
        watched = self._pods.get(key)
        if watched is None or watched.ended:
            return
        if grace_s is not None:
            with contextlib.suppress(FileNotFoundError):
                watched.directory.ask_to_terminate(grace_s)
        watched.terminate_asked = True
        if watched.pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(watched.pidfd, signal.SIGTERM)

    async def forget(self, key: PodKey) -> None:
        """Remove everything of an ended pod but its log; a running pod is left alone."""
        check_name("pod key", key)
        watched = self._pods.get(key)
        if watched is not None and not watched.ended:
            return
        directory = PodDirectory(self.home, key)
        if watched is None and (parent := directory.parent()) is not None and parent.is_alive():
            return
        self._pods.pop(key, None)
        self._retire(directory)

    def logs(self, key: PodKey, *, container: str = MAIN, follow: bool = False) -> AsyncIterator[LogLine]:
        """Yield a container's output in order; with `follow`, wait for more until the pod has ended."""
        check_name("pod key", key)
        check_name("container", container)
        directory = PodDirectory(self.home, key)
        return read_log(lambda: directory.log(container), lambda: self._is_running(key), follow=follow)

    async def delete_logs(self, keys: Sequence[PodKey]) -> None:
        """Remove the logs of these pods."""
        for key in keys:
            check_name("pod key", key)
            PodDirectory(self.home, key).delete_log()

    def _is_running(self, key: PodKey) -> bool:
        watched = self._pods.get(key)
        return watched is not None and not watched.ended

    def _check(self, pod: Pod) -> None:
        check_name("pod key", pod.key)
        if pod.containers:
            names = [container.name for container in pod.containers]
            for name in names:
                check_name("container", name)
            if len(set(names)) != len(names):
                raise FixRequest(f"pod {pod.name}: two containers have the same name")
            if not any(container.role is ContainerRole.MAIN for container in pod.containers):
                raise FixRequest(f"pod {pod.name}: none of its containers is a main one")
            for container in pod.containers:
                if not container.command and container.role is not ContainerRole.INIT:
                    raise FixRequest(f"pod {pod.name}: no command for container {container.name}")
                self._check_alone(alone(pod, container))
            _check_order(pod)
            return
        if not pod.command:
            raise FixRequest(f"pod {pod.name}: no command")
        self._check_alone(pod)

    def _record(self, pod: Pod, directory: Path) -> Record:
        """Decide how the pod, or each of its containers, runs."""
        if not pod.containers:
            return Record(pod=pod, plan=self._plan(pod, directory))
        records: list[ContainerRecord] = []
        for container in pod.containers:
            one = alone(pod, container)
            plan = replace(self._plan(one, directory / "containers" / container.name), volumes=str(directory))
            records.append(
                ContainerRecord(
                    name=container.name,
                    role=container.role,
                    dependencies=container.dependencies,
                    retries=container.retries,
                    retry_delay_s=container.retry_delay_s,
                    pod=one,
                    plan=plan,
                )
            )
        plan = replace(records[0].plan, env={}, directory=str(directory), volumes="")
        return Record(pod=replace(pod, containers=()), plan=plan, containers=tuple(records))

    def _check_alone(self, pod: Pod) -> None:
        for what, names in (
            ("output", [output.name for output in pod.outputs]),
            ("volume", [volume.name for volume in pod.volumes]),
        ):
            for name in names:
                check_name(what, name)
        # A parameter and an artifact may share a name, as they do in manifests that compilers write.
        if len({(output.kind == "parameter", output.name) for output in pod.outputs}) != len(pod.outputs):
            raise FixRequest(f"pod {pod.name}: two outputs have the same name")
        if any("\0" in text for text in (*pod.command, *(f"{name}{value}" for name, value in pod.env))):
            raise FixRequest(f"pod {pod.name}: an argument or environment value holds a NUL character")
        if any(not name or "=" in name for name, _ in pod.env):
            raise FixRequest(f"pod {pod.name}: an environment variable has an empty name, or one with '='")

    async def _spawn(self, watched: _Watched, isolation: str) -> int:
        """Return the pid of the pod's parent, over the deaths of spawners."""
        directory = watched.directory
        for _ in range(_SPAWN_ATTEMPTS):
            try:
                return await self._spawner.spawn(directory.path, isolation, lambda pid: self._watch(watched, pid))
            except SpawnerGone:
                parent = directory.parent()
                if parent is not None:
                    return parent.pid
        raise Broken(f"the spawner ended {_SPAWN_ATTEMPTS} times; {self.home / 'spawner.log'} may say why")

    def _drop_unstarted(self, directory: PodDirectory) -> None:
        self._pods.pop(directory.key, None)
        if directory.claim_unstarted():
            self._retire(directory)
            directory.delete_log()

    def _retire(self, directory: PodDirectory) -> None:
        garbage = directory.retire(self.home / "trash")
        if garbage is not None and self._remover is not None:
            self._remover.submit(remove_tree, garbage)

    async def _adopt_one(self, directory: PodDirectory) -> bool:
        """Take a pod found on disk under watch; False (and it is removed) if its start was cut short before it was recorded.

        A pod that is recorded and has no parent gets one: of two that meet (the server died just after it had asked for
        the first), one gives way.
        """
        watched = self._pods[directory.key] = _Watched(directory)
        parent = directory.parent()
        if parent is None:
            record = directory.record()
            if record is not None:
                self._watch(watched, await self._spawn(watched, record.isolation))
                return True
            if not directory.claim_unstarted():
                parent = directory.parent()
        if parent is None or parent.pid == 0:
            del self._pods[directory.key]
            self._retire(directory)
            return False
        if parent.is_alive():
            self._watch(watched, parent.pid)
            asyncio.get_running_loop().call_soon(self._tell_news, watched)
        else:
            asyncio.get_running_loop().call_soon(self._finish, watched, parent)
        return True

    def _watch(self, watched: _Watched, pid: int) -> None:
        """Wait for the end of the parent; a pod whose parent is gone already ends at the next turn of the loop."""
        if self._pods.get(watched.directory.key) is not watched:
            return  # closed meanwhile
        loop = asyncio.get_running_loop()
        watched.pid = pid
        try:
            watched.pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            loop.call_soon(self._finish, watched, None)
            return
        loop.add_reader(watched.pidfd, self._on_parent_gone, watched)
        if watched.terminate_asked:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(watched.pidfd, signal.SIGTERM)

    def _on_told(self, word: str) -> None:
        """Hear of news, or of an end before its parent has taken down the sandbox; not everything is told."""
        watched = self._pods.get(word.removeprefix("+"))
        if watched is None or watched.pidfd < 0:
            return
        if word.startswith("+"):
            self._tell_news(watched)
        else:
            self._on_parent_gone(watched)

    def _tell_news(self, watched: _Watched) -> None:
        if self._news_listener is None or watched.ended or self._pods.get(watched.directory.key) is not watched:
            return
        news = watched.directory.news()
        if news is not None:
            self._news_listener(news)

    def _on_parent_gone(self, watched: _Watched) -> None:
        asyncio.get_running_loop().remove_reader(watched.pidfd)
        os.close(watched.pidfd)
        watched.pidfd = -1
        self._finish(watched, None)

    def _finish(self, watched: _Watched, parent: ParentId | None) -> None:
        """Deliver the pod's end, once; a parent that turns out to be another one is watched instead."""
        directory = watched.directory
        if self._listener is None or self._pods.get(directory.key) is not watched or watched.ended:
            return
        end = directory.end()
        if end is None:
            parent = parent or directory.parent()
            if parent is not None and parent.pid not in (0, watched.pid) and parent.is_alive():
                self._watch(watched, parent.pid)
                return
            end = self._lost(directory, parent)
        watched.ended = True
        self._listener(end)

    def _lost(self, directory: PodDirectory, parent: ParentId | None) -> PodEnd:
        if parent is not None and parent.pid:
            kill_session(parent)
        directory.drop_record()
        return directory.lost_end(time.time())
