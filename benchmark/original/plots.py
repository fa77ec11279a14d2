"""The picture: how long each way takes, and what it spends its time with."""

import statistics
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

from benchmark.original.measure import Row

mpl.use("Agg")

from matplotlib import pyplot as plt

_PARTS = (
    ("work_s", "#4477aa", "steps work"),
    ("transfer_s", "#ee8866", "steps wait for transfers"),
    ("overhead_s", "#bbbbbb", "neither"),
)


def draw(rows: Sequence[Row], path: Path) -> None:
    """Write the picture: a panel for each set and mode, a bar for each way and fill, with every run as a dot."""
    panels = list(dict.fromkeys((row.set, row.mode) for row in rows))
    sets, modes = list(dict.fromkeys(name for name, _ in panels)), list(dict.fromkeys(mode for _, mode in panels))
    figure, axes = plt.subplots(
        len(sets), len(modes), figsize=(6 * len(modes), 2.6 * len(sets)), squeeze=False, layout="constrained"
    )
    for line, name in enumerate(sets):
        for column, mode in enumerate(modes):
            axis = axes[line][column]
            some = [row for row in rows if (row.set, row.mode) == (name, mode)]
            bars = sorted({(row.way, row.fill) for row in some})
            for place, key in enumerate(bars):
                of = [row for row in some if (row.way, row.fill) == key]
                left = 0.0
                for field, colour, label in _PARTS:
                    width = statistics.median(getattr(row, field) for row in of)
                    axis.barh(place, width, left=left, height=0.7, color=colour, label=label if place == 0 else None)
                    left += width
                axis.plot([row.seconds for row in of], [place] * len(of), "|", color="black", alpha=0.5, markersize=8)
            axis.set_yticks(range(len(bars)), [f"{way}, {fill}" for way, fill in bars], size=8)
            axis.invert_yaxis()
            axis.set_xlim(left=0)
            axis.set_title(f"{name} set, {mode} steps", size=10)
            axis.tick_params(labelsize=8)
    for axis in axes[-1]:
        axis.set_xlabel("seconds from submission to end", size=9)
    axes[0][0].legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)
