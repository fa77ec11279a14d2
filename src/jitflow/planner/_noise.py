"""Numbers that look random and follow from a seed."""

import math

_MASK = (1 << 64) - 1


class Noise:
    """A stream of numbers: equal seeds give equal streams."""

    def __init__(self, seed: int) -> None:
        """Begin a stream."""
        self._state = seed & _MASK

    def uniform(self) -> float:
        """Return a number above 0 and below 1."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        mixed = self._state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return ((mixed ^ (mixed >> 31)) + 1) / (_MASK + 3)

    def normal(self) -> float:
        """Return a number from the standard normal distribution."""
        return math.sqrt(-2.0 * math.log(self.uniform())) * math.cos(2.0 * math.pi * self.uniform())

    def factor(self, sigma: float) -> float:
        """Return a factor whose logarithm is normal: as often above 1 as below."""
        return math.exp(sigma * self.normal())
