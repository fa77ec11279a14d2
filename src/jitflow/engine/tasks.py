"""Every task has an owner: it knows its tasks, hears of their failures and ends them."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from jitflow.ports.patience import patient_context

Failed = Callable[[str, BaseException], None]


class Owner:
    """Owns tasks that do not depend on each other: one that fails is reported and does not end the others."""

    def __init__(self, on_failure: Failed) -> None:
        """Report each failure, with the task's name, to `on_failure`."""
        self._on_failure = on_failure
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing = False

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> None:
        """Run `work` as a task of this owner, which can wait for the state store; after `close` it is dropped."""
        if self._closing:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work, name=name, context=patient_context())
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_failure(task.get_name(), error)

    async def settle(self) -> None:
        """Return when no task is left; tasks spawned meanwhile count."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def close(self) -> None:
        """Cancel what runs and wait for it."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        await self.settle()
