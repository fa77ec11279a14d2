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

    def measured(self) -> "Limits":
        """Return the limits with those that follow from what was measured: how much makes the link full."""
        if not self.rate_Bps or not self.stream_Bps:
            return self
        streams = min(self.transfers, max(1, math.ceil(self.rate_Bps / self.stream_Bps)))
        return replace(self, fill_streams=streams, fill_bytes=int(2 * self.rate_Bps * self.latency_s))


Wanted = tuple[Key, int, Item]
"""An item that claimed steps wait for, by the place of the first of them."""

Ahead = tuple[bool, Key, int, Item]
"""An item that coming steps will read: whether that is uncertain, and the place of the first of them."""


class Lane:
    """One link."""

    __slots__ = ("active", "flying", "limits", "soft", "urgent")

    def __init__(self, limits: Limits) -> None:
        """Begin idle."""
        self.limits = limits
        self.urgent: list[Wanted] = []
        self.soft: list[Ahead] = []
        self.active = 0
        """Streams: each part of an object is one."""
        self.flying = 0

    @property
    def full(self) -> bool:
        """Whether another transfer would only slow the others down."""
        limits = self.limits
        if self.active >= limits.transfers:
            return True
        return 0 < limits.fill_streams <= self.active and self.flying >= limits.fill_bytes

    def start(self, item: Item) -> int:
        """Begin to move an item; return in how many ranges at once: as many as there are places for and the size is worth."""
        limits = self.limits
        parts = 1
        if limits.part_bytes:
            parts = max(1, min(limits.transfers - self.active, item.bytes // limits.part_bytes))
        item.parts = parts
        self.active += parts
        self.flying += item.bytes
        return parts

    def done(self, item: Item) -> None:
        """Note that a transfer has ended, either way."""
        self.active -= item.parts
        self.flying -= item.bytes
        item.parts = 0


class Lanes:
    """All links, by the name of the far store."""

    def __init__(self, limits: Limits) -> None:
        """Keep to these limits on each link of which nothing else was said."""
        self._usual = limits
        self._table: dict[str, Lane] = {}

    def of(self, item: Item) -> Lane:
        """Return the link over which an item comes."""
        lane = self._table.get(item.ref.remote)
        if lane is None:
            lane = self._table[item.ref.remote] = Lane(self._usual)
        return lane

    def set(self, remote: str, changes: dict[str, float]) -> None:
        """Change limits of one link."""
        lane = self._table.get(remote)
        if lane is None:
            lane = self._table[remote] = Lane(self._usual)
        lane.limits = replace(lane.limits, **changes).measured()

    def all(self) -> list[Lane]:
        """Return the links."""
        return list(self._table.values())
