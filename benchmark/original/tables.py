"""The tables: each cell, what ways cost beside each other, and which of the goals hold."""

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from benchmark.original.cells import DIRECT, EMPTY, FULL, HERE, JITFLOW, MODES, ORIGINAL, PARALLEL, SERIAL
from benchmark.original.measure import Ratio, Row, mean_sd, of, ratio
from benchmark.traces.tables import table

FIRST_LIMIT, AGAIN_LIMIT = 1.05, 1.03


def by_cell(rows: Sequence[Row]) -> str:
    """Return seconds, their parts and the overhead of a step, for each cell."""
    lines: list[list[str]] = []
    for key in dict.fromkeys((row.set, row.mode, row.way, row.fill) for row in rows):
        some = [row for row in rows if (row.set, row.mode, row.way, row.fill) == key]
        lines.append(
            [
                *key,
                str(len(some)),
                mean_sd([row.seconds for row in some]),
                f"{statistics.median(row.seconds for row in some):.2f}",
                f"{statistics.median(row.work_s for row in some):.2f}",
                f"{statistics.median(row.transfer_s for row in some):.2f}",
                f"{statistics.median(row.step_overhead_ms for row in some):.1f}",
            ]
        )
    header = ["set", "steps", "way", "primary", "n", "s, mean ± sd", "median", "work s", "transfer s", "ms overhead a step"]
    return table(header, lines)


def _seconds(rows: Iterable[Row], name: str, mode: str, way: str, fill: str) -> dict[int, float]:
    return {number: row.seconds for number, row in of(rows, set=name, mode=mode, way=way, fill=fill).items()}


def first_job(rows: Sequence[Row], name: str, mode: str = SERIAL) -> Ratio | None:
    """Compare jitflow's first job from an empty primary with all on the primary and one first transfer."""
    here = of(rows, set=name, mode=mode, way=HERE, fill=FULL)
    first = of(rows, set=name, mode=mode, way=JITFLOW, fill=EMPTY)
    # Each run has its own measure of the first transfer, taken before it.
    allowed = {number: here[number].seconds + first[number].first_transfer_s for number in here.keys() & first.keys()}
    return ratio({number: row.seconds for number, row in first.items()}, allowed)


def repeated_job(rows: Sequence[Row], name: str, mode: str = SERIAL) -> Ratio | None:
    """Compare jitflow's repeated job with all on the primary."""
    return ratio(_seconds(rows, name, mode, JITFLOW, FULL), _seconds(rows, name, mode, HERE, FULL))


def goals(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return each goal with what was reached; serial steps, as the original's were."""
    found: list[dict[str, Any]] = []
    for name in dict.fromkeys(row.set for row in rows):
        for goal, limit, reached in (
            ("first job / (all on primary + one first transfer)", FIRST_LIMIT, first_job(rows, name)),
            ("repeated job / all on primary", AGAIN_LIMIT, repeated_job(rows, name)),
        ):
            if reached is not None:
                holds = reached.median <= limit
                found.append(
                    {
                        "set": name,
                        "goal": goal,
                        "at_most": limit,
                        "median": reached.median,
                        "low": reached.low,
                        "high": reached.high,
                    }
                    | {"rounds": reached.rounds, "holds": holds}
                )
    return found


def verdicts(found: Sequence[dict[str, Any]]) -> str:
    """Return the goals as a table."""
    lines = [
        [
            one["set"],
            one["goal"],
            f"{one['at_most']:.2f}",
            f"{one['median']:.3f} [{one['low']:.3f}, {one['high']:.3f}]",
            "holds" if one["holds"] else "missed",
        ]
        for one in found
    ]
    return table(["set", "goal (serial steps)", "at most", "median [95 %]", ""], lines)


def comparisons(rows: Sequence[Row]) -> str:
    """Return how long the other ways take for what jitflow does from an empty primary, and jitflow beside all on the primary."""
    lines: list[list[str]] = []
    for name in dict.fromkeys(row.set for row in rows):
        for mode in MODES:
            ours = _seconds(rows, name, mode, JITFLOW, EMPTY)
            for way, fill in ((DIRECT, EMPTY), (ORIGINAL, EMPTY), (DIRECT, FULL)):
                found = ratio(_seconds(rows, name, mode, way, fill), ours)
                if found:
                    lines.append([name, mode, f"{way}, {fill} / jitflow, {EMPTY}", str(found)])
            if mode == PARALLEL:
                lines += [
                    [name, mode, label, str(found)]
                    for label, found in (
                        ("first job / (all on primary + one first transfer)", first_job(rows, name, mode)),
                        ("repeated job / all on primary", repeated_job(rows, name, mode)),
                    )
                    if found
                ]
    return table(["set", "steps", "time of one / time of the other", "median [95 %]"], lines)
