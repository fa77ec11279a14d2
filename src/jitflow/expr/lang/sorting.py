"""Sorting values as Go's library compares them."""

from typing import Any

from jitflow.expr.lang.frame import Value
from jitflow.expr.lang.operators import comparable
from jitflow.expr.lang.problems import Failure


class _Key:
    """A value that can be sorted among others."""

    __slots__ = ("value",)

    def __init__(self, value: Value) -> None:
        self.value = value

    def __lt__(self, other: "_Key") -> bool:
        first, second = comparable("<", self.value, other.value)
        return first < second


def sort_by(items: list[Any], keys: list[Any], order: Value) -> list[Any]:
    """Return items in the order of their keys, `asc` or `desc`; equal ones stay in order.

    Raises:
        Failure: keys have no order among each other, or the order is neither.
    """
    if order not in ("asc", "desc"):
        raise Failure(f"invalid order {order}, expected asc or desc")
    places = sorted(range(len(items)), key=lambda place: _Key(keys[place]), reverse=order == "desc")
    return [items[place] for place in places]
