# ruff: noqa: E501 - one line, one function
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false, reportMissingModuleSource=false
# The values of expressions are JSON of any shape.

"""The functions of expr-lang."""

import base64
import binascii
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cmp_to_key
from itertools import chain
from typing import Any, Final
from zoneinfo import ZoneInfo

from jitflow.expr.durations import DurationError, parse_duration
from jitflow.expr.lang.problems import Failure
from jitflow.expr.lang.values import (
    MAX_SIZE,
    Duration,
    Moment,
    equal,
    from_json,
    is_number,
    printed,
    to_json,
    type_name,
    whole,
)

Test = Callable[..., Any]


def _list(value: Any, name: str) -> list[Any]:
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, bytes):
        return list(value)
    raise Failure(f"invalid argument for {name} (type {type_name(value)})")


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise Failure(f"invalid argument for {name} (type {type_name(value)})")
    return value


def _number(value: Any, name: str) -> int | float:
    if not is_number(value):
        raise Failure(f"invalid argument for {name} (type {type_name(value)})")
    return value


def _int(value: Any, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise Failure(f"invalid argument for {name} (type {type_name(value)})")
    return value


def _true(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise Failure(f"predicate of {name} should return boolean (got {type_name(value)})")
    return value


def _bounded(size: int) -> None:
    if size > MAX_SIZE:
        raise Failure(f"the result is larger than {MAX_SIZE} characters or items")


# -- predicates -------------------------------------------------------------------------------------------------------


def _hits(name: str, items: Any, test: Test) -> Iterable[tuple[int, Any]]:
    for index, item in enumerate(_list(items, name)):
        if _true(test(item, index), name):
            yield index, item


def _all(items: Any, test: Test) -> bool:
    return all(_true(test(item, index), "all") for index, item in enumerate(_list(items, "all")))


def _any(items: Any, test: Test) -> bool:
    return next(iter(_hits("any", items, test)), None) is not None


def _none(items: Any, test: Test) -> bool:
    return next(iter(_hits("none", items, test)), None) is None


def _one(items: Any, test: Test) -> bool:
    return len(list(_hits("one", items, test))) == 1


def _filter(items: Any, test: Test) -> list[Any]:
    return [item for _, item in _hits("filter", items, test)]


def _map(items: Any, change: Test) -> list[Any]:
    return [change(item, index) for index, item in enumerate(_list(items, "map"))]


def _find(items: Any, test: Test) -> Any:
    return next((item for _, item in _hits("find", items, test)), None)


def _find_index(items: Any, test: Test) -> Any:
    return next((index for index, _ in _hits("findIndex", items, test)), None)


def _find_last(items: Any, test: Test) -> Any:
    found = list(_hits("findLast", items, test))
    return found[-1][1] if found else None


def _find_last_index(items: Any, test: Test) -> Any:
    found = list(_hits("findLastIndex", items, test))
    return found[-1][0] if found else None


def _count(items: Any, test: Test | None = None) -> int:
    if test is None:
        return sum(1 for item in _list(items, "count") if _true(item, "count"))
    return len(list(_hits("count", items, test)))


def _sum(items: Any, change: Test | None = None) -> Any:
    values = [change(item, index) if change else item for index, item in enumerate(_list(items, "sum"))]
    total: int | float = 0
    for value in values:
        total = total + _number(value, "sum")
    return whole(total) if isinstance(total, int) else total


def _group_by(items: Any, key: Test) -> dict[str, list[Any]]:
    groups: dict[str, list[Any]] = {}
    for index, item in enumerate(_list(items, "groupBy")):
        groups.setdefault(printed(key(item, index)), []).append(item)
    return groups


def _reduce(items: Any, step: Test, *initial: Any) -> Any:
    values = _list(items, "reduce")
    if not values and not initial:
        raise Failure("reduce of empty array with no initial value")
    acc, rest = (initial[0], values) if initial else (values[0], values[1:])
    for index, item in enumerate(rest, 0 if initial else 1):
        acc = step(item, index, acc)
    return acc


def _order(left: Any, right: Any) -> int:
    if is_number(left) and is_number(right):
        return (left > right) - (left < right)
    if isinstance(left, str) and isinstance(right, str):
        one, two = left.encode("utf-8", "surrogatepass"), right.encode("utf-8", "surrogatepass")
        return (one > two) - (one < two)
    raise Failure(f"cannot sort {type_name(left)} with {type_name(right)}")


def _sort(items: Any, order: Any = "asc") -> list[Any]:
    return sorted(_list(items, "sort"), key=cmp_to_key(_order), reverse=_descending(order))


def _sort_by(items: Any, key: Test, order: Any = "asc") -> list[Any]:
    keyed = [(key(item, index), item) for index, item in enumerate(_list(items, "sortBy"))]
    keyed.sort(key=cmp_to_key(lambda left, right: _order(left[0], right[0])), reverse=_descending(order))
    return [item for _, item in keyed]


def _descending(order: Any) -> bool:
    if order not in {"asc", "desc"}:
        raise Failure(f"invalid order {printed(order)}, expected asc or desc")
    return order == "desc"


# -- numbers ----------------------------------------------------------------------------------------------------------


def _numbers_of(arguments: tuple[Any, ...], name: str) -> list[Any]:
    found: list[Any] = []
    for argument in arguments:
        values = argument if isinstance(argument, list | tuple) else [argument]
        found += [_number(value, name) for value in chain(values)]
    if not found:
        raise Failure(f"not enough arguments to call {name}")
    return found


def _round(value: Any) -> float:
    number = float(_number(value, "round"))
    return math.copysign(math.floor(abs(number) + 0.5), number) if math.isfinite(number) else number


def _mean(*arguments: Any) -> float:
    values = _numbers_of(arguments, "mean")
    return sum(values) / len(values)


def _median(*arguments: Any) -> float:
    values = sorted(_numbers_of(arguments, "median"))
    middle = len(values) // 2
    return float(values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2)


def _as_int(value: Any) -> int:
    if isinstance(value, str):
        try:
            return whole(int(value.strip() if value == value.strip() else "x", 10))
        except ValueError:
            raise Failure(f"invalid operation: int({value})") from None
    number = _number(value, "int")
    if isinstance(number, float) and not math.isfinite(number):
        raise Failure(f"invalid operation: int({printed(number)})")
    return whole(int(number))


def _as_float(value: Any) -> float:
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            raise Failure(f"invalid operation: float({value})") from None
    return float(_number(value, "float"))


# -- texts ------------------------------------------------------------------------------------------------------------


def _trim(value: Any, characters: str | None = None) -> str:
    return _text(value, "trim").strip(characters)


def _split(value: Any, separator: Any, limit: int = -1) -> list[str]:
    text, mark = _text(value, "split"), _text(separator, "split")
    if limit == 0:
        return []
    if not mark:
        pieces = list(text)
        return pieces if limit < 0 or len(pieces) <= limit else [*pieces[: limit - 1], "".join(pieces[limit - 1 :])]
    return text.split(mark, limit - 1 if limit > 0 else -1)


def _split_after(value: Any, separator: Any, limit: int = -1) -> list[str]:
    pieces = _split(value, separator, limit)
    return [*(piece + separator for piece in pieces[:-1]), pieces[-1]] if pieces else []


def _replace(value: Any, old: Any, new: Any, times: int = -1) -> str:
    text, old_text, new_text = _text(value, "replace"), _text(old, "replace"), _text(new, "replace")
    _bounded(len(text) + max(0, len(new_text) - len(old_text)) * (text.count(old_text) if old_text else len(text) + 1))
    return text.replace(old_text, new_text, times)


def _repeat(value: Any, times: Any) -> str:
    text, count = _text(value, "repeat"), _int(times, "repeat")
    if count < 0:
        raise Failure(f"invalid argument for repeat (expected positive integer, got {count})")
    _bounded(len(text) * count)
    return text * count


def _join(items: Any, separator: Any = "") -> str:
    return _text(separator, "join").join(_text(item, "join") for item in _list(items, "join"))


def _index_of(value: Any, part: Any) -> int:
    return len(_text(value, "indexOf").partition(_text(part, "indexOf"))[0].encode()) if part in value else -1


def _last_index_of(value: Any, part: Any) -> int:
    found = _text(value, "lastIndexOf").rfind(_text(part, "lastIndexOf"))
    return len(value[:found].encode()) if found >= 0 else -1


# -- lists and maps ---------------------------------------------------------------------------------------------------


def _len(value: Any) -> int:
    if isinstance(value, str | bytes | list | tuple | Mapping):
        return len(value)
    raise Failure(f"invalid argument for len (type {type_name(value)})")


def _first(items: Any) -> Any:
    values = [] if items is None else _list(items, "first")
    return values[0] if values else None


def _last(items: Any) -> Any:
    values = [] if items is None else _list(items, "last")
    return values[-1] if values else None


def _get(value: Any, key: Any) -> Any:
    if isinstance(value, Mapping):
        return value.get(key if isinstance(key, str) else printed(key))
    if isinstance(value, list | tuple) and isinstance(key, int) and not isinstance(key, bool):
        place = key + len(value) if key < 0 else key
        return value[place] if 0 <= place < len(value) else None
    return None


def _take(items: Any, count: Any) -> list[Any]:
    return _list(items, "take")[: max(0, _int(count, "take"))]


def _keys(value: Any) -> list[str]:
    return list(_mapping(value, "keys"))


def _values(value: Any) -> list[Any]:
    return list(_mapping(value, "values").values())


def _mapping(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise Failure(f"cannot get {name} from {type_name(value)}")
    return value


def _from_pairs(items: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in _list(items, "fromPairs"):
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise Failure(f"invalid pair {printed(pair)}")
        found[printed(pair[0])] = pair[1]
    return found


def _flatten(items: Any) -> list[Any]:
    found: list[Any] = []
    for item in _list(items, "flatten"):
        found += _flatten(item) if isinstance(item, list | tuple) else [item]
    return found


def _uniq(items: Any) -> list[Any]:
    found: list[Any] = []
    seen: set[str] = set()
    for item in _list(items, "uniq"):
        mark = f"{type_name(item) if not is_number(item) else 'number'}:{to_json(item)}"
        if mark not in seen:
            seen.add(mark)
            found.append(item)
    return found


def _concat(*lists: Any) -> list[Any]:
    return list(chain.from_iterable(_list(items, "concat") for items in lists))


# -- bytes, times -----------------------------------------------------------------------------------------------------


def _to_base64(value: Any) -> str:
    data = value if isinstance(value, bytes) else _text(value, "toBase64").encode()
    return base64.b64encode(data).decode()


def _from_base64(value: Any) -> str:
    try:
        return base64.b64decode(_text(value, "fromBase64"), validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError) as error:
        raise Failure(f"illegal base64 data: {error}") from None


_LAYOUTS: Final = (
    "%Y-%m-%d", "%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%a %b %d %H:%M:%S %Y", "%a, %d %b %Y %H:%M:%S %Z",
)  # fmt: skip


def _date(text: Any, layout: Any = None, timezone: Any = None) -> Moment:
    shown = _text(text, "date")
    where = _zone(timezone) if timezone is not None else UTC
    try:
        at = datetime.fromisoformat(shown) if layout is None else _at_layout(shown, _text(layout, "date"))
    except ValueError:
        at = next((found for pattern in _LAYOUTS if (found := _parsed(shown, pattern)) is not None), None)
        if at is None:
            raise Failure(f"invalid date {shown}") from None
    return Moment(at if at.tzinfo is not None else at.replace(tzinfo=where))


def _at_layout(text: str, layout: str) -> datetime:
    return datetime.strptime(text, _strptime(layout))  # noqa: DTZ007 - the zone is added by the caller


def _parsed(text: str, pattern: str) -> datetime | None:
    try:
        return datetime.strptime(text, pattern)  # noqa: DTZ007 - the zone is added by the caller
    except ValueError:
        return None


def _strptime(layout: str) -> str:
    for go, code in (
        ("2006", "%Y"), ("January", "%B"), ("Jan", "%b"), ("01", "%m"), ("02", "%d"), ("15", "%H"), ("04", "%M"), ("05", "%S"),
        ("Z07:00", "%z"), ("-0700", "%z"), ("06", "%y"), ("MST", "%Z"),
    ):  # fmt: skip
        layout = layout.replace(go, code)
    return layout


def _zone(name: Any) -> ZoneInfo:
    try:
        return ZoneInfo(_text(name, "timezone"))
    except (OSError, ValueError, LookupError):
        raise Failure(f"unknown time zone {printed(name)}") from None


def _duration(text: Any) -> Duration:
    try:
        return Duration(round(parse_duration(_text(text, "duration"), bare_seconds=False) * 1e9))
    except DurationError as error:
        raise Failure(str(error)) from None


def now_of(seconds: float) -> Callable[[], Moment]:
    """Return the function `now` for a moment in seconds since the epoch."""
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    return lambda: Moment(at)


def _bits(name: str, act: Callable[[int, int], int]) -> Callable[[Any, Any], int]:
    return lambda left, right: whole(act(_int(left, name), _int(right, name)))


def _shift(name: str, left: Any, by: Any) -> int:
    value, count = _int(left, name), _int(by, name)
    if count < 0:
        raise Failure("invalid operation: negative shift count")
    if name == "bitshl":
        return whole(value << min(count, 64))
    return value >> min(count, 64) if name == "bitshr" else (value % 2**64) >> min(count, 64)


FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "all": _all, "any": _any, "none": _none, "one": _one, "filter": _filter, "map": _map, "find": _find, "findIndex": _find_index,
    "findLast": _find_last, "findLastIndex": _find_last_index, "count": _count, "sum": _sum, "groupBy": _group_by,
    "sortBy": _sort_by, "reduce": _reduce, "sort": _sort,
    "len": _len, "type": type_name, "abs": lambda x: whole(abs(x)) if isinstance(_number(x, "abs"), int) else abs(x),
    "ceil": lambda x: float(math.ceil(_number(x, "ceil"))), "floor": lambda x: float(math.floor(_number(x, "floor"))), "round": _round,
    "int": _as_int, "float": _as_float, "string": printed,
    "min": lambda *values: min(_numbers_of(values, "min")), "max": lambda *values: max(_numbers_of(values, "max")),
    "mean": _mean, "median": _median,
    "trim": _trim, "trimPrefix": lambda s, p=" ": _text(s, "trimPrefix").removeprefix(p),
    "trimSuffix": lambda s, p=" ": _text(s, "trimSuffix").removesuffix(p),
    "upper": lambda s: _text(s, "upper").upper(), "lower": lambda s: _text(s, "lower").lower(), "split": _split,
    "splitAfter": _split_after, "replace": _replace, "repeat": _repeat, "join": _join, "indexOf": _index_of,
    "lastIndexOf": _last_index_of, "hasPrefix": lambda s, p: _text(s, "hasPrefix").startswith(_text(p, "hasPrefix")),
    "hasSuffix": lambda s, p: _text(s, "hasSuffix").endswith(_text(p, "hasSuffix")),
    "first": _first, "last": _last, "get": _get, "take": _take, "keys": _keys, "values": _values,
    "toPairs": lambda m: [[key, value] for key, value in _mapping(m, "toPairs").items()], "fromPairs": _from_pairs,
    "reverse": lambda items: _list(items, "reverse")[::-1], "flatten": _flatten, "uniq": _uniq, "concat": _concat,
    "toJSON": lambda value: to_json(value, indent=2), "fromJSON": from_json, "toBase64": _to_base64, "fromBase64": _from_base64,
    "date": _date, "duration": _duration, "timezone": _zone,
    "bitand": _bits("bitand", lambda a, b: a & b), "bitor": _bits("bitor", lambda a, b: a | b),
    "bitxor": _bits("bitxor", lambda a, b: a ^ b), "bitnand": _bits("bitnand", lambda a, b: a & ~b),
    "bitnot": lambda value: ~_int(value, "bitnot"), "bitshl": lambda a, b: _shift("bitshl", a, b),
    "bitshr": lambda a, b: _shift("bitshr", a, b), "bitushr": lambda a, b: _shift("bitushr", a, b),
}  # fmt: skip
"""What an expression may call. `equal` is an operator; `now` is given by who evaluates, for this room reads no clock."""

__all__ = ["FUNCTIONS", "equal", "now_of"]
