"""The real clock and real names."""

import asyncio
import gc
import os
import time

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_FAIR = 256 - 256 % len(_ALPHABET)
"""Bytes from here on would make some letters likelier than others."""
_UNFAIR = bytes(range(_FAIR, 256))
_LETTERS = bytes(ord(_ALPHABET[byte % len(_ALPHABET)]) for byte in range(256))
"""The letter for each byte."""
_SUFFIX_CHARS = 5
_VARIANT = "89ab"
"""The digits that say by which layout a UUID is to be read."""
_POOL_BYTES = 1024


def calm_collector() -> None:
    """Let the cyclic garbage collector look at the heap less often: runs live long, and a decision leaves no cycles behind.

    With Python's own thresholds a server that holds large workflows spends a third of its time in looking at all of them.
    """
    gc.set_threshold(10_000, 50, 50)


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Return seconds since the epoch."""
        return time.time()

    async def sleep(self, delay_s: float) -> None:
        """Return after `delay_s` seconds."""
        await asyncio.sleep(delay_s)


class RandomIds:
    """Names that nobody can foresee. For one thread: the system is asked for random bytes for many of them at once."""

    def __init__(self) -> None:
        """Begin without any bytes."""
        self._pool = b""
        self._used = 0

    def uid(self) -> str:
        """Return a new UUID. It begins with the time: a database keeps those that are made together side by side."""
        at, drawn = f"{int(time.time() * 1e3):012x}", self._take(10)
        text = drawn.hex()
        # Version 7, of the variant that RFC 9562 describes.
        return f"{at[:8]}-{at[8:]}-7{text[1:4]}-{_VARIANT[drawn[2] >> 6]}{text[5:8]}-{text[8:]}"

    def suffix(self) -> str:
        """Return five letters or digits, from the alphabet that Kubernetes uses for generated names."""
        letters = ""
        while len(letters) < _SUFFIX_CHARS:
            drawn = self._take(_SUFFIX_CHARS - len(letters)).translate(_LETTERS, _UNFAIR)
            letters += drawn.decode("ascii")
        return letters

    def _take(self, count: int) -> bytes:
        if self._used + count > len(self._pool):
            self._pool, self._used = os.urandom(_POOL_BYTES), 0
        taken = self._pool[self._used : self._used + count]
        self._used += count
        return taken
