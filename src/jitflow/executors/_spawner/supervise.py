"""The parent's loop while the command runs: output to the log, deadline, TERM, grace, KILL, exit code."""

import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from . import status
from .command import exit_code_of
from .cri import LogWriter
from .network import Network
from .record import End
from .terminal import Terminal

_CHUNK_BYTES = 64 * 1024
_DRAIN_S = 5.0


class Signals:
    """What the parent was asked from outside. In phases that can be cut short, being asked raises `interruption`."""

    def __init__(self, interruption: type[Exception]) -> None:
        self.terminated = False
        self.timed_out = False
        self.requests = 0
        self._raising = False
        self._interruption = interruption
        self.wake_fd, self._wake_write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def install(self, deadline_s: float | None) -> None:
        """Take over TERM and the alarm clock, and start the latter."""
        signal.set_wakeup_fd(self._wake_write_fd, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._on_term)
        signal.signal(signal.SIGALRM, self._on_alarm)
        if deadline_s is not None:
            signal.setitimer(signal.ITIMER_REAL, max(deadline_s, 0.001))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGALRM))

    def interruptible(self, on: bool) -> None:
        """Say whether a signal may cut the current phase short."""
        self._raising = on

    def _on_term(self, _number: int, _frame: object) -> None:
        self.terminated = True
        self.requests += 1
        if self._raising:
            self._raising = False
            raise self._interruption

    def _on_alarm(self, _number: int, _frame: object) -> None:
        self.timed_out = True
        self.requests += 1
        if self._raising:
            self._raising = False
            raise self._interruption


class Child(NamedTuple):
    """A pod's command, or the init that starts it.

    `out_fd`, `err_fd`: what it prints, `out_fd` being the master of `terminal` if it runs at one; `status_fd`: where its start is
    told, or -1; `network`: what answers it, if it asks for addresses.
    """

    pid: int
    out_fd: int
    err_fd: int
    status_fd: int = -1
    network: Network | None = None
    terminal: Terminal | None = None


class Task(Protocol):
    """Something else to do while a child runs: `run` is called when it is `due` (by the monotonic clock)."""

    due: float

    def run(self, supervisor: "Supervisor") -> None:
        """Do it, and set when to do it again."""
        ...


class Supervisor:
    """Follows one child to its end."""

    def __init__(self, child: Child, signals: Signals, log: LogWriter, end: End, tasks: Sequence[Task] = ()) -> None:
        self._child = child
        self._streams = {child.out_fd: b"stdout", child.err_fd: b"stderr"}
        self._listeners: list[int] = []
        self._pidfd = os.pidfd_open(child.pid)
        self._signals = signals
        self._log = log
        self._end = end
        self._tasks = tasks
        self._poll = select.poll()
        self._status: dict[str, Any] | None = None  # what the pod's init told, once it has
        self._kill_at: float | None = None
        self._seen_requests = 0

    @property
    def is_ending(self) -> bool:
        """Whether the child has been asked to end."""
        return self._seen_requests > 0

    def end_now(self) -> None:
        """Kill the child at the next turn."""
        self._kill_at = 0.0

    @property
    def is_watched(self) -> bool:
        """Whether there is somebody to answer commands that ask for addresses."""
        return self._child.network is not None

    def follow(self, *, grace_s: Callable[[], float], kill: Callable[[], None], sweep: Callable[[], None]) -> None:
        """Write output to the log until the child has ended; record its exit code and start in the end.

        Args:
            grace_s: how long to wait after TERM; asked anew at each request.
            kill: ends the child and everything it started, now.
            sweep: ends what the child left behind; called when it has ended.
        """
        child = self._child
        for fd in (child.out_fd, child.err_fd, self._signals.wake_fd, self._pidfd):
            self._poll.register(fd, select.POLLIN)
        if child.status_fd >= 0:
            self._poll.register(child.status_fd, select.POLLIN)
        ended = False
        while not ended:
            self._heed(grace_s, kill)
            for fd, what in self._poll.poll(self._wait_ms()):
                ended = self._attend(fd, what) or ended
        self._end.exit_code = exit_code_of(os.waitpid(child.pid, 0)[1])
        os.close(self._pidfd)
        self._poll.unregister(self._pidfd)
        if child.status_fd >= 0 and (self._status is None or child.network is not None):
            self._take_status(child.status_fd)
        for fd in self._listeners:
            self._poll.unregister(fd)
        if child.terminal is not None:
            child.terminal.close_slave()
        sweep()
        self._drain()
        self._judge_status()

    def listen(self, listener: int) -> None:
        """Answer what asks for addresses over a listener."""
        self._listeners.append(listener)
        self._poll.register(listener, select.POLLIN)

    def _attend(self, fd: int, what: int) -> bool:
        """Do what is to be done about a descriptor that is ready; True if it says that the child has ended."""
        if fd in self._streams:
            self._pump(fd)
        elif fd in self._listeners:
            self._serve(fd, what)
        elif fd == self._child.status_fd:
            self._take_status(fd)
        elif fd == self._pidfd:
            return True
        else:
            os.read(fd, 4096)
        return False

    def _wait_ms(self) -> int | None:
        """Do the tasks that are due; return how long nothing is to be done by the clock."""
        times: list[float] = []
        for task in self._tasks:
            if time.monotonic() >= task.due:
                task.run(self)
            times.append(task.due)
        if self._kill_at is not None:
            times.append(self._kill_at)
        return max(0, int((min(times) - time.monotonic()) * 1000) + 1) if times else None

    def _heed(self, grace_s: Callable[[], float], kill: Callable[[], None]) -> None:
        """Perform what was asked: TERM once, KILL when the (shortest) grace is over, again every second."""
        now = time.monotonic()
        if self._signals.requests != self._seen_requests:
            first = self._seen_requests == 0
            self._seen_requests = self._signals.requests
            due = now + max(0.0, grace_s())
            self._kill_at = due if self._kill_at is None else min(self._kill_at, due)
            if first and due > now:
                signal.pidfd_send_signal(self._pidfd, signal.SIGTERM)
        if self._kill_at is not None and now >= self._kill_at:
            kill()
            self._kill_at = now + 1.0

    def _pump(self, fd: int) -> None:
        try:
            data = os.read(fd, _CHUNK_BYTES)
        except OSError:
            data = b""  # a terminal says so that nobody has it open any more
        if data:
            self._log.feed(self._streams[fd], data)
        else:
            self._poll.unregister(fd)
            del self._streams[fd]

    def _drain(self) -> None:
        """Read what is still in the pipes; nobody writes any more, but somebody may hold them open."""
        until = time.monotonic() + _DRAIN_S
        self._poll.unregister(self._signals.wake_fd)
        while self._streams and (left := until - time.monotonic()) > 0:
            for fd, _ in self._poll.poll(int(left * 1000)):
                if fd in self._streams:
                    self._pump(fd)

    def _serve(self, listener: int, what: int) -> None:
        """Answer a command that asks for an address; nobody is left to ask when the kernel hangs up."""
        network = self._child.network
        assert network is not None, "there is no listener without a network"
        if what & select.POLLIN:
            network.serve(listener)
        else:
            self._poll.unregister(listener)
            self._listeners.remove(listener)
            os.close(listener)

    def _take_status(self, fd: int) -> None:
        """Take what was said; of a command that is watched, what is said when it could not be run comes later."""
        if self._status is None:
            self._poll.unregister(fd)
        told, listeners = status.hear(fd)
        self._status = {**(self._status or {}), **told}
        for listener in listeners:
            self.listen(listener)
        if "started" in told:
            self._end.started_at = told["started"]

    def _judge_status(self) -> None:
        if self._status is None or ("started" in self._status and "error" not in self._status):
            return
        self._end.exit_code = self._status.get("exit_code")
        if "error" in self._status:
            self._end.errors.append(self._status["error"])
            self._log.note(f"jitflow: {self._status['error']}")
        elif not (self._signals.terminated or self._signals.timed_out):
            self._end.errors.append("the pod's first process ended before it could start the command")
