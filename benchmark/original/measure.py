"""What the figures mean: where a run's time went, and ratios of paired runs. Arithmetic, nothing else."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from benchmark.demo.measure import Interval, common, length, union

_RESAMPLED = 2000


@dataclass(frozen=True, kw_only=True)
class Step:
    """When a step began, had its file, and was done. Seconds since the epoch."""

    began_at: float
    here_at: float
    done_at: float


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A run's time: some step works; else something is transferred that steps wait for; else nothing of both."""

    work_s: float
    transfer_s: float
    overhead_s: float


@dataclass(frozen=True, kw_only=True)
class Row:
    """One run of a cell."""

    set: str
    mode: str
    way: str
    fill: str
    round: int
    order: int
    steps: int
    seconds: float
    work_s: float
    transfer_s: float
    overhead_s: float
    step_overhead_ms: float
    fetched_bytes: int
    first_transfer_s: float


def parts(run: Interval, steps: Sequence[Step], transfers: Iterable[Interval]) -> Parts:
    """Split a run from submission to end. `transfers`: those of the service; a step's own copying is one too."""
    work = [(step.here_at, step.done_at) for step in steps]
    moving = union([*transfers, *((step.began_at, step.here_at) for step in steps)])
    work_s = common([run], work)
    transfer_s = common([run], moving) - common([run], _both(work, moving))
    return Parts(work_s=work_s, transfer_s=transfer_s, overhead_s=length([run]) - work_s - transfer_s)


def _both(some: Iterable[Interval], others: Iterable[Interval]) -> list[Interval]:
    """Return the time that both cover."""
    return [(max(a[0], b[0]), min(a[1], b[1])) for a in union(some) for b in union(others) if min(a[1], b[1]) > max(a[0], b[0])]


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """The median of the rounds' ratios, and where it lies in 95 of 100 samples drawn from the rounds."""

    median: float
    low: float
    high: float
    rounds: int

    def __str__(self) -> str:
        """Return it for a table."""
        return f"{self.median:.3f} [{self.low:.3f}, {self.high:.3f}]"


def ratio(some: Mapping[int, float], others: Mapping[int, float], *, seed: int = 0) -> Ratio | None:
    """Compare the runs of the same rounds; None where there is no such round."""
    values = [some[number] / others[number] for number in sorted(some.keys() & others.keys())]
    if not values:
        return None
    random = Random(seed)
    medians = sorted(statistics.median(random.choices(values, k=len(values))) for _ in range(_RESAMPLED))
    edge = _RESAMPLED // 40
    return Ratio(median=statistics.median(values), low=medians[edge], high=medians[-1 - edge], rounds=len(values))


def of(rows: Iterable[Row], *, set: str, mode: str, way: str, fill: str) -> dict[int, Row]:
    """Return the rows of a cell by round."""
    return {row.round: row for row in rows if (row.set, row.mode, row.way, row.fill) == (set, mode, way, fill)}


def mean_sd(values: Sequence[float]) -> str:
    """Return mean and sample standard deviation for a table."""
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values) if len(values) > 1 else 0:.2f}"
