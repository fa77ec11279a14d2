"""The real clock and real names."""

import asyncio
import gc
import secrets
import time
import uuid

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


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
    """Names that nobody can foresee."""

    def uid(self) -> str:
        """Return a new UUID."""
        return str(uuid.uuid4())  # noqa: TID251 - this is the Ids port

    def suffix(self) -> str:
        """Return five letters or digits, from the alphabet that Kubernetes uses for generated names."""
        return "".join(secrets.choice(_ALPHABET) for _ in range(5))
