"""How long workflows took, kept for the next ones of their kind."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable

from jitflow import machine

KEPT = 64
"""Finished workflows whose times stay in memory."""


class Expectations:
    """Reads the times of a finished workflow once, however many are started after it."""

    def __init__(self, state_of: Callable[[str], Awaitable[machine.State | None]]) -> None:
        """Read states with `state_of`."""
        self._state_of = state_of
        self._kept: OrderedDict[str, dict[str, int]] = OrderedDict()

    async def like(self, uid: str) -> dict[str, int]:
        """Return how long the nodes of a finished workflow took; nothing if it is gone or did not succeed."""
        if uid not in self._kept:
            state = await self._state_of(uid)
            self._kept[uid] = {} if state is None else machine.durations(state)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return self._kept[uid]
