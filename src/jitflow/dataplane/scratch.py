"""A directory of this machine with a bound of its own, from which pods read what a remote primary holds.

What is here is a copy of what is near: it is shared by the steps that read it at the same time, stays while nobody needs its
room, and can be brought again at any time.
"""

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jitflow.dataplane.primary import delete
from jitflow.model.data import Replica, StepId
from jitflow.ports.errors import FixRequest

Bring = Callable[[Replica, Path], Awaitable[None]]
"""Copies a replica to a new path of this machine; nothing is left there when it fails."""


@dataclass(eq=False, kw_only=True)
class _Copy:
    size_bytes: int
    readers: set[StepId] = field(default_factory=set[StepId])
    coming: asyncio.Task[None] | None = None

    @property
    def idle(self) -> bool:
        return not self.readers and (self.coming is None or self.coming.done())


class Scratch:
    """Copies for pods. A step gets room for everything that it reads at once, or waits; those that wait are served in order."""

    def __init__(self, root: Path, capacity_bytes: int) -> None:
        """Use `root` for at most `capacity_bytes`."""
        self.root = root
        self.capacity_bytes = capacity_bytes
        self.used_bytes = 0
        self.peak_bytes = 0
        self._copies: dict[str, _Copy] = {}
        """By location, those that were read longest ago first."""
        self._turn = asyncio.Lock()
        self._freed = asyncio.Event()

    def open(self) -> None:
        """Make the directory. What an earlier life left stays until `tidy`."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def close(self) -> None:
        """End what is under way."""
        tasks = [copy.coming for copy in self._copies.values() if copy.coming is not None and not copy.coming.done()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def path(self, location: str) -> Path:
        """Return where the copy of a location lies."""
        return self.root / hashlib.sha256(location.encode()).hexdigest()

    # -- over a restart ----------------------------------------------------------------------------------------------------

    def resume(self, step: StepId, replicas: Sequence[Replica]) -> None:
        """Note that the pod of an earlier life reads these."""
        for one in replicas:
            if one.location not in self._copies and os.path.lexists(self.path(one.location)):
                self._copies[one.location] = _Copy(size_bytes=one.size_bytes)
                self._count(one.size_bytes)
            if one.location in self._copies:
                self._copies[one.location].readers.add(step)

    def tidy(self) -> None:
        """Remove what no pod of an earlier life reads. Blocks."""
        known = {self.path(location).name for location in self._copies}
        for entry in self.root.iterdir():
            if entry.name not in known:
                delete(entry)

    # -- for steps ---------------------------------------------------------------------------------------------------------

    async def hold(self, step: StepId, replicas: Sequence[Replica], bring: Bring) -> dict[str, Path]:
        """Return where a step can read its inputs until `release`, by location.

        Raises:
            FixRequest: they can never fit. Whatever `bring` raises: then the step holds nothing.
        """
        wanted = {one.location: one for one in replicas}
        total = sum(one.size_bytes for one in wanted.values())
        if total > self.capacity_bytes:
            message = f"its inputs have {total:,} bytes, and the directory from which pods read them {self.capacity_bytes:,}"
            raise FixRequest(f"{message}; make primary.scratch at least {total}")
        async with self._turn:
            while not self._fits(wanted):
                self._freed.clear()
                await self._freed.wait()
            await self._make_room(wanted)
            self._enter(step, wanted, bring)
        tasks = [copy.coming for location in wanted if (copy := self._copies[location]).coming is not None]
        try:
            # Others may wait for the same copies: who gives up, or fails, leaves those alone.
            await asyncio.gather(*(asyncio.shield(task) for task in tasks if task is not None))
        except BaseException:
            self.release(step)
            raise
        return {location: self.path(location) for location in wanted}

    def _fits(self, wanted: Mapping[str, Replica]) -> bool:
        """Return whether there is room once everything is removed that nobody reads or wants."""
        stays = sum(copy.size_bytes for location, copy in self._copies.items() if not copy.idle and location not in wanted)
        return stays + sum(one.size_bytes for one in wanted.values()) <= self.capacity_bytes

    async def _make_room(self, wanted: Mapping[str, Replica]) -> None:
        fresh = sum(one.size_bytes for location, one in wanted.items() if location not in self._copies)
        for location in [location for location, copy in self._copies.items() if copy.idle and location not in wanted]:
            if self.used_bytes + fresh <= self.capacity_bytes:
                return
            await asyncio.to_thread(delete, self.path(location))
            self._drop(location)

    def _enter(self, step: StepId, wanted: Mapping[str, Replica], bring: Bring) -> None:
        for location, one in wanted.items():
            copy = self._copies.get(location)
            if copy is None:
                copy = self._copies[location] = _Copy(size_bytes=one.size_bytes)
                self._count(one.size_bytes)
                copy.coming = asyncio.get_running_loop().create_task(self._bring(one, bring), name=f"deliver {one.ref}")
                copy.coming.add_done_callback(_seen)
            copy.readers.add(step)

    async def _bring(self, replica: Replica, bring: Bring) -> None:
        try:
            await bring(replica, self.path(replica.location))
        except BaseException:
            self._drop(replica.location)
            raise

    def release(self, step: StepId) -> None:
        """The step reads no longer; harmless to repeat."""
        held = [location for location, copy in self._copies.items() if step in copy.readers]
        for location in held:
            copy = self._copies.pop(location)
            copy.readers.discard(step)
            self._copies[location] = copy
        self._freed.set()

    def _drop(self, location: str) -> None:
        copy = self._copies.pop(location, None)
        if copy is not None:
            self._count(-copy.size_bytes)
            self._freed.set()

    def _count(self, change: int) -> None:
        self.used_bytes += change
        self.peak_bytes = max(self.peak_bytes, self.used_bytes)


def _seen(task: asyncio.Task[None]) -> None:
    """Take note of a failure that nobody may be waiting for any more."""
    if not task.cancelled():
        task.exception()
