"""Measure what a step costs, here and in other tools, and write build/bench/overhead.{json,md,png}.

python -m benchmark.overhead [--rounds 3] [--only jitflow]
"""

import argparse
import json
import os
import platform
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmark.overhead import shapes
from benchmark.overhead.tools import Jitflow, Tool, Unavailable, all_tools
from benchmark.service import MeasurementError, no_orphans

Samples = dict[str, dict[str, list[float]]]
"""Tool -> shape -> ms a step, one for each round. The shape `one` holds the seconds of a one-step run."""


def main() -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--chain", type=int, default=100, help="steps in the chain")
    parser.add_argument("--fan", type=int, default=1000, help="steps in the fan-out")
    parser.add_argument("--only", default="", help="tools whose name holds this text")
    parser.add_argument("--output", type=Path, default=Path("build/bench"))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    try:
        with no_orphans():
            tools = [tool for tool in all_tools(arguments.output.absolute()) if arguments.only in tool.name and _is_ready(tool)]
            samples = _measure(tools, {shapes.CHAIN: arguments.chain, shapes.FAN: arguments.fan}, arguments.rounds)
    except KeyboardInterrupt:
        return 130
    result = _result(tools, samples, arguments)
    (arguments.output / "overhead.json").write_text(json.dumps(result, indent=1) + "\n")
    table = _table(result)
    (arguments.output / "overhead.md").write_text(table)
    print("\n" + table)
    _plot(result, arguments.output / "overhead.png")
    print(f"written: {arguments.output}/overhead.json, overhead.md, overhead.png")
    return 0


def _is_ready(tool: Tool) -> bool:
    try:
        tool.prepare()
    except (Unavailable, MeasurementError) as error:
        print(f"{tool.name}: left out: {error}", flush=True)
        return False
    return True


def _measure(tools: list[Tool], sizes: dict[str, int], rounds: int) -> Samples:
    samples: Samples = defaultdict(lambda: defaultdict(list))
    for number in range(1, rounds + 1):
        for tool in tools:
            try:
                _round(tool, sizes, samples[tool.name])
            except MeasurementError as error:
                print(f"round {number}: {tool.name}: {error}", flush=True)
                continue
            found = {shape: round(values[-1], 2) for shape, values in samples[tool.name].items()}
            print(f"round {number}/{rounds}  {tool.name:18} {found}", flush=True)
    return samples


def _round(tool: Tool, sizes: dict[str, int], into: dict[str, list[float]]) -> None:
    one_s = {shape: tool.run(shape, 1) for shape in sizes}
    for shape, steps in sizes.items():
        into[shape].append((tool.run(shape, steps) - one_s[shape]) * 1000 / (steps - 1))
    into["one"].append(min(one_s.values()))


def _result(tools: list[Tool], samples: Samples, arguments: argparse.Namespace) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for tool in tools:
        taken = samples.get(tool.name, {})
        row: dict[str, Any] = {"tool": tool.name, "rounds": len(taken.get(shapes.CHAIN, []))}
        for shape in (shapes.CHAIN, shapes.FAN):
            row[f"{shape}_ms_per_step"] = _median(taken.get(shape))
            row[f"{shape}_ms_per_step_all"] = [round(value, 3) for value in taken.get(shape, [])]
        row["one_step_s"] = _median(taken.get("one"))
        if isinstance(tool, Jitflow):
            row["ready_s"] = _median(tool.ready_s)
            row["server_pss_mb"] = round(max(tool.server_bytes, default=0) / 1e6, 1)
            row["all_pss_mb"] = round(max(tool.all_bytes, default=0) / 1e6, 1)
        rows.append(row)
    return {
        "step": "/bin/sh -c true",
        "parallel": shapes.PARALLEL,
        "chain": arguments.chain,
        "fan": arguments.fan,
        "machine": f"{os.cpu_count()} processors, {platform.machine()}, Linux {platform.release()}, Python "
        + platform.python_version(),
        "tools": rows,
    }


def _median(values: list[float] | None) -> float | None:
    return round(statistics.median(values), 3) if values else None


def _table(result: dict[str, Any]) -> str:
    lines = [
        "ms a step = (wall of n steps - wall of one step) / (n - 1), medians;",
        f"a step is `{result['step']}`, {result['parallel']} at once; {result['machine']}.",
        "",
        f"| tool | one step s | chain of {result['chain']} ms/step | fan-out of {result['fan']} ms/step "
        "| ready s | server MB | with children MB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in result["tools"]:
        cells = [
            row["tool"],
            row["one_step_s"],
            row["chain_ms_per_step"],
            row["fan_ms_per_step"],
            row.get("ready_s"),
            row.get("server_pss_mb"),
            row.get("all_pss_mb"),
        ]
        lines.append("| " + " | ".join("-" if cell is None else str(cell) for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _plot(result: dict[str, Any], path: Path) -> None:
    try:
        import matplotlib as mpl  # noqa: PLC0415 - a picture is a bonus: the figures do not need it
    except ImportError:
        return
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    rows = [row for row in result["tools"] if row["fan_ms_per_step"] is not None]
    figure, axes = plt.subplots(figsize=(8, 0.6 * len(rows) + 1.5), layout="constrained")
    for offset, (shape, colour) in enumerate(((shapes.CHAIN, "#4477aa"), (shapes.FAN, "#ee8866"))):
        at = [number + (offset - 0.5) * 0.38 for number in range(len(rows))]
        values = [max(row[f"{shape}_ms_per_step"], 0.05) for row in rows]
        bars = axes.barh(at, values, height=0.36, color=colour, label=f"{shape} of {result[shape]}")
        axes.bar_label(bars, [f"{value:.1f}" for value in values], padding=3, fontsize=8)
    axes.set(xscale="log", xlabel="ms a step (log)", yticks=range(len(rows)), yticklabels=[row["tool"] for row in rows])
    axes.invert_yaxis()
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    sys.exit(main())
