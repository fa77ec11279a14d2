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
        drawn = bytearray(int(time.time() * 1e3).to_bytes(6, "big") + self._take(10))
        drawn[6] = drawn[6] & 0x0F | 0x70  # version 7
        drawn[8] = drawn[8] & 0x3F | 0x80  # of the variant that RFC 9562 describes
        text = drawn.hex()
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

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
