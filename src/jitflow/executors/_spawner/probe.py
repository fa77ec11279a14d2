"""A readiness probe that is a command: run in the container until it has succeeded as often in a row as it must."""

import math
import os
import signal
import time
from collections.abc import Callable

from .news import News
from .record import Probe as Record
from .supervise import Supervisor

_FIRST_TRIES_S = 0.1
"""At first it is tried sooner than its period says: who waits is not kept longer than need be."""

_LOOK_EVERY_S = 0.02

Start = Callable[[list[str], Supervisor], int]
"""Starts a command beside the pod's, as the leader of a session, and returns its pid; 0 if it cannot be started."""


class Probe:
    """Tells `ready` once; as in Argo, what was ready once stays so."""

    def __init__(self, record: Record, start: Start, news: News) -> None:
        self._record = record
        self._start = start
        self._news = news
        self._pid = 0
        self._until = 0.0
        self._successes = 0
        self._wait_s = min(_FIRST_TRIES_S, record["period_s"])
        self.due = time.monotonic() + record["initial_delay_s"]

    def run(self, supervisor: Supervisor) -> None:
        """Start the command, or see whether it has ended."""
        if self._pid:
            self._look()
        elif supervisor.is_ending:
            self.due = math.inf
        else:
            self._pid = self._start(self._record["command"], supervisor)
            self._until = time.monotonic() + self._record["timeout_s"]
            self.due = time.monotonic() + _LOOK_EVERY_S
            if not self._pid:
                self._judge(succeeded=False)

    def _look(self) -> None:
        pid, ending = os.waitpid(self._pid, os.WNOHANG)
        late = not pid and time.monotonic() >= self._until
        if late:
            os.killpg(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        if pid or late:
            self._pid = 0
            self._judge(succeeded=bool(pid) and ending == 0)
        else:
            self.due = time.monotonic() + _LOOK_EVERY_S

    def _judge(self, *, succeeded: bool) -> None:
        self._successes = self._successes + 1 if succeeded else 0
        if self._successes >= self._record["successes"]:
            self._news.tell("ready", True)
            self.due = math.inf
            return
        self.due = time.monotonic() + (self._record["period_s"] if succeeded else self._wait_s)
        if not succeeded:
            self._wait_s = min(2 * self._wait_s, self._record["period_s"])
