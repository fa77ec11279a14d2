"""The parent of a pod of several containers: starts a parent for each, in order, and makes one end of theirs.

A container's directory is `containers/<name>` of the pod's, with what a pod's parent keeps there; the log is in the pod's
directory. Empty volumes are in the pod's directory, made here so that all containers see the same.
"""

import json
import os
import select
import shutil
import signal
import time
from collections.abc import Callable
from typing import Any

from . import process, rootfs, supervise
from . import syscalls as sc
from .inputs import make_own_directory
from .record import Container, End, PodError, Record, describe

_ASKING = (signal.SIGTERM, signal.SIGALRM)

Start = Callable[[Container], None]
"""Cares for one container in its directory, which is the working directory, to its recorded end."""


class _Member:
    """A container: not started, running (`pidfd` >= 0), waiting for its next attempt, or ended (`end`)."""

    def __init__(self, container: Container) -> None:
        self.container = container
        self.name = container["name"]
        self.role = container["role"]
        self.directory = f"containers/{self.name}"
        self.pid = 0
        self.pidfd = -1
        self.attempts = 0
        self.started_at = 0.0
        self.next_at = 0.0
        self.told = False
        self.end: dict[str, Any] | None = None

    def finish(self, exit_code: int | None, error: str = "") -> None:
        now = time.time()
        self.end = {"exit_code": exit_code, "error": error, "started_at": self.started_at or now, "finished_at": now}

    @property
    def has_failed(self) -> bool:
        return self.end is not None and (self.end["exit_code"] != 0 or bool(self.end["error"]))


def _make_anew(directory: str) -> None:
    """Make a container's directory for its next attempt; what an earlier one has written in its root stays, as in Argo."""
    written, aside = f"{directory}/{rootfs.UPPER}", f"{directory}.{rootfs.UPPER}"
    stays = os.path.isdir(written)
    if stays:
        os.rename(written, aside)
    shutil.rmtree(directory, ignore_errors=True)
    os.mkdir(directory, 0o700)
    if stays:
        os.rename(aside, written)


class Group:
    """Runs the containers of a pod.

    Args:
        record: the content of `pod.json`.
        pod_fd: the pod's directory, which is the working directory.
        end: where to note how the pod ended.
        start: runs in a new process for each container.
        signals: what the pod is told from outside.
    """

    def __init__(self, record: Record, pod_fd: int, end: End, start: Start, signals: supervise.Signals) -> None:
        self._record = record
        self._pod_fd = pod_fd
        self._end = end
        self._start_one = start
        self._signals = signals
        self._files: process.HostFiles | None = None
        self._members = [_Member(container) for container in record.get("containers", [])]
        self._inits = [member for member in self._members if member.role == "init"]
        self._mains = [member for member in self._members if member.role == "main"]
        self._sidecars = [member for member in self._members if member.role == "sidecar"]

    def run(self) -> None:
        """Care for the pod until all containers have ended."""
        self._signals.install(self._record["pod"]["deadline_s"])
        self._end.started_at = time.time()
        try:
            self._share_volumes()
            os.mkdir("containers", 0o700)
            self._loop()
        except (OSError, PodError) as error:
            self._end.errors.append(f"the pod could not be made: {describe(error)}")
            self._kill_all()
        finally:
            if self._files is not None:
                self._files.remove_all()
        self._end.terminated = self._signals.terminated
        self._end.timed_out = self._signals.timed_out
        self._judge()

    def _share_volumes(self) -> None:
        """Make the empty volumes before any container does; those in memory need a mount that all of them see."""
        volumes = [
            (member.container["plan"], volume) for member in self._members for volume in member.container["pod"]["volumes"]
        ]
        own = [(plan, volume) for plan, volume in volumes if not volume["source"]]
        plan = self._record["plan"]
        if plan["root"] and own:
            uid, gid = os.geteuid(), os.getegid()
            sc.unshare(sc.CLONE_NEWNS | (sc.CLONE_NEWUSER if plan["user_namespace"] else 0))
            if plan["user_namespace"]:
                rootfs.map_to_root(uid, gid)
            sc.mount("none", "/", "", sc.MS_REC | sc.MS_PRIVATE)
        for _, volume in own:
            base = os.path.join(plan["directory"], "volumes", volume["name"])
            if plan["root"]:
                make_own_directory(base, volume)
            else:
                os.makedirs(base, exist_ok=True)
        if not plan["root"]:
            os.mkdir("scratch", 0o755)
            self._files = process.HostFiles(os.path.join(plan["directory"], "scratch"))
            self._files.share(member.container["pod"] for member in self._members)

    def _loop(self) -> None:
        poll = select.poll()
        poll.register(self._signals.wake_fd, select.POLLIN)
        while True:
            self._advance(poll)
            running = [member for member in self._members if member.pidfd >= 0]
            waiting = [member.next_at for member in self._members if member.end is None and member.next_at and member.pidfd < 0]
            if not running and not waiting:
                return
            wait_ms = max(0, int((min(waiting) - time.monotonic()) * 1000) + 1) if waiting else None
            ready = {fd for fd, _ in poll.poll(wait_ms)}
            if self._signals.wake_fd in ready:
                os.read(self._signals.wake_fd, 4096)
                self._pass_on()
            for member in running:
                if member.pidfd in ready:
                    poll.unregister(member.pidfd)
                    self._reap(member)

    def _advance(self, poll: select.poll) -> None:
        """Start what may start now; tell sidecars to end when the main containers have ended."""
        if self._signals.requests:
            self._give_up(self._members, None)
            self._tell([member for member in self._sidecars if not member.told])
            return
        for member in self._inits:
            if member.end is None:
                self._begin(member, poll)
                return
            if member.has_failed:
                self._give_up(self._members, None)
                return
        for member in self._sidecars:
            self._begin(member, poll)
        changed = True
        while changed:
            changed = False
            for member in self._mains:
                if member.end is None and member.pidfd < 0:
                    changed = self._begin_main(member, poll) or changed
        if all(member.end is not None for member in self._mains):
            self._tell([member for member in self._sidecars if not member.told])

    def _begin_main(self, member: _Member, poll: select.poll) -> bool:
        """Start a main container whose dependencies have ended; True if it ended for the failure of one of them."""
        ends = [other for other in self._mains if other.name in member.container["dependencies"]]
        failed = next((other for other in ends if other.has_failed), None)
        if failed is not None:
            assert failed.end is not None
            member.finish(failed.end["exit_code"] or 64)
            return True
        if all(other.end is not None for other in ends):
            self._begin(member, poll)
        return False

    def _begin(self, member: _Member, poll: select.poll) -> None:
        if member.end is not None or member.pidfd >= 0 or time.monotonic() < member.next_at:
            return
        _make_anew(member.directory)
        log = "log" if member.name == "main" else f"log@{member.name}"
        os.symlink(f"../../{log}", f"{member.directory}/log")
        member.attempts += 1
        member.next_at = 0.0
        member.started_at = member.started_at or time.time()
        signal.pthread_sigmask(signal.SIG_BLOCK, _ASKING)  # what the container is told before it listens must wait
        pid = os.fork()
        if pid == 0:
            self._care(member)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ASKING)
        member.pid = pid
        member.pidfd = os.pidfd_open(pid)
        poll.register(member.pidfd, select.POLLIN)

    def _care(self, member: _Member) -> None:
        """Be a container's parent; never returns. TERM is blocked until its signals are installed."""
        try:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.set_wakeup_fd(-1)
            sc.die_with_parent(signal.SIGKILL)
            os.chdir(member.directory)
            self._start_one(member.container)
        finally:
            os._exit(0)

    def _reap(self, member: _Member) -> None:
        os.close(member.pidfd)
        member.pidfd = -1
        os.waitpid(member.pid, 0)
        try:
            with open(f"{member.directory}/end.json", "rb") as file:
                end = json.loads(file.read())
        except (OSError, ValueError):
            member.finish(None, "the container's parent process was killed")
            return
        failed = end["exit_code"] != 0 or end["error"]
        if failed and member.attempts <= member.container["retries"] and not self._signals.requests:
            member.next_at = time.monotonic() + member.container["retry_delay_s"]
            return
        member.end = end

    def _pass_on(self) -> None:
        """Tell every running container what the pod was told."""
        self._tell([member for member in self._members if member.pidfd >= 0])

    def _tell(self, members: list[_Member]) -> None:
        for member in members:
            member.told = True
            if member.pidfd < 0:
                continue
            temporary = f"{member.directory}/terminate.tmp"
            with open(temporary, "w", encoding="ascii") as file:
                file.write(repr(self._grace_s()))
            os.rename(temporary, f"{member.directory}/terminate")
            signal.pidfd_send_signal(member.pidfd, signal.SIGTERM)

    def _grace_s(self) -> float:
        try:
            with open("terminate", "rb") as file:
                return float(file.read())
        except (OSError, ValueError):
            return self._record["pod"]["grace_s"]

    def _give_up(self, members: list[_Member], exit_code: int | None) -> None:
        for member in members:
            if member.end is None and member.pidfd < 0:
                member.finish(exit_code)

    def _kill_all(self) -> None:
        for member in self._members:
            if member.pidfd >= 0:
                os.kill(member.pid, signal.SIGKILL)
                self._reap(member)
            elif member.end is None:
                member.finish(None)

    def _judge(self) -> None:
        end = self._end
        for member in self._members:
            one: dict[str, Any] = member.end or {}
            end.containers.append(
                {
                    "name": member.name,
                    "role": member.role,
                    "exit_code": one.get("exit_code"),
                    "started_at": one.get("started_at", end.started_at),
                    "finished_at": one.get("finished_at", time.time()),
                    "error": one.get("error", ""),
                    "attempts": member.attempts,
                    "message": one.get("message", ""),
                }
            )
        failed_init = next((member for member in self._inits if member.has_failed), None)
        if failed_init is not None:
            assert failed_init.end is not None
            code, error = failed_init.end["exit_code"], failed_init.end["error"]
            end.errors.append(f"{failed_init.name}: {error}" if error else f"{failed_init.name}: Error (exit code {code})")
            return
        self._judge_mains(end)

    def _judge_mains(self, end: End) -> None:
        codes = [member.end["exit_code"] if member.end else None for member in self._mains]
        for member in self._mains:
            one: dict[str, Any] = member.end or {}
            if one.get("error"):
                end.errors.append(one["error"] if member.name == "main" else f"{member.name}: {one['error']}")
            end.parameters.update(one.get("parameters", {}))
            end.artifacts += one.get("artifacts", [])
            end.missing += one.get("missing", [])
            end.progress = end.progress or one.get("progress", "")
            if one.get("result") is not None:
                end.result = one["result"]
        for member in self._sidecars:
            if member.end is not None and member.end["exit_code"] is None and member.end["error"]:
                end.errors.append(f"{member.name}: {member.end['error']}")
        nonzero = [code for code in codes if code]
        end.exit_code = nonzero[0] if nonzero else None if None in codes else 0
