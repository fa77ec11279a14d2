"""The tables: each cell, what ways cost beside each other, and which of the goals hold."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from benchmark.original.cells import DIRECT, EMPTY, FULL, HERE, JITFLOW, JITFLOW_NEAR, MODES, ORIGINAL, PARALLEL, SERIAL
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


def first_job(rows: Sequence[Row], name: str, mode: str = SERIAL, *, way: str = JITFLOW, all_near: str = HERE) -> Ratio | None:
    """Compare the first job from an empty primary with all on the primary and one first transfer."""
    full = of(rows, set=name, mode=mode, way=all_near, fill=FULL)
    first = of(rows, set=name, mode=mode, way=way, fill=EMPTY)
    # Each run has its own measure of the first transfer, taken before it.
    allowed = {number: full[number].seconds + first[number].first_transfer_s for number in full.keys() & first.keys()}
    return ratio({number: row.seconds for number, row in first.items()}, allowed)


def repeated_job(rows: Sequence[Row], name: str, mode: str = SERIAL, *, way: str = JITFLOW, all_near: str = HERE) -> Ratio | None:
    """Compare the repeated job with all on the primary."""
    return ratio(_seconds(rows, name, mode, way, FULL), _seconds(rows, name, mode, all_near, FULL))


def goals(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return each goal with what was reached; serial steps, as the original's were.

    Where the primary is the near store, all on the primary means that steps copy from there.
    """
    found: list[dict[str, Any]] = []
    for name in dict.fromkeys(row.set for row in rows):
        for way, all_near in ((JITFLOW, HERE), (JITFLOW_NEAR, DIRECT)):
            for goal, limit, reached in (
                (
                    "first job / (all on primary + one first transfer)",
                    FIRST_LIMIT,
                    first_job(rows, name, way=way, all_near=all_near),
                ),
                ("repeated job / all on primary", AGAIN_LIMIT, repeated_job(rows, name, way=way, all_near=all_near)),
            ):
                if reached is not None:
                    found.append(
                        {"set": name, "way": way, "all_on_primary": all_near, "goal": goal, "at_most": limit}
                        | asdict(reached)
                        | {"holds": reached.median <= limit}
                    )
    return found


def verdicts(found: Sequence[dict[str, Any]]) -> str:
    """Return the goals as a table."""
    lines = [
        [
            one["set"],
            one["way"],
            one["all_on_primary"],
            one["goal"],
            f"{one['at_most']:.2f}",
            f"{one['median']:.3f} [{one['low']:.3f}, {one['high']:.3f}]",
            "holds" if one["holds"] else "missed",
        ]
        for one in found
    ]
    return table(["set", "way", "all on primary", "goal (serial steps)", "at most", "median [95 %]", ""], lines)


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
