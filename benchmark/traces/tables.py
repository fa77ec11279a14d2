"""The tables: makespan over bound, bytes over the link, decisions, and which limits hold."""

import statistics
from collections.abc import Callable, Iterable, Sequence

from benchmark.traces.grid import OURS, POLICIES, Row

LIMITS = {10: (1.25, 1.60), 25: (1.12, 1.28), 50: (1.06, 1.15), 100: (1.04, 1.11)}
"""Mean and nine tenths of makespan over bound, by hundredths of all bytes that the store holds."""
_NOISY = {25: 1.22}
"""The mean where run times and rates are estimated with a lognormal error of sigma 0.3."""
_MEDIAN_AT_25 = 1.08
_SLOWER = 1.02
_BYTES = {25: 1.6, 50: 1.1, 100: 1.1}


def ninth(values: Iterable[float]) -> float:
    """Return the nine tenths quantile, between two values by linear interpolation, as numpy does."""
    ordered = sorted(values)
    whole, part = divmod(9 * (len(ordered) - 1), 10)
    return ordered[whole] + (ordered[min(whole + 1, len(ordered) - 1)] - ordered[whole]) * part / 10


def rank(values: Iterable[float]) -> float:
    """Return the least of the values that nine tenths of them do not exceed: the quantile by nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * 9 // 10) - 1)]


def by_fraction(rows: Sequence[Row]) -> dict[int, list[Row]]:
    """Return the rows by hundredths of capacity."""
    found: dict[int, list[Row]] = {}
    for row in rows:
        found.setdefault(round(100 * row.capacity_fraction), []).append(row)
    return dict(sorted(found.items()))


def table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    rows = [list(header), *(list(line) for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    texts = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows]
    return "\n".join([texts[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *texts[1:]])


def _policies(rows: Sequence[Row]) -> list[str]:
    present = {row.policy for row in rows}
    return [policy for policy in POLICIES if policy in present]


def summary(rows: Sequence[Row]) -> str:
    """Return makespan over bound by policy and capacity: mean, median, nine tenths by both definitions."""

    def cell(of: Sequence[Row]) -> str:
        ratios = [row.ratio for row in of]
        return f"{statistics.mean(ratios):.3f} / {statistics.median(ratios):.3f} / {ninth(ratios):.3f} / {rank(ratios):.3f}"

    return _by_policy(rows, cell)


def crossings(rows: Sequence[Row]) -> str:
    """Return bytes over the link per byte that must cross it: of all points together, and the median of the points."""

    def cell(of: Sequence[Row]) -> str:
        return f"{together(of):.2f} / {statistics.median(moved(row) for row in of):.2f}"

    return _by_policy(rows, cell)


def moved(row: Row) -> float:
    """Return the bytes over the link per byte that must cross it."""
    return (row.bytes_down + row.bytes_up) / row.distinct_bytes


def together(rows: Sequence[Row]) -> float:
    """Return the bytes over the link of all rows per byte that must cross it."""
    return sum(row.bytes_down + row.bytes_up for row in rows) / sum(row.distinct_bytes for row in rows)


def _by_policy(rows: Sequence[Row], cell: Callable[[Sequence[Row]], str]) -> str:
    groups = by_fraction(rows)
    lines = [
        [policy, *(cell([row for row in group if row.policy == policy]) for group in groups.values())]
        for policy in _policies(rows)
    ]
    return table(["policy", *(f"C = {fraction} %" for fraction in groups)], lines)


def by_instance(rows: Sequence[Row]) -> str:
    """Return the planner's makespan over bound at each point, with the one on demand."""
    lines: list[list[str]] = []
    mine = {(row.instance, row.bandwidth, row.capacity_fraction): row for row in rows if row.policy == OURS}
    other = {(row.instance, row.bandwidth, row.capacity_fraction): row for row in rows if row.policy == "on-demand"}
    fractions = sorted({row.capacity_fraction for row in mine.values()})
    for instance, bandwidth in dict.fromkeys((row.instance, row.bandwidth) for row in mine.values()):
        cells = [instance, bandwidth]
        for fraction in fractions:
            row, rival = mine.get((instance, bandwidth, fraction)), other.get((instance, bandwidth, fraction))
            cells.append(f"{row.ratio:.3f} ({rival.ratio:.2f})" if row and rival else f"{row.ratio:.3f}" if row else "")
        lines.append(cells)
    return table(["instance", "MB/s", *(f"C = {fraction:.0%}" for fraction in fractions)], lines)


def decisions(rows: Sequence[Row]) -> str:
    """Return what decisions cost: processor time of the slowest of a hundred, the worst instance."""
    mine = [row for row in rows if row.policy == OURS]
    if not mine:
        return ""
    worst = max(mine, key=lambda row: row.decision_p99_us)
    return f"decisions: {sum(row.decisions for row in mine):,}; p99 at most {worst.decision_p99_us:.0f} us ({worst.instance})"


def verdicts(rows: Sequence[Row], *, noisy: bool = False) -> str:
    """Return each limit, what was reached, and whether it holds; `noisy`: of plans by estimates that are off."""
    lines: list[list[str]] = []

    def line(name: str, limit: float, reached: float) -> None:
        lines.append([name, f"{limit:g}", f"{reached:.3f}", "holds" if reached <= limit else "missed"])

    mine = [row for row in rows if row.policy == OURS]
    for fraction, group in by_fraction(mine).items():
        mean, most = LIMITS.get(fraction, (float("inf"), float("inf")))
        ratios = [row.ratio for row in group]
        if noisy:
            line(f"C = {fraction} %: mean", _NOISY.get(fraction, float("inf")), statistics.mean(ratios))
            continue
        line(f"C = {fraction} %: mean", mean, statistics.mean(ratios))
        line(f"C = {fraction} %: nine tenths, interpolated", most, ninth(ratios))
        line(f"C = {fraction} %: nine tenths, nearest rank", most, rank(ratios))
        if fraction == 25:
            line("C = 25 %: median", _MEDIAN_AT_25, statistics.median(ratios))
        if fraction in _BYTES:
            line(f"C = {fraction} %: bytes over the link / distinct, all together", _BYTES[fraction], together(group))
    rivals = {(row.instance, row.bandwidth, row.capacity_fraction): row for row in rows if row.policy == "on-demand"}
    against = [
        row.makespan_s / rivals[key].makespan_s
        for row in mine
        if (key := (row.instance, row.bandwidth, row.capacity_fraction)) in rivals
    ]
    if against:
        line("worst point against on demand", _SLOWER, max(against))
    line("runs that did not end", 0, sum(1 for row in rows if not row.finished))
    return table(["limit", "at most", "reached", ""], lines)
