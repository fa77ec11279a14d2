"""Submit and read workflows over HTTP, beside a bare endpoint that writes one row and beside Prefect's server, all in one run.

    python -m benchmark.api [--rounds 3] [--seconds 2] [--connections 1,32] [--only jitflow]

Writes build/bench/api.{json,md,png}. The servers take turns within each round. The bare endpoint runs on the same event loop and
the same HTTP parser as jitflow, and both commit in groups to SQLite (WAL, synchronous NORMAL). The workflows that are submitted
are checked, stored and begun; they are suspended, so that no step's cost is in the figures. At the end the servers are killed
with SIGKILL, and what was answered must be in their files. Prefect answers 503 to most of what comes over several connections: it
is measured over one.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct, to_builtins

from benchmark.api.plot import draw
from benchmark.api.targets import Bare, Call, Jitflow, Prefect, Target
from benchmark.overhead.tools import Unavailable
from benchmark.service import MeasurementError, no_orphans

GOALS = {"submit": 0.5, "status": 0.6}
"""At least so many times the requests of the bare endpoint."""
GOAL_PREFECT = 20.0


class Sample(Struct, frozen=True, kw_only=True):
    """One measurement. `cpu_ms`: of the server's process, a request."""

    target: str
    call: str
    verb: str
    connections: int
    per_s: float
    errors: int
    p50_ms: float
    p99_ms: float
    cpu_ms: float


def main() -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--connections", default="1,32")
    parser.add_argument("--only", default="", help="servers whose name holds this text")
    parser.add_argument("--output", type=Path, default=Path("build/bench"))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    work = (arguments.output / "api").absolute()
    with no_orphans():
        targets: list[Target] = [one for one in (Bare(work), Jitflow(work), Prefect(work)) if arguments.only in one.name]
        result = measure(targets, arguments.rounds, arguments.seconds, [int(one) for one in arguments.connections.split(",")])
    (arguments.output / "api.json").write_text(json.dumps(result, indent=1) + "\n")
    table = "\n".join(table_of(result)) + "\n"
    (arguments.output / "api.md").write_text(table)
    print("\n" + table)
    draw(result, arguments.output / "api.png")
    print(f"written: {arguments.output}/api.json, api.md, api.png")
    return 1 if result["lost"] else 0


def measure(targets: list[Target], rounds: int, seconds: float, connections: list[int]) -> dict[str, Any]:
    """Return what came of all servers, which run at the same time and are asked in turn."""
    ready: dict[str, float] = {}
    calls: dict[str, list[Call]] = {}
    for target in targets:
        try:
            ready[target.name] = round(target.start(), 2)
            calls[target.name] = target.calls()
        except (Unavailable, MeasurementError) as error:
            print(f"{target.name}: left out: {error}", flush=True)
    running = [target for target in targets if target.name in calls]
    samples: list[Sample] = []
    for number in range(1, rounds + 1):
        for count in connections:
            for target, call in _turns(running, calls):
                if target.name == Prefect.name and count > 1:
                    continue
                samples.append(one_sample(target, call, count, seconds))
                last = samples[-1]
                print(f"round {number}: {last.target:14} {last.call:32} {count:3} conns {last.per_s:8.0f}/s", flush=True)
    memory = {target.name: round(target.usage()[1] / 1e6) for target in running}
    lost = {target.name: _lost(target, samples, seconds) for target in running}
    return {
        "machine": f"{os.cpu_count()} processors, {platform.machine()}, Linux {platform.release()}, "
        f"Python {platform.python_version()}",
        "rounds": rounds,
        "seconds": seconds,
        "ready_s": ready,
        "memory_mb": memory,
        "lost": sum(lost.values()),
        "rows": rows_of(samples),
        "ratios": ratios_of(samples),
        "samples": [to_builtins(sample) for sample in samples],
    }


def _turns(targets: list[Target], calls: dict[str, list[Call]]) -> Iterator[tuple[Target, Call]]:
    """Yield the calls so that those which are compared follow each other."""
    for verb in GOALS:
        for target in targets:
            for call in calls[target.name]:
                if call.verb == verb:
                    yield target, call


def one_sample(target: Target, call: Call, connections: int, seconds: float) -> Sample:
    """Send one call over and over."""
    command = [sys.executable, "-m", "benchmark.api.load", str(target.port), call.method, call.path, str(seconds)]
    before, _ = target.usage()
    done = subprocess.run(
        [*command, str(connections)], input=call.body, capture_output=True, check=True, timeout=seconds + 60,
        env=os.environ | {"LOAD_TOKEN": target.token},
    )  # fmt: skip
    used = target.usage()[0] - before
    found = json.loads(done.stdout)
    return Sample(
        target=target.name,
        call=call.name,
        verb=call.verb,
        connections=connections,
        per_s=found["good"] / found["seconds"],
        errors=found["errors"],
        p50_ms=found["p50_ms"],
        p99_ms=found["p99_ms"],
        cpu_ms=used * 1e3 / max(found["good"] + found["errors"], 1),
    )


def _lost(target: Target, samples: list[Sample], seconds: float) -> int:
    """Return how many submissions were answered and are not in the server's file when it has been killed."""
    answered = sum(round(s.per_s * seconds) for s in samples if s.target == target.name and s.verb == "submit")
    stored = target.stored()
    missing = 0 if stored is None else max(int(answered * 0.98) - stored, 0)
    if stored is not None:
        print(f"{target.name}: about {answered} submissions were answered, {stored} are stored", flush=True)
    return missing


def rows_of(samples: list[Sample]) -> list[dict[str, Any]]:
    """Return the medians of each server's calls."""
    rows: list[dict[str, Any]] = []
    for key in dict.fromkeys((s.target, s.call, s.verb, s.connections) for s in samples):
        some = [s for s in samples if (s.target, s.call, s.verb, s.connections) == key]
        row: dict[str, Any] = dict(zip(("server", "call", "verb", "connections"), key, strict=True))
        for name in ("per_s", "p50_ms", "p99_ms", "cpu_ms"):
            row[name] = round(statistics.median(getattr(s, name) for s in some), 3)
        rows.append(row | {"errors": sum(s.errors for s in some)})
    return rows


def ratios_of(samples: list[Sample]) -> list[dict[str, Any]]:
    """Return jitflow's requests a second over the bare endpoint's and Prefect's: medians of the rounds' ratios."""
    rates: dict[tuple[str, str, int], list[float]] = {}
    for s in samples:
        rates.setdefault((s.target, s.call, s.connections), []).append(s.per_s)
    verbs = {(s.call, s.connections): s.verb for s in samples if s.target == Jitflow.name}
    found: list[dict[str, Any]] = []
    for (call, connections), verb in verbs.items():
        ours = rates[Jitflow.name, call, connections]
        bare = rates.get((Bare.name, verb, connections), [])
        other = rates.get((Prefect.name, "create run" if verb == "submit" else "read run", 1), [])
        row: dict[str, Any] = {"call": call, "verb": verb, "connections": connections}
        row["of_bare"] = _ratio(ours, bare)
        row["of_prefect"] = _ratio(ours, other)
        row["goal"] = GOALS[verb]
        found.append(row)
    return found


def _ratio(ours: list[float], theirs: list[float]) -> float | None:
    both = [mine / other for mine, other in zip(ours, theirs, strict=False) if other]
    return round(statistics.median(both), 2) if both else None


def table_of(result: dict[str, Any]) -> list[str]:
    """Return the results as a table in Markdown."""
    lines = [
        f"Requests a second, medians of {result['rounds']} rounds of {result['seconds']} s; {result['machine']}.",
        "Latencies in ms; CPU is the server's, ms a request.",
        "",
        "| server | request | connections | per s | p50 | p99 | CPU | errors |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row['server']} | {row['call']} | {row['connections']} | {row['per_s']:.0f} | {row['p50_ms']:.2f} "
        f"| {row['p99_ms']:.1f} | {row['cpu_ms']:.2f} | {row['errors']} |"
        for row in result["rows"]
    ]
    goals = f"goals: submit {GOALS['submit']}, status {GOALS['status']}; create-run {GOAL_PREFECT:.0f} x Prefect's"
    lines += ["", f"jitflow over the others in the same round ({goals}):", ""]
    lines += ["| request | connections | x bare | | x Prefect | |", "| --- | --- | --- | --- | --- | --- |"]
    for row in result["ratios"]:
        bare, other = row["of_bare"], row["of_prefect"]
        judged = (_judged(bare, row["goal"]), _judged(other, GOAL_PREFECT) if row["verb"] == "submit" else "")
        cells = (_shown(bare), judged[0], _shown(other), judged[1])
        lines.append(f"| {row['call']} | {row['connections']} | {' | '.join(cells)} |")
    ready = ", ".join(f"{name} {value} s" for name, value in result["ready_s"].items())
    memory = ", ".join(f"{name} {value} MB" for name, value in result["memory_mb"].items())
    return [*lines, "", f"Ready after: {ready}. Memory at the end: {memory}. Answered but not stored: {result['lost']}."]


def _judged(value: float | None, goal: float) -> str:
    return "" if value is None else "holds" if value >= goal else "missed"


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    sys.exit(main())
