# ruff: noqa: E501 - one line, one function
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false, reportMissingModuleSource=false
# The values of expressions are JSON of any shape.

"""The functions of sprig that expressions may call as `sprig.NAME`.

Left out on purpose: `env` and `expandenv` (Argo leaves them out too); whatever makes keys, certificates, passwords or random
values (an expression gives the same value each time it is asked); what looks up hosts; `now` and `ago` without a clock given.
"""

import base64
import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from jitflow.expr import regex, replacing
from jitflow.expr.durations import DurationError, format_duration, go_format, parse_duration
from jitflow.expr.lang.problems import Failure
from jitflow.expr.lang.values import MAX_SIZE, Moment, equal, go_time, printed, to_json, type_name, whole

_WORD = re.compile(r"[A-Za-z0-9]+")


def _s(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else printed(value)


def _i(value: Any) -> int:
    """Return a value as sprig's `toInt64`: what cannot be read is 0."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if math.isfinite(value) else 0
    try:
        return whole(int(_s(value), 10))
    except ValueError:
        try:
            return int(float(_s(value)))
        except (ValueError, OverflowError):
            return 0


def _f(value: Any) -> float:
    try:
        return float(value) if not isinstance(value, str) or value.strip() else 0.0
    except (TypeError, ValueError):
        return 0.0


def _empty(value: Any) -> bool:
    return value is None or value is False or (not isinstance(value, bool) and value in (0, 0.0, "")) or value in ([], {})


def _bounded(text: str) -> str:
    if len(text) > MAX_SIZE:
        raise Failure(f"the result is larger than {MAX_SIZE} characters")
    return text


def _repeat(count: Any, text: Any) -> str:
    times = max(0, _i(count))
    if times * len(_s(text)) > MAX_SIZE:
        raise Failure(f"the result is larger than {MAX_SIZE} characters")
    return _s(text) * times


def _time(value: Any) -> datetime:
    if isinstance(value, Moment):
        return value.at
    if isinstance(value, int | float) and not isinstance(value, bool):
        return datetime.fromtimestamp(value, UTC)
    try:
        at = datetime.fromisoformat(_s(value))
    except ValueError:
        raise Failure(f"{_s(value)!r} is no time") from None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _zone(name: Any) -> ZoneInfo:
    try:
        return ZoneInfo(_s(name))
    except (OSError, ValueError, LookupError):
        return ZoneInfo("UTC")


def _modify(change: Any, value: Any) -> Moment:
    from datetime import timedelta  # noqa: PLC0415 - one use

    try:
        seconds = parse_duration(_s(change).removeprefix("-"), bare_seconds=False)
    except DurationError as error:
        raise Failure(str(error)) from None
    return Moment(_time(value) + timedelta(seconds=-seconds if _s(change).startswith("-") else seconds))


def _match(pattern: Any, text: Any) -> bool:
    try:
        return regex.compile_regex(_s(pattern)).search(_s(text))
    except regex.RegexError as error:
        raise Failure(str(error)) from None


def _substr(start: Any, end: Any, text: Any) -> str:
    first, last, shown = _i(start), _i(end), _s(text)
    if first < 0:
        return shown[:last]
    return shown[first:] if last < 0 or last > len(shown) else shown[first:last]


def _trunc(count: Any, text: Any) -> str:
    size, shown = _i(count), _s(text)
    return shown[size:] if size < 0 and len(shown) + size > 0 else shown[:size] if size >= 0 else shown


def _words(text: Any) -> list[str]:
    return _WORD.findall(re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", _s(text)))


def _split_map(separator: Any, text: Any) -> dict[str, str]:
    return {f"_{number}": part for number, part in enumerate(_s(text).split(_s(separator)))}


def _list(value: Any) -> list[Any]:
    if isinstance(value, list | tuple):
        return list(value)
    raise Failure(f"cannot use {type_name(value)} as a list")


def _dict(*pairs: Any) -> dict[str, Any]:
    return {_s(pairs[place]): pairs[place + 1] if place + 1 < len(pairs) else "" for place in range(0, len(pairs), 2)}


def _map(value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    raise Failure(f"cannot use {type_name(value)} as a map")


def _merge(overwrite: bool) -> Callable[..., dict[str, Any]]:
    def merge(target: Any, *others: Any) -> dict[str, Any]:
        merged = dict(_map(target))
        for other in others:
            for key, value in _map(other).items():
                if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
                    merged[key] = merge(merged[key], value)
                elif overwrite or _empty(merged.get(key)):
                    merged[key] = value
        return merged

    return merge


def _until(count: Any) -> list[int]:
    number = _i(count)
    if abs(number) > MAX_SIZE:
        raise Failure(f"more than {MAX_SIZE} numbers")
    return list(range(number)) if number >= 0 else list(range(0, number, -1))


def _until_step(start: Any, stop: Any, step: Any) -> list[int]:
    by = _i(step)
    if not by:
        return []
    if abs(_i(stop) - _i(start)) // abs(by) > MAX_SIZE:
        raise Failure(f"more than {MAX_SIZE} numbers")
    return list(range(_i(start), _i(stop), by))


def _seq(*bounds: Any) -> str:
    numbers = [_i(bound) for bound in bounds]
    match numbers:
        case [end]:
            start, step, last = 1, 1 if end >= 1 else -1, end
        case [start, last]:
            step = 1 if last >= start else -1
        case [start, step, last]:
            pass
        case _:
            return ""
    if not step or abs(last - start) // max(1, abs(step)) > MAX_SIZE:
        return ""
    return " ".join(str(number) for number in range(start, last + (1 if step > 0 else -1), step))


def _first(items: Any) -> Any:
    found = _list(items)
    return found[0] if found else None


def _last(items: Any) -> Any:
    found = _list(items)
    return found[-1] if found else None


def _ternary(yes: Any, no: Any, test: Any) -> Any:
    return yes if test else no


def _round(value: Any, places: Any, half: Any = 0.5) -> float:
    scale = 10 ** max(-300, min(300, _i(places)))
    scaled = _f(value) * scale
    low = math.floor(scaled) if math.isfinite(scaled) else scaled
    return (low + 1 if scaled - low >= _f(half) else low) / scale


def _divide(left: Any, right: Any) -> int:
    if not _i(right):
        raise Failure("integer divide by zero")
    return int(_i(left) / _i(right)) if abs(_i(left)) < 2**53 else _i(left) // _i(right)


def _modulo(left: Any, right: Any) -> int:
    if not _i(right):
        raise Failure("integer divide by zero")
    return int(math.fmod(_i(left), _i(right)))


def _product(*values: Any) -> int:
    total = 1
    for value in values:
        total = whole(total * _i(value))
    return total


def _printf(template: Any, *values: Any) -> str:
    parts = re.split(r"(%[-+# 0]*\d*(?:\.\d+)?[vsdqfgxXtT%])", _s(template))
    given = iter(values)
    result: list[str] = []
    for part in parts:
        if not part.startswith("%") or len(part) < 2:
            result.append(part)
        elif part == "%%":
            result.append("%")
        else:
            result.append(_formatted(part, next(given, None)))
    return _bounded("".join(result))


def _formatted(verb: str, value: Any) -> str:
    match verb[-1]:
        case "d" | "x" | "X" if isinstance(value, int) and not isinstance(value, bool):
            return go_format(verb, value)
        case "q":
            return json.dumps(_s(value), ensure_ascii=False)
        case "f" if isinstance(value, int | float):
            return verb % float(value)
        case "T":
            return type_name(value)
        case _:
            digits = re.sub(r"[^-0-9]", "", verb)
            shown = printed(value) if value is not None else "<nil>"
            width = int(digits.lstrip("-") or 0) if digits.strip("-") else 0
            if width > 10_000:
                raise Failure("the width is too large")
            return shown.ljust(width) if digits.startswith("-") else shown.rjust(width)


def _fail(message: Any) -> Any:
    raise Failure(_s(message))


def _get(values: Any, key: Any) -> Any:
    return _map(values).get(_s(key), "")


def _dig(*arguments: Any) -> Any:
    *keys, default, values = arguments
    for key in keys:
        if not isinstance(values, Mapping) or key not in values:
            return default
        values = values[key]
    return values


def _from_json(text: Any) -> Any:
    try:
        return json.loads(_s(text))
    except (ValueError, RecursionError):
        return None


def _b64dec(text: Any) -> str:
    try:
        return base64.b64decode(_s(text), validate=True).decode("utf-8", "replace")
    except ValueError as error:
        return str(error)


def _indent(count: Any, text: Any) -> str:
    pad = _repeat(count, " ")
    return (
        _bounded(pad + _s(text).replace("\n", "\n" + pad)) if _s(text).count("\n") * len(pad) < MAX_SIZE else _fail("too large")
    )


def _sorted(items: Any) -> list[str]:
    return sorted((_s(item) for item in _list(items)), key=lambda text: text.encode("utf-8", "surrogatepass"))


def _uniq(items: Any) -> list[Any]:
    found: list[Any] = []
    seen: set[str] = set()
    for item in _list(items):
        mark = to_json([type_name(item), item])
        if mark not in seen:
            seen.add(mark)
            found.append(item)
    return found


FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    # Texts
    "trim": lambda s: _s(s).strip(), "trimAll": lambda c, s: _s(s).strip(_s(c)), "trimSuffix": lambda x, s: _s(s).removesuffix(_s(x)),
    "trimPrefix": lambda x, s: _s(s).removeprefix(_s(x)), "upper": lambda s: _s(s).upper(), "lower": lambda s: _s(s).lower(),
    "title": lambda s: re.sub(r"\b[a-z]", lambda m: m[0].upper(), _s(s)),
    "untitle": lambda s: re.sub(r"\b[A-Z]", lambda m: m[0].lower(), _s(s)), "repeat": _repeat, "substr": _substr,
    "nospace": lambda s: "".join(_s(s).split()), "trunc": _trunc, "abbrev": lambda n, s: _s(s) if len(_s(s)) <= max(4, _i(n)) else _s(s)[: max(4, _i(n)) - 3] + "...",
    "initials": lambda s: "".join(word[0] for word in _s(s).split()), "wrap": lambda n, s: _wrapped(_i(n), "\n", _s(s)),
    "wrapWith": lambda n, mark, s: _wrapped(_i(n), _s(mark), _s(s)), "contains": lambda x, s: _s(x) in _s(s),
    "hasPrefix": lambda x, s: _s(s).startswith(_s(x)), "hasSuffix": lambda x, s: _s(s).endswith(_s(x)),
    "quote": lambda *v: " ".join(json.dumps(_s(x), ensure_ascii=False) for x in v if x is not None),
    "squote": lambda *v: " ".join(f"'{_s(x)}'" for x in v if x is not None), "cat": lambda *v: " ".join(_s(x) for x in v if x is not None),
    "indent": _indent, "nindent": lambda n, s: "\n" + _indent(n, s), "replace": lambda a, b, s: _bounded(_s(s).replace(_s(a), _s(b))),
    "plural": lambda one, many, n: _s(one) if _i(n) == 1 else _s(many), "snakecase": lambda s: "_".join(_words(s)).lower(),
    "camelcase": lambda s: "".join(word.capitalize() for word in _words(s)), "kebabcase": lambda s: "-".join(_words(s)).lower(),
    "swapcase": lambda s: _s(s).swapcase(), "regexMatch": _match, "mustRegexMatch": _match, "regexQuoteMeta": lambda s: re.escape(_s(s)),
    "split": _split_map, "splitList": lambda mark, s: _s(s).split(_s(mark)) if _s(mark) else list(_s(s)),
    "splitn": lambda mark, n, s: {f"_{k}": part for k, part in enumerate(_s(s).split(_s(mark), max(0, _i(n) - 1)))},
    "join": lambda mark, items: _s(mark).join(_s(x) for x in items) if isinstance(items, list | tuple) else _s(items),
    "sortAlpha": _sorted, "toString": _s, "toStrings": lambda items: [_s(x) for x in _list(items)], "printf": _printf,
    "print": lambda *v: "".join(_s(x) for x in v), "println": lambda *v: " ".join(_s(x) for x in v) + "\n",
    # Numbers
    "add": lambda *v: whole(sum(_i(x) for x in v)), "add1": lambda x: whole(_i(x) + 1), "sub": lambda a, b: whole(_i(a) - _i(b)),
    "div": _divide, "mod": _modulo, "mul": _product, "max": lambda *v: max(_i(x) for x in v), "min": lambda *v: min(_i(x) for x in v),
    "maxf": lambda *v: max(_f(x) for x in v), "minf": lambda *v: min(_f(x) for x in v), "addf": lambda *v: sum(_f(x) for x in v),
    "add1f": lambda x: _f(x) + 1, "subf": lambda a, *v: _f(a) - sum(_f(x) for x in v), "mulf": lambda *v: math.prod(_f(x) for x in v),
    "divf": lambda a, *v: _f(a) / math.prod(_f(x) for x in v) if all(_f(x) for x in v) else _fail("division by zero"),
    "floor": lambda x: float(math.floor(_f(x))), "ceil": lambda x: float(math.ceil(_f(x))), "round": _round,
    "int": _i, "int64": _i, "float64": _f, "toDecimal": lambda x: int(_s(x), 8) if re.fullmatch(r"[0-7]{1,20}", _s(x)) else 0, "atoi": _i,
    "until": _until, "untilStep": _until_step, "seq": _seq,
    # Times
    "date": lambda layout, t: go_time(_time(t), _s(layout)), "dateInZone": lambda layout, t, z: go_time(_time(t).astimezone(_zone(z)), _s(layout)),
    "date_in_zone": lambda layout, t, z: go_time(_time(t).astimezone(_zone(z)), _s(layout)), "htmlDate": lambda t: go_time(_time(t), "2006-01-02"),
    "htmlDateInZone": lambda t, z: go_time(_time(t).astimezone(_zone(z)), "2006-01-02"), "unixEpoch": lambda t: str(math.floor(_time(t).timestamp())),
    "dateModify": _modify, "date_modify": _modify, "mustDateModify": _modify, "must_date_modify": _modify,
    "toDate": lambda layout, s: Moment(_time(s)), "mustToDate": lambda layout, s: Moment(_time(s)), "duration": lambda s: format_duration(float(_i(s))),
    "durationRound": lambda s: format_duration(float(_i(s))),
    # Lists
    "list": lambda *v: list(v), "tuple": lambda *v: list(v), "first": _first, "mustFirst": _first, "last": _last, "mustLast": _last,
    "rest": lambda v: _list(v)[1:], "mustRest": lambda v: _list(v)[1:], "initial": lambda v: _list(v)[:-1], "mustInitial": lambda v: _list(v)[:-1],
    "append": lambda v, x: [*_list(v), x], "push": lambda v, x: [*_list(v), x], "mustAppend": lambda v, x: [*_list(v), x],
    "prepend": lambda v, x: [x, *_list(v)], "mustPrepend": lambda v, x: [x, *_list(v)], "concat": lambda *v: [x for items in v for x in _list(items)],
    "reverse": lambda v: _list(v)[::-1], "mustReverse": lambda v: _list(v)[::-1], "uniq": _uniq, "mustUniq": _uniq,
    "without": lambda v, *drop: [x for x in _list(v) if not any(equal(x, y) for y in drop)],
    "mustWithout": lambda v, *drop: [x for x in _list(v) if not any(equal(x, y) for y in drop)],
    "has": lambda x, v: any(equal(x, y) for y in _list(v or [])), "mustHas": lambda x, v: any(equal(x, y) for y in _list(v or [])),
    "compact": lambda v: [x for x in _list(v) if not _empty(x)], "mustCompact": lambda v: [x for x in _list(v) if not _empty(x)],
    "slice": lambda v, first=0, last=None: _list(v)[_i(first) : None if last is None else _i(last)],
    "mustSlice": lambda v, first=0, last=None: _list(v)[_i(first) : None if last is None else _i(last)],
    "chunk": lambda n, v: [_list(v)[k : k + max(1, _i(n))] for k in range(0, len(_list(v)), max(1, _i(n)))],
    # Maps
    "dict": _dict, "get": _get, "set": lambda m, k, v: {**_map(m), _s(k): v}, "unset": lambda m, k: {a: b for a, b in _map(m).items() if a != _s(k)},
    "hasKey": lambda m, k: _s(k) in _map(m), "pluck": lambda k, *ms: [m[_s(k)] for m in ms if isinstance(m, Mapping) and _s(k) in m],
    "merge": _merge(overwrite=False), "mustMerge": _merge(overwrite=False), "mergeOverwrite": _merge(overwrite=True),
    "mustMergeOverwrite": _merge(overwrite=True), "keys": lambda *ms: [k for m in ms for k in _map(m)], "values": lambda m: list(_map(m).values()),
    "pick": lambda m, *ks: {k: v for k, v in _map(m).items() if k in ks}, "omit": lambda m, *ks: {k: v for k, v in _map(m).items() if k not in ks},
    "deepCopy": lambda v: v, "mustDeepCopy": lambda v: v, "dig": _dig,
    # Choices and kinds
    "default": lambda d, v=None: d if _empty(v) else v, "empty": _empty, "coalesce": lambda *v: next((x for x in v if not _empty(x)), None),
    "all": lambda *v: all(not _empty(x) for x in v), "any": lambda *v: any(not _empty(x) for x in v), "ternary": _ternary, "fail": _fail,
    "typeOf": type_name, "kindOf": lambda v: {"array": "slice", "nil": "invalid"}.get(type_name(v), type_name(v)),
    "typeIs": lambda t, v: type_name(v) == t, "kindIs": lambda t, v: {"array": "slice", "nil": "invalid"}.get(type_name(v), type_name(v)) == t,
    "deepEqual": equal, "typeIsLike": lambda t, v: type_name(v) == t,
    # Encodings, paths, hashes
    "toJson": to_json, "mustToJson": to_json, "toRawJson": lambda v: to_json(v, html=False), "mustToRawJson": lambda v: to_json(v, html=False), "toPrettyJson": lambda v: to_json(v, indent=2),
    "mustToPrettyJson": lambda v: to_json(v, indent=2), "fromJson": _from_json, "mustFromJson": _from_json,
    "b64enc": lambda s: base64.b64encode(_s(s).encode()).decode(), "b64dec": _b64dec, "b32enc": lambda s: base64.b32encode(_s(s).encode()).decode(),
    "sha1sum": lambda s: hashlib.sha1(_s(s).encode(), usedforsecurity=False).hexdigest(), "sha256sum": lambda s: hashlib.sha256(_s(s).encode()).hexdigest(),
    "sha512sum": lambda s: hashlib.sha512(_s(s).encode()).hexdigest(), "adler32sum": lambda s: str(__import__("zlib").adler32(_s(s).encode())),
    "base": lambda s: _s(s).rstrip("/").rpartition("/")[2] or ("/" if _s(s) else "."), "dir": lambda s: _s(s).rpartition("/")[0] or ("/" if _s(s).startswith("/") else "."),
    "ext": lambda s: "." + _s(s).rpartition(".")[2] if "." in _s(s).rpartition("/")[2] else "", "isAbs": lambda s: _s(s).startswith("/"),
    "clean": lambda s: _cleaned(_s(s)), "hello": lambda: "Hello!",
    **replacing.functions(),
}  # fmt: skip
for _other, _name in (
    ("trimall", "trimAll"), ("biggest", "max"), ("osBase", "base"), ("osDir", "dir"), ("osClean", "clean"), ("osExt", "ext"),
    ("osIsAbs", "isAbs"), ("mustPush", "push"), ("mustChunk", "chunk"),
):  # fmt: skip
    FUNCTIONS[_other] = FUNCTIONS[_name]
"""Functions by their names, without `sprig.`."""


def _wrapped(width: int, mark: str, text: str) -> str:
    lines: list[str] = []
    for word in text.split(" "):
        if lines and len(lines[-1]) + 1 + len(word) <= max(1, width):
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return _bounded(mark.join(lines))


def _cleaned(path: str) -> str:
    parts: list[str] = []
    for part in path.split("/"):
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part not in {"", "."} and not (part == ".." and path.startswith("/")):
            parts.append(part)
    cleaned = "/".join(parts)
    return f"/{cleaned}" if path.startswith("/") else cleaned or "."
