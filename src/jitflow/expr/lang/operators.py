"""What the operators do with values, as Go's library does it at run time."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from jitflow.expr.lang.frame import Frame, Value, is_array, is_map, kind_of
from jitflow.expr.lang.problems import Failure
from jitflow.expr.lang.text import go_type, show
from jitflow.expr.lang.times import Duration, Moment
from jitflow.expr.powers import go_power
from jitflow.expr.regex import RegexError, compile_regex

_TOP: Final = 2**63


def wrapped(number: int) -> int:
    """Return a number cut to 64 bits, as Go's integers overflow."""
    return number if -_TOP <= number < _TOP else (number + _TOP) % (2 * _TOP) - _TOP


def truncated(number: float) -> int:
    """Return a float as Go converts it to an integer on amd64."""
    if math.isnan(number) or math.isinf(number) or not -_TOP <= number < _TOP:
        return -_TOP
    return int(number)


def misfit(sign: str, left: Value, right: Value) -> Failure:
    """Return the complaint about two operands that do not go together."""
    return Failure(f"invalid operation: {go_type(left)} {sign} {go_type(right)}")


def is_number(value: Value) -> bool:
    """Return whether a value is an int or a float."""
    return type(value) is int or type(value) is float


def add(left: Value, right: Value) -> Value:
    """`+`."""
    kinds = kind_of(left), kind_of(right)
    if kinds == (str, str):
        return left + right
    if kinds == (int, int):
        return wrapped(left + right)
    if is_number(left) and is_number(right):
        return float(left) + float(right)
    match left, right:
        case Moment(), Duration():
            return left.plus(right.ns)
        case Duration(), Moment():
            return right.plus(left.ns)
        case Duration(), Duration():
            return Duration(left.ns + right.ns)
        case _:
            raise misfit("+", left, right)


def add_counted(left: Value, right: Value, frame: Frame) -> Value:
    """`+`, texts not longer than they may be."""
    total = add(left, right)
    if isinstance(total, str):
        frame.make_text(len(total))
    return total


def subtract(left: Value, right: Value) -> Value:
    """`-`."""
    if type(left) is int and type(right) is int:
        return wrapped(left - right)
    if is_number(left) and is_number(right):
        return float(left) - float(right)
    match left, right:
        case Moment(), Moment():
            return Duration(left.unix_nano - right.unix_nano)
        case Moment(), Duration():
            return left.plus(-right.ns)
        case Duration(), Duration():
            return Duration(left.ns - right.ns)
        case _:
            raise misfit("-", left, right)


def multiply(left: Value, right: Value) -> Value:
    """`*`."""
    if type(left) is int and type(right) is int:
        return wrapped(left * right)
    if is_number(left) and is_number(right):
        return float(left) * float(right)
    match left, right:
        case Duration(), int() | float() if is_number(right):
            return Duration(truncated(left.ns * right) if isinstance(right, float) else left.ns * right)
        case int() | float(), Duration() if is_number(left):
            return Duration(truncated(right.ns * left) if isinstance(left, float) else right.ns * left)
        case _:
            raise misfit("*", left, right)


def divide(left: Value, right: Value) -> Value:
    """`/`: always a float."""
    match left, right:
        case Duration(), int() | float() if is_number(right):
            return _quotient(float(left.ns), float(right))
        case Duration(), Duration():
            return _quotient(float(left.ns), float(right.ns))
        case _ if is_number(left) and is_number(right):
            return _quotient(float(left), float(right))
        case _:
            raise misfit("/", left, right)


def _quotient(left: float, right: float) -> float:
    if right:
        return left / right
    if not left or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


def modulo(left: Value, right: Value) -> Value:
    """`%`: integers only, the sign of the left one."""
    if type(left) is not int or type(right) is not int:
        raise misfit("%", left, right)
    if not right:
        raise Failure("integer divide by zero")
    rest = abs(left) % abs(right)
    return -rest if left < 0 else rest


def power(left: Value, right: Value) -> Value:
    """`**`: always a float."""
    if not is_number(left):
        raise Failure(f"invalid operation: float({go_type(left)})")
    if not is_number(right):
        raise Failure(f"invalid operation: float({go_type(right)})")
    return go_power(float(left), float(right))


def equal(left: Value, right: Value, frame: Frame) -> bool:
    """`==`: numbers by value, all else by type and value."""
    if is_number(left) and is_number(right):
        return left == right if kind_of(left) is kind_of(right) else float(left) == float(right)
    if is_array(left) and is_array(right):
        frame.spend(1 + min(len(left), len(right)))
        return len(left) == len(right) and all(equal(a, b, frame) for a, b in zip(left, right, strict=True))
    if is_map(left) and is_map(right):
        frame.spend(1 + min(len(left), len(right)))
        return len(left) == len(right) and all(key in right and equal(left[key], right[key], frame) for key in left)
    if kind_of(left) is not kind_of(right):
        return False
    if isinstance(left, str):
        frame.spend(len(left) >> 6)
    return left == right


def comparable(sign: str, left: Value, right: Value) -> tuple[Any, Any]:
    """Return two values as Python compares them.

    Raises:
        Failure: they have no order.
    """
    kind = kind_of(left)
    if kind is kind_of(right) and kind in {int, float, str}:
        return left, right
    if is_number(left) and is_number(right):
        return float(left), float(right)
    match left, right:
        case Moment(), Moment():
            return left.unix_nano, right.unix_nano
        case Duration(), Duration():
            return left.ns, right.ns
        case _:
            raise misfit(sign, left, right)


def less(left: Value, right: Value) -> bool:
    """`<`."""
    first, second = comparable("<", left, right)
    return first < second


def at_most(left: Value, right: Value) -> bool:
    """`<=`."""
    first, second = comparable("<=", left, right)
    return first <= second


def more(left: Value, right: Value) -> bool:
    """`>`."""
    first, second = comparable(">", left, right)
    return first > second


def at_least(left: Value, right: Value) -> bool:
    """`>=`."""
    first, second = comparable(">=", left, right)
    return first >= second


def contains(needle: Value, whole: Value, frame: Frame) -> bool:
    """`in`."""
    if whole is None:
        return False
    if is_array(whole):
        frame.spend(len(whole))
        return any(equal(item, needle, frame) for item in whole)
    if is_map(whole):
        if needle is not None and not isinstance(needle, str) and _is_keyed_by_text(whole):
            raise Failure(f"value of type {go_type(needle)} is not assignable to type string")
        return hashable(needle) and needle in whole
    raise Failure(f'operator "in" not defined on {go_type(whole)}')


def hashable(value: Value) -> bool:
    """Return whether a value can be the key of a map."""
    return not isinstance(value, list | tuple | dict)


def _is_keyed_by_text(pairs: Mapping[Any, Any]) -> bool:
    return isinstance(next(iter(pairs), None), str)


def _texts(name: str, left: Value, right: Value) -> tuple[str, str] | None:
    if left is None or right is None:
        return None
    for value in (left, right):
        if not isinstance(value, str):
            raise Failure(f"interface conversion: interface {{}} is {go_type(value)}, not string (operator {name})")
    return left, right


def matches(left: Value, right: Value, frame: Frame) -> bool:
    """`matches`: Go's regular expressions, in time linear in the text."""
    texts = _texts("matches", left, right)
    if texts is None:
        return False
    try:
        regex = compile_regex(texts[1])
    except RegexError as error:
        raise Failure(f"error parsing regexp: {error}") from error
    frame.spend(len(texts[0]) * (len(texts[1]) + 1) // 4)
    return regex.search(texts[0])


def _on_texts(name: str, test: Callable[[str, str], bool]) -> Callable[[Value, Value, Frame], bool]:
    def apply(left: Value, right: Value, frame: Frame) -> bool:
        texts = _texts(name, left, right)
        if texts is None:
            return False
        frame.spend(len(texts[0]) >> 6)
        return test(*texts)

    return apply


def between(low: Value, high: Value, frame: Frame) -> Value:
    """`..`: the integers from low to high."""
    first, last = to_int(low), to_int(high)
    frame.make_items(max(0, last - first + 1))
    return list(range(first, last + 1))


def to_int(value: Value) -> int:
    """Return a number as an integer.

    Raises:
        Failure: it is no number.
    """
    if type(value) is int:
        return value
    if type(value) is float:
        return truncated(value)
    raise Failure(f"invalid operation: int({go_type(value)})")


BINARY: Final[dict[str, Callable[[Value, Value], Value]]] = {
    "-": subtract,
    "*": multiply,
    "/": divide,
    "%": modulo,
    "**": power,
    "<": less,
    "<=": at_most,
    ">": more,
    ">=": at_least,
}
"""Operators that need nothing but their operands."""

WITH_FRAME: Final[dict[str, Callable[[Value, Value, Frame], Value]]] = {
    "+": add_counted,
    "==": equal,
    "!=": lambda left, right, frame: not equal(left, right, frame),
    "in": contains,
    "matches": matches,
    "contains": _on_texts("contains", lambda left, right: right in left),
    "startsWith": _on_texts("startsWith", lambda left, right: left.startswith(right)),
    "endsWith": _on_texts("endsWith", lambda left, right: left.endswith(right)),
    "..": between,
}
"""Operators whose work is counted."""


def negate(value: Value) -> Value:
    """`-x`."""
    if type(value) is int:
        return wrapped(-value)
    if type(value) is float:
        return -value
    if isinstance(value, Duration):
        return Duration(-value.ns)
    raise Failure(f"invalid operation: - {go_type(value)}")


def plus(value: Value) -> Value:
    """`+x`."""
    if not is_number(value):
        raise Failure(f"invalid operation: + {go_type(value)}")
    return value


def invert(value: Value) -> bool:
    """`!x`."""
    return not as_bool(value)


UNARY: Final[dict[str, Callable[[Value], Value]]] = {"-": negate, "+": plus, "!": invert}


def as_bool(value: Value) -> bool:
    """Return a value that must be true or false.

    Raises:
        Failure: it is neither.
    """
    if value is True or value is False:
        return value
    raise Failure(f"interface conversion: interface {{}} is {'nil' if value is None else go_type(value)}, not bool")


def fetch(whole: Value, key: Value) -> Value:
    """`whole[key]`, `whole.key`: nil when a map does not have it.

    Raises:
        Failure: there is nothing to be had, or an index is out of range.
    """
    if is_map(whole):
        if not hashable(key):
            raise Failure(f"hash of unhashable type: {go_type(key)}")
        if key is not None and not isinstance(key, str) and _is_keyed_by_text(whole):
            raise Failure(f"value of type {go_type(key)} is not assignable to type string")
        return whole.get(key)
    if isinstance(whole, str | list | tuple | bytes):
        sequence = _elements(whole)
        index = to_int(key)
        size = len(sequence)
        at = index + size if index < 0 else index
        if not 0 <= at < size:
            raise Failure(f"index out of range: {at} (array length is {size})")
        return sequence[at]
    raise Failure(f"cannot fetch {show(key)} from {go_type(whole)}")


def _elements(whole: Value) -> Any:
    """Return what an index counts: the elements of an array, the bytes of a text."""
    return whole.encode() if isinstance(whole, str) else whole


def cut(whole: Value, low: Value, high: Value) -> Value:
    """`whole[low:high]`; `low` and `high` may be missing (None from the compiler's side)."""
    if not isinstance(whole, str | list | tuple | bytes):
        raise Failure(f"cannot slice {go_type(whole)}")
    sequence = _elements(whole)
    size = len(sequence)
    first = 0 if low is None else to_int(low)
    last = size if high is None else to_int(high)
    first = max(0, first + size if first < 0 else first)
    last = min(size, max(0, last + size if last < 0 else last))
    part = sequence[min(first, last) : last]
    if isinstance(whole, str):
        return part.decode("utf-8", "replace")
    return part
