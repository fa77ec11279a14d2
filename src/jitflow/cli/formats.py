"""Numbers, times and tables as people read them; pure."""

from collections.abc import Sequence
from datetime import UTC, datetime

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def size(count_bytes: float | None) -> str:
    """Return bytes in decimal units with three digits, `-` when not known."""
    if count_bytes is None:
        return "-"
    value, unit = float(count_bytes), _UNITS[0]
    for larger in _UNITS[1:]:
        if abs(value) < 999.5:
            break
        value, unit = value / 1000, larger
    if unit == "B" or value >= 99.95:
        return f"{value:.0f} {unit}"
    return f"{value:.1f} {unit}"


def rate(per_s: float | None) -> str:
    """Return bytes per second, empty when not known."""
    return f"{size(per_s)}/s" if per_s is not None else ""


def duration(seconds: float | None) -> str:
    """Return a length of time with its two largest units, `-` when not known."""
    if seconds is None:
        return "-"
    if seconds < 0:
        return "0s"
    if 0 < seconds < 0.995:
        return f"{seconds * 1000:.0f}ms"
    total = round(seconds)
    if total < 60:
        return f"{seconds:.1f}s" if seconds < 9.95 and not float(seconds).is_integer() else f"{total}s"
    minutes, rest = divmod(total, 60)
    if minutes < 60:
        return f"{minutes}m {rest}s" if rest else f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours}h {minutes}m" if minutes else f"{hours}h"
    days, hours = divmod(hours, 24)
    return f"{days}d {hours}h" if hours else f"{days}d"


def timestamp(text: str | None) -> float | None:
    """Return an RFC 3339 time as seconds since the epoch; None for none, or for what is no time."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def elapsed(started: str | None, finished: str | None, now: float) -> float | None:
    """Return the seconds from a start to its end, or to now; None when it has not begun."""
    begin = timestamp(started)
    if begin is None:
        return None
    end = timestamp(finished)
    return max(0.0, (now if end is None else end) - begin)


def plural(count: int, noun: str) -> str:
    """Return a count with its noun, with thousands marked."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return lines of a table whose columns are as wide as their widest cell, three blanks apart.

    Cells are one line each: line breaks become blanks.
    """
    table = [[" ".join(cell.split()) if "\n" in cell else cell for cell in row] for row in (header, *rows)]
    widths = [max(len(row[index]) for row in table) for index in range(len(header))]
    return ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]


def shorten(text: str, width: int) -> str:
    """Return the text on one line, cut to `width` with an ellipsis."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: max(0, width - 1)] + "…"
