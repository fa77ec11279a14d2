"""Measure what durable state costs.

python -m benchmark.state [--only commits,start,disk] [--stores sqlite,postgresql,mongodb,mongodb-single] [--commits 20000]
                          [--workflows 10000] [--running 1000] [--rows 1000000] [--steps 1000]

commits: so many commits of a step (a row, a node, an effect that replaces another, two lines of history) by 64 workflows at
once, beside a bare loop that writes the same rows to the same database in batches as large, interleaved with it; and how long
one commit takes while nothing else is written, and while all 64 write. mongodb-single: MongoDB without transactions.
start: a server over so many workflows, `--running` of them under way, and a catalogue of so many rows, which was killed.
disk: by how much SQLite's file grows for each step that has ended.
Writes build/bench/state.json; exit code 1 if a goal is missed: half of the bare loop, 10 s, 1 KiB. A database that is not
installed is left out, which is told.
"""

import argparse
import asyncio
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from benchmark import catalogue
from benchmark.service import MeasurementError, Server, checked, no_orphans
from benchmark.state import bare
from jitflow import machine
from jitflow.engine.run import Turn
from jitflow.model import argo
from jitflow.model.objects import NO_OBJECTS
from jitflow.model.runs import WorkflowStarted
from jitflow.ports.store import Commit, EffectRow, RunRow, StateStore
from jitflow.spec import load_one
from jitflow.stores import open_store, url_of
from jitflow.stores.sqlite import SqliteStore

RUNS = 64
NODE, EFFECT, EVENTS = bytes(range(97, 122)) * 24, bytes(range(97, 122)) * 40, (bytes(120), bytes(140))
GOALS = {"ratio": 0.5, "start_s": 10.0, "step_bytes": 1024.0}
SINGLE = "mongodb-single"
_ROUNDS = 3
Result = dict[str, Any]


def main() -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="commits,start,disk")
    parser.add_argument("--stores", default="sqlite,postgresql,mongodb")
    parser.add_argument("--commits", type=int, default=20_000)
    parser.add_argument("--workflows", type=int, default=10_000)
    parser.add_argument("--running", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--output", type=Path, default=Path("build/bench"))
    arguments = parser.parse_args()
    found: Result = {}
    root = Path(tempfile.mkdtemp(prefix="jitflow-state-"))
    try:
        with no_orphans():
            if "commits" in arguments.only:
                found |= _commits(root, arguments.stores.split(","), arguments.commits)
            if "disk" in arguments.only:
                found["disk"] = disk(root / "disk", arguments.steps)
            if "start" in arguments.only:
                found["start"] = start(root / "start", arguments.workflows, arguments.running, arguments.rows)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "state.json").write_text(json.dumps(found, indent=1) + "\n")
    missed = list(_missed(found))
    print("\n".join([*_report(found), *missed]))
    return 1 if missed else 0


def _report(found: Result) -> list[str]:
    lines: list[str] = []
    for store, one in found.get("commits", {}).items():
        lines.append(
            f"{store}: {one['commits_per_s']:,.0f} commits/s = {one['events_per_s']:,.0f} events/s, bare loop "
            f"{one['bare_per_s']:,.0f} commits/s, ratio {one['ratio']:.2f}; a commit alone {one['alone_ms']:.2f} ms, "
            f"among {RUNS} {one['among_ms']:.1f} ms (99 %: {one['among_p99_ms']:.1f} ms)"
        )
    lines += [f"{store}: not measured: {why}" for store, why in found.get("left_out", {}).items()]
    if "start" in found:
        one = found["start"]
        lines.append(
            f"start after a kill: {one['start_s']:.1f} s over {one['workflows']:,} workflows, {one['running']:,} of them under "
            f"way, and {one['rows']:,} replicas"
        )
    if "disk" in found:
        lines.append(f"disk: {found['disk']['step_bytes']:.0f} bytes for each of {found['disk']['steps']:,} finished steps")
    return lines


def _missed(found: Result) -> list[str]:
    missed = [
        f"MISSED: {store} writes {one['ratio']:.2f} of the bare loop, the goal is {GOALS['ratio']}"
        for store, one in found.get("commits", {}).items()
        if one["ratio"] < GOALS["ratio"]
    ]
    if "start" in found and found["start"]["start_s"] > GOALS["start_s"]:
        missed.append(f"MISSED: the start took {found['start']['start_s']:.1f} s, the goal is {GOALS['start_s']}")
    if "disk" in found and found["disk"]["step_bytes"] > GOALS["step_bytes"]:
        missed.append(f"MISSED: a step takes {found['disk']['step_bytes']:.0f} bytes, the goal is {GOALS['step_bytes']}")
    return missed


# -- commits -----------------------------------------------------------------------------------------------------------------


class _NotHere(MeasurementError):
    """A database that is not installed."""


def _commits(root: Path, stores: Sequence[str], number: int) -> Result:
    found: Result = {"commits": {}, "left_out": {}}
    for store in stores:
        try:
            found["commits"][store] = commits(root, store, number)
        except _NotHere as error:
            found["left_out"][store] = str(error)
    return found


def commits(root: Path, store: str, number: int) -> Result:
    """Return how fast commits are, and a bare loop on the same database; medians of interleaved rounds."""
    rounds = [_round(root / f"{store}-{place}", store, number) for place in range(_ROUNDS)]
    ours = statistics.median(number / one["seconds"] for one in rounds)
    plain = statistics.median(number / one["bare_s"] for one in rounds)
    return {
        "commits_per_s": ours,
        "events_per_s": ours * len(EVENTS),
        "bare_per_s": plain,
        "ratio": statistics.median(one["bare_s"] / one["seconds"] for one in rounds),
        **{key: statistics.median(one[key] for one in rounds) for key in ("alone_ms", "among_ms", "among_p99_ms")},
    }


def _round(root: Path, store: str, number: int) -> Result:
    root.mkdir()
    with ExitStack() as stack:
        url = _url(root, store, stack)
        found = asyncio.run(_ours(url, number, transactions=store != SINGLE))
        todo = bare.batches(number, RUNS, RUNS)
        if store == "sqlite":
            found["bare_s"] = bare.sqlite(root / "bare.db", todo, NODE, EFFECT, EVENTS)
        else:
            found["bare_s"] = (bare.postgresql if store == "postgresql" else bare.mongodb)(url, todo, NODE, EFFECT, EVENTS)
        return found


def _url(root: Path, store: str, stack: ExitStack) -> str:
    try:
        if store == "postgresql":
            from jitflow.testing.postgresql_server import postgresql_server  # noqa: PLC0415 - its driver is an extra

            return stack.enter_context(postgresql_server(durable=True)).url
        if store in {"mongodb", SINGLE}:
            from jitflow.testing.mongodb_server import mongodb_server  # noqa: PLC0415 - its driver is an extra

            return stack.enter_context(mongodb_server()).new_database()
    except (FileNotFoundError, ImportError) as error:
        raise _NotHere(str(error)) from error
    return url_of(root / "state.db")


def _commit(run: int, number: int) -> Commit:
    row = RunRow(
        uid=f"u{run}", namespace="default", name=f"w{run}", phase="Running", created_at=1.0, version=number + 1, progress="1/2"
    )
    header = b"h" * 2000 if number == 0 else None
    done = (f"n{number - 1}",) if number else ()
    effects = (EffectRow(key=f"n{number}", body=EFFECT),)
    return Commit(row=row, header=header, nodes=((f"n{number}", NODE),), effects=effects, effects_done=done, events=EVENTS)


async def _ours(url: str, number: int, *, transactions: bool) -> Result:
    waited: list[float] = []

    async def drive(store: StateStore, run: int, numbers: range) -> None:
        for version in numbers:
            began = time.perf_counter()
            await store.commit(_commit(run, version))
            waited.append(time.perf_counter() - began)

    async with open_store(url, transactions=transactions) as store:
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for run in range(RUNS):
                group.create_task(drive(store, run, range(number // RUNS)))
        seconds = (time.perf_counter() - began) * number / (number // RUNS * RUNS)
        among, waited = sorted(waited), []
        await drive(store, RUNS, range(200))
    return {
        "seconds": seconds,
        "among_ms": 1000 * statistics.median(among),
        "among_p99_ms": 1000 * among[int(0.99 * len(among))],
        "alone_ms": 1000 * statistics.median(waited),
    }


# -- start -------------------------------------------------------------------------------------------------------------------


def start(root: Path, workflows: int, running: int, rows: int) -> Result:
    """Return how long a server takes to answer over a large state that a killed one has left."""
    home = root / "home"
    home.mkdir(parents=True)
    asyncio.run(catalogue.make(home, rows))
    asyncio.run(_make_runs(home / "state.db", workflows, running))
    server = Server(home, {"primary": {"capacity": 2 * rows * catalogue.SIZE_BYTES, "free_floor": 0}, "max_pods": 2})
    first = server.start(timeout_s=300)
    listed = checked(server.call("GET", "/api/v1/workflows/default", **{"listOptions.limit": "1"}))
    server.kill()
    again = server.start(timeout_s=300)
    server.kill()
    assert listed["items"], "nothing is listed"
    return {"start_s": max(first, again), "workflows": workflows, "running": running, "rows": rows}


_WAITING = load_one(
    """apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {name: w}
spec:
  entrypoint: main
  templates:
  - name: main
    steps:
    - - {name: a, template: wait}
    - - {name: b, template: wait}
  - name: wait
    suspend: {}
""",
    kinds=("Workflow",),
).manifest


async def _make_runs(path: Path, workflows: int, running: int) -> None:
    uids = count()
    async with SqliteStore.open(path) as store, asyncio.TaskGroup() as group:
        for _ in range(RUNS):
            group.create_task(_drive(store, uids, workflows, running))


async def _drive(store: StateStore, numbers: "count[int]", workflows: int, running: int) -> None:
    while (number := next(numbers)) < workflows:
        await store.commit(_suspended(number, ended=number >= running))


def _suspended(number: int, *, ended: bool) -> Commit:
    """Return a workflow that waits for somebody, or one that has ended."""
    uid = f"00000000-0000-4000-8000-{number:012d}"
    metadata = argo.ObjectMeta(name=f"w{number}", namespace="default", uid=uid)
    assert isinstance(_WAITING, argo.Workflow)
    workflow = replace(_WAITING, metadata=metadata)
    turn = Turn(machine.new_state(workflow, now=1.0, objects=NO_OBJECTS))
    turn.take(machine.decide(turn.state, WorkflowStarted(), 1.0, NO_OBJECTS))
    summary = machine.summary(turn.state)
    row = RunRow(uid=uid, namespace="default", name=f"w{number}", phase=summary.phase, created_at=1.0, started_at=1.0, version=1)
    row = replace(row, progress=summary.progress, labels=summary.labels)
    if ended:
        row = replace(row, phase="Succeeded", finished_at=2.0)
    return turn.commit(row, machine.encode_header(turn.state), ())


# -- disk --------------------------------------------------------------------------------------------------------------------

_FAN = """apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {{generateName: fan-}}
spec:
  entrypoint: main
  templates:
  - name: main
    steps:
    - - name: part
        template: part
        arguments: {{parameters: [{{name: word, value: "{{{{item}}}}"}}]}}
        withSequence: {{count: {steps}}}
  - name: part
    inputs: {{parameters: [{{name: word}}]}}
    container: {{image: busybox, command: [sh, -c], args: ["echo {{{{inputs.parameters.word}}}}"]}}
"""


def disk(root: Path, steps: int) -> Result:
    """Return by how many bytes the file grows for each step of a workflow that has ended."""
    root.mkdir(parents=True)
    server = Server(root / "home", {"max_pods": 4, "executor": "process"})
    sizes: list[int] = []
    for number in (1, steps):
        with server:
            answer = checked(server.post_text("/api/v1/workflows/default", _FAN.format(steps=number)))
            path = f"/api/v1/workflows/default/{answer['metadata']['name']}"
            while not server.get(path, fields="status.phase,status.finishedAt")["status"].get("finishedAt"):
                time.sleep(0.2)
        sizes.append((root / "home" / "state.db").stat().st_size)
    return {"step_bytes": (sizes[1] - sizes[0]) / steps, "steps": steps, "file_bytes": sizes[1]}


if __name__ == "__main__":
    sys.exit(main())
