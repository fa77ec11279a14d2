"""What people ask of a job, checked before it is taken. Pure: time is an argument."""

import re
from collections.abc import Callable
from zoneinfo import ZoneInfo

from msgspec import Struct

from jitflow.app.names import check_namespace
from jitflow.app.ours import Guard, nobodys
from jitflow.app.refs import parse_ref
from jitflow.app.transfers.compare import Limits
from jitflow.expr.schedules import ScheduleError, zone
from jitflow.model.bandwidth import BandwidthError, Timetable, timetable
from jitflow.model.data import ObjectRef
from jitflow.model.jobs import MOST_TRANSFERS, JobFilters, JobWish
from jitflow.model.problems import Place, Problem, Refused
from jitflow.settings import SettingsError, parse_bytes, parse_span_s

MOST_FILES = 100_000
FILES_AS_RULES = 500
"""So few files are listed by name; for more of them the whole prefix is."""
MOST_RULES = 1_000
PRIORITIES = range(-1000, 1001)
_SPECIAL = re.compile(r"([*?\[\]{}\\])")


class Order(Struct, frozen=True, kw_only=True):
    """A wish, read. `rules`: of which files the listings are."""

    wish: JobWish
    source: ObjectRef
    destination: ObjectRef | None
    rules: tuple[str, ...]
    limits: JobFilters
    table: Timetable | None
    zone: ZoneInfo

    def limits_at(self, now: float) -> Limits:
        """Return the limits of size and age, as they are meant at a moment."""
        return limits_of(self.wish.filters, now)


def read(wish: JobWish, known: Callable[[str], object], guard: Guard = nobodys) -> Order:
    """Return what a wish means; `known` raises `Refused` for an unknown remote, `guard` for what is not to be written.

    Raises:
        Refused: it makes no sense; with a problem for the first thing that is wrong, and its place in the wish.
    """
    check_namespace(wish.namespace)
    source = _prefix(wish.source, "source")
    destination = _destination(wish)
    for ref in (source, destination):
        if ref is not None:
            known(ref.remote)
    _guarded(wish, source, destination, guard)
    if destination is not None and source.remote == destination.remote:
        _apart(source, destination)
    if not 1 <= wish.transfers <= MOST_TRANSFERS:
        raise _problem("transfers", f"{wish.transfers} is no number of files at once", f"write 1 to {MOST_TRANSFERS}")
    if wish.priority not in PRIORITIES:
        raise _problem("priority", f"{wish.priority} is no priority", "write -1000 to 1000")
    if wish.max_delete is not None and wish.max_delete < 0:
        raise _problem("max_delete", f"{wish.max_delete} is no number of files", "write 0 or more, or leave it out")
    limits_of(wish.filters, 0.0)
    try:
        table = timetable(wish.bandwidth) if wish.bandwidth else None
        found_zone = zone(wish.time_zone)
    except BandwidthError as error:
        raise _problem("bandwidth", str(error)) from error
    except ScheduleError as error:
        raise _problem("time_zone", str(error)) from error
    rules = rules_of(wish)
    return Order(
        wish=wish, source=source, destination=destination, rules=rules, limits=wish.filters, table=table, zone=found_zone
    )


def _guarded(wish: JobWish, source: ObjectRef, destination: ObjectRef | None, guard: Guard) -> None:
    field = "destination"
    try:
        if destination is not None and wish.kind != "check":
            guard(destination, wish.kind == "sync")
        field = "source"
        if wish.kind in {"move", "delete"}:
            guard(source, True)
    except Refused as error:
        (problem,) = error.problems
        raise _problem(field, problem.message, problem.remedy) from error


def _destination(wish: JobWish) -> ObjectRef | None:
    if wish.kind == "delete":
        if wish.destination:
            raise _problem("destination", "a delete has no destination", "leave it out: what lies below the source is deleted")
        return None
    if not wish.destination:
        raise _problem("destination", f"where is it to be {_PAST[wish.kind]}?", "write remote:path/")
    return _prefix(wish.destination, "destination")


_PAST = {"copy": "copied", "sync": "copied", "move": "moved", "check": "compared with"}


def _prefix(text: str, field: str) -> ObjectRef:
    try:
        return parse_ref(text if text.endswith((":", "/")) else f"{text}/")
    except Refused as error:
        raise _problem(field, str(error)) from error


def _apart(source: ObjectRef, destination: ObjectRef) -> None:
    """Refuse trees of which one lies in the other: what is copied would be copied again, or deleted."""
    if source.path.startswith(destination.path) or destination.path.startswith(source.path):
        raise _problem("destination", f"{destination} and {source} lie in each other", "choose prefixes that are apart")


def rules_of(wish: JobWish) -> tuple[str, ...]:
    """Return rclone's filter rules of a wish.

    Raises:
        Refused: a pattern cannot be one, or a file lies outside.
    """
    filters = wish.filters
    if len(filters.include) + len(filters.exclude) > MOST_RULES:
        raise _problem("filters", f"more than {MOST_RULES} patterns", "use fewer, with wildcards")
    for name, patterns in (("include", filters.include), ("exclude", filters.exclude)):
        for pattern in patterns:
            if not pattern.strip() or any(ord(char) < 32 for char in pattern):
                raise _problem(f"filters.{name}", f"{pattern[:80]!r} is no pattern", "write for example *.tif or /raw/**")
    rules = [f"- {pattern}" for pattern in filters.exclude]
    if wish.files:
        _check_files(wish)
        if len(wish.files) <= FILES_AS_RULES:
            return (*rules, *(f"+ /{escaped(path)}" for path in wish.files), "- *")
        return tuple(rules)
    if filters.include:
        rules += [*(f"+ {pattern}" for pattern in filters.include), "- *"]
    return tuple(rules)


def escaped(path: str) -> str:
    """Return the pattern that fits exactly this path."""
    return _SPECIAL.sub(r"\\\1", path)


def _check_files(wish: JobWish) -> None:
    if wish.filters.include:
        raise _problem("files", "files and filters.include exclude each other", "use one of them")
    if len(wish.files) > MOST_FILES:
        raise _problem("files", f"more than {MOST_FILES:,} files", "choose them by filters")
    for path in wish.files:
        parts = path.split("/")
        if any(part in {"", ".", ".."} for part in parts) or any(ord(char) < 32 for char in path):
            raise _problem("files", f"{path[:80]!r} is no path below the source", "write for example 2024/a.tif")


def limits_of(filters: JobFilters, now: float) -> Limits:
    """Return the limits of size and age, as they are meant at a moment.

    Raises:
        Refused: one cannot be read.
    """

    def size(name: str, text: str | int) -> int | None:
        try:
            return None if text == "" else parse_bytes(text)
        except SettingsError as error:
            raise _problem(f"filters.{name}", str(error)) from error

    def age(name: str, text: str | float) -> float | None:
        try:
            return None if text == "" else now - parse_span_s(text)
        except SettingsError as error:
            raise _problem(f"filters.{name}", str(error)) from error

    return Limits(
        min_bytes=size("min_size", filters.min_size),
        max_bytes=size("max_size", filters.max_size),
        changed_before=age("min_age", filters.min_age),
        changed_after=age("max_age", filters.max_age),
    )


def _problem(field: str, message: str, remedy: str = "") -> Refused:
    return Refused(Problem(message=message, place=Place(path=f"$.{field}"), remedy=remedy))
