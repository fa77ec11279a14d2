"""Ctrl-C while a workflow runs: the first stops it in order, the second terminates it, the third leaves."""

import signal
from collections.abc import Callable
from types import FrameType
from typing import Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Counts signals while it is entered; `poll` performs what was asked for, on the caller's thread."""

    def __init__(self, stop: Callable[[], None], terminate: Callable[[], None]) -> None:
        """Hold what the first and the second signal mean."""
        self._actions = (stop, terminate)
        self._count = 0
        self._performed = 0
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        """Take the signals over."""
        for number in _SIGNALS:
            self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType] - what signal.signal returned

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self._count += 1
        if self._count > len(self._actions):
            raise KeyboardInterrupt

    def poll(self) -> None:
        """Perform the actions of the signals that came since the last call."""
        while self._performed < min(self._count, len(self._actions)):
            self._performed += 1
            self._actions[self._performed - 1]()
