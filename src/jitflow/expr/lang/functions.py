"""The functions of the language that take values only. How many arguments each takes is in `signatures`."""

import base64
import binascii
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from jitflow.expr.lang import clock
from jitflow.expr.lang.frame import Frame, Value, is_array, is_map
from jitflow.expr.lang.operators import equal, fetch, hashable, is_number, less, to_int, truncated, wrapped
from jitflow.expr.lang.problems import Failure
from jitflow.expr.lang.sorting import sort_by
from jitflow.expr.lang.text import from_json, go_type, show, to_json, type_name
from jitflow.expr.lang.times import Duration, Named

Arguments = list[Value]
_INTEGER = re.compile(r"[+-]?[0-9]+")
_FLOAT = re.compile(r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|inf|infinity|nan)", re.IGNORECASE)
_GO_SPACE: Final = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
_MASK: Final = 2**64 - 1


def text_of(value: Value) -> str:
    """Return a value that must be a text.

    Raises:
        Failure: it is none.
    """
    if isinstance(value, str):
        return value
    raise Failure(f"interface conversion: interface {{}} is {'nil' if value is None else go_type(value)}, not string")


def array_of(value: Value, verb: str) -> list[Any]:
    """Return a value that must be an array.

    Raises:
        Failure: it is none.
    """
    if is_array(value):
        return value
    raise Failure(f"cannot {verb} {type_name(value)}")


def _map_of(value: Value, verb: str) -> Mapping[Any, Any]:
    if is_map(value):
        return value
    raise Failure(f"cannot {verb} {type_name(value)}")


# -- numbers ----------------------------------------------------------------------------------------------------------


def to_whole(value: Value) -> int:
    """`int(x)`.

    Raises:
        Failure: there is no such number.
    """
    if isinstance(value, Duration):
        return value.ns
    if isinstance(value, Named):
        return value.number
    if is_number(value):
        return to_int(value)
    if isinstance(value, str):
        if len(value) > 40 or not _INTEGER.fullmatch(value) or not -(2**63) <= int(value) < 2**63:
            raise Failure(f"invalid operation: int({value[:80]})")
        return int(value)
    raise Failure(f"invalid operation: int({go_type(value)})")


def to_float(value: Value) -> float:
    """`float(x)`.

    Raises:
        Failure: there is no such number.
    """
    if is_number(value):
        return float(value)
    if isinstance(value, str):
        if len(value) > 1000 or not _FLOAT.fullmatch(value):
            raise Failure(f"invalid operation: float({value[:80]})")
        return float(value)
    raise Failure(f"invalid operation: float({go_type(value)})")


def _abs(_: Frame, given: Arguments) -> Value:
    if not is_number(given[0]):
        raise Failure(f"invalid argument for abs (type {go_type(given[0])})")
    return wrapped(abs(given[0])) if type(given[0]) is int else abs(given[0])


def _rounding(name: str, apply: Callable[[float], float]) -> Callable[[Frame, Arguments], Value]:
    def run(_: Frame, given: Arguments) -> Value:
        value = given[0]
        if not is_number(value):
            raise Failure(f"invalid argument for {name} (type {go_type(value)})")
        number = float(value)
        return number if math.isinf(number) or math.isnan(number) else apply(number)

    return run


def half_away(number: float) -> float:
    """Return a number rounded as Go rounds: halves away from zero."""
    whole = math.floor(abs(number))
    return math.copysign(whole + 1 if abs(number) - whole >= 0.5 else whole, number)


def _numbers(frame: Frame, name: str, given: Arguments, depth: int = 0) -> list[Any]:
    """Return all numbers of nested arrays."""
    found: list[Any] = []
    frame.spend(len(given))
    for value in given:
        if is_number(value):
            found.append(value)
        elif is_array(value) and depth < 100:
            found += _numbers(frame, name, value, depth + 1)
        else:
            raise Failure(f"invalid argument for {name} (type {go_type(value)})")
    return found


def _extreme(name: str, better: Callable[[Value, Value], bool]) -> Callable[[Frame, Arguments], Value]:
    def run(frame: Frame, given: Arguments) -> Value:
        if len(given) == 1 and not is_number(given[0]) and not is_array(given[0]):
            return given[0]
        best: Value = None
        for value in _numbers(frame, name, given):
            if best is None or better(value, best):
                best = value
        return best

    return run


def _mean(frame: Frame, given: Arguments) -> Value:
    numbers = [float(number) for number in _numbers(frame, "mean", given)]
    return _total(numbers) / len(numbers) if numbers else 0.0


def _total(numbers: list[float]) -> float:
    """Add from the left, as Go does: Python's `sum` rounds better."""
    total = 0.0
    for number in numbers:
        total += number
    return total


def _median(frame: Frame, given: Arguments) -> Value:
    numbers = sorted(float(number) for number in _numbers(frame, "median", given))
    middle = len(numbers) // 2
    if not numbers:
        return 0.0
    return numbers[middle] if len(numbers) % 2 else (numbers[middle - 1] + numbers[middle]) / 2


def _bits(name: str, apply: Callable[[int, int], int], *, shift: bool = False) -> Callable[[Frame, Arguments], Value]:
    def run(_: Frame, given: Arguments) -> Value:
        for value in given:
            if type(value) is not int:
                raise Failure(f"cannot use {go_type(value)} as argument (type int) to call {name}")
        if shift and given[1] < 0:
            raise Failure(f"invalid operation: negative shift count {given[1]} (type int)")
        return wrapped(apply(given[0], given[1]) & _MASK)

    return run


def _bitnot(_: Frame, given: Arguments) -> Value:
    if type(given[0]) is not int:
        raise Failure(f"cannot use {go_type(given[0])} as argument (type int) to call bitnot")
    return ~given[0]


# -- texts ------------------------------------------------------------------------------------------------------------


def _trim(_: Frame, given: Arguments) -> Value:
    return text_of(given[0]).strip(_GO_SPACE if len(given) == 1 else text_of(given[1]) or "\0\0")


def _trim_prefix(_: Frame, given: Arguments) -> Value:
    return text_of(given[0]).removeprefix(text_of(given[1]) if len(given) > 1 else " ")


def _trim_suffix(_: Frame, given: Arguments) -> Value:
    return text_of(given[0]).removesuffix(text_of(given[1]) if len(given) > 1 else " ")


def _case(apply: Callable[[str], str]) -> Callable[[Frame, Arguments], Value]:
    """Change each character by itself, as Go does: `ß` stays `ß`."""

    def one(char: str) -> str:
        changed = apply(char)
        return changed if len(changed) == 1 else char

    def run(frame: Frame, given: Arguments) -> Value:
        text = text_of(given[0])
        frame.make_text(len(text))
        return apply(text) if text.isascii() else "".join(map(one, text))

    return run


def pieces(frame: Frame, text: str, separator: str, count: int, *, keep: bool = False) -> list[str]:
    """Return a text split as Go's `SplitN` and `SplitAfterN` do: no more than `count` pieces, all when negative."""
    if count == 0:
        return []
    frame.make_items(text.count(separator) + 1)
    if separator:
        parts = text.split(separator, count - 1 if count > 0 else -1)
    elif count < 0 or count >= len(text):
        parts = list(text)
    else:
        parts = [*text[: count - 1], text[count - 1 :]]
    if not keep:
        return parts
    return [part + separator for part in parts[:-1]] + parts[-1:]


def _splitting(*, keep: bool) -> Callable[[Frame, Arguments], Value]:
    def run(frame: Frame, given: Arguments) -> Value:
        count = to_int(given[2]) if len(given) > 2 else -1
        return pieces(frame, text_of(given[0]), text_of(given[1]), count, keep=keep)

    return run


def replaced(frame: Frame, text: str, old: str, new: str, count: int) -> str:
    """Return a text with `old` replaced, at most `count` times, always when negative."""
    found = text.count(old) if count < 0 else min(count, text.count(old))
    frame.make_text(len(text) + max(0, found * (len(new) - len(old))))
    return text.replace(old, new, count)


def _replace(frame: Frame, given: Arguments) -> Value:
    count = to_int(given[3]) if len(given) > 3 else -1
    return replaced(frame, text_of(given[0]), text_of(given[1]), text_of(given[2]), count)


def repeated(frame: Frame, text: str, count: int) -> str:
    """Return a text written `count` times.

    Raises:
        Failure: that is too long, or the count is negative.
    """
    if count < 0:
        raise Failure(f"invalid argument for repeat (expected positive integer, got {count})")
    if count > 1_000_000:
        raise Failure("memory budget exceeded")
    frame.make_text(len(text) * count)
    return text * count


def _join(frame: Frame, given: Arguments) -> Value:
    glue = text_of(given[1]) if len(given) > 1 else ""
    texts = [text_of(item) for item in array_of(given[0], "join")]
    frame.make_text(sum(map(len, texts)) + len(glue) * len(texts))
    return glue.join(texts)


def _index(find: Callable[[str, str], int]) -> Callable[[Frame, Arguments], Value]:
    def run(_: Frame, given: Arguments) -> Value:
        text = text_of(given[0])
        at = find(text, text_of(given[1]))
        return at if at < 0 or text.isascii() else len(text[:at].encode())

    return run


def _of_two_texts(test: Callable[[str, str], bool]) -> Callable[[Frame, Arguments], Value]:
    return lambda _, given: test(text_of(given[0]), text_of(given[1]))


def _string(frame: Frame, given: Arguments) -> Value:
    shown = show(given[0])
    frame.make_text(len(shown))
    frame.spend(0 if isinstance(given[0], str) else len(shown) >> 2)
    return shown


def _to_json(frame: Frame, given: Arguments) -> Value:
    shown = to_json(given[0], indent="  ")
    frame.make_text(len(shown))
    frame.spend(len(shown) >> 2)
    return shown


def _from_json(frame: Frame, given: Arguments) -> Value:
    text = text_of(given[0])
    frame.spend(len(text) >> 4)
    return from_json(text)


def _to_base64(frame: Frame, given: Arguments) -> Value:
    text = text_of(given[0])
    frame.make_text(len(text) * 2)
    return base64.b64encode(text.encode()).decode()


def _from_base64(frame: Frame, given: Arguments) -> Value:
    text = text_of(given[0]).replace("\n", "").replace("\r", "")
    frame.make_text(len(text))
    try:
        return base64.b64decode(text, validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError) as error:
        raise Failure(f"illegal base64 data: {error}") from error


# -- arrays and maps --------------------------------------------------------------------------------------------------


def _len(_: Frame, given: Arguments) -> Value:
    value = given[0]
    if isinstance(value, str | bytes) or is_array(value) or is_map(value):
        return len(value)
    raise Failure(f"invalid argument for len (type {go_type(value)})")


def _get(_: Frame, given: Arguments) -> Value:
    try:
        return fetch(given[0], given[1])
    except Failure:
        return None


def _take(frame: Frame, given: Arguments) -> Value:
    array = array_of(given[0], "take from")
    count = given[1]
    if type(count) is not int:
        raise Failure(f"cannot take {type_name(count)} elements")
    if count < 0:
        raise Failure("slice index out of bounds")
    frame.make_items(min(count, len(array)))
    return array[:count]


def _keys(_: Frame, given: Arguments) -> Value:
    return list(_map_of(given[0], "get keys from"))


def _values(_: Frame, given: Arguments) -> Value:
    return list(_map_of(given[0], "get values from").values())


def _to_pairs(_: Frame, given: Arguments) -> Value:
    return [[key, value] for key, value in _map_of(given[0], "transform to pairs a").items()]


def _from_pairs(frame: Frame, given: Arguments) -> Value:
    made: dict[Any, Any] = {}
    pairs = array_of(given[0], "transform from pairs a")
    frame.make_items(len(pairs))
    for pair in pairs:
        if not is_array(pair):
            raise Failure(f"invalid pair {show(pair)[:80]}")
        if len(pair) != 2:
            raise Failure(f"invalid pair length {show(pair)[:80]}")
        if not hashable(pair[0]):
            raise Failure(f"hash of unhashable type: {go_type(pair[0])}")
        made[pair[0]] = pair[1]
    return made


def _reverse(frame: Frame, given: Arguments) -> Value:
    array = array_of(given[0], "reverse")
    frame.make_items(len(array))
    return list(reversed(array))


def distinct(frame: Frame, array: list[Any]) -> list[Any]:
    """Return the elements that are not equal to an earlier one."""
    found: list[Any] = []
    texts: set[str] = set()
    for item in array:
        if isinstance(item, str):
            frame.spend(1)
            if item in texts:
                continue
            texts.add(item)
        else:
            frame.spend(1 + len(found))
            if any(equal(item, other, frame) for other in found):
                continue
        found.append(item)
    return found


def _concat(frame: Frame, given: Arguments) -> Value:
    arrays = [array_of(value, "concat") for value in given]
    frame.make_items(sum(map(len, arrays)))
    return [item for array in arrays for item in array]


def flattened(frame: Frame, array: list[Any], depth: int = 0) -> list[Any]:
    """Return the elements of nested arrays.

    Raises:
        Failure: they are too many, or nest too deeply.
    """
    if depth > 200:
        raise Failure("an array nests deeper than 200")
    frame.make_items(len(array))
    found: list[Any] = []
    for item in array:
        if is_array(item):
            found += flattened(frame, item, depth + 1)
        else:
            found.append(item)
    return found


def _sort(frame: Frame, given: Arguments) -> Value:
    # The library sorts what is no array to nothing.
    if not is_array(given[0]):
        return None
    array = list(given[0])
    frame.spend(len(array) * max(1, len(array).bit_length()))
    return sort_by(array, array, given[1] if len(given) > 1 else "asc")


FUNCTIONS: Final[dict[str, Callable[[Frame, Arguments], Value]]] = {
    "len": _len,
    "type": lambda _, given: type_name(given[0]),
    "abs": _abs,
    "ceil": _rounding("ceil", lambda number: math.copysign(math.ceil(number), number)),
    "floor": _rounding("floor", lambda number: math.copysign(math.floor(number), number)),
    "round": _rounding("round", half_away),
    "int": lambda _, given: to_whole(given[0]),
    "float": lambda _, given: to_float(given[0]),
    "string": _string,
    "trim": _trim,
    "trimPrefix": _trim_prefix,
    "trimSuffix": _trim_suffix,
    "upper": _case(str.upper),
    "lower": _case(str.lower),
    "split": _splitting(keep=False),
    "splitAfter": _splitting(keep=True),
    "replace": _replace,
    "repeat": lambda frame, given: repeated(frame, text_of(given[0]), to_int(given[1])),
    "join": _join,
    "indexOf": _index(str.find),
    "lastIndexOf": _index(str.rfind),
    "hasPrefix": _of_two_texts(str.startswith),
    "hasSuffix": _of_two_texts(str.endswith),
    "max": _extreme("max", lambda value, best: less(best, value)),
    "min": _extreme("min", less),
    "mean": _mean,
    "median": _median,
    "toJSON": _to_json,
    "fromJSON": _from_json,
    "toBase64": _to_base64,
    "fromBase64": _from_base64,
    "now": clock.now,
    "duration": clock.duration,
    "date": clock.date,
    "timezone": clock.timezone,
    "first": lambda frame, given: _get(frame, [given[0], 0]),
    "last": lambda frame, given: _get(frame, [given[0], -1]),
    "get": _get,
    "take": _take,
    "keys": _keys,
    "values": _values,
    "toPairs": _to_pairs,
    "fromPairs": _from_pairs,
    "reverse": _reverse,
    "uniq": lambda frame, given: distinct(frame, array_of(given[0], "uniq")),
    "concat": _concat,
    "flatten": lambda frame, given: flattened(frame, array_of(given[0], "flatten")),
    "sort": _sort,
    "bitand": _bits("bitand", lambda left, right: left & right),
    "bitor": _bits("bitor", lambda left, right: left | right),
    "bitxor": _bits("bitxor", lambda left, right: left ^ right),
    "bitnand": _bits("bitnand", lambda left, right: left & ~right),
    "bitshl": _bits("bitshl", lambda left, right: left << min(right, 64), shift=True),
    "bitshr": _bits("bitshr", lambda left, right: left >> min(right, 64), shift=True),
    "bitushr": _bits("bitushr", lambda left, right: (left & _MASK) >> min(right, 64), shift=True),
    "bitnot": _bitnot,
}
"""By name."""

__all__ = ["FUNCTIONS", "array_of", "distinct", "flattened", "half_away", "pieces", "repeated", "replaced", "text_of", "to_float",
           "to_whole", "truncated"]  # fmt: skip
