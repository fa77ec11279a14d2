"""The time lines of both runs as a picture: steps, transfers, and the primary's fill."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

from benchmark.demo.measure import Run, Step, Transfer, overlap

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Patch

COLOURS = {"scene": "#4477aa", "growth": "#228833", "trend": "#ccbb44", "atlas": "#aa3377"}
NAMES = {"scene": "scene (72)", "growth": "year (18)", "trend": "site (6)", "atlas": "atlas (1)"}
TRANSFER, OUT, FILL, LIMIT = "#ee8866", "#99ddff", "#bbbbbb", "#cc3311"


def draw(runs: list[Run], path: Path) -> None:
    """Write the picture; its format follows from the name."""
    figure, axes = plt.subplots(
        3 * len(runs), 1, sharex=True, figsize=(11, 3.6 * len(runs)), layout="constrained",
        gridspec_kw={"height_ratios": [1.1, 1.6, 1.1] * len(runs)},
    )  # fmt: skip
    end = max(run.makespan_s for run in runs)
    for number, run in enumerate(runs):
        steps, moves, fill = axes[3 * number : 3 * number + 3]
        steps.set_title(
            f"{run.label}: {run.makespan_s:.1f} s; transfers hidden behind computing: {overlap(run):.0%}", loc="left", size=10
        )
        _bars(steps, [(step, COLOURS.get(step.template, "#777777")) for step in run.steps], "steps")
        _bars(moves, [(each, TRANSFER if each.direction == "in" else OUT) for each in run.transfers], "transfers")
        _fill(fill, run)
        for axis in (steps, moves, fill):
            axis.set_xlim(0, end * 1.01)
            axis.spines[["top", "right"]].set_visible(False)
            if run.killed_at is not None:
                axis.axvspan(run.killed_at, run.restarted_at or run.killed_at, color=LIMIT, alpha=0.35, linewidth=0)
        if run.killed_at is not None:
            at = (run.restarted_at or run.killed_at, 0.1)
            fill.annotate(" server killed and started again", at, xycoords=("data", "axes fraction"), color=LIMIT, size=9)
    axes[-1].set_xlabel("seconds since the workflow was submitted")
    handles = [Patch(color=COLOURS[kind], label=NAMES[kind]) for kind in COLOURS]
    handles += [Patch(color=TRANSFER, label="far to near"), Patch(color=OUT, label="near to far")]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8, frameon=False)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def _bars(axes: Axes, bars: Sequence[tuple[Step | Transfer, str]], label: str) -> None:
    """Draw each bar in the first row that is free at its start."""
    free_at: list[float] = []
    for bar, colour in sorted(bars, key=lambda each: each[0].started_at):
        row = next((number for number, at in enumerate(free_at) if at <= bar.started_at + 1e-3), len(free_at))
        free_at[row:row + 1] = [bar.finished_at]  # fmt: skip
        width = max(bar.finished_at - bar.started_at, 0.03)
        axes.broken_barh([(bar.started_at, width)], (row + 0.08, 0.84), color=colour, edgecolor="white", linewidth=0.3)
    axes.set_ylim(max(len(free_at), 1), 0)
    axes.set_ylabel(label, rotation=0, ha="right", va="center", size=9)
    axes.set_yticks([])


def _fill(axes: Axes, run: Run) -> None:
    times = [at for at, _ in run.fill]
    used = [size / 2**20 for _, size in run.fill]
    axes.fill_between(times, used, step="post", color=FILL, linewidth=0)
    axes.axhline(run.capacity_bytes / 2**20, color=LIMIT, linewidth=1)
    axes.set_ylim(0, run.capacity_bytes / 2**20 * 1.15)
    axes.set_ylabel("primary\nMiB", rotation=0, ha="right", va="center", size=9)
    axes.tick_params(labelsize=8)
