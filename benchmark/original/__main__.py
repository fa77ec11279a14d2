"""Measure the original system's workflows over far data, in several ways, and write build/bench/original.{json,md,png}.

python -m benchmark.original [--sets FILE] [--only base,small] [--modes serial] [--ways here,jitflow] [--rounds 10]

One step reads each file of a set: its first line, then it sleeps. The far and the near store are S3 servers behind simulated
links. The rounds run every cell once, in an order drawn from the seed.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmark.original import cells, sets, tables
from benchmark.original.measure import Row
from benchmark.original.runs import run
from benchmark.original.world import Links, world
from benchmark.service import MeasurementError, no_orphans

WORK_S = {"base": 0.25, "small": 0.15, "large": 0.5}
"""How long a step sleeps; in the original a second. Sets of other names: as the first.

In the large set serial steps read 48 MB/s then, which two processors still move through all the simulated links and stores.
"""


def main() -> int:
    """Run the command line; return its exit code."""
    arguments = _arguments()
    arguments.output.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    rows: list[Row] = []
    code = 0
    try:
        chosen = _chosen(arguments)
        with no_orphans():
            _measure(arguments, chosen, rows)
    except KeyboardInterrupt:
        code = 130
    except MeasurementError as error:
        print(f"the benchmark cannot go on: {error}", file=sys.stderr)
        code = 1
    if rows:
        _write(rows, arguments, time.monotonic() - began)
    return code


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=Path, default=sets.EMBEDDED, help="table of the sets: set, size_bytes, name")
    parser.add_argument("--only", type=_words, default=(), help="these sets")
    parser.add_argument("--modes", type=_words, default=cells.MODES, help="serial, parallel")
    parser.add_argument("--ways", type=_words, default=tuple(cells.WAYS), help=", ".join(cells.WAYS))
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--places", type=int, default=4, help="steps at once where they are parallel")
    parser.add_argument("--work", type=float, default=0.0, help="seconds that a step sleeps, in all sets")
    parser.add_argument("--far-rtt-ms", type=float, default=Links.far_rtt_ms)
    parser.add_argument("--far-mbit", type=float, default=Links.far_mbit)
    parser.add_argument("--far-connection-mbit", type=float, default=Links.far_connection_mbit)
    parser.add_argument("--near-rtt-ms", type=float, default=Links.near_rtt_ms)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("build/bench"))
    return parser.parse_args()


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.split(",") if word)


def _chosen(arguments: argparse.Namespace) -> dict[str, sets.FileSet]:
    found = sets.load(arguments.sets)
    for words, known in ((arguments.only, found), (arguments.modes, cells.MODES), (arguments.ways, cells.WAYS)):
        unknown = [word for word in words if word not in known]
        if unknown:
            raise MeasurementError(f"{', '.join(unknown)} is none of {', '.join(known)}")
    return {name: one for name, one in found.items() if name in (arguments.only or found)}


def _work_s(arguments: argparse.Namespace, name: str) -> float:
    return arguments.work or WORK_S.get(name, WORK_S["base"])


def _links(arguments: argparse.Namespace) -> Links:
    return Links(
        far_rtt_ms=arguments.far_rtt_ms,
        far_mbit=arguments.far_mbit,
        far_connection_mbit=arguments.far_connection_mbit,
        near_rtt_ms=arguments.near_rtt_ms,
    )


def _measure(arguments: argparse.Namespace, chosen: dict[str, sets.FileSet], rows: list[Row]) -> None:
    found = cells.cells(list(chosen), arguments.modes, arguments.ways)
    plan = cells.shuffled(found, arguments.rounds, arguments.seed)
    print(_told(arguments, chosen, len(found)), flush=True)
    with world(arguments.output.absolute() / "original", chosen, _links(arguments), places=arguments.places) as place:
        # What runs for the first time is slower: hashes are computed, programs are read, pools are filled.
        for cell in found:
            if cell.fill == cells.FULL and cell.mode == arguments.modes[0]:
                run(place, cell, number=0, order=0, work_s=0.01)
        for order, (number, cell) in enumerate(plan, 1):
            row = run(place, cell, number=number, order=order, work_s=_work_s(arguments, cell.set))
            rows.append(row)
            split = f"work {row.work_s:.2f}, transfer {row.transfer_s:.2f}, {row.step_overhead_ms:.1f} ms overhead a step"
            print(f"{order}/{len(plan)} round {number}: {cell}: {row.seconds:.2f} s ({split})", flush=True)


def _told(arguments: argparse.Namespace, chosen: dict[str, sets.FileSet], count: int) -> str:
    links = _links(arguments)
    lines = [
        f"{name}: {len(one.files)} files, {one.size_bytes / 1e6:.2f} MB; a step sleeps {_work_s(arguments, name):g} s"
        for name, one in chosen.items()
    ]
    lines += [
        f"far store: {links.far_rtt_ms:g} ms, {links.far_mbit / 8:g} MB/s, {links.far_connection_mbit / 8:g} MB/s a connection; "
        f"near store: {links.near_rtt_ms:g} ms",
        f"parallel steps: {arguments.places} at once; serial: parallelism 1; seed {arguments.seed}",
        *(f"{way}: {meaning}" for way, meaning in cells.WAYS.items() if way in arguments.ways),
        f"{count} cells, {arguments.rounds} rounds",
    ]
    return "\n".join(lines)


def _write(rows: Sequence[Row], arguments: argparse.Namespace, took_s: float) -> None:
    goals = tables.goals(rows)
    document: dict[str, Any] = {
        "sets": str(arguments.sets.name),
        "rounds": arguments.rounds,
        "seed": arguments.seed,
        "places": arguments.places,
        "work_s": {name: _work_s(arguments, name) for name in dict.fromkeys(row.set for row in rows)},
        "links": asdict(_links(arguments)),
        "machine": f"{os.cpu_count()} processors, {platform.machine()}, Linux {platform.release()}, Python "
        + platform.python_version(),
        "took_s": round(took_s),
        "goals": goals,
        "rows": [asdict(row) for row in rows],
    }
    (arguments.output / "original.json").write_text(json.dumps(document, indent=1) + "\n")
    parts = [tables.by_cell(sorted(rows, key=_sorted)), tables.comparisons(rows), tables.verdicts(goals)]
    text = "\n\n".join(parts) + "\n"
    (arguments.output / "original.md").write_text(text)
    print("\n" + text)
    _draw(rows, arguments.output / "original.png")
    print(f"written: {arguments.output}/original.json, original.md; took {took_s:.0f} s")


def _sorted(row: Row) -> tuple[int, int, int, int]:
    places = (list(WORK_S), cells.MODES, tuple(cells.WAYS), cells.FILLS)
    values = (row.set, row.mode, row.way, row.fill)
    first, *others = (known.index(value) if value in known else len(known) for known, value in zip(places, values, strict=True))
    return (first, others[0], others[1], others[2])


def _draw(rows: Sequence[Row], path: Path) -> None:
    try:
        from benchmark.original.plots import draw  # noqa: PLC0415 - the numbers must not depend on a drawing library
    except ImportError:
        print("no picture: matplotlib is not installed (uv sync --group demo)")
        return
    draw(rows, path)


if __name__ == "__main__":
    sys.exit(main())
