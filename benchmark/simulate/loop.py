"""An event loop without a clock, threads or sockets of its own: the world says what time it is and runs callback by callback."""

import asyncio
import contextlib
import heapq
import warnings
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol


class Surroundings(Protocol):
    """What a loop needs of the world."""

    now: float

    async def in_thread(self, life: Any, work: Callable[[], Any]) -> Any:
        """Do what a thread would do."""
        ...


class SimLoop(asyncio.AbstractEventLoop):
    """Runs the callbacks of one process. Callbacks run in the order in which they were called for, as asyncio promises it.

    What asyncio does not promise, the order in which different things in the world are done, is drawn by the world.
    """

    def __init__(self, world: Surroundings, life: Any) -> None:
        self._world = world
        self._life = life
        self.ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._count = 0
        self.tasks: dict[asyncio.Task[Any], None] = {}
        self.faults: list[str] = []

    # -- for the world -----------------------------------------------------------------------------------------------------

    def next_at(self) -> float | None:
        """Return when the next timer is due, None if there is none."""
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def wake(self) -> None:
        """Make ready what is due."""
        while (at := self.next_at()) is not None and at <= self._world.now:
            self.ready.append(heapq.heappop(self._timers)[2])

    def step(self) -> None:
        """Run one callback."""
        handle = self.ready.popleft()
        if handle.cancelled():
            return
        asyncio._set_running_loop(self)
        try:
            handle._run()
        finally:
            asyncio._set_running_loop(None)

    def abandon(self) -> None:
        """Let go of everything that still waits, without letting it do anything that the world sees."""
        self.ready.clear()
        self._timers.clear()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of coroutines that a killed process never began
            for task in list(self.tasks):
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                coroutine: Any = task.get_coro()
                with contextlib.suppress(BaseException):  # what a killed process would have done does not matter
                    coroutine.close()
        self.tasks.clear()
        self.ready.clear()
        self._timers.clear()

    # -- for asyncio -------------------------------------------------------------------------------------------------------

    def time(self) -> float:
        return self._world.now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self.ready.append(handle)
        return handle

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        del handle

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=self, **options)
        self.tasks[task] = None
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self.tasks.pop(task, None)

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        del executor
        return self.create_task(self._world.in_thread(self._life, lambda: func(*args)))

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.faults.append(f"{context.get('message')}: {context.get('exception')!r}")
