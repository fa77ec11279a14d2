"""Values of expressions for other modules: how Go prints, compares and counts them."""

from datetime import datetime
from typing import Any, Final

from jitflow.expr.lang import operators, text
from jitflow.expr.lang.frame import Frame, Lazy
from jitflow.expr.lang.operators import is_number
from jitflow.expr.lang.operators import wrapped as whole
from jitflow.expr.lang.text import from_json, type_name
from jitflow.expr.lang.text import show as printed
from jitflow.expr.lang.times import Duration, Moment, format_time

__all__ = [
    "MAX_SIZE", "Duration", "Lazy", "Moment", "equal", "from_json", "go_time", "is_number", "printed", "to_json", "type_name",
    "whole",
]  # fmt: skip

MAX_SIZE: Final = 1_000_000
"""Characters of a text, items of a list or map that a function of the environment may make."""


def equal(left: Any, right: Any) -> bool:
    """Return whether two values are equal: numbers by value, a bool never equals a number.

    Raises:
        Failure: they are too large to compare.
    """
    return operators.equal(left, right, Frame({}, 0))


def to_json(value: Any, *, indent: int = 0, html: bool = True) -> str:
    """Return a value's JSON, maps by key, as Go marshals it: `<`, `>` and `&` as escapes unless `html` is false.

    Raises:
        Failure: JSON has no such value.
    """
    return text.to_json(value, indent=" " * indent, html=html)


def go_time(at: datetime, layout: str) -> str:
    """Return a time in a layout of Go (`2006-01-02T15:04:05Z07:00`)."""
    return format_time(Moment(at), layout)
