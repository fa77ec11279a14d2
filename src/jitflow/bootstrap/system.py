"""The real clock and real names."""

import asyncio
import gc
import os
import time
import uuid

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_FAIR = 256 - 256 % len(_ALPHABET)
"""Bytes from here on would make some letters likelier than others."""
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
        """Return a new UUID."""
        return str(uuid.UUID(bytes=self._take(16), version=4))

    def suffix(self) -> str:
        """Return five letters or digits, from the alphabet that Kubernetes uses for generated names."""
        return "".join(self._letter() for _ in range(5))

    def _letter(self) -> str:
        while True:
            (byte,) = self._take(1)
            if byte < _FAIR:
                return _ALPHABET[byte % len(_ALPHABET)]

    def _take(self, count: int) -> bytes:
        if self._used + count > len(self._pool):
            self._pool, self._used = os.urandom(_POOL_BYTES), 0
        taken = self._pool[self._used : self._used + count]
        self._used += count
        return taken
