# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false, reportMissingModuleSource=false
# The values of expressions are JSON of any shape.

"""Values of expressions: JSON's, times and durations; how Go prints, compares and counts them."""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol, runtime_checkable

from jitflow.expr.durations import format_duration, go_float
from jitflow.expr.lang.problems import Failure

MAX_SIZE: Final = 1_000_000
"""Characters of a text, items of a list or map that an expression may make."""

MAX_INT: Final = 2**63 - 1


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


class Duration:
    """A span of time, in nanoseconds, with the methods of Go's `time.Duration`."""

    __slots__ = ("ns",)

    def __init__(self, ns: int) -> None:
        """Hold the span."""
        self.ns = ns

    def __eq__(self, other: object) -> bool:
        """Return whether the spans are equal."""
        return isinstance(other, Duration) and self.ns == other.ns

    def __hash__(self) -> int:
        """Return a hash."""
        return hash(self.ns)

    def __str__(self) -> str:
        """Return the span as Go writes it."""
        return format_duration(self.ns / 1e9)

    def call(self, method: str) -> Any:
        """Return what a method gives."""
        match method:
            case "Seconds":
                return self.ns / 1e9
            case "Minutes":
                return self.ns / 6e10
            case "Hours":
                return self.ns / 3.6e12
            case "Milliseconds":
                return self.ns // 1_000_000
            case "Microseconds":
                return self.ns // 1000
            case "Nanoseconds":
                return self.ns
            case "String":
                return str(self)
            case _:
                raise Failure(f"a duration has no method {method}")


class Moment:
    """A point in time with the methods of Go's `time.Time`."""

    __slots__ = ("at",)

    def __init__(self, at: datetime) -> None:
        """Hold the moment; it must know its time zone."""
        self.at = at

    def __eq__(self, other: object) -> bool:
        """Return whether the moments are the same."""
        return isinstance(other, Moment) and self.at == other.at

    def __hash__(self) -> int:
        """Return a hash."""
        return hash(self.at)

    def __str__(self) -> str:
        """Return the moment as Go's JSON writes it."""
        text = self.at.isoformat()
        return text.replace("+00:00", "Z")

    def call(self, method: str, *arguments: Any) -> Any:
        """Return what a method gives."""
        simple = {
            "Year": self.at.year,
            "Month": self.at.month,
            "Day": self.at.day,
            "Hour": self.at.hour,
            "Minute": self.at.minute,
            "Second": self.at.second,
            "Weekday": (self.at.weekday() + 1) % 7,
            "YearDay": self.at.timetuple().tm_yday,
            "Unix": math.floor(self.at.timestamp()),
            "UnixMilli": math.floor(self.at.timestamp() * 1000),
            "UnixNano": math.floor(self.at.timestamp()) * 1_000_000_000 + self.at.microsecond * 1000,
        }
        if method in simple:
            return simple[method]
        match method, arguments:
            case "UTC", ():
                return Moment(self.at.astimezone(UTC))
            case "String", ():
                return str(self)
            case "Format", (str() as layout,):
                return go_time(self.at, layout)
            case "Add", (Duration() as span,):
                return Moment(self.at + timedelta(microseconds=span.ns / 1000))
            case "Sub", (Moment() as other,):
                return between(self, other)
            case "Before", (Moment() as other,):
                return self.at < other.at
            case "After", (Moment() as other,):
                return self.at > other.at
            case "Equal", (Moment() as other,):
                return self.at == other.at
            case _:
                raise Failure(f"a time has no such method {method}")


def between(later: Moment, earlier: Moment) -> Duration:
    """Return the span between two moments."""
    span = later.at - earlier.at
    return Duration((span.days * 86_400 + span.seconds) * 1_000_000_000 + span.microseconds * 1000)


_LAYOUT: Final = (
    ("2006", "%Y"), ("January", "%B"), ("Jan", "%b"), ("Monday", "%A"), ("Mon", "%a"), ("01", "%m"), ("02", "%d"), ("15", "%H"),
    ("03", "%I"), ("04", "%M"), ("05", "%S"), ("06", "%y"), ("PM", "%p"), ("MST", "%Z"), (".000000", ".%f"), ("-0700", "%z"),
    ("002", "%j"),
)  # fmt: skip


def go_time(at: datetime, layout: str) -> str:
    """Return a time in a layout of Go (`2006-01-02T15:04:05Z07:00`)."""
    result: list[str] = []
    place = 0
    while place < len(layout):
        rest = layout[place:]
        if rest.startswith(("Z07:00", "-07:00")):
            offset = at.strftime("%z")
            zulu = rest.startswith("Z") and offset in {"+0000", ""}
            result.append("Z" if zulu else f"{offset[:3]}:{offset[3:]}")
            place += 6
            continue
        found = next(((go, code) for go, code in _LAYOUT if rest.startswith(go)), None)
        if found is None:
            result.append(layout[place])
            place += 1
        else:
            result.append(at.strftime(found[1]))
            place += len(found[0])
    return "".join(result)


def is_number(value: Any) -> bool:
    """Return whether a value is a number; a bool is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def type_name(value: Any) -> str:
    """Return what `type()` says of a value."""
    match value:
        case None:
            return "nil"
        case bool():
            return "bool"
        case int():
            return "int"
        case float():
            return "float"
        case str():
            return "string"
        case bytes() | list() | tuple():
            return "array"
        case Moment():
            return "time.Time"
        case Duration():
            return "time.Duration"
        case _:
            return "map"


def whole(value: int) -> int:
    """Return a number as Go's 64 bits hold it."""
    return (value + 2**63) % 2**64 - 2**63


def printed(value: Any) -> str:
    """Return a value as Go's `%v` prints it."""
    match value:
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
        case float():
            return go_float(value)
        case str():
            return value
        case list() | tuple():
            return f"[{' '.join(printed(item) for item in value)}]"
        case Mapping():
            return f"map[{' '.join(f'{key}:{printed(item)}' for key, item in sorted(value.items(), key=lambda e: str(e[0])))}]"
        case bytes():
            return f"[{' '.join(str(item) for item in value)}]"
        case _:
            return str(value)


def plain(value: Any) -> Any:
    """Return a value as JSON has it.

    Raises:
        Failure: JSON has no such value.
    """
    match value:
        case float():
            if not math.isfinite(value):
                raise Failure(f"{go_float(value)} is no number of JSON")
            return int(value) if value.is_integer() and abs(value) < 1e21 else value
        case bytes():
            import base64  # noqa: PLC0415 - rare

            return base64.b64encode(value).decode()
        case list() | tuple():
            return [plain(item) for item in value]
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case Moment():
            return str(value)
        case Duration():
            return value.ns
        case _:
            return value


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Return a value's JSON, maps by key, as Go marshals it."""
    separators = (",", ":") if indent is None else (",", ": ")
    text = json.dumps(plain(value), ensure_ascii=False, sort_keys=True, separators=separators, indent=indent)
    return text.encode("utf-8", "replace").decode()


def from_json(text: Any) -> Any:
    """Return the value of a JSON text.

    Raises:
        Failure: it is none.
    """
    if not isinstance(text, str):
        raise Failure(f"cannot use {type_name(text)} as a JSON text")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Failure(f"invalid JSON: {error}") from None


def equal(left: Any, right: Any) -> bool:
    """Return whether two values are equal: numbers by value, a bool never equals a number."""
    if isinstance(left, bool) != isinstance(right, bool):
        return False
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(equal(a, b) for a, b in zip(left, right, strict=True))
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    return bool(left == right)


def sized(value: Any) -> Any:
    """Return a value that is not too large.

    Raises:
        Failure: it is.
    """
    if isinstance(value, str | bytes | list | tuple | Mapping) and len(value) > MAX_SIZE:
        raise Failure(f"the result is larger than {MAX_SIZE} characters or items")
    return value
