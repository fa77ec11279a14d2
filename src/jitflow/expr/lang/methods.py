"""The methods of times and durations: `now().Format("2006")`, `duration("1h").Minutes()`."""

from collections.abc import Callable
from datetime import UTC
from functools import partial
from typing import Final

from jitflow.expr.lang.frame import Value
from jitflow.expr.lang.problems import Failure
from jitflow.expr.lang.text import go_type
from jitflow.expr.lang.times import DAYS, MONTHS, NS, Duration, Moment, Named, Zone, format_time


def method(value: Value, name: Value) -> Callable[..., Value] | None:
    """Return a method of a time or a duration, bound to it; None when there is none."""
    if isinstance(value, Moment):
        found = _time_method(value, str(name))
    elif isinstance(value, Duration):
        found = _duration_method(value, str(name))
    else:
        return None
    if found is None:
        raise Failure(f"cannot fetch {name} from {go_type(value)}")
    kinds, apply = found

    def call(*given: Value) -> Value:
        if len(given) != len(kinds):
            raise Failure(f"invalid number of arguments to call {name} (expected {len(kinds)}, got {len(given)})")
        for kind, argument in zip(kinds, given, strict=True):
            if type(argument) is not kind:
                raise Failure(f"cannot use {go_type(argument)} as argument to call {name}")
        return apply(*given)

    return call


def _add_date(time: Moment, years: int, months: int, days: int) -> Moment:
    moment = time.at
    if max(abs(years), abs(months), abs(days)) > 10_000_000:
        raise Failure("time is out of range")
    total = (moment.year + years) * 12 + moment.month - 1 + months
    year, month = divmod(total, 12)
    if not 1 <= year <= 9999:
        raise Failure("time is out of range")
    first = Moment(moment.replace(year=year, month=month + 1, day=1), time.nano)
    return first.plus((moment.day - 1 + days) * 86_400 * NS)


def _cut(time: Moment, unit: Duration) -> Moment:
    """Return the time rounded down to a multiple of a duration since the year 1, as Go does."""
    if unit.ns <= 0:
        return time
    return time.plus(-((time.unix_nano + _YEAR_ONE) % unit.ns))


_YEAR_ONE: Final = 62_135_596_800 * NS
"""From the year 1 to 1970."""


def _rounded(length: Duration, unit: Duration) -> Duration:
    if unit.ns <= 0:
        return length
    rest = abs(length.ns) % unit.ns
    size = abs(length.ns) - rest + (unit.ns if rest * 2 >= unit.ns else 0)
    return Duration(-size if length.ns < 0 else size)


def _truncated(length: Duration, unit: Duration) -> Duration:
    if unit.ns <= 0:
        return length
    size = abs(length.ns) - abs(length.ns) % unit.ns
    return Duration(-size if length.ns < 0 else size)


_PLAIN_TIME: Final[dict[str, Callable[[Moment], Value]]] = {
    "Year": lambda time: time.at.year,
    "Month": lambda time: Named(time.at.month, MONTHS[time.at.month - 1]),
    "Day": lambda time: time.at.day,
    "Hour": lambda time: time.at.hour,
    "Minute": lambda time: time.at.minute,
    "Second": lambda time: time.at.second,
    "Nanosecond": lambda time: time.at.microsecond * 1000 + time.nano,
    "YearDay": lambda time: time.at.timetuple().tm_yday,
    "Weekday": lambda time: Named(time.at.isoweekday() % 7, DAYS[time.at.weekday()]),
    "Unix": lambda time: time.unix_nano // NS,
    "UnixMilli": lambda time: time.unix_nano // 1_000_000,
    "UnixMicro": lambda time: time.unix_nano // 1_000,
    "UnixNano": lambda time: time.unix_nano,
    "String": str,
    "IsZero": lambda time: time.unix_nano == -_YEAR_ONE,
    "UTC": lambda time: time.within(UTC),
    "Local": lambda time: time.within(UTC),
}
_OF_TWO_TIMES: Final[dict[str, Callable[[int, int], Value]]] = {
    "Sub": lambda first, second: Duration(first - second),
    "After": lambda first, second: first > second,
    "Before": lambda first, second: first < second,
    "Equal": lambda first, second: first == second,
    "Compare": lambda first, second: (first > second) - (first < second),
}
_PLAIN_DURATION: Final[dict[str, Callable[[Duration], Value]]] = {
    "Hours": lambda length: length.ns / (3600 * NS),
    "Minutes": lambda length: length.ns / (60 * NS),
    "Seconds": lambda length: length.ns / NS,
    "Milliseconds": lambda length: int(length.ns / 1_000_000),
    "Microseconds": lambda length: int(length.ns / 1_000),
    "Nanoseconds": lambda length: length.ns,
    "String": str,
    "Abs": lambda length: Duration(abs(length.ns)),
}


def _time_method(time: Moment, name: str) -> tuple[tuple[type, ...], Callable[..., Value]] | None:
    if name in _PLAIN_TIME:
        return (), partial(_PLAIN_TIME[name], time)
    if name in _OF_TWO_TIMES:
        compare = _OF_TWO_TIMES[name]

        def of_two(other: Moment) -> Value:
            return compare(time.unix_nano, other.unix_nano)

        return (Moment,), of_two
    match name:
        case "Format":
            return (str,), partial(format_time, time)
        case "Add":
            return (Duration,), partial(_later, time)
        case "AddDate":
            return (int, int, int), partial(_add_date, time)
        case "In":
            return (Zone,), partial(_in_zone, time)
        case "Truncate":
            return (Duration,), partial(_cut, time)
        case _:
            return None


def _duration_method(length: Duration, name: str) -> tuple[tuple[type, ...], Callable[..., Value]] | None:
    if name in _PLAIN_DURATION:
        return (), partial(_PLAIN_DURATION[name], length)
    if name == "Round":
        return (Duration,), partial(_rounded, length)
    return ((Duration,), partial(_truncated, length)) if name == "Truncate" else None


def _later(time: Moment, length: Duration) -> Moment:
    return time.plus(length.ns)


def _in_zone(time: Moment, zone: Zone) -> Moment:
    return time.within(zone.info)
