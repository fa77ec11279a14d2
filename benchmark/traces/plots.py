"""The pictures: how far each policy is from the bound, and what crosses the link."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

from benchmark.traces.grid import BLIND, OURS, POLICIES, Row
from benchmark.traces.tables import by_fraction

mpl.use("Agg")

from matplotlib import pyplot as plt

COLOURS = {
    OURS: "#4477aa",
    BLIND: "#66ccee",
    "on-demand": "#ccbb44",
    "original": "#aa3377",
    "prefetch-all": "#228833",
    "private": "#bbbbbb",
}


def draw(rows: Sequence[Row], path: Path) -> None:
    """Write the picture: for each capacity the share of points within a factor of the bound."""
    groups = by_fraction(rows)
    figure, axes = plt.subplots(1, len(groups), figsize=(4 * len(groups), 3.8), sharey=True, squeeze=False, layout="constrained")
    for axis, (fraction, group) in zip(axes[0], groups.items(), strict=True):
        for policy in POLICIES:
            ratios = sorted(row.ratio for row in group if row.policy == policy)
            if ratios:
                shares = [(number + 1) / len(ratios) for number in range(len(ratios))]
                axis.step([1.0, *ratios], [0.0, *shares], where="post", label=policy, color=COLOURS[policy])
        axis.set_title(f"store: {fraction} % of all bytes", size=10)
        axis.set_xscale("log")
        axis.set_xlim(1.0, 6.0)
        axis.set_xticks([1, 1.25, 1.5, 2, 3, 4, 6], ["1", "1.25", "1.5", "2", "3", "4", "6"], size=8)
        axis.minorticks_off()
        axis.set_xlabel("makespan / bound")
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("share of points")
    axes[0][-1].legend(fontsize=8, loc="lower right")
    figure.savefig(path, dpi=120)
    plt.close(figure)
