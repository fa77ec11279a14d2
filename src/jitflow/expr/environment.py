# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false, reportMissingModuleSource=false
# The values of expressions are JSON of any shape.

"""What every expression of Argo finds beside the language: asInt, asFloat, jsonpath, toJson, sprig."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from jitflow.expr import queries, sprig
from jitflow.expr.lang import Failure, now_of, to_json
from jitflow.expr.lang.values import type_name, whole


def as_int(value: Any) -> int:
    """Return a text or number as a whole number, as Argo's `asInt`.

    Raises:
        Failure: it is none.
    """
    if isinstance(value, str):
        try:
            return whole(int(value, 10))
        except ValueError:
            raise Failure(f"asInt: invalid syntax: {value!r}") from None
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return int(value)
    raise Failure(f"asInt: cannot convert {type_name(value)}")


def as_float(value: Any) -> float:
    """Return a text or number as a number with a fraction, as Argo's `asFloat`.

    Raises:
        Failure: it is none.
    """
    try:
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return float(value)
    except ValueError:
        raise Failure(f"asFloat: invalid syntax: {value!r}") from None
    raise Failure(f"asFloat: cannot convert {type_name(value)}")


FUNCTIONS: Final[Mapping[str, Any]] = {
    "asInt": as_int,
    "asFloat": as_float,
    "jsonpath": lambda text, path: queries.first(path, text),
    "toJson": to_json,
    "sprig": sprig.FUNCTIONS,
}


def at(now: float) -> dict[str, Any]:
    """Return the functions, with `now()` at a moment in seconds since the epoch."""
    clock: Callable[[], Any] = now_of(now)
    return {**FUNCTIONS, "now": clock, "sprig": {**sprig.FUNCTIONS, "now": clock}}
