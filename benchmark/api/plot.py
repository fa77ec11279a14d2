"""The picture: requests a second of each server."""

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt

_COLOURS = {"bare endpoint": "#bbbbbb", "jitflow": "#4477aa", "Prefect": "#ee8866"}


def draw(result: dict[str, Any], path: Path) -> None:
    """Write the picture: a panel for what is asked and over how many connections, a bar for each server's request."""
    rows = result["rows"]
    panels = list(dict.fromkeys((row["verb"], row["connections"]) for row in rows))
    figure, axes = plt.subplots(len(panels), 1, figsize=(8, 1.6 * len(panels) + 0.6), squeeze=False, layout="constrained")
    for place, (verb, connections) in enumerate(panels):
        axis = axes[place][0]
        some = [row for row in rows if row["verb"] == verb and row["connections"] in {connections, 1}]
        some = [row for row in some if row["connections"] == connections or row["server"] == "Prefect"]
        names = [
            f"{row['server']}: {row['call']}" + (" (1 connection)" if row["connections"] != connections else "") for row in some
        ]
        bars = axis.barh(names, [row["per_s"] for row in some], color=[_COLOURS[row["server"]] for row in some])
        axis.bar_label(bars, fmt="%.0f", padding=3, fontsize=8)
        axis.invert_yaxis()
        axis.margins(x=0.12)
        axis.set_title(f"{verb}, {connections} connection{'s' if connections > 1 else ''}", loc="left", fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1][0].set_xlabel("requests a second (more is better)")
    figure.savefig(path, dpi=120)
    plt.close(figure)
