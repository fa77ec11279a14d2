"""Choices read from bytes, so that hypothesis, atheris and a plain random source can all steer one generator."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Choices:
    """A stream of choices. When the bytes are used up, every choice is the first one."""

    def __init__(self, data: bytes) -> None:
        """Read from these bytes."""
        self._data = data
        self._place = 0

    @property
    def is_over(self) -> bool:
        """Whether all bytes are used up."""
        return self._place >= len(self._data)

    def byte(self) -> int:
        """Return a number from 0 to 255."""
        if self.is_over:
            return 0
        value = self._data[self._place]
        self._place += 1
        return value

    def below(self, limit: int) -> int:
        """Return a number from 0 to `limit` - 1."""
        if limit <= 1:
            return 0
        value = self.byte()
        if limit > 256:
            value = value << 8 | self.byte()
        return value % limit

    def one_of(self, items: Sequence[T]) -> T:
        """Return one of the items."""
        return items[self.below(len(items))]

    def text(self, longest: int = 12) -> str:
        """Return some text."""
        size = self.below(longest + 1)
        taken = self._data[self._place : self._place + size]
        self._place += size
        return taken.decode("utf-8", "replace")
