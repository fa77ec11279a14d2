"""Functions that evaluate a predicate for each element of an array."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from jitflow.expr.lang.frame import Frame, Value, is_array
from jitflow.expr.lang.operators import add, as_bool, hashable
from jitflow.expr.lang.problems import Failure
from jitflow.expr.lang.sorting import sort_by
from jitflow.expr.lang.text import go_type


class Loop:
    """One call: the array and what is evaluated for each of its elements. `weight` is the number of parts of the predicate."""

    __slots__ = ("_frame", "_predicate", "_weight", "array")

    def __init__(self, frame: Frame, array: Value, predicate: Callable[[Frame], Value], weight: int, name: str) -> None:
        """Look at an array.

        Raises:
            Failure: it is none.
        """
        if isinstance(array, bytes):
            array = list(array)
        if not is_array(array):
            raise Failure(f"builtin {name} takes only array (got {go_type(array)})")
        self.array: list[Any] = array
        self._frame, self._predicate, self._weight = frame, predicate, weight

    def at(self, index: int) -> Value:
        """Return the predicate's value for one element."""
        frame = self._frame
        frame.spend(self._weight)
        frame.item, frame.index = self.array[index], index
        return self._predicate(frame)

    def values(self) -> Iterator[Value]:
        """Yield the predicate's values."""
        for index in range(len(self.array)):
            yield self.at(index)

    def tests(self) -> Iterator[bool]:
        """Yield the predicate's values, which must be true or false."""
        for index in range(len(self.array)):
            yield as_bool(self.at(index))

    def accumulate(self, start: Value, first: int) -> Value:
        """Return what is left when the predicate has gone over the elements from `first` on, `#acc` being its last value."""
        total = start
        for index in range(first, len(self.array)):
            self._frame.acc = total
            total = self.at(index)
        return total


def _find(loop: Loop, indices: range) -> int | None:
    return next((index for index in indices if as_bool(loop.at(index))), None)


def _find_index(loop: Loop, _: list[Value]) -> Value:
    return _find(loop, range(len(loop.array)))


def _find_last_index(loop: Loop, _: list[Value]) -> Value:
    return _find(loop, range(len(loop.array) - 1, -1, -1))


def _found(find: Callable[[Loop, list[Value]], Value]) -> Callable[[Loop, list[Value]], Value]:
    def run(loop: Loop, rest: list[Value]) -> Value:
        index = find(loop, rest)
        return None if index is None else loop.array[index]

    return run


def _filter(loop: Loop, _: list[Value]) -> Value:
    return [item for item, holds in zip(loop.array, loop.tests(), strict=True) if holds]


def _sum(loop: Loop, _: list[Value]) -> Value:
    total: Value = 0
    for value in loop.values():
        total = add(total, value)
    return total


def _reduce(loop: Loop, rest: list[Value]) -> Value:
    if rest:
        return loop.accumulate(rest[0], 0)
    if not loop.array:
        raise Failure("reduce of empty array with no initial value")
    return loop.accumulate(loop.array[0], 1)


def _group_by(loop: Loop, _: list[Value]) -> Value:
    groups: dict[Any, list[Value]] = {}
    for item, key in zip(loop.array, loop.values(), strict=True):
        if not hashable(key):
            raise Failure(f"hash of unhashable type: {go_type(key)}")
        groups.setdefault(key, []).append(item)
    return groups


def _sort_by(loop: Loop, rest: list[Value]) -> Value:
    return sort_by(list(loop.array), list(loop.values()), rest[0] if rest else "asc")


LOOPS: Final[dict[str, Callable[[Loop, list[Value]], Value]]] = {
    "all": lambda loop, _: all(loop.tests()),
    "none": lambda loop, _: not any(loop.tests()),
    "any": lambda loop, _: any(loop.tests()),
    "one": lambda loop, _: sum(loop.tests()) == 1,
    "filter": _filter,
    "map": lambda loop, _: list(loop.values()),
    "count": lambda loop, _: sum(loop.tests()),
    "sum": _sum,
    "find": _found(_find_index),
    "findIndex": _find_index,
    "findLast": _found(_find_last_index),
    "findLastIndex": _find_last_index,
    "groupBy": _group_by,
    "sortBy": _sort_by,
    "reduce": _reduce,
}
"""By name: what is done with the loop and the arguments after the predicate."""
