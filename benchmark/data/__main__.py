"""Compare jobs through the queue with one `rclone copy` and write build/bench/data.{json,md}.

    python -m benchmark.data [--rounds 5] [--only small,large] [--links direct,slow]      (or: make bench-data)

A real S3 server, directly and over a link of 40 ms, 50 MB/s, 12.5 MB/s a connection; the near store is a directory. Steps read
the objects, one of them all or each its own: then what it takes to begin and end a step is in it. Both sides move the same
objects, in turn, in one run, each time into a new folder on a disk at rest; a first round warms both. The processor time is that
of our process with its rclone, and that of `rclone copy`. Our process collects garbage as the server does.
"""

import argparse
import asyncio
import json
import statistics
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import msgspec

from benchmark.data.movers import Sample, copy, jobs
from benchmark.data.rounds import Rounds
from benchmark.data.stores import CASES, Case, SteadyServer, link, write
from jitflow.bootstrap.system import calm_collector
from jitflow.storage.remotes import RemoteConfig

CPU_GOAL = 1.3
Row = tuple[str, Case, list[tuple[Sample, Sample]]]


def main() -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="of the large objects; three times as many of others")
    parser.add_argument("--only", default=",".join(case.name for case in CASES), help="cases")
    parser.add_argument("--links", default="direct,slow")
    parser.add_argument("--output", type=Path, default=Path("build/bench"))
    arguments = parser.parse_args()
    work = (arguments.output / "data").absolute()
    cases = [case for case in CASES if case.name in arguments.only.split(",")]
    for case in cases:
        write(work / "far", case)
    calm_collector()
    rows: list[Row] = []
    rounds = Rounds(work / "rounds")
    with SteadyServer(work / "far") as server:
        for name in arguments.links.split(","):
            with link(server.port) if name == "slow" else nullcontext(server.endpoint) as endpoint:
                rows += asyncio.run(_compare(name, server.remote("far", endpoint=endpoint), cases, arguments.rounds, rounds))
    rounds.close()
    text = _table(rows)
    (arguments.output / "data.md").write_text(text)
    (arguments.output / "data.json").write_text(json.dumps(_json(rows), indent=1) + "\n")
    print("\n" + text)
    print(f"written: {arguments.output}/data.json, data.md")
    return 0


async def _compare(name: str, remote: RemoteConfig, cases: Sequence[Case], times: int, rounds: Rounds) -> list[Row]:
    rows: list[Row] = []
    async with jobs(remote, rounds) as ours:
        for case in cases:
            pairs: list[tuple[Sample, Sample]] = []
            for number in range(-1, times * case.rounds):
                if number % 2:
                    theirs = await asyncio.to_thread(copy, remote, case, rounds)
                    pairs.append((await ours.move(case), theirs))
                else:
                    mine = await ours.move(case)
                    pairs.append((mine, await asyncio.to_thread(copy, remote, case, rounds)))
                print(f"{name} {case.name}: {_words(pairs[-1])}", flush=True)
            rows.append((name, case, pairs[1:]))
    return rows


def _words(pair: tuple[Sample, Sample]) -> str:
    mine, theirs = pair
    jobs = f"jobs {mine.wall_s:.2f} s ({mine.cpu_s:.2f} s of processor, {mine.rclone_cpu_s:.2f} s of it rclone)"
    return f"{jobs}, rclone copy {theirs.wall_s:.2f} s ({theirs.cpu_s:.2f} s)"


def _ratios(pairs: Sequence[tuple[Sample, Sample]]) -> tuple[float, float]:
    rate = statistics.median(theirs.wall_s / mine.wall_s for mine, theirs in pairs)
    return rate, statistics.median(mine.cpu_s / theirs.cpu_s for mine, theirs in pairs)


def _table(rows: Sequence[Row]) -> str:
    lines = [
        "| link | objects | steps | jobs MB/s | rclone copy MB/s | rate ratio | goal | processor ratio | goal |",
        "|--|--|--|--|--|--|--|--|--|",
    ]
    for name, case, pairs in rows:
        mine, theirs = (statistics.median(pair[side].wall_s for pair in pairs) for side in (0, 1))
        rate, cpu = _ratios(pairs)
        lines.append(
            f"| {name} | {case.count:,} x {case.size_bytes / 1e6:g} MB | {case.steps:,} "
            f"| {case.total_bytes / 1e6 / mine:.1f} "
            f"| {case.total_bytes / 1e6 / theirs:.1f} | {rate:.2f} | {case.goal or ''} "
            f"| {cpu:.2f} | {CPU_GOAL if case.goal else ''} |"
        )
    return "\n".join(lines) + "\n"


def _json(rows: Sequence[Row]) -> list[dict[str, object]]:
    return [
        {
            "link": name,
            "case": case.name,
            "steps": case.steps,
            "rate_ratio": _ratios(pairs)[0],
            "cpu_ratio": _ratios(pairs)[1],
            "jobs": [msgspec.to_builtins(mine) for mine, _ in pairs],
            "rclone_copy": [msgspec.to_builtins(theirs) for _, theirs in pairs],
        }
        for name, case, pairs in rows
    ]


if __name__ == "__main__":
    sys.exit(main())
