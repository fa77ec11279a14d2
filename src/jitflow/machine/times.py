"""Times and durations as people see them."""

from datetime import UTC, datetime
from functools import lru_cache


def rfc3339(seconds: float | None) -> str:
    """Return a time as `2026-01-31T12:00:00Z`, empty for None."""
    return "" if seconds is None else _whole(int(seconds))


@lru_cache(maxsize=1024)
def _whole(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def spoken(seconds: float) -> str:
    """Return a duration in words, its two largest units: `1 minute 5 seconds`."""
    left = max(0, round(seconds))
    parts: list[str] = []
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        count, left = divmod(left, length)
        if count:
            parts.append(f"{count} {unit}{'s' if count != 1 else ''}")
    return " ".join(parts[:2]) or "0 seconds"
