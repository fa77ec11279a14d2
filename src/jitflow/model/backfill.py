"""Backfills: the runs that a schedule would have had in a time that is over; what to start next follows from what is known."""

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

WAITING, STARTED, CANCELLED = "", "Started", "Cancelled"
"""States of a run beside the phases of workflows: it waits for its turn, it was started and has not ended, it never will be."""

RUNNING, DONE = "Running", "Done"
MAX_RUNS = 10_000
"""More runs than this are never made by one backfill."""

Order = Literal["oldest", "newest"]


class BackfillWish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked for. `start` and `end`: times or days, both inclusive; `end` empty: now.

    `parallelism`: so many run at once. `order`: which come first. `argname`: the parameter that is given the scheduled time,
    written as `format` says (strftime, in UTC). `name`: of the backfill; empty: made of its first and last scheduled time.
    `max_count`: more runs are refused.
    """

    start: str
    end: str = ""
    name: str = ""
    parallelism: int = 1
    order: Order = "oldest"
    argname: str = "cronScheduleTime"
    format: str = "%a, %d %b %Y %H:%M:%S UTC"
    max_count: int = 1000


class BackfillRun(Struct, frozen=True, kw_only=True, array_like=True):
    """One run: its scheduled time in seconds since the epoch, its workflow's name, its state, and what is wrong, if anything."""

    at: int
    workflow: str
    state: str = WAITING
    message: str = ""


class Backfill(Struct, frozen=True, kw_only=True):
    """A backfill of a schedule. `runs`: in the order in which they are started."""

    namespace: str
    cron: str
    name: str
    wish: BackfillWish
    created_at: float
    cancelled: bool = False
    runs: tuple[BackfillRun, ...] = ()

    @property
    def key(self) -> str:
        """Name it among all backfills."""
        return f"{self.namespace}/{self.cron}/{self.name}"

    @property
    def phase(self) -> str:
        """Return `Running`, `Cancelled` when nothing runs any more, or `Done`."""
        if any(run.state in {WAITING, STARTED} for run in self.runs):
            return RUNNING
        return CANCELLED if self.cancelled else DONE

    def next(self) -> BackfillRun | None:
        """Return the run that is to be started now, None if none is: as many run as may, or none is left."""
        if self.cancelled or sum(1 for run in self.runs if run.state == STARTED) >= self.wish.parallelism:
            return None
        return next((run for run in self.runs if run.state == WAITING), None)

    def with_run(self, workflow: str, state: str, message: str = "") -> "Backfill":
        """Return the backfill with a run in another state; a run that has ended stays as it ended."""
        return replace(
            self,
            runs=tuple(
                replace(run, state=state, message=message)
                if run.workflow == workflow and run.state in {WAITING, STARTED}
                else run
                for run in self.runs
            ),
        )

    def cancel(self) -> "Backfill":
        """Return the backfill with nothing more to start; what runs goes on."""
        runs = tuple(replace(run, state=CANCELLED) if run.state == WAITING else run for run in self.runs)
        return replace(self, cancelled=True, runs=runs)


class BackfillRunView(Struct, frozen=True, kw_only=True):
    """One run as it is shown. `state`: `Waiting`, `Started`, `Cancelled`, or how its workflow ended."""

    scheduled: str
    workflow: str
    state: str
    message: str = ""


class BackfillView(Struct, frozen=True, kw_only=True):
    """A backfill as it is shown. `counts`: how many runs are in which state. `runs` is there when one backfill was asked for."""

    namespace: str
    cron: str
    name: str
    phase: str
    start: str
    end: str
    parallelism: int
    order: str
    argname: str
    created_at: float
    counts: dict[str, int]
    runs: tuple[BackfillRunView, ...] | None = None
