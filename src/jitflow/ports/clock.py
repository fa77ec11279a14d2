"""Time and names come in as arguments, so that tests can move one and foresee the other."""

from typing import Protocol


class Clock(Protocol):
    """The time of day and a delay."""

    def now(self) -> float:
        """Return seconds since the epoch."""
        ...

    async def sleep(self, delay_s: float) -> None:
        """Return after `delay_s` seconds of this clock."""
        ...


class Ids(Protocol):
    """New names."""

    def uid(self) -> str:
        """Return a new UUID."""
        ...

    def suffix(self) -> str:
        """Return five random lower-case letters or digits, as Kubernetes appends to `generateName`."""
        ...
