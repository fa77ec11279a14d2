"""One pod's parent: prepares the pod, follows its command, collects the outputs, records the end.

It is forked from the spawner and outlives it and the server. Its files are those of the pod's directory:
`parent` (who cares for the pod), `log`, `outputs/`, `end.json`.
"""

import functools
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from typing import NamedTuple

from . import init, inputs, last_words, process, rootfs, seccomp, status, supervise
from . import syscalls as sc
from .collect import Collector, check_volumes
from .command import CANNOT_START, CannotStart, Streams, spawn, spawn_prepared
from .cri import LogWriter
from .group import Group
from .lease import Lease
from .network import Network
from .news import News, Progress
from .probe import Probe
from .record import Container, End, Interrupted, Plan, Pod, PodError, Record, describe, load
from .terminal import Terminal

GROUP = "group"
"""The isolation of a parent that enters no namespace but starts a parent for each container."""


class Surroundings(NamedTuple):
    """What a parent knows before its pod.

    `isolation`: `privileged` or `user` namespaces, or empty for none; `stage`: see `rootfs`; `mounts`: the host's file
    systems that an overlay of its root does not contain; `guarded`: pods end with the lease of their server.
    """

    isolation: str
    stage: str
    mounts: list[str]
    guarded: bool = False


def run(request_fd: int, surroundings: Surroundings, notify: socket.socket) -> None:
    """Get ready, wait for the pod's directory, and care for the pod to its end.

    Does nothing if no directory comes, or if somebody else cares for the pod already.

    Args:
        request_fd: where the spawner writes the directory's path.
        surroundings: the same for all pods.
        notify: where to tell that the end is recorded.
    """
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    group = surroundings.isolation == GROUP
    ready = None if group else _Ready(surroundings)
    with open(request_fd, "rb") as file:
        directory = file.read()
    if not directory:
        return
    os.chdir(directory)
    pod_fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    if not _claim(pod_fd):
        return
    with open("pod.json", "rb") as file:
        record = load(file.read())
    os.unlink("pod.json")  # it may hold secrets, and whoever starts anew does so without it
    end = End(record["pod"]["key"])
    lease = Lease(os.open("../..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), guarded=surroundings.guarded)
    try:
        if ready is None:
            signals = supervise.Signals(Interrupted)
            Group(record, pod_fd, end, lambda one: _care(one, surroundings, notify, lease), signals).run()
        else:
            _Parent(record, pod_fd, end, ready, (notify, lease)).run()
    except BaseException as error:
        traceback.print_exc(file=sys.stderr)
        end.errors.append(f"the pod's parent failed: {describe(error)}")
    if lease.is_over:
        lease.discard(os.path.basename(os.fsdecode(directory)))
        return
    end.write(pod_fd)
    try:
        notify.send(end.key.encode(), socket.MSG_DONTWAIT)
    except OSError:
        return  # nobody listens, or too many at once: whoever watches this process sees it end


def _care(container: Container, surroundings: Surroundings, notify: socket.socket, lease: Lease) -> None:
    """Be the parent of one container of several, in its directory, to its recorded end."""
    plan = container["plan"]
    isolation = ("user" if plan["user_namespace"] else "privileged") if plan["root"] else ""
    directory_fd = -1
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGALRM))
    end = End(container["pod"]["key"])
    try:
        os.chdir("/")  # where the pod's init must be when its parent changes the root
        ready = _Ready(surroundings._replace(isolation=isolation))
        os.chdir(plan["directory"])  # by name: one opened before is of the mount namespace that was left
        directory_fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        _Parent({"pod": container["pod"], "plan": plan}, directory_fd, end, ready, (notify, lease)).run()
    except BaseException as error:
        traceback.print_exc(file=sys.stderr)
        end.errors.append(f"the container's parent failed: {describe(error)}")
    end.write(directory_fd if directory_fd >= 0 else os.open(plan["directory"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))


class _Ready:
    """What a parent does before it knows its pod: signals, and for a sandbox namespaces and the pod's init."""

    def __init__(self, surroundings: Surroundings) -> None:
        self.signals = supervise.Signals(Interrupted)
        self.surroundings = surroundings
        self.failure = ""
        self.init_pid = 0
        self.pipes: init.Pipes | None = None
        if not surroundings.isolation:
            return
        try:
            self._isolate(surroundings.stage, user_namespace=surroundings.isolation == "user")
        except OSError as error:
            self.failure = describe(error)

    def _isolate(self, stage: str, *, user_namespace: bool) -> None:
        rootfs.isolate(user_namespace=user_namespace)
        rootfs.set_stage(stage)
        if not user_namespace:
            try:
                rootfs.base_layer(f"{stage}/base", "/")
            except OSError as error:
                self.failure = describe(error)
        self.pipes = init.Pipes()
        self.init_pid = init.fork_init(self.pipes, stage, user_namespace=user_namespace)
        self.pipes.close_ends_of_pod()
        told, _ = status.hear(self.pipes.status_read)
        if told != init.READY:
            self.failure = told.get("error", "the pod's first process ended at once")


def _claim(pod_fd: int) -> bool:
    """Make the link `parent` (whole or not at all), unless a parent or an adopting server has done so before."""
    with open("/proc/self/stat", "rb") as file:
        text = file.read()
    start_time = text[text.rindex(b")") + 2 :].split()[19].decode()
    try:
        os.symlink(f"{os.getpid()} {start_time}", "parent", dir_fd=pod_fd)
    except FileExistsError:
        return False
    return True


class _Parent:
    def __init__(self, record: Record, pod_fd: int, end: End, ready: _Ready, server: tuple[socket.socket, Lease]) -> None:
        notify, self._lease = server
        self._pod: Pod = record["pod"]
        self._plan: Plan = record["plan"]
        self._pod_fd = pod_fd
        self._end = end
        self._ready = ready
        self._signals = ready.signals
        log_fd = os.open("log", os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600, dir_fd=pod_fd)
        self._log = LogWriter(log_fd, keep_tail=self._pod["capture_result"], hidden=self._pod.get("hidden", ()))
        self._news = News(pod_fd, self._pod["key"], notify)

    def run(self) -> None:
        self._signals.install(self._pod["deadline_s"])
        try:
            self._lease.check()
            if self._plan["root"]:
                self._run_sandboxed()
            else:
                self._run_process()
        except PodError as error:
            self._fail(str(error))
        except Interrupted:
            pass
        except OSError as error:
            self._fail(f"the sandbox could not be made: {describe(error)}")
        self._signals.interruptible(False)
        self._end.terminated = self._signals.terminated
        self._end.timed_out = self._signals.timed_out
        self._log.finish()
        self._end.errors = [self._log.shown(text) for text in self._end.errors]
        self._end.result = self._log.result()
        self._keep_logs()

    def _fail(self, text: str) -> None:
        self._end.errors.append(text)
        self._log.note(f"jitflow: {text}")

    def _keep_logs(self) -> None:
        """Take the log as an output, whatever became of the rest."""
        for name in (output["name"] for output in self._pod["outputs"] if output["kind"] == "log"):
            try:
                if not os.access("outputs", os.F_OK, dir_fd=self._pod_fd):
                    os.mkdir("outputs", 0o755, dir_fd=self._pod_fd)
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
                with open(os.open(f"outputs/{name}", flags, 0o644, dir_fd=self._pod_fd), "wb") as target:
                    size = self._log.copy_plain(target)
            except OSError as error:
                self._end.errors.append(f"output {name}: {describe(error)}")
                continue
            source = os.path.join(self._plan["directory"], "outputs", name)
            self._end.artifacts.append({"name": name, "source": source, "size_bytes": size, "is_directory": False})

    def _grace_s(self) -> float:
        """Return the grace to give now: that of a request to terminate, if one was left, or the pod's."""
        try:
            with open(os.open("terminate", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._pod_fd), "rb") as file:
                return float(file.read())
        except (OSError, ValueError):
            return self._pod["grace_s"]

    def _run_sandboxed(self) -> None:
        pod, plan = self._pod, self._plan
        stage = self._ready.surroundings.stage
        if self._ready.failure:
            raise PodError(f"the sandbox could not be made: {self._ready.failure}")
        self._signals.interruptible(True)
        network = self._network()
        image_root = os.path.realpath(pod["image"]["root"] or "/")
        if not os.path.isdir(image_root):
            raise PodError(f"image {pod['image']['name']!r}: its root {image_root} is not a directory of this host")
        on_disk = {"": rootfs.UPPER}
        if plan["root"] == "overlay":
            rootfs.overlay(stage, image_root)
        else:
            outputs = [output["path"] for output in pod["outputs"] if output["kind"] != "log"]
            on_disk = rootfs.binds(stage, image_root, inputs.wanted_paths(pod), outputs)
        rootfs.pivot(f"{stage}/root")
        rootfs.kernel_files(stage, user_namespace=plan["user_namespace"])
        if image_root == "/":
            if plan["root"] == "overlay":
                rootfs.show_data_mounts(self._ready.surroundings.mounts, plan["hidden"])
            rootfs.host_files()
        rootfs.hide(stage, plan["hidden"])
        inputs.make_all(pod, plan, stage)
        self._follow_init(network)
        self._collect(on_disk, plan["working_dir"] or "/")

    def _network(self) -> Network | None:
        """Return what answers for a pod with an address; called while the host's `/proc` is to be seen."""
        address = self._pod["address"]
        if not address:
            return None
        return Network(address, os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))

    def _follow_init(self, network: Network | None) -> None:
        pipes, pid = self._ready.pipes, self._ready.init_pid
        assert pipes is not None
        self._signals.interruptible(False)
        working_dir = self._plan["working_dir"] or "/"
        terminal = Terminal() if self._pod["tty"] else None
        tty = terminal.path if terminal is not None else ""
        pipes.order(self._pod["command"], self._plan["env"], working_dir, watched=network is not None, tty=tty)
        os.fchdir(self._pod_fd)
        out_fd = pipes.out_read if terminal is None else terminal.master
        child = supervise.Child(pid, out_fd, pipes.err_read, pipes.status_read, network, terminal)
        self._follow(child, lambda: os.kill(pid, signal.SIGKILL), lambda: None)

    def _follow(self, child: supervise.Child, kill: Callable[[], None], sweep: Callable[[], None]) -> None:
        """Follow the child to its end, and tell of its progress."""
        progress = Progress(self._plan["env"].get("ARGO_PROGRESS_FILE", ""), self._news)
        probe = self._pod["probe"]
        tasks: list[supervise.Task] = [progress]
        if probe is not None:
            tasks.append(Probe(probe, self._start_beside, self._news))
        if self._ready.surroundings.guarded:
            tasks.append(self._lease)
        supervisor = supervise.Supervisor(child, self._signals, self._log, self._end, tasks)
        supervisor.follow(grace_s=self._grace_s, kill=kill, sweep=sweep)
        self._end.progress = progress.read()
        if self._end.exit_code and not self._end.errors:
            self._end.message = last_words.read(self._pod, self._pod_fd, sandboxed=bool(self._plan["root"]))

    def _start_beside(self, command: list[str], supervisor: supervise.Supervisor) -> int:
        """Start another command where the pod's runs, its output thrown away; returns its pid, 0 if it cannot be started."""
        ours, theirs = status.pair()
        null = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
        try:
            prepare = functools.partial(self._enter, watched=supervisor.is_watched)
            pid = spawn_prepared(command, self._plan["env"], Streams(null, null), theirs, prepare)
        except (CannotStart, OSError) as error:
            self._log.note(f"jitflow: the readiness probe: {describe(error)}")
            os.close(ours)
            return 0
        finally:
            os.close(null)
            os.close(theirs)
        for listener in status.hear(ours)[1]:
            supervisor.listen(listener)
        os.close(ours)
        return pid

    def _enter(self, *, watched: bool) -> tuple[int, ...]:
        """Become, in a new process, what the pod's command is."""
        os.setsid()
        scratch = os.path.join(self._plan["directory"], "scratch")
        os.chdir(self._plan["working_dir"] or ("/" if self._plan["root"] else scratch))
        if self._plan["root"]:
            init.lay_down_rights(user_namespace=self._plan["user_namespace"])
        return seccomp.listener() if watched else ()

    def _run_process(self) -> None:
        self._signals.interruptible(True)
        os.mkdir("scratch", 0o755)
        scratch = os.path.join(self._plan["directory"], "scratch")
        files = process.HostFiles(scratch, self._plan["volumes"])
        try:
            command = files.make_all(self._pod)
            self._signals.interruptible(False)
            if self._follow_process(command, scratch):
                self._collect({}, self._plan["working_dir"] or scratch)
        finally:
            self._signals.interruptible(False)
            files.remove_all()

    def _follow_process(self, command: list[str], scratch: str) -> bool:
        if not command:  # an init container that only places files
            self._end.exit_code = 0
            return True
        sc.adopt_orphans()
        network = self._network()
        out_read, out_write = os.pipe2(os.O_CLOEXEC)
        err_read, err_write = os.pipe2(os.O_CLOEXEC)
        status_read, status_write = status.pair() if network is not None else (-1, -1)
        terminal = Terminal() if self._pod["tty"] else None
        streams = Streams(out_write, err_write, terminal.path if terminal is not None else "")
        try:
            os.chdir(self._plan["working_dir"] or scratch)
            if network is None:
                pid = spawn(command, self._plan["env"], streams, new_session=False)
            else:
                pid = spawn_prepared(command, self._plan["env"], streams, status_write, seccomp.listener)
        except (CannotStart, OSError) as error:
            self._end.exit_code = CANNOT_START
            self._fail(describe(error))
            return False
        finally:
            for fd in (out_write, err_write, *((status_write,) if network is not None else ())):
                os.close(fd)
        out_fd = out_read if terminal is None else terminal.master
        child = supervise.Child(pid, out_fd, err_read, status_read, network, terminal)
        self._follow(child, process.kill_descendants, process.sweep)
        return True

    def _collect(self, on_disk: dict[str, str], base: str) -> None:
        wanted = [output for output in self._pod["outputs"] if output["kind"] != "log"]
        if not wanted and not self._pod["volumes"]:
            return
        os.fchdir(self._pod_fd)
        os.makedirs("outputs", exist_ok=True)
        os.chdir("outputs")
        self._signals.interruptible(True)
        try:
            outputs = os.path.join(self._plan["directory"], "outputs")
            Collector(self._pod_fd, on_disk, base, outputs).collect(wanted, self._end)
            check_volumes(self._pod["volumes"], self._plan, "..", self._end)
        except Interrupted:
            self._end.errors.append("the pod was ended before all its outputs were collected")
