"""An event loop without a clock, threads or sockets of its own: the world says what time it is and runs callback by callback."""

import asyncio
import heapq
import inspect
import warnings
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any, Protocol

_MOST_WAITS = 1000
"""So many things a coroutine may wait for when it is to end."""


class Surroundings(Protocol):
    """What a loop needs of the world."""

    now: float

    async def in_thread(self, life: Any, work: Callable[[], Any]) -> Any:
        """Do what a thread would do."""
        ...


class Handle:
    """A callback that is to run: what asyncio's handle is, without what a simulation does not need."""

    __slots__ = ("_when", "args", "callback", "context", "is_cancelled")

    def __init__(self, callback: Any, args: tuple[Any, ...], context: Context | None, when: float = 0.0) -> None:
        self.callback: Any = callback
        self.args = args
        self.context = context if context is not None else copy_context()
        self._when = when
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True
        self.callback, self.args = _nothing, ()

    def cancelled(self) -> bool:
        return self.is_cancelled

    def when(self) -> float:
        return self._when


class SimLoop(asyncio.AbstractEventLoop):
    """Runs the callbacks of one process. Callbacks run in the order in which they were called for, as asyncio promises it.

    What asyncio does not promise, the order in which different things in the world are done, is drawn by the world.
    """

    def __init__(self, world: Surroundings, life: Any) -> None:
        self._world = world
        self._life = life
        self.ready: deque[Handle] = deque()
        self._timers: list[tuple[float, int, Handle]] = []
        self._count = 0
        self.tasks: list[asyncio.Task[Any]] = []
        self.faults: list[str] = []

    # -- for the world -----------------------------------------------------------------------------------------------------

    def next_at(self) -> float | None:
        """Return when the next timer is due, None if there is none."""
        timers = self._timers
        while timers and timers[0][2].is_cancelled:
            heapq.heappop(timers)
        return timers[0][0] if timers else None

    def wake(self) -> None:
        """Make ready what is due."""
        timers, now, ready = self._timers, self._world.now, self.ready
        while timers and timers[0][0] <= now:
            handle = heapq.heappop(timers)[2]
            if not handle.is_cancelled:
                ready.append(handle)

    def step(self) -> None:
        """Run one callback; the world has made this loop the one that runs."""
        handle = self.ready.popleft()
        if handle.is_cancelled:
            return
        try:
            handle.context.run(handle.callback, *handle.args)
        except Exception as error:
            self.faults.append(f"a callback failed: {error!r}")

    async def pause(self, delay_s: float) -> None:
        """Let time pass."""
        waiting = asyncio.Future[None](loop=self)
        self.call_at(self._world.now + delay_s, _end_pause, waiting)
        await waiting

    def abandon(self) -> None:
        """Let go of everything that still waits, without letting it do anything that the world sees."""
        self.ready.clear()
        self._timers.clear()
        asyncio._set_running_loop(self)  # what is begun now is begun here, and goes with the rest
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of coroutines that a killed process never began
                for task in self.tasks:
                    task._log_destroy_pending = False  # type: ignore[attr-defined]
                    if not task.done():
                        _close(task.get_coro())
        finally:
            asyncio._set_running_loop(None)
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

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:
        handle = Handle(callback, args, context)
        self.ready.append(handle)
        return handle

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> Any:
        return self.call_soon(callback, *args, context=context)

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> Any:
        return self.call_at(self._world.now + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Any:
        handle = Handle(callback, args, context, when)
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, handle))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=self, **options)
        self.tasks.append(task)
        return task

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        del executor
        return self.create_task(self._world.in_thread(self._life, lambda: func(*args)))

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.faults.append(f"{context.get('message')}: {context.get('exception')!r}")


def _end_pause(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


def _close(coroutine: Any) -> None:
    """End a coroutine, from the innermost one that it waits for outwards, whatever these want to wait for then.

    What a killed process would have done does not matter.
    """
    for _ in range(_MOST_WAITS):
        chain = [coroutine]
        while inspect.iscoroutine(inner := chain[-1].cr_await) and inner.cr_frame is not None:
            chain.append(inner)
        try:
            chain[-1].close()
        except RuntimeError as error:
            if "ignored GeneratorExit" in str(error):
                continue
        except BaseException:
            pass  # see above
        if len(chain) == 1:
            return


def _nothing() -> None:
    """Stand for what a cancelled callback was."""
