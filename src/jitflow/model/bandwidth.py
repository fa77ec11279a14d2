"""How much may move: limits of a link, and time tables of limits in rclone's own words. Pure: time is an argument.

10M                                  at most 10 MiB a second, in each direction
10M:1M                               up (to the store) 10 MiB, down 1 MiB a second
08:00,512k 19:00,10M 23:00,off       by the time of day
Mon-08:00,512k Sat-00:00,off         by day and time
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo

from msgspec import Struct

SMALLEST_BPS = 16 * 2**10
"""With less than this, what is on its way would look as if it stood still."""
_UNITS = {"b": 1, "": 2**10, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40, "p": 2**50}
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MINUTES = 24 * 60
_MOST_ENTRIES = 1000


class BandwidthError(ValueError):
    """A limit or time table that cannot be read; the message says what to write."""


class Rate(Struct, frozen=True, kw_only=True):
    """Bytes a second to a store and from it; None: as much as there is."""

    up_Bps: int | None = None
    down_Bps: int | None = None

    def and_also(self, other: "Rate") -> "Rate":
        """Return what holds where both limits do."""
        return Rate(up_Bps=smaller(self.up_Bps, other.up_Bps), down_Bps=smaller(self.down_Bps, other.down_Bps))


FREE = Rate()


def smaller(one: int | None, other: int | None) -> int | None:
    """Return the tighter of two limits."""
    return other if one is None else one if other is None else min(one, other)


class Timetable:
    """Limits by day and time of the week, each until the next one; or one that always holds."""

    def __init__(self, text: str, entries: Sequence[tuple[int, Rate]]) -> None:
        """Hold `text` and what it means: minute of the week -> limit; see `timetable`."""
        self.text = text
        self._entries = sorted(entries, key=lambda entry: entry[0])

    @property
    def is_free(self) -> bool:
        """Whether there is no limit at any time."""
        return all(rate == FREE for _, rate in self._entries)

    def at(self, now: float, zone: tzinfo) -> Rate:
        """Return the limit that holds at a moment (seconds since the epoch), by the clocks of a time zone."""
        local = datetime.fromtimestamp(now, UTC).astimezone(zone)
        minute = local.weekday() * _DAY_MINUTES + local.hour * 60 + local.minute
        found = self._entries[-1][1]  # of last week
        for begins, rate in self._entries:
            if begins > minute:
                break
            found = rate
        return found

    def changes(self, now: float, zone: tzinfo) -> float | None:
        """Return when another limit begins to hold, None if that never happens."""
        current = self.at(now, zone)
        today = datetime.fromtimestamp(now, UTC).astimezone(zone).date()
        for days in range(9):
            day = today + timedelta(days=days)
            midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
            for begins, rate in self._entries:
                if begins // _DAY_MINUTES != day.weekday() or rate == current:
                    continue
                hour, minute = divmod(begins % _DAY_MINUTES, 60)
                at = midnight.replace(hour=hour, minute=minute).timestamp()
                if at > now:
                    return at
        return None


def timetable(text: str) -> Timetable:
    """Read a limit or a time table of limits.

    Raises:
        BandwidthError: it is neither; the message says what to write instead.
    """
    words = text.split()
    if len(words) == 1 and "," not in words[0]:
        return Timetable(text.strip(), [(0, _rate(words[0]))])
    if not words or len(words) > _MOST_ENTRIES:
        raise BandwidthError(f"{text[:80]!r} is no limit: write for example 10M, 10M:1M, off, or 08:00,512k 19:00,off")
    entries: dict[int, Rate] = {}
    for word in words:
        found = re.fullmatch(r"(?:([A-Za-z]{3})[a-z]*-)?(\d{1,2}):(\d{2}),(\S+)", word)
        if found is None:
            raise BandwidthError(f"{word[:80]!r} is no entry of a time table: write HH:MM,LIMIT or Mon-HH:MM,LIMIT")
        day, hour, minute, rate = found.groups()
        if int(hour) > 23 or int(minute) > 59:
            raise BandwidthError(f"{word[:80]!r}: there is no time {hour}:{minute}")
        if day and day.lower() not in _DAYS:
            raise BandwidthError(f"{word[:80]!r}: {day} is no day: write Mon, Tue, Wed, Thu, Fri, Sat or Sun")
        for number in [_DAYS.index(day.lower())] if day else range(7):
            entries[number * _DAY_MINUTES + int(hour) * 60 + int(minute)] = _rate(rate)
    return Timetable(" ".join(words), list(entries.items()))


def _rate(text: str) -> Rate:
    up, colon, down = text.partition(":")
    first = _bytes(up, text)
    return Rate(up_Bps=first, down_Bps=_bytes(down, text) if colon else first)


def _bytes(text: str, whole: str) -> int | None:
    """Return bytes a second; a number alone counts KiB, as rclone has it."""
    if text.lower() in {"off", "0"}:
        return None
    found = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?)([bkmgtp]?)(?:ib?)?", text.lower())
    if found is None:
        raise BandwidthError(f"{whole[:80]!r} is no limit: write for example 512k, 10M, 10M:1M (up:down) or off")
    value = int(float(found[1]) * _UNITS[found[2]])
    if value < SMALLEST_BPS:
        raise BandwidthError(f"{whole[:80]!r}: the smallest limit is {SMALLEST_BPS // 1024}k (KiB a second); off: none")
    return value
