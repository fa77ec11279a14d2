"""What each link gives, learned from all the bytes that come over it, whichever transfers they belong to."""

from collections.abc import Callable
from dataclasses import dataclass

from jitflow.dataplane.links import HELD_BACK

BURST_S = 0.005
"""Bytes of several transfers that are told of within so little are one burst: they have come since the one before."""
LONG_S, LARGE_BYTES = 2.0, 1 << 20
"""A stretch that is shorter and smaller tells of latency rather than of the rate."""
_SHORTEST_S = 0.02
_NEW_WEIGHT = 0.3


@dataclass(kw_only=True)
class _Stretch:
    """A time in which something was on its way all the time. Of the last burst more may be told of: `sure` are those before."""

    began_at: float
    told_at: float
    bytes: int = 0
    sure_at: float = 0.0
    sure_bytes: int = 0
    transfers: int = 0


class Rates:
    """Learns rates in stretches that begin and end with a burst: single transfers say nothing where many are told of together."""

    def __init__(self, now: Callable[[], float], known: dict[str, float] | None = None) -> None:
        """Add to what is `known`: bytes per second, by link."""
        self._now = now
        self.known = known if known is not None else {}
        self._weak: set[str] = set()
        """Links of which only small and short stretches have told the rate."""
        self._stretches: dict[str, _Stretch] = {}

    def began(self, link: str) -> None:
        """A transfer begins to use a link."""
        stretch = self._stretches.get(link)
        if stretch is None:
            now = self._now()
            stretch = self._stretches[link] = _Stretch(began_at=now, told_at=now)
        stretch.transfers += 1

    def moved(self, link: str, size_bytes: int) -> None:
        """So many bytes more have come over a link."""
        stretch = self._stretches.get(link)
        if stretch is None:
            return  # told of when all is over
        now = self._now()
        if now - stretch.told_at > BURST_S:
            stretch.sure_at, stretch.sure_bytes = stretch.told_at, stretch.bytes
        stretch.bytes += size_bytes
        stretch.told_at = now

    def ended(self, link: str, limit_Bps: int | None = None) -> None:
        """A transfer uses a link no more, however it has ended; `limit_Bps`: no more was allowed to come."""
        stretch = self._stretches[link]
        stretch.transfers -= 1
        now = self._now()
        if not stretch.transfers:
            del self._stretches[link]
            self._learn(link, stretch.bytes, now - stretch.began_at, limit_Bps)
        elif stretch.sure_at - stretch.began_at >= LONG_S:
            self._learn(link, stretch.sure_bytes, stretch.sure_at - stretch.began_at, limit_Bps)
            stretch.began_at = stretch.sure_at
            stretch.bytes -= stretch.sure_bytes
            stretch.sure_bytes = 0

    def _learn(self, link: str, moved: int, duration: float, limit_Bps: int | None) -> None:
        """Learn from a stretch.

        Weak ones are taken for want of better ones, and the first better one takes their place. What a limit held back tells only
        that the link gives no less.
        """
        if duration < _SHORTEST_S or moved <= 0:
            return
        rate = moved / duration
        known = self.known.get(link)
        if limit_Bps is not None and known is not None and rate >= HELD_BACK * limit_Bps:
            self.known[link] = max(known, rate)
            return
        weak = moved < LARGE_BYTES and duration < LONG_S
        if known is None or (link in self._weak and not weak):
            self.known[link] = rate
            (self._weak.add if weak else self._weak.discard)(link)
        elif link in self._weak:
            self.known[link] = max(known, rate)
        elif not weak:
            self.known[link] = known + _NEW_WEIGHT * (rate - known)

    def is_measured(self, link: str) -> bool:
        """Return whether the rate of a link is known from a stretch that was large or long enough."""
        return link in self.known and link not in self._weak

    def rate(self, link: str) -> float | None:
        """Return the rate of a link in bytes per second, None if nothing came over it yet."""
        return self.known.get(link)
