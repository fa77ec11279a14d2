"""Timers of runs: kept in the store as open effects, here only as handles of the event loop."""

import asyncio
from collections.abc import Callable

from jitflow.ports.clock import Clock

MAX_DELAY_S = 86_400.0
"""The event loop's clock and the wall clock drift apart; long timers are set anew after a day."""


class Timers:
    """Calls back at a time of day, once for each key that was not cancelled."""

    def __init__(self, clock: Clock, fired: Callable[[str, str], None]) -> None:
        """Call `fired(uid, key)` when a timer is due."""
        self._clock = clock
        self._fired = fired
        self._handles: dict[str, dict[str, asyncio.TimerHandle]] = {}

    def start(self, uid: str, key: str, due: float) -> None:
        """Set a timer; the same key set again replaces it."""
        self.cancel(uid, key)
        delay = min(max(0.0, due - self._clock.now()), MAX_DELAY_S)
        handle = asyncio.get_running_loop().call_later(delay, self._ring, uid, key, due)
        self._handles.setdefault(uid, {})[key] = handle

    def cancel(self, uid: str, key: str) -> None:
        """Forget a timer; harmless if there is none."""
        handle = self._handles.get(uid, {}).pop(key, None)
        if handle is not None:
            handle.cancel()

    def cancel_all(self, uid: str) -> None:
        """Forget the timers of a run."""
        for handle in self._handles.pop(uid, {}).values():
            handle.cancel()

    def close(self) -> None:
        """Forget all timers."""
        for uid in list(self._handles):
            self.cancel_all(uid)

    def _ring(self, uid: str, key: str, due: float) -> None:
        if self._clock.now() < due:
            self.start(uid, key, due)
            return
        self._handles.get(uid, {}).pop(key, None)
        self._fired(uid, key)
