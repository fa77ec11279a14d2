"""Cron schedules: five fields, the descriptors of robfig/cron (`@daily`, `@every 1h30m`), a time zone."""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from jitflow.expr.durations import DurationError, parse_duration

_DESCRIPTORS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
MAX_CHARS: Final = 200


class ScheduleError(ValueError):
    """A schedule or time zone that cannot be read; the message says what is wrong."""


@lru_cache(maxsize=256)
def zone(name: str) -> ZoneInfo:
    """Return a time zone by its IANA name; an empty name is UTC.

    Raises:
        ScheduleError: there is none of that name.
    """
    try:
        return ZoneInfo(name or "UTC")
    except (OSError, ValueError, LookupError) as error:
        raise ScheduleError(f"unknown time zone {name!r}") from error


class Schedule:
    """One schedule in one time zone; ask it for the times that follow a moment."""

    def __init__(self, text: str, timezone: str = "") -> None:
        """Read a schedule.

        Args:
            text: five cron fields, a descriptor, or `@every DURATION`; `TZ=NAME ` or `CRON_TZ=NAME ` may stand before.
            timezone: where its times are meant; the text's own word goes before.

        Raises:
            ScheduleError: it cannot be read.
        """
        self.text = text
        body = text.strip()
        if len(body) > MAX_CHARS:
            raise ScheduleError(f"a schedule has at most {MAX_CHARS} characters")
        for prefix in ("TZ=", "CRON_TZ="):
            if body.startswith(prefix):
                timezone, _, body = body.removeprefix(prefix).partition(" ")
        self._zone = zone(timezone)
        self._every_s = 0.0
        body = body.strip()
        if body.startswith("@every "):
            self._every_s = _period_s(body.removeprefix("@every "))
            return
        self._fields = _DESCRIPTORS.get(body, body)
        if len(self._fields.split()) != 5:
            raise ScheduleError(f"{text!r} is no schedule: expected exactly 5 fields, found {len(body.split())}")
        try:
            self._iterate(0.0)
        except CronSimError as error:
            raise ScheduleError(f"{text!r} is no schedule: {error}") from error

    def _iterate(self, after: float) -> Iterator[datetime]:
        return CronSim(self._fields, datetime.fromtimestamp(after, UTC).astimezone(self._zone))

    def next_after(self, after: float) -> float | None:
        """Return the first time after a moment, both in seconds since the epoch; None when there is none any more."""
        if self._every_s:
            return (after // 1) + self._every_s
        try:
            return next(self._iterate(after)).timestamp()
        except (StopIteration, OverflowError, ValueError):
            return None


def _period_s(text: str) -> float:
    try:
        period_s = float(parse_duration(text.strip(), bare_seconds=False))
    except DurationError as error:
        raise ScheduleError(str(error)) from error
    if period_s < 1:
        raise ScheduleError(f"the period {text.strip()!r} is shorter than a second")
    return float(int(period_s))
