"""Drive the planner over recorded workflows and write build/bench/traces.{json,md,png}.

python -m benchmark.traces [--traces FOLDER] [--only montage,blast] [--fractions 25,100] [--bandwidths bal,50]
python -m benchmark.traces --sigma 0.3 --policies jitflow      estimates that are off
python -m benchmark.traces --together                          several workflows in one store
python -m benchmark.traces --large                             what decisions cost in a large workflow
python -m benchmark.traces --continue --seconds 300            a piece of it: the next points that are not in the file yet
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from pathlib import Path

from msgspec import structs

from benchmark.traces import baselines, large, shared, tables
from benchmark.traces.grid import BLIND, EFFORT, OURS, POLICIES, Row, Task, measure
from benchmark.traces.kept import R, Rows, T, signature
from benchmark.traces.workloads import BANDWIDTHS, FRACTIONS
from jitflow.planner import Effort

_DEFAULT_TRACES = Path("../shared/traces")


def main() -> int:
    """Run the command line; return its exit code."""
    arguments = _arguments()
    arguments.output.mkdir(parents=True, exist_ok=True)
    paths = _paths(arguments.traces, arguments.only)
    if not paths:
        print(
            f"no traces (*.json, *.json.gz) in {arguments.traces}; name their folder: make bench-traces TRACES=FOLDER",
            file=sys.stderr,
        )
        return 2
    os.nice(5)
    if arguments.large:
        print(large.report())
        return 0
    return _together(arguments, paths) if arguments.together else _grid(arguments, paths)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=Path, default=_DEFAULT_TRACES, help="folder of WfFormat files")
    parser.add_argument("--only", type=_words, default=(), help="traces whose names hold one of these")
    parser.add_argument(
        "--fractions", type=_words, default=tuple(map(str, FRACTIONS)), help="capacity in hundredths of all bytes"
    )
    parser.add_argument("--bandwidths", type=_words, default=BANDWIDTHS, help="MB/s, or bal")
    parser.add_argument("--policies", type=_words, default=(), help="of these policies only")
    parser.add_argument("--events", type=int, default=EFFORT.events, help="simulated events to choose a plan")
    parser.add_argument("--restarts", type=int, default=EFFORT.restarts, help="random orders to try")
    parser.add_argument(
        "--thrift", type=float, default=EFFORT.thrift, help="how much slower a plan may be that moves fewer bytes"
    )
    parser.add_argument("--sigma", type=float, default=0.0, help="lognormal error of run times and rate")
    parser.add_argument("--together", action="store_true", help="run several workflows in one store")
    parser.add_argument("--large", action="store_true", help="measure decisions in a workflow of 10,000 steps and 100,000 files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("build/bench"))
    parser.add_argument("--continue", dest="proceed", action="store_true", help="measure only what is not in the file yet")
    parser.add_argument("--seconds", type=float, default=0.0, help="begin nothing more after so long; go on with --continue")
    parser.add_argument("--name", default="", help="name of the files that are written")
    return parser.parse_args()


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.split(",") if word)


def _paths(folder: Path, only: Sequence[str]) -> list[Path]:
    if not folder.is_dir():
        return []
    names = sorted(path for path in folder.iterdir() if path.name.endswith((".json", ".json.gz")))
    return [path for path in names if not only or any(word in path.name for word in only)]


def _grid(arguments: argparse.Namespace, paths: Sequence[Path]) -> int:
    effort = _effort(arguments)
    theirs, ours = signature(planner=False), signature(effort, arguments.sigma)
    kinds = {theirs: baselines.POLICIES, ours: (BLIND, OURS)}
    wanted = arguments.policies or POLICIES
    tasks = [
        Task(path, int(fraction), bandwidth, effort, policies=policies, sigma=arguments.sigma, seed=arguments.seed, code=code)
        for fraction in arguments.fractions
        for path in paths
        for bandwidth in arguments.bandwidths
        for code, kind in kinds.items()
        if (policies := tuple(policy for policy in kind if policy in wanted))
    ]
    name = arguments.name or ("traces-noisy" if arguments.sigma else "traces")
    rows = Rows(arguments.output / f"{name}.json", Row, theirs, ours, keep=arguments.proceed)
    _measure(tasks, rows, measure, _point, arguments)
    _write(rows.all, arguments.output / name, noisy=arguments.sigma > 0)
    return 0


def _together(arguments: argparse.Namespace, paths: Sequence[Path]) -> int:
    effort = _effort(arguments)
    fraction = int(arguments.fractions[0]) if len(arguments.fractions) == 1 else shared.FRACTION
    code = signature(effort, fraction)
    tasks = shared.tasks(paths, arguments.bandwidths, fraction, effort, code)
    if not tasks:
        print("none of the mixes is in the folder", file=sys.stderr)
        return 2
    name = arguments.name or "traces-together"
    rows = Rows(arguments.output / f"{name}.json", shared.Row, code, keep=arguments.proceed)
    _measure(tasks, rows, shared.measure, _mix, arguments)
    text = shared.report(rows.all) + "\n"
    (arguments.output / f"{name}.md").write_text(text)
    print("\n" + text)
    return 0


def _effort(arguments: argparse.Namespace) -> Effort:
    return structs.replace(
        EFFORT, events=arguments.events, restarts=arguments.restarts, seed=arguments.seed, thrift=arguments.thrift
    )


def _measure(
    tasks: Sequence[T],
    rows: Rows[R],
    run: Callable[[T], list[R]],
    describe: Callable[[Sequence[R]], str],
    arguments: argparse.Namespace,
) -> None:
    """Measure what has no rows yet, until the time is up."""
    until = time.monotonic() + (arguments.seconds or float("inf"))
    missing = rows.missing(tasks)
    if len(missing) < len(tasks):
        print(f"{len(tasks) - len(missing)} of {len(tasks)} were measured before, by the same code")
    with get_context("spawn").Pool(arguments.processes) as pool:
        for number, found in enumerate(pool.imap_unordered(run, missing), len(tasks) - len(missing) + 1):
            rows.add(found)
            print(f"{number}/{len(tasks)} {describe(found)}", flush=True)
            if time.monotonic() > until:
                print(f"the time is up: {len(tasks) - number} are left, go on with --continue")
                return


def _mix(rows: Sequence[shared.Row]) -> str:
    ratios = ", ".join(f"{row.policy} {row.ratio:.3f}" for row in rows)
    return f"{', '.join(dict.fromkeys(rows[0].names))} {rows[0].bandwidth} MB/s: {ratios}"


def _point(rows: Sequence[Row]) -> str:
    first = rows[0]
    ratios = ", ".join(f"{row.policy} {row.ratio:.3f}" for row in rows)
    plan = next((row.plan for row in rows if row.policy == OURS), "")
    return f"{first.instance} C={first.capacity_fraction:.0%} {first.bandwidth} MB/s: {ratios}; {plan}"


def _write(rows: Sequence[Row], name: Path, *, noisy: bool) -> None:
    parts = [
        "makespan / bound: mean / median / nine tenths, interpolated as numpy does / by nearest rank\n\n" + tables.summary(rows),
        "bytes over the link / bytes that must cross it: all points together / median\n\n" + tables.crossings(rows),
        "makespan / bound (in brackets: on demand)\n\n" + tables.by_instance(rows),
        tables.verdicts([row for row in rows if row.policy != BLIND], noisy=noisy),
        tables.decisions(rows),
    ]
    text = "\n\n".join(part for part in parts if part) + "\n"
    name.with_suffix(".md").write_text(text)
    print("\n" + text)
    _draw(rows, name.with_suffix(".png"))
    print(f"written: {name}.json, {name.name}.md")


def _draw(rows: Sequence[Row], path: Path) -> None:
    try:
        from benchmark.traces.plots import draw  # noqa: PLC0415 - the numbers must not depend on a drawing library
    except ImportError:
        print("no picture: matplotlib is not installed (uv sync --group demo)")
        return
    draw(rows, path)


if __name__ == "__main__":
    sys.exit(main())
