"""Go's durations, Kubernetes' quantities and Go's number formats, as manifests use them."""

import math
import re
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import Final

MAX_DURATION_S: Final = (2**63 - 1) / 1e9
"""Go keeps durations as 64-bit nanoseconds: about 292 years."""

MAX_WIDTH: Final = 1_000
"""Widest number that `go_format` makes."""

_UNITS_S: Final = {
    "ns": Decimal("1e-9"), "us": Decimal("1e-6"), "µs": Decimal("1e-6"), "μs": Decimal("1e-6"),
    "ms": Decimal("1e-3"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600),
}  # fmt: skip
_DURATION_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_BARE = re.compile(r"[-+]?[0-9]+")
_QUANTITY = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]{1,3})?")
_SUFFIXES: Final = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", 1)},
    **{suffix + "i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", 1)},
}  # fmt: skip
_VERB = re.compile(r"%([-+# 0]*)([0-9]*)(?:\.([0-9]*))?(.?)", re.DOTALL)
_PLAIN = {"d": "d", "v": "d", "x": "x", "X": "X", "o": "o", "b": "b"}
_MARKS = {"x": "0x", "X": "0X", "o": "0", "b": "0b"}


class DurationError(ValueError):
    """Text that is not a duration."""


class QuantityError(ValueError):
    """Text that is not a quantity."""


def parse_duration(text: str, *, bare_seconds: bool = True) -> float:
    """Return a duration in seconds: `1h30m`, `1.5s`, `300ms`, `-2m`, `0`.

    Args:
        text: the duration.
        bare_seconds: read a bare integer as seconds, as Argo does for `suspend.duration` and `backoff`; not for `timeout`.

    Raises:
        DurationError: not a duration, or longer than Go can hold.
    """
    if len(text) > 100:
        raise DurationError(f"invalid duration {_quote(text[:100] + '…')}")
    if _BARE.fullmatch(text) and text.isascii():
        if not bare_seconds and int(text) != 0:
            raise DurationError(f"missing unit in duration {_quote(text)}")
        return _in_range(text, Decimal(int(text)))
    sign, rest = (-1, text[1:]) if text[:1] == "-" else (1, text.removeprefix("+"))
    total, at = Decimal(0), 0
    while at < len(rest):
        part = _DURATION_PART.match(rest, at)
        if part is None:
            break
        total += Decimal(part[1]) * _UNITS_S[part[2]]
        at = part.end()
    if not rest or at < len(rest):
        raise DurationError(f"invalid duration {_quote(text)}")
    return sign * _in_range(text, total)


def _in_range(text: str, seconds: Decimal) -> float:
    if abs(seconds) > Decimal(MAX_DURATION_S):
        raise DurationError(f"invalid duration {_quote(text)}: longer than 292 years")
    return float(seconds)


def format_duration(seconds: float) -> str:
    """Return seconds as Go prints a duration, to the millisecond: `1h0m3s`, `1.5s`, `300ms`, `0s`."""
    milliseconds = round(abs(seconds) * 1000)
    sign = "-" if seconds < 0 and milliseconds else ""
    if 0 < milliseconds < 1000:
        return f"{sign}{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    shown = f"{rest // 1000}" if rest % 1000 == 0 else f"{rest / 1000:.3f}".rstrip("0")
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{sign}{hours}h{minutes}m{shown}s"
    return f"{sign}{minutes}m{shown}s" if minutes else f"{sign}{shown}s"


def parse_quantity(quantity: str | float) -> int:
    """Return a Kubernetes quantity as a whole number, rounded up: `10Mi` -> 10485760, `1G` -> 1000000000, `1e3` -> 1000.

    Raises:
        QuantityError: not a quantity, or beyond 64 bits.
    """
    return int(exact_quantity(quantity).to_integral_value(ROUND_CEILING))


def exact_quantity(quantity: str | float) -> Decimal:
    """Return a Kubernetes quantity as it is written: `100m` -> 0.1.

    Raises:
        QuantityError: not a quantity, or beyond 64 bits.
    """
    text = format(quantity, "f") if isinstance(quantity, float) else str(quantity)
    found = _QUANTITY.fullmatch(text) if len(text) <= 64 else None
    if found is None or not text.isascii():
        raise QuantityError("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")
    suffix = found[2] or ""
    try:
        scale = _SUFFIXES[suffix] if suffix in _SUFFIXES else Decimal(f"1{suffix}")
        value = Decimal(found[1]) * scale
        rounded = value.to_integral_value(ROUND_CEILING)
    except InvalidOperation as error:
        raise QuantityError(f"quantity {_quote(text)} is out of range") from error
    if abs(rounded) >= 2**63:
        raise QuantityError(f"quantity {_quote(text)} is out of range")
    return value


def go_float(value: float) -> str:
    """Return a float as Go's `%v` prints it: shortest digits, `1e+06` from a million on and below a ten-thousandth."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    power = len(digits) - 1 + int(exponent)
    mark = "-" if sign else ""
    text = "".join(map(str, digits))
    if value and not -4 <= power < 6:
        fraction = f".{text[1:]}" if text[1:] else ""
        return f"{mark}{text[0]}{fraction}e{'-' if power < 0 else '+'}{abs(power):02d}"
    return mark + format(Decimal(repr(abs(value))).normalize(), "f")


def go_format(template: str, number: int) -> str:
    """Return what Go's `fmt.Sprintf(template, number)` returns for an integer.

    Verbs: `%d %x %X %o %b %c %q %U %v %%` with the flags `-+# 0`, a width and a precision. Mistakes show as in Go:
    `%!s(int=3)`, `%!d(MISSING)`, `%!(EXTRA int=3)`, `%!(NOVERB)`.
    """
    used = False

    def replace(found: re.Match[str]) -> str:
        nonlocal used
        flags, width, precision, verb = found.groups()
        if not verb:
            return "%!(NOVERB)"
        if verb == "%":
            return "%"
        if used:
            return f"%!{verb}(MISSING)"
        used = True
        if any(len(count or "") > 9 or int(count or 0) > MAX_WIDTH for count in (width, precision)):
            return "%!(BADWIDTH)"
        return _format_one(verb, flags, int(width or 0), precision, number)

    result = _VERB.sub(replace, template)
    return result if used else f"{result}%!(EXTRA int={number})"


def _format_one(verb: str, flags: str, width: int, precision: str | None, number: int) -> str:
    if verb in _PLAIN:
        return _format_integer(verb, flags, width, precision, number)
    character = chr(number) if 0 <= number < 0x110000 and not 0xD800 <= number < 0xE000 else "\ufffd"
    match verb:
        case "c":
            text = character
        case "q":
            text = f"'{character}'"
        case "U":
            text = f"U+{number:04X}"
        case _:
            return f"%!{verb}(int={number})"
    return text.ljust(width) if "-" in flags else text.rjust(width)


def _format_integer(verb: str, flags: str, width: int, precision: str | None, number: int) -> str:
    digits = format(abs(number), _PLAIN[verb])
    sign = "-" if number < 0 else "+" if "+" in flags else " " if " " in flags else ""
    mark = _MARKS.get(verb, "") if "#" in flags else ""
    if precision is not None:
        digits = digits.rjust(int(precision or 0), "0")
    elif "0" in flags and "-" not in flags:
        digits = digits.rjust(width - len(sign) - len(mark), "0")
    text = sign + mark + digits
    return text.ljust(width) if "-" in flags else text.rjust(width)


def _quote(text: str) -> str:
    return '"' + text + '"'
