"""The functions of time. The time itself comes from the environment's `now`."""

from collections.abc import Callable

from jitflow.expr.lang.frame import Frame, Value
from jitflow.expr.lang.problems import Failure
from jitflow.expr.lang.text import go_type
from jitflow.expr.lang.times import LAYOUTS, Moment, Zone, at_nano, parse_time, to_duration, zone_info


def now_of(seconds: float) -> Callable[[], Moment]:
    """Return the function `now` of an environment, for a moment in seconds since 1970."""
    moment = at_nano(round(seconds * 1_000_000) * 1000)
    return lambda: moment


def time_now(frame: Frame) -> Moment:
    """Return the time of the evaluation: what the environment's own `now` gives.

    Raises:
        KeyError: the environment has none.
    """
    return frame.env["now"]()


def now(frame: Frame, given: list[Value]) -> Value:
    """`now()`, `now(timezone)`."""
    moment = time_now(frame)
    if not given:
        return moment
    if not isinstance(given[0], Zone):
        raise Failure("invalid number of arguments (expected 0, got 1)")
    return moment.within(given[0].info)


def duration(_: Frame, given: list[Value]) -> Value:
    """`duration("1h")`."""
    return to_duration(_text(given[0]))


def timezone(_: Frame, given: list[Value]) -> Value:
    """`timezone("Europe/Zurich")`."""
    return Zone(_text(given[0]))


def date(_: Frame, given: list[Value]) -> Value:
    """`date(text)`, `date(text, layout)`, `date(text, layout, zone)`, each also with a time zone before the text."""
    zone = zone_info("UTC")
    if isinstance(given[0], Zone):
        zone, given = given[0].info, given[1:]
    if not 1 <= len(given) <= 3:
        raise Failure(f"invalid number of arguments (expected 1 to 3, got {len(given)})")
    text = _text(given[0])
    if len(given) == 3:
        zone = zone_info(_text(given[2]))
    if len(given) > 1:
        return parse_time(_text(given[1]), text, zone)
    for layout in LAYOUTS:
        try:
            return parse_time(layout, text, zone)
        except Failure:
            continue
    raise Failure(f"invalid date {text[:80]}")


def _text(value: Value) -> str:
    if isinstance(value, str):
        return value
    raise Failure(f"interface conversion: interface {{}} is {'nil' if value is None else go_type(value)}, not string")
