"""What one evaluation holds: the environment, variables, and how much work it may still do."""

from collections.abc import Mapping
from typing import Any, Final, Protocol, TypeGuard, runtime_checkable

from jitflow.expr.lang.problems import Failure

Value = Any
"""nil, bool, int (64 bits), float, str, bytes, list, a mapping, `Moment`, `Duration`, `Zone`, a function (any callable)."""

MAX_STEPS: Final = 1_000_000
"""Parts evaluated for elements of arrays, elements looked at or made, and characters made (64 count as one)."""
MAX_ITEMS: Final = 1_000_000
"""Elements of one array; the Go library has the same bound."""
MAX_TEXT_MADE: Final = 16 * 1024 * 1024
"""Characters of one text."""


def is_array(value: Value) -> TypeGuard[list[Any]]:
    """Return whether a value is an array."""
    return isinstance(value, list | tuple)


def is_map(value: Value) -> TypeGuard[Mapping[Any, Any]]:
    """Return whether a value is a map."""
    return isinstance(value, Mapping)


def kind_of(value: Value) -> type[Any]:
    """Return a value's class; `bool` is none of the numbers."""
    return value.__class__


@runtime_checkable
class Lazy(Protocol):
    """A value that is looked up as far as it is used: `tasks.a.outputs.result` asks for one name, not for all tasks."""

    def member(self, name: str) -> Any:
        """Return what lies under a name below this one.

        Raises:
            KeyError: there is nothing; its argument is the whole name.
        """
        ...

    def value(self) -> Any:
        """Return the value itself.

        Raises:
            KeyError: there is none; its argument is the whole name.
        """
        ...


PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes, list, tuple, dict})
"""Classes of values that are never lazy."""


class Frame:
    """One evaluation."""

    __slots__ = ("acc", "env", "index", "item", "left", "local")

    def __init__(self, env: Mapping[str, Value], variables: int) -> None:
        """Begin with an environment and room for the variables of `let`."""
        self.env = env
        self.local: list[Value] = [None] * variables
        self.item: Value = None
        self.index = 0
        self.acc: Value = None
        self.left = MAX_STEPS

    def spend(self, steps: int) -> None:
        """Account for work.

        Raises:
            Failure: there was too much.
        """
        self.left -= steps
        if self.left < 0:
            raise Failure(f"the expression takes more than {MAX_STEPS} steps")

    def make_items(self, count: int) -> None:
        """Account for an array before it is made.

        Raises:
            Failure: it is too long.
        """
        if count > MAX_ITEMS:
            raise Failure("memory budget exceeded")
        self.spend(count)

    def make_text(self, length: int) -> None:
        """Account for a text before it is made.

        Raises:
            Failure: it is too long.
        """
        if length > MAX_TEXT_MADE:
            raise Failure("memory budget exceeded")
        self.spend(length >> 6)

    def made(self, value: Value) -> Value:
        """Account for what a function of the environment made, and return it.

        Raises:
            Failure: it is too large.
        """
        if isinstance(value, str | bytes):
            self.make_text(len(value))
        elif is_array(value) or is_map(value):
            self.make_items(len(value))
        return value
