"""Tell a run that stands still from one that was stopped (SIGSTOP, a laptop that sleeps) and goes on when it is let."""

import threading
import time
from types import TracebackType
from typing import Self

TICK_S = 0.25
STOPPED_S = 2.0
"""A tick that comes so much later than it should came to a process that was stopped, not to one that was only busy."""


class RunClock:
    """Counts the seconds in which this process was not stopped. What it started is stopped with it. Use as a context manager."""

    def __init__(self) -> None:
        """Begin at 0 when it is entered."""
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="run clock", daemon=True)
        self._seen_at = 0.0
        self._ran_s = 0.0
        self.stopped_s = 0.0
        """For how long this process was stopped."""

    def __enter__(self) -> Self:
        """Begin."""
        self._seen_at = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End."""
        self._end.set()
        self._thread.join()

    def _tick(self) -> None:
        # A thread of its own: the one that measures may wait for an answer for long, and is not stopped then.
        while not self._end.wait(TICK_S):
            self.now()

    def now(self) -> float:
        """Return for how many seconds this process was not stopped since the beginning."""
        with self._lock:
            now = time.monotonic()
            passed, self._seen_at = now - self._seen_at, now
            if passed > TICK_S + STOPPED_S:
                self.stopped_s += passed
            else:
                self._ran_s += passed
            return self._ran_s


class Standstill:
    """Whether what is looked at has not changed for too long."""

    def __init__(self, clock: RunClock, patience_s: float) -> None:
        """Wait for so long of `clock`."""
        self._clock = clock
        self._patience_s = patience_s
        self._last: object = None
        self._moved_at = clock.now()

    def lasts(self, progress: object) -> bool:
        """Take note of how far it is; True if that has not changed for too long."""
        now = self._clock.now()
        if progress != self._last:
            self._last, self._moved_at = progress, now
        return now - self._moved_at > self._patience_s
