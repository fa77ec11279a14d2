"""Runs rclone's methods as watched, cancellable calls, a bounded number at once."""

import asyncio
import secrets
from contextlib import suppress

from jitflow.ports.errors import PortError, Stalled
from jitflow.ports.storage import Progress
from jitflow.storage.rclone import Rclone
from jitflow.storage.watch import Moving, Watch, Watched
from jitflow.storage.wire import Request

STOP_WAIT_S = 10.0


class Calls:
    """A bounded number of calls at once, each in a statistics group of its own.

    Groups are used again: rclone keeps a thousand of them and drops the oldest, which may be that of a long transfer.
    """

    def __init__(self, daemon: Rclone, watch: Watch, name: str, limit: int, stall_s: float) -> None:
        """Allow `limit` calls at once, watched by `watch`; `name` tells this set's groups from others'."""
        self._daemon = daemon
        self._stall_s = stall_s
        token = secrets.token_hex(3)
        self._slots = asyncio.Semaphore(limit)
        self._groups = [f"{name}-{token}-{number}" for number in range(limit)]
        self._watch = watch
        self._running: set[asyncio.Task[bytes]] = set()

    async def close(self) -> None:
        """Cancel what is under way."""
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)

    async def run(
        self,
        method: str,
        request: Request,
        *,
        subject: str,
        total_bytes: int = -1,
        progress: Progress | None = None,
        moving: Moving | None = None,
        group: str = "",
    ) -> bytes:
        """Return the answer of a method.

        When the awaiting task is cancelled, rclone's job is stopped and has ended before this raises.

        Args:
            method: rclone's name of it.
            request: its parameters; the group is added.
            subject: names the object in messages.
            total_bytes: the size of the single object that is copied, 0 for questions about one; -1 for calls on many.
            progress: told the bytes done.
            moving: of a call on many, told the bytes done of each that is on its way.
            group: the statistics group to use, by default one that is free.

        Raises:
            Stalled: nothing moved for the limit. PortError: what rclone said.
        """
        async with self._slots:
            taken = self._groups.pop()
            try:
                used = group or taken
                watched = Watched(group=used, stall_s=self._stall_s, total_bytes=total_bytes, progress=progress, moving=moving)
                return await self._run_watched(method, {**request, "_group": used}, subject, watched)
            finally:
                self._groups.append(taken)

    async def _run_watched(self, method: str, request: Request, subject: str, watched: Watched) -> bytes:
        task = asyncio.get_running_loop().create_task(self._daemon.call(method, request, subject=subject))
        self._running.add(task)
        task.add_done_callback(self._ended)
        self._watch.add(watched)
        try:
            await asyncio.wait({task})
            return task.result()
        except PortError as error:
            if watched.stalled:
                raise Stalled(f"{subject}: nothing moved for {watched.stall_s:g} s; it is tried again later") from error
            raise
        finally:
            self._watch.remove(watched)
            if not task.done():
                await self._stop(watched.group, task)

    def _ended(self, task: asyncio.Task[bytes]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # who called may be gone, and asks for it no more

    async def _stop(self, group: str, task: asyncio.Task[bytes]) -> None:
        """Stop a job and wait until it has ended; hang up if rclone does not obey."""
        try:
            with suppress(PortError, TimeoutError):
                async with asyncio.timeout(STOP_WAIT_S):
                    await self._daemon.call("job/stopgroup", {"group": group}, subject="rclone")
            await asyncio.wait({task}, timeout=STOP_WAIT_S)
        finally:
            task.cancel()
            await asyncio.wait({task})
