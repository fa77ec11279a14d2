"""Awaitables that are tried before they are waited for."""

from collections.abc import Awaitable, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Begun(Generic[T]):
    """Something awaitable that was run up to where it waits for something; awaiting this goes on with it.

    Most of what is awaited is there already: who finds it done needs no timer, and no turn of the event loop.
    """

    __slots__ = ("_awaited", "_result", "_steps", "is_done")

    def __init__(self, work: Awaitable[T]) -> None:
        """Run it in the current task; what it raises before it waits is raised here."""
        self._steps = work.__await__()
        self._awaited: Any = None
        self._result: T | None = None
        self.is_done = False
        """Whether it has returned without waiting."""
        try:
            self._awaited = next(self._steps)
        except StopIteration as done:
            self._result = done.value
            self.is_done = True

    @property
    def result(self) -> T:
        """What it has returned, if it is done."""
        assert self.is_done, "it waits for something"
        return self._result  # pyright: ignore[reportReturnType] - None only if that is its result

    def __await__(self) -> Generator[Any, Any, T]:
        """Wait for the rest."""
        awaited = self._awaited
        while not self.is_done:
            try:
                sent = yield awaited
            except BaseException as error:
                resume, value = self._steps.throw, error
            else:
                resume, value = self._steps.send, sent
            try:
                awaited = resume(value)
            except StopIteration as done:
                return done.value
        return self.result
