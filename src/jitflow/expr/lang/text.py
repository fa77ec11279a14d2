"""Values as text: Go's `%v`, Go's JSON, Go's names of types."""

import base64
import json
import math
from collections.abc import Mapping, Sized
from decimal import Decimal
from typing import Any, Final

from jitflow.expr.durations import go_float
from jitflow.expr.lang.frame import MAX_ITEMS, Value, is_array, is_map, kind_of
from jitflow.expr.lang.problems import Failure
from jitflow.expr.lang.times import Duration, Moment, Named, Zone, format_time

MAX_NESTING: Final = 200
"""Values nested deeper than this are refused."""

_TYPES: Final[dict[type, tuple[str, str]]] = {
    bool: ("bool", "bool"), int: ("int", "int"), float: ("float", "float64"), str: ("string", "string"),
    bytes: ("array", "[]uint8"), list: ("array", "[]interface {}"), tuple: ("array", "[]interface {}"),
    dict: ("map", "map[string]interface {}"), type(None): ("nil", "<nil>"), Moment: ("time.Time", "time.Time"),
    Duration: ("time.Duration", "time.Duration"), Zone: ("time.Location", "*time.Location"),
    Named: ("time.Month", "time.Month"),
}  # fmt: skip


def type_name(value: Value) -> str:
    """Return what the function `type` says of a value."""
    return _TYPES.get(kind_of(value), ("func", "") if callable(value) else ("map", ""))[0]


def go_type(value: Value) -> str:
    """Return a value's Go type, for messages."""
    return _TYPES.get(kind_of(value), ("", "func" if callable(value) else "map[string]interface {}"))[1]


def show(value: Value) -> str:
    """Return a value as Go's `%v` prints it.

    Raises:
        Failure: it nests too deeply, or is too large.
    """
    if isinstance(value, str):
        return value
    parts: list[str] = []
    _show(value, parts, 0)
    return "".join(parts)


def _show(value: Value, parts: list[str], depth: int) -> None:
    if is_array(value):
        _check(depth, parts)
        parts.append("[")
        for number, item in enumerate(value):
            parts.append(" " if number else "")
            _show(item, parts, depth + 1)
        parts.append("]")
    elif is_map(value):
        _check(depth, parts)
        parts.append("map[")
        for number, key in enumerate(ordered(value)):
            parts.append(f"{' ' if number else ''}{_shown(key)}:")
            _show(value[key], parts, depth + 1)
        parts.append("]")
    else:
        parts.append(_shown(value))


def _shown(value: Value) -> str:
    match value:
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
        case float():
            return go_float(value)
        case bytes():
            return "[" + " ".join(map(str, value)) + "]"
        case Zone():
            return value.name or "UTC"
        case _:
            return str(value)


def _check(depth: int, parts: Sized = ()) -> None:
    if depth > MAX_NESTING:
        raise Failure(f"a value nests deeper than {MAX_NESTING}")
    # Values may share parts: a small one can be written at enormous length.
    if len(parts) > MAX_ITEMS:
        raise Failure("memory budget exceeded")


def ordered(pairs: Mapping[Any, Any]) -> list[Any]:
    """Return the keys of a map as Go prints and marshals them: in order."""
    return sorted(pairs, key=_order)


def _order(key: Any) -> tuple[str, Any]:
    return str(kind_of(key)), key if isinstance(key, str | int | float) else _shown(key)


# -- JSON -------------------------------------------------------------------------------------------------------------

_HTML: Final = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def quoted(text: str, *, html: bool = True) -> str:
    """Return a text as a JSON string, as Go marshals it."""
    shown = json.dumps(text.encode("utf-8", "replace").decode(), ensure_ascii=False)
    return shown.translate(_HTML) if html else shown.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def json_float(value: float) -> str:
    """Return a float as Go marshals it.

    Raises:
        Failure: it is no number.
    """
    if math.isnan(value) or math.isinf(value):
        raise Failure(f"json: unsupported value: {go_float(value)}")
    size = abs(value)
    if size and not 1e-6 <= size < 1e21:
        mantissa, _, power = repr(value).partition("e")
        if not power:
            mantissa, _, power = f"{Decimal(repr(value)).normalize():e}".partition("e")
        return f"{mantissa.removesuffix('.0')}e{'-' if power[0] == '-' else '+'}{power.lstrip('+-').lstrip('0')}"
    text = format(Decimal(repr(value)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def to_json(value: Value, *, indent: str = "", html: bool = True) -> str:
    """Return a value as Go marshals it to JSON.

    Args:
        value: any value that JSON can hold.
        indent: what each level is indented with; empty: all on one line.
        html: write `<`, `>` and `&` as escapes, as Go does unless told otherwise.

    Raises:
        Failure: JSON cannot hold it.
    """
    parts: list[str] = []
    _write(value, parts, indent, "\n" if indent else "", html)
    return "".join(parts)


def _write(value: Value, parts: list[str], indent: str, line: str, html: bool) -> None:
    match value:
        case None:
            parts.append("null")
        case bool():
            parts.append("true" if value else "false")
        case str():
            parts.append(quoted(value, html=html))
        case int():
            parts.append(str(value))
        case float():
            parts.append(json_float(value))
        case bytes() | Duration() | Named() | Moment():
            parts.append(_scalar(value))
        case Mapping() | list() | tuple():
            _write_whole(value, parts, indent, line, html)
        case _:
            raise Failure(f"json: unsupported type: {go_type(value)}")


def _scalar(value: bytes | Duration | Named | Moment) -> str:
    match value:
        case bytes():
            return f'"{base64.b64encode(value).decode()}"'
        case Duration():
            return str(value.ns)
        case Named():
            return str(value.number)
        case Moment():
            return f'"{format_time(value, "2006-01-02T15:04:05.999999999Z07:00")}"'


def _write_whole(value: Any, parts: list[str], indent: str, line: str, html: bool) -> None:
    _check(len(line) if not indent else len(line) // len(indent), parts)
    # Without indentation the depth is counted in blanks that are never written.
    deeper = line + (indent or " ")
    between = ("," + deeper) if indent else ","
    opening, closing = ("{", "}") if is_map(value) else ("[", "]")
    parts.append(opening)
    if is_map(value):
        for number, key in enumerate(ordered(value)):
            parts.append(between if number else deeper if indent else "")
            parts.append(quoted(_shown(key), html=html) + (": " if indent else ":"))
            _write(value[key], parts, indent, deeper, html)
    else:
        for number, item in enumerate(value):
            parts.append(between if number else deeper if indent else "")
            _write(item, parts, indent, deeper, html)
    if indent and len(value):
        parts.append(line)
    parts.append(closing)


def from_json(text: str) -> Value:
    """Return the value of a JSON text; all numbers become floats, as in Go.

    Raises:
        Failure: it is no JSON.
    """
    try:
        return clean(json.loads(text, parse_int=_as_float, parse_constant=_no_constant))
    except ValueError as error:
        reason = "unexpected end of JSON input" if not text.strip() else f"invalid JSON: {error}"
        raise Failure(reason) from error
    except RecursionError as error:
        raise Failure("JSON nests too deeply") from error


def _as_float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"number {digits[:20]}… is out of range")
    return value


def _no_constant(name: str) -> float:
    raise ValueError(f"invalid value {name}")


def clean(value: Any, depth: int = 0) -> Any:
    """Return a value without halves of surrogate pairs, which Go replaces and UTF-8 cannot hold.

    Raises:
        Failure: it nests too deeply.
    """
    _check(depth)
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if is_array(value):
        return [clean(item, depth + 1) for item in value]
    if is_map(value):
        return {clean(key): clean(item, depth + 1) for key, item in value.items()}
    return value
