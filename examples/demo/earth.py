"""The steps of the demo workflow: what each pod runs. Needs NumPy and nothing of jitflow.

A scene is an array of three bands (red, green, blue; reflectance times 10,000; uint16), elevation is in metres (float32).
Every result is written with sorted keys and rounded numbers, so that equal inputs give equal bytes.
"""

import argparse
import csv
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Grid = NDArray[np.float32]

SEASONS = ("winter", "spring", "summer", "autumn")
PIXEL_M = 60.0
LAPSE_C_PER_M = 0.0065
STATION_ELEVATION_M = 362.0
GROWTH_BASE_C = 10.0
BLOCK = 8
"""Composites are means of blocks of so many pixels squared."""
BELTS_M = (0.0, 2600.0, 2900.0, 3200.0, 3500.0, 9000.0)


def vegetation(scene: NDArray[np.uint16]) -> Grid:
    """Return the visible atmospherically resistant index, (green - red) / (green + red - blue), within -1..1."""
    red, green, blue = (band.astype(np.float32) / 10_000 for band in scene)
    below = green + red - blue
    index = np.where(np.abs(below) > 1e-3, (green - red) / np.where(np.abs(below) > 1e-3, below, 1), 0)
    return np.clip(index, -1, 1).astype(np.float32)


def box_mean(grid: Grid, radius: int) -> Grid:
    """Return the mean over a square window around each pixel, edges repeated."""
    width = 2 * radius + 1
    padded = np.pad(grid.astype(np.float64), ((radius + 1, radius), (radius + 1, radius)), mode="edge")
    total = padded.cumsum(axis=0).cumsum(axis=1)
    window = total[width:, width:] - total[:-width, width:] - total[width:, :-width] + total[:-width, :-width]
    return (window / width**2).astype(np.float32)


def texture(grid: Grid, radius: int) -> Grid:
    """Return the local standard deviation."""
    mean = box_mean(grid, radius)
    return np.sqrt(np.maximum(box_mean(grid * grid, radius) - mean * mean, 0)).astype(np.float32)


def slope_and_light(elevation: Grid, sun_height_deg: float) -> tuple[Grid, Grid]:
    """Return the slope in degrees and how much a pixel faces the sun (0..1), the sun standing in the south."""
    down, right = np.gradient(elevation, PIXEL_M)
    slope = np.arctan(np.hypot(down, right))
    aspect = np.arctan2(-right, down)
    height = np.deg2rad(sun_height_deg)
    light = np.sin(height) * np.cos(slope) + np.cos(height) * np.sin(slope) * np.cos(np.pi - aspect)
    return np.rad2deg(slope).astype(np.float32), np.clip(light, 0, 1).astype(np.float32)


def blocks(grid: Grid) -> Grid:
    """Return the means of square blocks."""
    rows, columns = (size // BLOCK for size in grid.shape)
    cut = grid[: rows * BLOCK, : columns * BLOCK].astype(np.float64)
    return cut.reshape(rows, BLOCK, columns, BLOCK).mean(axis=(1, 3)).astype(np.float32)


def by_belt(values: Grid, elevation: Grid, usable: NDArray[np.bool_]) -> list[float | None]:
    """Return the mean of the usable pixels in each belt of elevation."""
    belt = np.digitize(elevation, BELTS_M[1:-1])
    chosen = [values[usable & (belt == number)] for number in range(len(BELTS_M) - 1)]
    return [round(float(part.mean(dtype=np.float64)), 6) if part.size else None for part in chosen]


def write_json(path: str, value: object) -> None:
    """Write a document whose bytes depend on its content only."""
    Path(path).write_text(json.dumps(value, sort_keys=True, separators=(",", ":")) + "\n")


def scene(arguments: argparse.Namespace) -> None:
    """One scene: mask clouds and snow, correct the light, composite the index, describe it by belts of elevation."""
    bands: NDArray[np.uint16] = np.load(arguments.scene)
    elevation: Grid = np.load(arguments.elevation)
    bright = bands.astype(np.float32).mean(axis=0) / 10_000
    smooth = box_mean(bright, 3)
    usable = (smooth < 0.86) & (bright > 0.01)
    sun = {"winter": 28.0, "spring": 50.0, "summer": 66.0, "autumn": 42.0}[arguments.season]
    slope, light = slope_and_light(elevation, sun)
    index = (vegetation(bands) * (0.5 + 0.5 * light / np.sin(np.deg2rad(sun)))).astype(np.float32)
    rough = np.zeros_like(index)
    for radius in (2, 4, 8):
        rough += texture(index, radius)
    quantiles = np.quantile(index[usable], (0.05, 0.25, 0.5, 0.75, 0.95))
    np.save(arguments.composite, blocks(np.where(usable, box_mean(index, 1), 0).astype(np.float32)))
    write_json(
        arguments.statistics,
        {
            "site": arguments.site,
            "year": arguments.year,
            "season": arguments.season,
            "usable": round(float(usable.mean()), 6),
            "quantiles": [round(float(value), 6) for value in quantiles],
            "belts": by_belt(index, elevation, usable),
            "roughness": round(float(rough[usable].mean(dtype=np.float64)), 6),
            "steep": round(float((slope > 30).mean()), 6),
        },
    )


def growing_degree_days(temperatures: str, elevation: Grid, year: int) -> Grid:
    """Return the sum over the year of the mean temperature above the base, by pixel, with a lapse rate."""
    with Path(temperatures).open(newline="") as file:
        days = [(float(row["TMAX"]) + float(row["TMIN"])) / 2 for row in csv.DictReader(file) if row["TMAX"] and row["TMIN"]]
    means_c = (np.array(days) - 32) / 1.8 + 0.04 * (year - 2016)
    cooler = (elevation - STATION_ELEVATION_M) * LAPSE_C_PER_M
    total = np.zeros(elevation.shape)
    for mean in means_c:
        total += np.maximum(mean - cooler - GROWTH_BASE_C, 0)
    return total.astype(np.float32)


def year(arguments: argparse.Namespace) -> None:
    """One site's year: the season with most growth, its amplitude, and how it goes with warmth."""
    stack = np.stack([np.load(getattr(arguments, name)) for name in SEASONS])
    elevation = blocks(np.load(arguments.elevation))
    warmth = growing_degree_days(arguments.temperatures, elevation, int(arguments.year))
    amplitude = stack.max(axis=0) - stack.min(axis=0)
    a = amplitude - amplitude.mean(dtype=np.float64)
    w = warmth - warmth.mean(dtype=np.float64)
    spread = float(np.sqrt((a * a).sum() * (w * w).sum()))
    write_json(
        arguments.summary,
        {
            "site": arguments.site,
            "year": int(arguments.year),
            "amplitude": round(float(amplitude.mean(dtype=np.float64)), 6),
            "peak_season": [round(float((stack.argmax(axis=0) == number).mean()), 6) for number in range(4)],
            "growing_degree_days": round(float(warmth.mean(dtype=np.float64)), 3),
            "correlation": round(float((a * w).sum()) / spread, 6) if spread else 0.0,
            "belts": by_belt(amplitude, elevation, np.ones(amplitude.shape, bool)),
        },
    )


def site(arguments: argparse.Namespace) -> None:
    """One site: the trend over its years."""
    years = sorted((json.loads(text) if isinstance(text, str) else text for text in json.loads(arguments.years)), key=_year)
    at = np.array([each["year"] for each in years], float)
    amplitude = np.array([each["amplitude"] for each in years])
    slope = float(((at - at.mean()) * (amplitude - amplitude.mean())).sum() / max(((at - at.mean()) ** 2).sum(), 1e-9))
    summary = {"site": arguments.site, "trend": round(slope, 8), "mean": round(float(amplitude.mean()), 6), "years": years}
    write_json(arguments.summary, summary)


def atlas(arguments: argparse.Namespace) -> None:
    """All sites: the table that people look at, and the document that programs read."""
    sites = [json.loads(text) if isinstance(text, str) else text for text in json.loads(arguments.sites)]
    sites.sort(key=lambda each: each["site"])
    write_json(arguments.document, {"sites": sites})
    with Path(arguments.table).open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("site", "year", "amplitude", "growing_degree_days", "correlation"))
        for each in sites:
            for one in each["years"]:
                rows.writerow(
                    (each["site"], *(one[name] for name in ("year", "amplitude", "growing_degree_days", "correlation")))
                )


def _year(summary: dict[str, int]) -> int:
    return summary["year"]


STEPS = {
    scene: ("scene", "elevation", "site", "year", "season", "composite", "statistics"),
    year: (*SEASONS, "elevation", "temperatures", "site", "year", "summary"),
    site: ("years", "site", "summary"),
    atlas: ("sites", "document", "table"),
}


def main() -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for step, options in STEPS.items():
        command = commands.add_parser(step.__name__, help=step.__doc__)
        command.set_defaults(step=step)
        for option in options:
            command.add_argument(f"--{option}", required=True)
    arguments = parser.parse_args()
    arguments.step(arguments)
    print(f"{arguments.step.__name__} done, {_lived_s():.2f} s since the process started", flush=True)
    return 0


def _lived_s() -> float:
    """Return for how long this process has been running, its start and the imports included."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
