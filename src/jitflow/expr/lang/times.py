"""Go's `time.Duration`, `time.Time` and `*time.Location`, as far as expressions use them, and Go's layouts."""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from jitflow.expr.durations import DurationError, parse_duration
from jitflow.expr.lang.problems import Failure

NS: Final = 1_000_000_000
_UNITS: Final = (("h", 3600 * NS), ("m", 60 * NS), ("s", NS))


class Duration:
    """Nanoseconds."""

    __slots__ = ("ns",)

    def __init__(self, ns: int) -> None:
        """Hold the nanoseconds, within 64 bits."""
        self.ns = (ns + 2**63) % 2**64 - 2**63

    def __eq__(self, other: object) -> bool:
        """Compare by length."""
        return isinstance(other, Duration) and other.ns == self.ns

    def __hash__(self) -> int:
        """Equal durations have equal hashes."""
        return hash(self.ns)

    def __str__(self) -> str:
        """Return the duration as Go prints it: `1h0m0s`, `1.5s`, `300ms`, `2µs`."""
        size = abs(self.ns)
        sign = "-" if self.ns < 0 else ""
        if size < NS:
            for unit, scale in (("ms", 1_000_000), ("µs", 1_000)):
                if size >= scale:
                    return f"{sign}{_decimal(size, scale)}{unit}"
            return f"{sign}{size}ns" if size else "0s"
        text = ""
        for unit, scale in _UNITS[:2]:
            count, size = divmod(size, scale)
            if count or text:
                text += f"{count}{unit}"
        return f"{sign}{text}{_decimal(size, NS)}s"


def _decimal(number: int, scale: int) -> str:
    text = format(Decimal(number) / scale, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


MONTHS: Final = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
                  "November", "December")  # fmt: skip
DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class Named:
    """A month or a day of the week: a number that prints as a name."""

    __slots__ = ("name", "number")

    def __init__(self, number: int, name: str) -> None:
        """Hold both."""
        self.number = number
        self.name = name

    def __eq__(self, other: object) -> bool:
        """Compare by name."""
        return isinstance(other, Named) and other.name == self.name

    def __hash__(self) -> int:
        """Equal ones have equal hashes."""
        return hash(self.name)

    def __str__(self) -> str:
        """Return the name."""
        return self.name


class Zone:
    """A time zone by its name."""

    __slots__ = ("info", "name")

    def __init__(self, name: str) -> None:
        """Find the zone.

        Raises:
            Failure: there is none of that name.
        """
        self.name = name
        self.info: tzinfo = zone_info(name)


@lru_cache(maxsize=128)
def zone_info(name: str) -> tzinfo:
    """Return a time zone; `UTC`, `Local` (which is UTC here) and an empty name are UTC.

    Raises:
        Failure: there is none of that name.
    """
    if name in {"", "UTC", "Local"}:
        return UTC
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError) as error:
        raise Failure(f"unknown time zone {name}") from error


class Moment:
    """A moment: `at` to the microsecond with its zone, `nano` the nanoseconds below."""

    __slots__ = ("at", "nano")

    def __init__(self, at: datetime, nano: int = 0) -> None:
        """Hold an aware moment."""
        self.at = at
        self.nano = nano

    @property
    def unix_nano(self) -> int:
        """Nanoseconds since 1970."""
        delta = self.at - EPOCH
        return (delta.days * 86_400 + delta.seconds) * NS + delta.microseconds * 1000 + self.nano

    def __eq__(self, other: object) -> bool:
        """Compare moments, whatever their zones."""
        return isinstance(other, Moment) and other.unix_nano == self.unix_nano

    def __hash__(self) -> int:
        """Equal moments have equal hashes."""
        return hash(self.unix_nano)

    def plus(self, ns: int) -> "Moment":
        """Return the moment so many nanoseconds later.

        Raises:
            Failure: it is beyond the calendar.
        """
        return at_nano(self.unix_nano + ns, self.at.tzinfo or UTC)

    def within(self, zone: tzinfo) -> "Moment":
        """Return the same moment in another zone."""
        return Moment(self.at.astimezone(zone), self.nano)

    def __str__(self) -> str:
        """Return the moment as Go prints it: `2023-08-14 10:00:00 +0000 UTC`."""
        return format_time(self, "2006-01-02 15:04:05.999999999 -0700 MST")


EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def at_nano(ns: int, zone: tzinfo = UTC) -> Moment:
    """Return the moment so many nanoseconds after 1970.

    Raises:
        Failure: it is beyond the calendar.
    """
    micros, nano = divmod(ns, 1000)
    try:
        return Moment((EPOCH + timedelta(microseconds=micros)).astimezone(zone), nano)
    except (OverflowError, ValueError) as error:
        raise Failure("time is out of range") from error


def to_duration(text: str) -> Duration:
    """Return the duration of a text such as `1h30m`.

    Raises:
        Failure: it is none.
    """
    try:
        seconds = parse_duration(text, bare_seconds=False)
    except DurationError as error:
        raise Failure(f"time: {error}") from error
    return Duration(round(Decimal(repr(seconds)) * NS))


# -- layouts ----------------------------------------------------------------------------------------------------------

_PARTS = re.compile(
    r"January|Jan|Monday|Mon|MST|2006|-07:00:00|-070000|-07:00|-0700|-07|Z07:00:00|Z070000|Z07:00|Z0700|Z07"
    r"|__2|002|01|02|03|04|05|06|_2|15|[.,]0+(?!\d)|[.,]9+(?!\d)|PM|pm|1|2|3|4|5"
)
LAYOUTS: Final = (
    "2006-01-02", "15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04:05Z07:00", "02 Jan 06 15:04 MST",
    "Monday, 02-Jan-06 15:04:05 MST", "Mon, 02 Jan 2006 15:04:05 MST",
)  # fmt: skip
"""What `date` tries."""


def format_time(time: Moment, layout: str) -> str:
    """Return a moment in one of Go's layouts."""
    return _PARTS.sub(lambda found: _shown(time, found[0]), layout)


def _shown(time: Moment, part: str) -> str:
    moment = time.at
    if part[0] in ".,":
        digits = f"{moment.microsecond * 1000 + time.nano:09d}"
        if part[1] == "0":
            return part[0] + digits[: len(part) - 1]
        digits = digits[: len(part) - 1].rstrip("0")
        return part[0] + digits if digits else ""
    if part[0] in "-Z" and len(part) > 1:
        return _offset(moment, part)
    hour = moment.hour % 12 or 12
    plain = {
        "January": MONTHS[moment.month - 1], "Jan": MONTHS[moment.month - 1][:3],
        "Monday": DAYS[moment.weekday()], "Mon": DAYS[moment.weekday()][:3],
        "2006": f"{moment.year:04d}", "06": f"{moment.year % 100:02d}",
        "01": f"{moment.month:02d}", "1": str(moment.month),
        "02": f"{moment.day:02d}", "_2": f"{moment.day:2d}", "2": str(moment.day),
        "002": f"{moment.timetuple().tm_yday:03d}", "__2": f"{moment.timetuple().tm_yday:3d}",
        "15": f"{moment.hour:02d}", "03": f"{hour:02d}", "3": str(hour),
        "04": f"{moment.minute:02d}", "4": str(moment.minute), "05": f"{moment.second:02d}", "5": str(moment.second),
        "PM": "PM" if moment.hour >= 12 else "AM", "pm": "pm" if moment.hour >= 12 else "am",
        "MST": _zone_name(moment),
    }  # fmt: skip
    return plain[part]


def _zone_name(moment: datetime) -> str:
    name = moment.tzname() or ""
    if name.startswith("UTC") and len(name) > 3:
        return _offset(moment, "-0700")
    return name


def _offset(moment: datetime, part: str) -> str:
    seconds = int((moment.utcoffset() or timedelta()).total_seconds())
    if part[0] == "Z" and not seconds:
        return "Z"
    sign = "-" if seconds < 0 else "+"
    hours, rest = divmod(abs(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    colon = ":" if ":" in part else ""
    size = len(part.replace(":", ""))
    text = f"{sign}{hours:02d}"
    if size >= 5:
        text += f"{colon}{minutes:02d}"
    return f"{text}{colon}{rest:02d}" if size >= 7 else text


_PATTERNS: Final = {
    "January": rf"(?P<month>{'|'.join(MONTHS)})", "Jan": rf"(?P<mon>{'|'.join(m[:3] for m in MONTHS)})",
    "Monday": rf"(?:{'|'.join(DAYS)})", "Mon": rf"(?:{'|'.join(d[:3] for d in DAYS)})",
    "2006": r"(?P<year>\d{4})", "06": r"(?P<short>\d{2})", "01": r"(?P<m>\d{2})", "1": r"(?P<m>\d{1,2})",
    "02": r"(?P<d>\d{2})", "_2": r"(?P<d>[ \d]?\d)", "2": r"(?P<d>\d{1,2})", "002": r"(?P<yday>\d{3})",
    "__2": r"(?P<yday>[ \d]{0,2}\d)", "15": r"(?P<hour>\d{2})", "03": r"(?P<half>\d{2})", "3": r"(?P<half>\d{1,2})",
    "04": r"(?P<minute>\d{2})", "4": r"(?P<minute>\d{1,2})", "05": r"(?P<second>\d{2})", "5": r"(?P<second>\d{1,2})",
    "PM": r"(?P<noon>AM|PM)", "pm": r"(?P<noon>am|pm)", "MST": r"(?P<zone>[A-Z]{3,5}(?:[+-]\d{1,2})?|[+-]\d{2,4})",
}  # fmt: skip


@lru_cache(maxsize=256)
def _pattern(layout: str) -> re.Pattern[str]:
    text, at = "", 0
    for found in _PARTS.finditer(layout):
        text += re.escape(layout[at : found.start()]) + _parsed(found[0])
        at = found.end()
    try:
        return re.compile(text + re.escape(layout[at:]))
    except re.error as error:
        raise Failure(f"layout {layout!r} names a part twice") from error


def _parsed(part: str) -> str:
    if part[0] in ".,":
        return rf"[.,](?P<fraction>\d{{{len(part) - 1}}})" if part[1] == "0" else r"(?:[.,](?P<fraction>\d{1,9}))?"
    if part[0] in "-Z" and len(part) > 1:
        colon = ":" if ":" in part else ""
        size = len(part.replace(":", ""))
        digits = r"[+-]\d{2}" + (rf"{colon}\d{{2}}" if size >= 5 else "") + (rf"{colon}\d{{2}}" if size >= 7 else "")
        return rf"(?P<offset>{'Z|' if part[0] == 'Z' else ''}{digits})"
    pattern = _PATTERNS[part]
    # Go reads a fraction after the seconds even when the layout has none.
    return pattern + r"(?:[.,](?P<fraction>\d{1,9}))?" if part in {"05", "5"} else pattern


def parse_time(layout: str, text: str, zone: tzinfo = UTC) -> Moment:
    """Return the moment a text stands for in one of Go's layouts; `zone` is its zone when the text has none.

    Raises:
        Failure: the text does not fit the layout.
    """
    wrong = f'parsing time "{text}" as "{layout}": cannot parse "{text}" as "{layout}"'
    if len(text) > 200 or len(layout) > 200:
        raise Failure("a time and its layout may have at most 200 characters")
    found = _pattern(layout).fullmatch(text) if text.isascii() else None
    if found is None:
        raise Failure(wrong)
    parts = {name: value for name, value in found.groupdict().items() if value is not None}
    try:
        return _moment(parts, zone)
    except (ValueError, OverflowError) as error:
        raise Failure(f'parsing time "{text}": {error}') from error


def _moment(parts: dict[str, str], zone: tzinfo) -> Moment:
    year = int(parts.get("year", "0"))
    if "short" in parts:
        year = int(parts["short"]) + (1900 if int(parts["short"]) >= 69 else 2000)
    month = int(parts.get("m", "1"))
    if "month" in parts:
        month = MONTHS.index(parts["month"]) + 1
    if "mon" in parts:
        month = [name[:3] for name in MONTHS].index(parts["mon"]) + 1
    hour = int(parts.get("hour", "0"))
    if "half" in parts:
        hour = int(parts["half"]) % 12 + (12 if parts.get("noon", "").upper() == "PM" else 0)
    fraction = int(parts.get("fraction", "0").ljust(9, "0"))
    # Go's calendar begins before ours: a time of day alone is in the year 0, here in the year 1.
    moment = datetime(
        max(year, 1), month, int(parts.get("d", "1")), hour, int(parts.get("minute", "0")), int(parts.get("second", "0")),
        fraction // 1000, tzinfo=_zone(parts, zone),
    )  # fmt: skip
    if "yday" in parts:
        moment = moment.replace(month=1, day=1) + timedelta(days=int(parts["yday"]) - 1)
    return Moment(moment, fraction % 1000)


def _zone(parts: dict[str, str], zone: tzinfo) -> tzinfo:
    offset = parts.get("offset", "")
    if offset == "Z" or parts.get("zone") in {"UTC", "GMT"}:
        return UTC
    if not offset:
        return zone
    digits = offset[1:].replace(":", "").ljust(6, "0")
    delta = timedelta(hours=int(digits[:2]), minutes=int(digits[2:4]), seconds=int(digits[4:]))
    return timezone(-delta if offset[0] == "-" else delta) if delta else UTC
