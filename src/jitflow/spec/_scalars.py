"""Plain YAML scalars as Go reads them.

Argo reads manifests with sigs.k8s.io/yaml, whose YAML is go-yaml v2's: `yes`, `on` and `y` are truth values, `0x10`, `010`,
`0o10`, `0b11` and `1_000` are integers, dates stay text, and there are no base-60 numbers. Where the target is a string, a
number or a truth value is written out as Go writes it.
"""

import math
import re
from decimal import Decimal
from typing import Final

from jitflow.expr.durations import go_float

Scalar = str | int | float | bool | None

_WORDS: Final[dict[str, Scalar]] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}
_HINTS: Final = frozenset("+-.0123456789")
_TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt ][0-9]{1,2}:[0-9]{1,2}:.*)?")
_INTEGER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
MAX_DIGITS: Final = 400
"""Longer runs of digits stay text: no manifest counts that far."""


def resolve(text: str) -> Scalar:
    """Return the value of a plain (unquoted) scalar."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _HINTS or len(text) > MAX_DIGITS or _TIMESTAMP.fullmatch(text):
        return text
    plain = text.replace("_", "") if text[0] != "." else text
    if _INTEGER.fullmatch(plain):
        number = _integer(plain)
        if -(2**63) <= number < 2**64:
            return number
        # As in Go, what no integer can hold is read as a number with a fraction if it is decimal, else it is text.
        return float(plain) if plain.lstrip("+-").isdecimal() and math.isfinite(float(plain)) else text
    if _FLOAT.fullmatch(plain):
        number = float(plain)
        return text if math.isinf(number) else number
    return text


def _integer(plain: str) -> int:
    sign = -1 if plain[0] == "-" else 1
    digits = plain.lstrip("+-")
    base = {"0x": 16, "0b": 2, "0o": 8}.get(digits[:2].lower())
    if base is not None:
        return sign * int(digits[2:], base)
    return sign * int(digits, 8 if len(digits) > 1 and digits[0] == "0" else 10)


def as_text(value: str | float | bool) -> str:
    """Return a scalar as Go writes it into a string field of the manifest (`%g` for numbers with a fraction)."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return go_float(value)


def decimal_text(value: float) -> str:
    """Return a number without an exponent and without a needless fraction: `1.0` is `1`, as Argo's AnyString writes it."""
    text = format(Decimal(repr(value)), "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.removeprefix("-") if text == "-0" else text
