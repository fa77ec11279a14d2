"""Every task has an owner, who ends with it."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

from jitflow.ports.patience import patient_context


class Owner:
    """Starts tasks, hears of those that fail, and cancels all that are left when it closes."""

    def __init__(self, failed: Callable[[BaseException], None]) -> None:
        """Tell `failed` of each task that ended with an error nobody caught."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed = failed
        self._closed = False

    def start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None] | None:
        """Start a task, which can wait for the state store, or do nothing after `close`."""
        if self._closed:
            work.close()
            return None
        task = asyncio.get_running_loop().create_task(work, name=name, context=patient_context())
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)

    async def close(self) -> None:
        """Cancel what runs and wait until it has ended."""
        self._closed = True
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task
