"""The parent's loop while the command runs: output to the log, deadline, TERM, grace, KILL, exit code."""

import os
import select
import signal
import time
from collections.abc import Callable
from typing import Any

from . import status
from .command import exit_code_of
from .cri import LogWriter
from .network import Network
from .record import End

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


class Supervisor:
    """Follows one child to its end."""

    def __init__(self, pid: int, signals: Signals, log: LogWriter, end: End, network: Network | None = None) -> None:
        self._pid = pid
        self._network = network
        self._listeners: list[int] = []
        self._pidfd = os.pidfd_open(pid)
        self._signals = signals
        self._log = log
        self._end = end
        self._status: dict[str, Any] | None = None  # what the pod's init told, once it has
        self._kill_at: float | None = None
        self._killed = False
        self._seen_requests = 0

    def follow(
        self,
        out_fd: int,
        err_fd: int,
        status_fd: int,
        *,
        grace_s: Callable[[], float],
        kill: Callable[[], None],
        sweep: Callable[[], None],
    ) -> None:
        """Write output to the log until the child has ended; record its exit code and start in the end.

        Args:
            out_fd: read end of the child's stdout.
            err_fd: read end of the child's stderr.
            status_fd: read end of the pipe on which the start is told, or -1.
            grace_s: how long to wait after TERM; asked anew at each request.
            kill: ends the child and everything it started, now.
            sweep: ends what the child left behind; called when it has ended.
        """
        poll = select.poll()
        streams = {out_fd: b"stdout", err_fd: b"stderr"}
        for fd in (out_fd, err_fd, self._signals.wake_fd, self._pidfd, *((status_fd,) if status_fd >= 0 else ())):
            poll.register(fd, select.POLLIN)
        ended = False
        while not ended:
            self._heed(grace_s, kill)
            for fd, what in poll.poll(self._wait_ms()):
                if fd in streams:
                    self._pump(poll, streams, fd)
                elif fd in self._listeners:
                    self._serve(poll, fd, what)
                elif fd == status_fd:
                    self._take_status(poll, fd)
                elif fd == self._pidfd:
                    ended = True
                else:
                    os.read(fd, 4096)
        self._end.exit_code = exit_code_of(os.waitpid(self._pid, 0)[1])
        os.close(self._pidfd)
        poll.unregister(self._pidfd)
        if status_fd >= 0 and (self._status is None or self._network is not None):
            self._take_status(poll, status_fd)
        for fd in self._listeners:
            poll.unregister(fd)
        sweep()
        self._drain(poll, streams)
        self._judge_status()

    def _wait_ms(self) -> int | None:
        if self._kill_at is None:
            return None
        return max(0, int((self._kill_at - time.monotonic()) * 1000) + 1)

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

    def _pump(self, poll: select.poll, streams: dict[int, bytes], fd: int) -> None:
        data = os.read(fd, _CHUNK_BYTES)
        if data:
            self._log.feed(streams[fd], data)
        else:
            poll.unregister(fd)
            del streams[fd]

    def _drain(self, poll: select.poll, streams: dict[int, bytes]) -> None:
        """Read what is still in the pipes; nobody writes any more, but somebody may hold them open."""
        until = time.monotonic() + _DRAIN_S
        poll.unregister(self._signals.wake_fd)
        while streams and (left := until - time.monotonic()) > 0:
            for fd, _ in poll.poll(int(left * 1000)):
                if fd in streams:
                    self._pump(poll, streams, fd)

    def _serve(self, poll: select.poll, listener: int, what: int) -> None:
        """Answer a command that asks for an address; nobody is left to ask when the kernel hangs up."""
        assert self._network is not None, "there is no listener without a network"
        if what & select.POLLIN:
            self._network.serve(listener)
        else:
            poll.unregister(listener)
            self._listeners.remove(listener)
            os.close(listener)

    def _take_status(self, poll: select.poll, fd: int) -> None:
        """Take what was said; of a command that is watched, what is said when it could not be run comes later."""
        if self._status is None:
            poll.unregister(fd)
        told, listeners = status.hear(fd)
        self._status = {**(self._status or {}), **told}
        for listener in listeners:
            self._listeners.append(listener)
            poll.register(listener, select.POLLIN)
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
