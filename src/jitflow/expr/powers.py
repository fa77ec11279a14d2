"""Powers of floats, as Go's `math.Pow` gives them."""

import math
from typing import Final

_MOST_SQUARED: Final = 2**62
"""Powers of larger whole numbers are zero, infinite, or those of one."""
_HALF: Final = 0.5


def go_power(base: float, exponent: float) -> float:
    """Return a power; where it is too large or there is none, an infinity or NaN."""
    if base and math.isfinite(base) and abs(exponent) <= _MOST_SQUARED and exponent.is_integer():
        return _whole_power(base, int(exponent))
    if base > 0 and abs(exponent) == _HALF:
        return math.sqrt(base) if exponent > 0 else 1.0 / math.sqrt(base)
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return math.inf
    except ValueError:
        if not base:
            return -math.inf if math.copysign(1.0, base) < 0 and exponent % 2 == 1 else math.inf
        return math.nan


def _whole_power(base: float, exponent: int) -> float:
    """Return a power by squaring, as Go does: a result between two numbers may become another one than in C."""
    result, scale = 1.0, 0
    factor, bits = math.frexp(base)
    for place in bin(abs(exponent))[:1:-1]:
        if place == "1":
            result *= factor
            scale += bits
        factor, more = math.frexp(factor * factor)
        bits = 2 * bits + more
    try:
        return math.ldexp(1.0 / result, -scale) if exponent < 0 else math.ldexp(result, scale)
    except OverflowError:
        return math.copysign(math.inf, result)
