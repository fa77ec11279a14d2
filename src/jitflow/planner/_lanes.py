"""The links to the far stores: what waits to come over each, and how much moves over it at once."""

import math

from msgspec import Struct
from msgspec.structs import replace

from jitflow.planner._items import Item, Key


class Limits(Struct, frozen=True, kw_only=True):
    """How much moves over one link at once; see `PlannerOptions` and `Planner.set_link`."""

    transfers: int
    part_bytes: int = 0
    fill_streams: int = 0
    fill_bytes: int = 0
    rate_Bps: float = 0.0
    stream_Bps: float = 0.0
    latency_s: float = 0.0
    part_streams: int = 0
    alone_part_bytes: int = 0

    def measured(self) -> "Limits":
        """Return the limits with those that follow from what was measured: how much makes the link full.

        `fill_streams` that somebody has found out by trying stands.
        """
        if self.part_streams or not self.rate_Bps or not self.stream_Bps:
            return self
        streams = min(self.transfers, max(1, math.ceil(self.rate_Bps / self.stream_Bps)))
        return replace(self, fill_streams=streams, fill_bytes=int(2 * self.rate_Bps * self.latency_s))


Wanted = tuple[Key, int, Item]
"""An item that claimed steps wait for, by the place of the first of them."""

Ahead = tuple[bool, Key, int, Item]
"""An item that coming steps will read: whether that is uncertain, and the place of the first of them."""


class Lane:
    """One link."""

    __slots__ = ("active", "flying", "hurried", "hurried_flying", "limits", "soft", "urgent", "yielding")

    def __init__(self, limits: Limits, *, yielding: bool = False) -> None:
        """Begin idle. `yielding`: what is read ahead gives way to what steps wait for."""
        self.limits = limits
        self.yielding = yielding
        self.urgent: list[Wanted] = []
        self.soft: list[Ahead] = []
        self.active = 0
        """Streams: each part of an object is one."""
        self.flying = 0
        """Bytes under way that have not come."""
        self.hurried = 0
        """Streams for which steps wait."""
        self.hurried_flying = 0

    @property
    def full(self) -> bool:
        """Whether another transfer would only slow the others down."""
        return self._full(self.active, self.flying)

    @property
    def crowded(self) -> bool:
        """Whether another transfer for which a step waits would only slow others down that it may not."""
        return self._full(self.hurried, self.hurried_flying) if self.yielding else self.full

    def _full(self, active: int, flying: int) -> bool:
        limits = self.limits
        if active >= limits.transfers:
            return True
        return 0 < limits.fill_streams <= active and flying >= limits.fill_bytes

    def start(self, item: Item, *, urgent: bool = False) -> int:
        """Begin to move an item; return in how many ranges at once: as many as there are places for and the size is worth."""
        limits = self.limits
        parts = 1
        if limits.part_bytes:
            # The first one on the link, or that a step waits for, has it for itself: what is not in ranges would be left unused.
            alone = limits.alone_part_bytes and not (self.hurried if urgent else self.active)
            worth_bytes = min(limits.part_bytes, limits.alone_part_bytes) if alone else limits.part_bytes
            parts = max(1, min(limits.part_streams or limits.transfers - self.active, item.bytes // worth_bytes))
        item.parts = parts
        item.flying = item.bytes
        item.urgent = urgent
        self._count(item, 1)
        return parts

    def hurry(self, item: Item) -> None:
        """A step waits now for an item that is on its way."""
        self._count(item, -1)
        item.urgent = True
        self._count(item, 1)

    def came(self, item: Item, done_bytes: int) -> None:
        """Note how much of an item has come."""
        self._count(item, -1)
        item.flying = max(0, item.bytes - done_bytes)
        self._count(item, 1)

    def done(self, item: Item) -> None:
        """Note that a transfer has ended, either way."""
        self._count(item, -1)
        item.parts = item.flying = 0
        item.urgent = False

    def _count(self, item: Item, sign: int) -> None:
        self.active += sign * item.parts
        self.flying += sign * item.flying
        if item.urgent:
            self.hurried += sign * item.parts
            self.hurried_flying += sign * item.flying


class Lanes:
    """All links, by the name of the far store."""

    def __init__(self, limits: Limits, *, yielding: bool = False) -> None:
        """Keep to these limits on each link of which nothing else was said."""
        self._usual = limits
        self._yielding = yielding
        self._table: dict[str, Lane] = {}

    def of(self, item: Item) -> Lane:
        """Return the link over which an item comes."""
        return self._named(item.ref.remote)

    def set(self, remote: str, changes: dict[str, float]) -> None:
        """Change limits of one link."""
        lane = self._named(remote)
        lane.limits = replace(lane.limits, **changes).measured()

    def _named(self, remote: str) -> Lane:
        lane = self._table.get(remote)
        if lane is None:
            lane = self._table[remote] = Lane(self._usual, yielding=self._yielding)
        return lane

    def all(self) -> list[Lane]:
        """Return the links."""
        return list(self._table.values())
