"""How much to move over each far store's link at once: found out by trying, for each link by itself.

Many small objects are in flight at once: each costs a round trip, whatever the link gives. Of larger ones, and of the ranges of
large ones, only as many as fill the link: more would only make each slower, and what is needed first come later. How many that
is follows from windows in which the link was busy: the number of streams climbs as long as that gives more, and falls as long as
nothing is lost. What a range is worth follows from what one stream gives: on a slow link a few megabytes take long enough.
"""

from collections.abc import Callable
from dataclasses import dataclass

from msgspec import Struct

from jitflow.model.bandwidth import FREE, Rate
from jitflow.model.reports import LinkInfo

LEVELS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
"""Numbers of streams that are tried."""
FIRST_STREAMS = 8
QUEUED_AHEAD = 4
"""So many times the streams of small objects may be handed to a storage that gathers them: it always has enough to do."""
FIRST_PART_BYTES, LEAST_PART_BYTES, MOST_PART_BYTES = 2 * 2**20, 2**20, 16 * 2**20
"""A range of an object is no smaller: while nothing is known of the link, on the slowest links, on fast ones."""
PART_S, PART_LATENCIES = 0.25, 6
"""A range is worth its request if one stream takes so long for it, and so many round trips."""
PART_STREAMS = 8
"""Ranges of one object at once, at most."""
FILL_BYTES, LEAST_FILL_BYTES, MOST_FILL_BYTES, FILL_S = 16 * 10**6, 10**6, 64 * 10**6, 0.75
"""What a link gives in this time keeps it busy until the next request has come through: of an unknown link so much is thought, of
no link less or more, but for the longest and fastest."""
FIRST_LOOK_S, FIRST_GROWTH = 0.02, 1.5
"""An unknown link is thought to give what has come since it was last idle, from then on, whenever that is so much more."""
FIRST_LATENCY_S = 0.1
SMALL_BYTES = 64 * 2**10
"""What such an object takes is the latency of a request."""
WINDOW_S = 1.0
BUSY_SHARE, MOST_SHARE = 0.75, 1.25
"""A window counts when at least this share of the streams was busy all the time; it tells what so many streams give if never
more than that share were."""
DRY_SHARE = 0.25
"""A window does not count if less than this share of what came in it is still to come at its end."""
WORTH = 0.1
"""Twice the streams are worth it for 2^0.1 - 1 = 7 % more."""
STALE_S = 60.0
"""What a number of streams gave is tried again after so long."""
NEW_WEIGHT = 0.5
LIMITED_STREAM_BPS = 64 * 2**10
"""Where a limit holds, no more streams run than get as much as this each: they would look as if they stood still."""
HELD_BACK = 0.8
"""A link that gives this share of its limit, or more, could give more."""


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
        fresh = [at for at, (_, seen_at) in self._gave.items() if now - seen_at <= STALE_S]
        best = max(fresh, key=self._value)
        # Fewer first: who has too many only learns that little moves at a time, and what is needed first comes late meanwhile.
        untried = [at for at in (best - 1, best + 1) if 0 <= at < len(self._levels) and at not in fresh]
        self._at = untried[0] if untried else best

    def forget(self) -> None:
        """Begin to learn anew: what held the link back is another thing now."""
        self._gave.clear()

    def _value(self, at: int) -> float:
        return self._gave[at][0] / self._levels[at] ** WORTH


@dataclass(kw_only=True)
class _Link:
    climb: Climb
    most: int
    latency_s: float = FIRST_LATENCY_S
    rate_Bps: float = 0.0
    first_Bps: float = 0.0
    """What an unknown link has given at least."""
    first_at: float = 0.0
    first_bytes: int = 0
    active: int = 0
    coming: int = 0
    window_at: float | None = None
    window_bytes: int = 0
    least: int = 0
    highest: int = 0
    stalls: int = 0
    limit: Rate = FREE
    told: "LinkUse | None" = None

    @property
    def most_streams(self) -> int:
        """How many streams may run at most, where a limit holds."""
        down = self.limit.down_Bps
        return self.most if down is None else max(1, min(self.most, down // LIMITED_STREAM_BPS))

    @property
    def streams(self) -> int:
        """How many streams fill the link."""
        return min(self.climb.streams, self.most_streams)

    @property
    def fill_bytes(self) -> int:
        """Bytes on their way that keep it busy."""
        down_Bps = self.limit.down_Bps
        rate_Bps = self.rate_Bps or max(self.first_Bps, FILL_BYTES / FILL_S)
        rate_Bps = rate_Bps if down_Bps is None else min(rate_Bps, down_Bps)
        least = min(MOST_FILL_BYTES, max(LEAST_FILL_BYTES, int(FILL_S * rate_Bps)))
        return max(least, int(2 * rate_Bps * self.latency_s))

    @property
    def gives_Bps(self) -> float:
        """What may be expected of it now; 0: that is not known."""
        down_Bps = self.limit.down_Bps
        return self.rate_Bps if down_Bps is None else min(self.rate_Bps, down_Bps)

    @property
    def part_bytes(self) -> int:
        """The least that is worth a request of its own."""
        if not self.rate_Bps:
            return FIRST_PART_BYTES
        worth = self.gives_Bps / self.streams * max(PART_S, PART_LATENCIES * self.latency_s)
        return min(MOST_PART_BYTES, max(LEAST_PART_BYTES, int(worth)))


class LinkUse(Struct, frozen=True, kw_only=True):
    """How to use a link.

    `most_streams`: at once; `streams`: so many fill it, together with `fill_bytes` on their way. `part_bytes`: no range of an
    object is smaller. `rate_Bps`: what it gives, in two digits, 0 if that is not known; `latency_s`: of a request.
    """

    most_streams: int
    streams: int
    fill_bytes: int
    part_bytes: int
    rate_Bps: float = 0.0
    latency_s: float = FIRST_LATENCY_S


Tell = Callable[[str, LinkUse], None]
"""Told how to use the link of a remote."""


class Links:
    """Watches what moves over each link, and says how much should."""

    def __init__(
        self,
        most: int,
        mosts: dict[str, int],
        now: Callable[[], float],
        tell: Tell,
        limit: Callable[[str], Rate] = lambda _: FREE,
    ) -> None:
        """Run at most `most` streams over a link, or what `mosts` says of it; `limit` says what may move over it now."""
        self._limit = limit
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
        return self._of(remote).streams

    def moment_bytes(self, remote: str) -> int:
        """Return what a link gives in a moment: a third of what keeps it busy, and little while nothing is known of it."""
        link = self._of(remote)
        return link.fill_bytes // 3 if link.rate_Bps else LEAST_FILL_BYTES // 2

    def states(self) -> list[LinkInfo]:
        """Return what is known of the links that were used."""
        return [
            LinkInfo(
                remote=remote,
                rate_Bps=link.rate_Bps or None,
                latency_s=link.latency_s if link.latency_s != FIRST_LATENCY_S else None,
                streams=link.streams,
                most_streams=link.most_streams,
                active=link.active,
                stalls=link.stalls,
                up_Bps=link.limit.up_Bps,
                down_Bps=link.limit.down_Bps,
                fill_bytes=link.fill_bytes,
                part_bytes=link.part_bytes,
            )
            for remote, link in sorted(self._links.items())
        ]

    def began(self, remote: str, streams: int, size_bytes: int) -> None:
        """A transfer has begun."""
        link = self._of(remote)
        if not link.active:
            link.first_at, link.first_bytes = self._now(), 0
        link.active += streams
        link.coming += size_bytes
        link.highest = max(link.highest, link.active)

    def moved(self, remote: str, count: int, *, before: bool = False) -> None:
        """So many more bytes of a transfer have come, or turned out to have come `before`."""
        link = self._of(remote)
        link.coming -= count
        if not before:
            link.window_bytes += count
            if not link.rate_Bps:
                self._look_first(remote, link, count)
        self._look(remote, link, more=not before)

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

    def stalled(self, remote: str) -> None:
        """A transfer stood still."""
        self._of(remote).stalls += 1

    def limits_changed(self) -> None:
        """Other limits are in force."""
        for remote, link in self._links.items():
            limit = self._limit(remote)
            if limit != link.limit:
                link.limit = limit
                link.climb.forget()
                link.window_at = None
                self._say(remote, link)

    def _of(self, remote: str) -> _Link:
        link = self._links.get(remote)
        if link is None:
            most = self._mosts.get(remote, self._most)
            link = self._links[remote] = _Link(climb=Climb(most), most=most, limit=self._limit(remote))
            self._say(remote, link)
        return link

    def _is_busy(self, link: _Link) -> bool:
        return link.active >= BUSY_SHARE * link.streams

    def _open(self, link: _Link) -> None:
        link.window_at, link.window_bytes, link.least, link.highest = self._now(), 0, link.active, link.active

    def _look(self, remote: str, link: _Link, *, more: bool = False) -> None:
        if link.window_at is None:
            # From the first byte on: what a request takes before is no rate.
            if more and self._is_busy(link):
                self._open(link)
            return
        if link.least < BUSY_SHARE * link.streams:
            link.window_at = None
            if self._is_busy(link):
                self._open(link)
            return
        now = self._now()
        took = now - link.window_at
        if took >= max(WINDOW_S, 8 * link.latency_s):
            if link.coming >= DRY_SHARE * link.window_bytes > 0:
                self._learn(remote, link, link.window_bytes / took, now)
            self._open(link)

    def _look_first(self, remote: str, link: _Link, count: int) -> None:
        """Think more of an unknown link that has given more: a window takes long where a link is fast."""
        link.first_bytes += count
        took = self._now() - link.first_at
        if took >= FIRST_LOOK_S and link.first_bytes > FIRST_GROWTH * link.first_Bps * took:
            link.first_Bps = link.first_bytes / took
            self._say(remote, link)

    def _learn(self, remote: str, link: _Link, rate_Bps: float, now: float) -> None:
        down_Bps = link.limit.down_Bps
        if down_Bps is None or rate_Bps < HELD_BACK * down_Bps:
            link.rate_Bps += (NEW_WEIGHT if link.rate_Bps else 1.0) * (rate_Bps - link.rate_Bps)
        else:  # it could give more
            link.rate_Bps = max(link.rate_Bps, rate_Bps)
        if link.highest <= MOST_SHARE * link.streams:
            link.climb.saw(rate_Bps, now)
        self._say(remote, link)

    def _say(self, remote: str, link: _Link) -> None:
        use = LinkUse(
            most_streams=link.most_streams,
            streams=link.streams,
            fill_bytes=link.fill_bytes,
            part_bytes=link.part_bytes,
            rate_Bps=float(f"{link.gives_Bps:.1e}"),
            latency_s=float(f"{link.latency_s:.1e}"),
        )
        if use != link.told:
            link.told = use
            self._tell(remote, use)
