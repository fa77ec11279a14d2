"""How much to move over each far store's link at once: found out by trying, for each link by itself.

Many small objects are in flight at once: each costs a round trip, whatever the link gives. Of larger ones, and of the ranges of
large ones, only as many as fill the link: more would only make each slower, and what is needed first come later. How many that
is follows from windows in which the link was busy: the number of streams climbs as long as that gives more, and falls as long as
nothing is lost.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from msgspec import Struct

LEVELS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
"""Numbers of streams that are tried."""
FIRST_STREAMS = 16
PART_BYTES = 16 * 2**20
"""A range of a large object is no smaller."""
PART_STREAMS = 8
"""Ranges of one object at once, at most."""
FILL_BYTES = 16 * 10**6
"""So many bytes on their way keep a link busy until the next request has come through, on all but the longest and fastest."""
FIRST_LATENCY_S = 0.1
SMALL_BYTES = 64 * 2**10
"""What such an object takes is the latency of a request."""
WINDOW_S = 1.0
BUSY_SHARE = 0.75
"""A window counts when at least this share of the streams was busy all the time."""
WORTH = 0.1
"""Twice the streams are worth it for 2^0.1 - 1 = 7 % more."""
STALE_S = 60.0
"""What a number of streams gave is tried again after so long."""
NEW_WEIGHT = 0.5


class LinkState(Struct, frozen=True, kw_only=True):
    """What is known of a link: bytes per second when it was busy last, seconds of a request, streams that fill it."""

    remote: str
    rate_Bps: float
    latency_s: float
    streams: int
    most_streams: int
    active: int


class Climb:
    """The search for the fewest streams that fill a link. Pure: time is an argument."""

    def __init__(self, most: int, first: int = FIRST_STREAMS) -> None:
        """Begin with `first` streams, try at most `most`."""
        self._levels = [level for level in LEVELS if level < most] + [most]
        self._at = max(at for at, level in enumerate(self._levels) if level <= max(first, self._levels[0]))
        self._gave: dict[int, tuple[float, float]] = {}
        """Level -> bytes per second, and when."""

    @property
    def streams(self) -> int:
        """Return how many streams to run now."""
        return self._levels[self._at]

    def saw(self, rate_Bps: float, now: float) -> None:
        """Learn what the present number gave in a busy window, and choose the next."""
        known = self._gave.get(self._at)
        if known is not None and now - known[1] < STALE_S:
            rate_Bps = known[0] + NEW_WEIGHT * (rate_Bps - known[0])
        self._gave[self._at] = (rate_Bps, now)
        near = [at for at in (self._at + 1, self._at - 1) if 0 <= at < len(self._levels)]
        untried = [at for at in near if at not in self._gave or now - self._gave[at][1] > STALE_S]
        self._at = untried[0] if untried else max([self._at, *near], key=self._value)

    def _value(self, at: int) -> float:
        return self._gave[at][0] / self._levels[at] ** WORTH


@dataclass(kw_only=True)
class _Link:
    climb: Climb
    most: int
    latency_s: float = FIRST_LATENCY_S
    rate_Bps: float = 0.0
    active: int = 0
    coming: int = 0
    window_at: float | None = None
    window_bytes: int = 0
    least: int = 0
    told: tuple[int, int] = field(default=(0, 0))


Tell = Callable[[str, int, int, int], None]
"""Told of a remote: streams at most, streams that fill it, bytes that keep it busy."""


class Links:
    """Watches what moves over each link, and says how much should."""

    def __init__(self, most: int, mosts: dict[str, int], now: Callable[[], float], tell: Tell) -> None:
        """Run at most `most` streams over a link, or what `mosts` says of it."""
        self._most = most
        self._mosts = mosts
        self._now = now
        self._tell = tell
        self._links: dict[str, _Link] = {}

    def know(self, remote: str) -> None:
        """Say how much may move over a link that nobody has used yet."""
        self._of(remote)

    def streams(self, remote: str) -> int:
        """Return how many streams fill a link."""
        return self._of(remote).climb.streams

    def states(self) -> list[LinkState]:
        """Return what is known of the links that were used."""
        return [
            LinkState(
                remote=remote,
                rate_Bps=link.rate_Bps,
                latency_s=link.latency_s,
                streams=link.climb.streams,
                most_streams=link.most,
                active=link.active,
            )
            for remote, link in sorted(self._links.items())
        ]

    def began(self, remote: str, streams: int, size_bytes: int) -> None:
        """A transfer has begun."""
        link = self._of(remote)
        link.active += streams
        link.coming += size_bytes
        if link.window_at is None and self._is_busy(link):
            self._open(link)

    def moved(self, remote: str, count: int, *, before: bool = False) -> None:
        """So many more bytes of a transfer have come, or turned out to have come `before`."""
        link = self._of(remote)
        link.coming -= count
        if not before:
            link.window_bytes += count
        self._look(remote, link)

    def ended(self, remote: str, streams: int, left_bytes: int) -> None:
        """A transfer has ended, with so many bytes that did not come."""
        link = self._of(remote)
        link.active -= streams
        link.coming -= left_bytes

    def settled(self, remote: str) -> None:
        """What could be begun after an end has been."""
        link = self._of(remote)
        link.least = min(link.least, link.active)
        self._look(remote, link)

    def answered(self, remote: str, took_s: float) -> None:
        """A small object took so long."""
        link = self._of(remote)
        link.latency_s = min(took_s, link.latency_s * 1.01)

    def _of(self, remote: str) -> _Link:
        link = self._links.get(remote)
        if link is None:
            most = self._mosts.get(remote, self._most)
            link = self._links[remote] = _Link(climb=Climb(most), most=most)
            self._say(remote, link)
        return link

    def _is_busy(self, link: _Link) -> bool:
        return link.active >= BUSY_SHARE * link.climb.streams and link.coming >= FILL_BYTES / 2

    def _open(self, link: _Link) -> None:
        link.window_at, link.window_bytes, link.least = self._now(), 0, link.active

    def _look(self, remote: str, link: _Link) -> None:
        if link.window_at is None:
            return
        if not self._is_busy(link) or link.least < BUSY_SHARE * link.climb.streams:
            link.window_at = None
            if self._is_busy(link):
                self._open(link)
            return
        now = self._now()
        took = now - link.window_at
        if took >= max(WINDOW_S, 8 * link.latency_s):
            link.rate_Bps = link.window_bytes / took
            link.climb.saw(link.rate_Bps, now)
            self._say(remote, link)
            self._open(link)

    def _say(self, remote: str, link: _Link) -> None:
        fill_bytes = max(FILL_BYTES, int(2 * link.rate_Bps * link.latency_s))
        if (link.climb.streams, fill_bytes) != link.told:
            link.told = (link.climb.streams, fill_bytes)
            self._tell(remote, link.most, link.climb.streams, fill_bytes)
