"""Watches the transfers under way: one poller for all of them, and only while there are any."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec

from jitflow.ports.errors import PortError
from jitflow.ports.storage import Progress
from jitflow.storage import wire

POLL_S = 0.25
HUNG_S = 10.0
"""An rclone that does not answer for so long is beyond hope."""
ASSEMBLY_BPS = 20e6
"""A store that has all bytes may take a while to put them together: one second for so many of them, besides the limit."""

Call = Callable[[str, dict[str, object]], Awaitable[bytes]]
Moving = Callable[[Mapping[str, int]], None]
"""Told the bytes done of each object that is on its way, by its name."""


@dataclass(eq=False, kw_only=True)
class Watched:
    """One call under way in a group of its own.

    `total_bytes` of `-1`: many objects, or a listing; then the whole group's statistics count, and `moving` is told of each of
    them. `stalled` is set when nothing moved for `stall_s`; the call is then stopped.
    """

    group: str
    stall_s: float
    total_bytes: int = -1
    progress: Progress | None = None
    moving: Moving | None = None
    stalled: bool = False
    activity: int = -1
    shown: int = 0
    before_bytes: int = -1
    moved_at: float = field(default_factory=time.monotonic)

    def see(self, activity: int, done_bytes: int) -> None:
        """Take note of what is done so far."""
        if activity != self.activity:
            self.activity, self.moved_at = activity, time.monotonic()
        if self.progress and done_bytes > self.shown:
            self.shown = done_bytes
            self.progress(done_bytes)

    def is_late(self, now: float) -> bool:
        """Return whether nothing moved for longer than the limit."""
        extra_s = self.total_bytes / ASSEMBLY_BPS if 0 < self.total_bytes <= self.activity else 0.0
        return now - self.moved_at > self.stall_s + extra_s


class Watch:
    """Polls rclone's statistics, at most four times a second, while anything is watched."""

    def __init__(self, call: Call, on_hung: Callable[[], None]) -> None:
        """Use `call` to ask rclone; `on_hung` is called when it does not even answer a request to stop."""
        self._call = call
        self._on_hung = on_hung
        self._watched: dict[str, Watched] = {}
        self._poller: asyncio.Task[None] | None = None

    def add(self, watched: Watched) -> None:
        """Watch a call from now on."""
        self._watched[watched.group] = watched
        if self._poller is None or self._poller.done():
            self._poller = asyncio.get_running_loop().create_task(self._poll(), name="transfer watch")

    def remove(self, watched: Watched) -> None:
        """Watch it no longer."""
        self._watched.pop(watched.group, None)

    async def close(self) -> None:
        """Stop polling."""
        self._watched.clear()
        if self._poller:
            self._poller.cancel()
            with suppress(asyncio.CancelledError):
                await self._poller

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            if not self._watched:
                return
            with suppress(PortError, msgspec.MsgspecError, TimeoutError):
                async with asyncio.timeout(POLL_S * 8):
                    await self._look()
            await self._stop_late()

    async def _look(self) -> None:
        singles = [each for each in self._watched.values() if each.total_bytes >= 0]
        if singles:
            stats = wire.parse(await self._call("core/stats", {}), wire.Stats)
            done: dict[str, int] = {}
            for transfer in stats.transferring:
                done[transfer.group] = done.get(transfer.group, 0) + transfer.bytes
            for each in singles:
                if each.group in done:
                    each.see(done[each.group], done[each.group])
        for each in [each for each in self._watched.values() if each.total_bytes < 0]:
            stats = wire.parse(await self._call("core/stats", {"group": each.group}), wire.Stats)
            if each.before_bytes < 0:
                # A group is used again and again: what it counted for earlier calls is already there at the first look. What this
                # call did before that look (a quarter of a second) is told by `transferring` only.
                each.before_bytes = max(stats.bytes - sum(transfer.bytes for transfer in stats.transferring), 0)
            each.see(stats.activity, stats.bytes - each.before_bytes)
            if each.moving is not None and stats.transferring:
                each.moving({transfer.name: transfer.bytes for transfer in stats.transferring})

    async def _stop_late(self) -> None:
        now = time.monotonic()
        for each in [each for each in self._watched.values() if not each.stalled and each.is_late(now)]:
            each.stalled = True
            try:
                async with asyncio.timeout(HUNG_S):
                    await self._call("job/stopgroup", {"group": each.group})
            except TimeoutError:
                self._on_hung()
            except PortError:
                pass  # rclone has just ended, and the call with it
