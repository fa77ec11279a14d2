"""The real clock and real names."""

import asyncio
import secrets
import time
import uuid

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


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
