"""Run recorded workflows for real, scaled down: a jitflow server, pods that read and write bytes, an S3 store behind a slow link.

python -m benchmark.traces.real [--only montage-chameleon-2mass-05d] [--fractions 25] [--seconds 90] [--pace 8] [--megabytes 1000]
                                [--rate 0] [--policies jitflow,on-demand,on-demand-ranges] [--repeats 1]

Writes build/bench/real.json and real.md. Beside each makespan stand the bound of the model (benchmark/traces/bound.py) at the
rate that was measured on the link, and the makespan that the planner's simulation promises. Estimates of run times and sizes are
declared in the manifest; `--estimates learned` leaves them out, runs the workflow once before it is measured, and lets the
server go by what it has learned. Each server has moved a few objects over the link before: it knows its rate.

`on-demand` is the baseline of the model: a step takes a place, then fetches what it lacks, each object as one stream, and nothing
is read ahead; `on-demand-ranges` is the same with larger objects in ranges, as look-ahead moves them too.

The scale: run times are multiplied so that computing takes at least so many `--seconds`, and no more than `--pace` steps begin
in a second on average, for what a step costs must stay small beside what it does; sizes so that all bytes together are so many
`--megabytes`; rate and latency of the link so that transfers are to run times as in the recorded workflow over `--rate`.
Each workflow has a rate and a near store of its own.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from benchmark.service import MeasurementError, Server, background, checked, free_port, no_orphans
from benchmark.standstill import RunClock, Standstill
from benchmark.traces import bound
from benchmark.traces.manifest import BUCKET, workflow
from benchmark.traces.tables import table
from benchmark.traces.workloads import STREAM_SHARE, TRANSFERS, WORKERS, Trace, load, point
from jitflow.dataplane.choosing import EFFORT, Question, budget_s
from jitflow.planner import Arrival, Link, PlannerOptions, Setting, choose, simulate
from jitflow.storage.binary import clean_environment, find_rclone
from jitflow.testing.s3_server import S3Server

NAMESPACE = "default"
FINAL = {"Succeeded", "Failed", "Error"}
JITFLOW, ON_DEMAND, RANGES = "jitflow", "on-demand", "on-demand-ranges"


class Place(NamedTuple):
    """Where a workflow is run. `fraction`: the near store, in hundredths of all bytes; `rate`: of the link unscaled, in MB/s."""

    fraction: int
    rate: float


_TRACES = {"montage-chameleon-2mass-05d": Place(25, 6.0), "epigenomics-chameleon-hep-3seq-50k": Place(20, 4.5)}
"""What is run, and where: docs/explanation/benchmarks.md says why."""
_ELSE = Place(25, 5.0)
_LATENCY_S = 0.1
_STANDSTILL_S = 120.0
_PROBE_S = 4.0
_KNOWN_S = 20.0
"""How long the server moves objects over the link before it is measured: until it has found out how many streams fill it."""
_KNOWN = 40
_SMALL, _SMALL_S = 16, 0.1
"""Small ones show how long a request takes."""
_PART_BYTES = 2**20
GOALS = {"ratio": 1.25, "speedup": 1.8}
"""Makespan by the bound at most; makespan on demand by that of jitflow at least."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A workflow, scaled, and where it runs. `latency_s`: of one transfer, a round trip."""

    trace: Trace
    fraction: int
    capacity: int
    rate_Bps: float
    latency_s: float


@dataclass(frozen=True, kw_only=True)
class Row:
    """One run. `bytes_down`, `bytes_up`: over the link; `plan`: why the last plan was chosen; `model_s`: what it promises.

    `stopped_s`: for how long the measurement was stopped meanwhile; its makespan says nothing then.
    """

    instance: str
    policy: str
    estimates: str
    capacity_fraction: float
    capacity_bytes: int
    bandwidth_Bps: float
    makespan_s: float
    bytes_down: int
    bytes_up: int
    peak_bytes: int
    plan: str
    measured_Bps: float = 0.0
    bound_s: float = 0.0
    model_s: float = 0.0
    stopped_s: float = 0.0

    @property
    def ratio(self) -> float:
        """Return the makespan by the bound."""
        return self.makespan_s / self.bound_s


def main() -> int:
    """Run the command line; return its exit code."""
    arguments = _arguments()
    paths = [path for word in arguments.only for path in sorted(arguments.traces.glob(f"*{word}*.json*"))]
    if not paths:
        print(f"no such traces in {arguments.traces}; name their folder: make bench-real TRACES=FOLDER", file=sys.stderr)
        return 2
    arguments.output.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    with no_orphans():
        for path in paths:
            own = _place(path)
            for fraction in arguments.fractions or (own.fraction,):
                trace = load(path)
                seconds = max(arguments.seconds, len(trace.tasks) / arguments.pace)
                rate_Bps = (arguments.rate or own.rate) * 1e6
                case = scaled(trace, int(fraction), seconds, arguments.megabytes * 1e6, rate_Bps)
                for _ in range(arguments.repeats):
                    rows += measure(case, arguments)
    text = report(rows)
    (arguments.output / "real.json").write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    (arguments.output / "real.md").write_text(text + "\n")
    print("\n" + text)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=Path, default=Path("../shared/traces"), help="folder of WfFormat files")
    parser.add_argument("--only", type=_words, default=tuple(_TRACES), help="traces whose names hold one of these")
    parser.add_argument("--fractions", type=_words, default=(), help="capacity in hundredths of all bytes")
    parser.add_argument("--seconds", type=float, default=90.0, help="least computing time of a run, for scaling")
    parser.add_argument("--pace", type=float, default=8.0, help="steps that begin in a second on average, at most, for scaling")
    parser.add_argument("--megabytes", type=float, default=1000.0, help="all bytes of a run, for scaling")
    parser.add_argument("--rate", type=float, default=0.0, help="MB/s of the link, before scaling; 0: that of each workflow")
    parser.add_argument("--policies", type=_words, default=(JITFLOW, ON_DEMAND), help="of jitflow, on-demand, on-demand-ranges")
    parser.add_argument("--estimates", choices=("declared", "learned"), default="declared")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("build/bench"))
    return parser.parse_args()


def _place(path: Path) -> Place:
    return next((place for name, place in _TRACES.items() if name in path.name), _ELSE)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.split(",") if word)


def scaled(trace: Trace, fraction: int, seconds: float, whole_bytes: float, rate_Bps: float) -> Case:
    """Return a workflow whose run takes at least so many seconds and has so many bytes; the link shrinks with it."""
    by_time = seconds / max(trace.critical_s, trace.compute_s / WORKERS)
    by_bytes = whole_bytes / sum(trace.sizes.values())
    small = Trace(
        name=trace.name,
        tasks=tuple(replace(task, run_s=task.run_s * by_time) for task in trace.tasks),
        sizes={file: max(1, round(size * by_bytes)) for file, size in trace.sizes.items()},
    )
    capacity = point(small, fraction, "50").capacity
    return Case(
        trace=small,
        fraction=fraction,
        capacity=capacity,
        rate_Bps=rate_Bps * by_bytes / by_time,
        latency_s=_LATENCY_S * by_time,
    )


def measure(case: Case, arguments: argparse.Namespace) -> list[Row]:
    """Run a workflow under each policy, over one link."""
    work = arguments.output / "real"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    rows: list[Row] = []
    _write_inputs(case, work / "far" / BUCKET)
    with S3Server(work / "far", hash_cache=work / "far-hashes") as server:
        measured = _probed(case, server, work)
        least = bound.bound(case.trace, measured, case.capacity, case.latency_s)
        promised = promise(case, measured)
        print(
            f"{case.trace.name}: {len(case.trace.tasks):,} steps, {sum(case.trace.sizes.values()) / 1e6:.0f} MB, "
            f"{case.capacity / 1e6:.0f} MB near, link {case.rate_Bps / 1e6:.2f} MB/s (measured {measured / 1e6:.2f}), "
            f"{1000 * case.latency_s:.0f} ms; bound {least:.1f} s, simulated {promised:.1f} s",
            flush=True,
        )
        for policy in arguments.policies:
            row = _run(case, policy, server, work, estimates=arguments.estimates)
            row = replace(row, measured_Bps=measured, bound_s=least, model_s=promised if policy == JITFLOW else 0.0)
            rows.append(row)
            print(f"  {policy}: {row.makespan_s:.1f} s, {row.ratio:.2f} of the bound; {row.plan}", flush=True)
    return rows


def promise(case: Case, rate_Bps: float) -> float:
    """Return the makespan that the planner's simulation gives the plan that it would choose."""
    link = Link(rate_Bps=rate_Bps, stream_Bps=rate_Bps / STREAM_SHARE, latency_s=case.latency_s)
    options = PlannerOptions(
        transfers=TRANSFERS,
        workers=WORKERS,
        window=4096,
        part_bytes=_PART_BYTES,
        fill_streams=STREAM_SHARE,
        fill_bytes=int(2 * rate_Bps * case.latency_s),
        default_output_bytes=0,
    )
    setting = Setting(capacity_bytes=case.capacity, link=link, options=options)
    steps = case.trace.steps()
    until = time.process_time() + budget_s(Question(steps=steps, setting=setting))
    plan = choose(steps, setting, EFFORT, lambda: time.process_time() >= until)
    return simulate([Arrival(uid="w", steps=tuple(steps), plan=plan)], setting).makespan_s


def _write_inputs(case: Case, bucket: Path) -> None:
    random = Random(7)
    for file in case.trace.external:
        path = bucket / "in" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.randbytes(case.trace.sizes[file]))
    known = (("known", _KNOWN, _KNOWN_S), ("small", _SMALL, _SMALL_S))
    for name, count, seconds in (("probe", 2 * STREAM_SHARE, _PROBE_S), *known):
        folder = bucket / name
        folder.mkdir(parents=True)
        for number in range(count):
            (folder / str(number)).write_bytes(random.randbytes(round(case.rate_Bps * seconds / count)))


@contextmanager
def _link(case: Case, server: S3Server, log: Path) -> Iterator[str]:
    """Put a link of its own before the store; yield the endpoint at its near end. Its log tells the bytes when it has ended."""
    port = free_port()
    log.unlink(missing_ok=True)
    mbit = 8 * case.rate_Bps / 1e6
    command = [
        sys.executable, "-m", "jitflow.testing.slow_link",
        "--listen", f"127.0.0.1:{port}", "--to", f"127.0.0.1:{server.port}",
        "--rtt-ms", f"{1000 * case.latency_s:.1f}", "--mbit", f"{mbit:.3f}", "--connection-mbit", f"{mbit / STREAM_SHARE:.3f}",
    ]  # fmt: skip
    with background(command, log, port=port):
        yield f"http://127.0.0.1:{port}"


def _probed(case: Case, server: S3Server, work: Path) -> float:
    """Return the rate at which one well-tuned copy of several files comes over the link."""

    def copy(source: str, endpoint: str) -> float:
        options = {f"RCLONE_CONFIG_FAR_{key.upper()}": value for key, value in server.options(endpoint=endpoint).items()}
        environment = clean_environment({"RCLONE_CONFIG_FAR_TYPE": "s3", **options})
        began = time.monotonic()
        subprocess.run(
            [str(find_rclone("")), "copy", f"far:{BUCKET}/{source}", str(work / "probe"), "--config", "", "--transfers", "16",
             "--multi-thread-streams", "0", "--ignore-times"],
            check=True, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
        )  # fmt: skip
        return time.monotonic() - began

    (work / "far" / BUCKET / "nothing").mkdir()
    with _link(case, server, work / "probe.log") as endpoint:
        around = min(copy("nothing", endpoint) for _ in range(2))
        took = copy("probe", endpoint) - around
    return 2 * STREAM_SHARE * round(case.rate_Bps * _PROBE_S / 2 / STREAM_SHARE) / took


def _run(case: Case, policy: str, server: S3Server, work: Path, *, estimates: str) -> Row:
    log = work / f"{policy}-link.log"
    with _link(case, server, log) as endpoint:
        settings: dict[str, Any] = {
            "executor": "sandbox",
            "max_pods": WORKERS,
            "primary": {
                "capacity": case.capacity,
                "lookahead": policy == JITFLOW,
                "transfers": TRANSFERS,
                "ranges": 1 if policy == ON_DEMAND else 8,
            },
            "remotes": {"far": {"type": "s3", "endpoints": ["far.example:9000"], "options": server.options(endpoint=endpoint)}},
            "images": {"trace": {"root": ""}},
        }
        home = work / policy
        shutil.rmtree(home, ignore_errors=True)
        with Server(home, settings) as jitflow:
            _use_link(jitflow)
            if estimates == "learned":
                _once(jitflow, case, "before", declared=False)
                _forget_inputs(jitflow)
            makespan_s, plan, stopped_s = _once(jitflow, case, policy, declared=estimates == "declared")
            peak = int(_primary(jitflow)["fill"]["peak_bytes"])
            (work / f"{policy}-timeline.json").write_text(json.dumps(jitflow.get("/api/jit/v1/timeline", since=0)) + "\n")
    words = log.read_text().split()
    return Row(
        instance=case.trace.name,
        policy=policy,
        estimates=estimates,
        capacity_fraction=case.fraction / 100,
        capacity_bytes=case.capacity,
        bandwidth_Bps=case.rate_Bps,
        makespan_s=makespan_s,
        bytes_down=int(words[words.index("down") + 1]) if "down" in words else 0,
        bytes_up=int(words[words.index("up") + 1]) if "up" in words else 0,
        peak_bytes=peak,
        plan=plan,
        stopped_s=stopped_s,
    )


def _use_link(server: Server) -> None:
    """Let a server move objects over its link, as one does that has worked before, and forget them again."""
    counts = {"small": _SMALL, "known": _KNOWN}
    names = [f"far:{BUCKET}/{name}/{number}" for name, count in counts.items() for number in range(count)]
    with ThreadPoolExecutor(len(names)) as pool:
        for answer in pool.map(lambda name: server.call("POST", "/data/v1/primary/stage", {"ref": name}), names):
            checked(answer)
    _forget_inputs(server)


def _primary(server: Server) -> dict[str, Any]:
    return server.get("/data/v1/primary")


def _forget_inputs(server: Server) -> None:
    """Empty the near store."""
    for one in _primary(server)["replicas"]:
        ref = one["ref"]
        name = ref if isinstance(ref, str) else f"{ref['remote']}:{ref['path']}"
        server.call("POST", "/data/v1/primary/evict", {"ref": name})


def _once(server: Server, case: Case, prefix: str, *, declared: bool) -> tuple[float, str, float]:
    """Run the workflow; return how long that took, the last plan that it had, and how long it was stopped meanwhile.

    Raises:
        MeasurementError: it did not succeed.
    """
    manifest = workflow(case.trace, prefix, declared=declared)
    server.get("/api/v1/version")
    began = time.monotonic()
    body = {"namespace": NAMESPACE, "workflow": manifest}
    name = checked(server.call("POST", f"/api/v1/workflows/{NAMESPACE}", body))["metadata"]["name"]
    path = f"/api/v1/workflows/{NAMESPACE}/{name}"
    plan, looked_at = "", began
    with RunClock() as clock:
        standstill = Standstill(clock, _STANDSTILL_S)
        while True:
            status = server.get(path, fields="status.phase,status.progress,status.message").get("status") or {}
            now = time.monotonic()
            if status.get("phase") in FINAL:
                break
            if standstill.lasts(status.get("progress")):
                seen = _look_around(server, name)
                raise MeasurementError(f"nothing ended for {_STANDSTILL_S:.0f} s; see {server.log} and {seen}")
            if not plan and now - looked_at > 5:
                looked_at = now
                plan = _plan(server, name)
            time.sleep(0.2)
    if status["phase"] != "Succeeded":
        raise MeasurementError(f"the workflow ended as {status['phase']}: {status.get('message')}; see {server.log}")
    return now - began, plan, clock.stopped_s


def _plan(server: Server, name: str) -> str:
    answer = server.call("GET", f"/api/jit/v1/workflows/{NAMESPACE}/{name}/explain")
    plans = answer.json().get("plans", []) if answer.is_success else []
    return plans[0]["reason"] if plans else ""


def _look_around(server: Server, name: str) -> Path:
    """Write down how things stand, for a run that stands still; return where."""
    workflow = server.get(f"/api/v1/workflows/{NAMESPACE}/{name}", fields="status.nodes,status.progress")
    nodes = (workflow.get("status") or {}).get("nodes") or {}
    open_nodes = [node for node, status in nodes.items() if status.get("type") == "Pod" and status.get("phase") not in FINAL]
    why = {
        node: server.call("GET", f"/api/jit/v1/workflows/{NAMESPACE}/{name}/why", node=node).json() for node in open_nodes[:50]
    }
    seen = server.home.parent / f"{server.home.name}-standstill.json"
    seen.write_text(json.dumps({"open": {node: nodes[node] for node in open_nodes}, "why": why, "primary": _primary(server)}))
    return seen


def report(rows: Sequence[Row]) -> str:
    """Return the table."""
    lines = [
        [
            row.instance,
            f"{row.capacity_fraction:.0%}",
            row.policy,
            f"{row.makespan_s:.1f}",
            f"{row.bound_s:.1f}",
            f"{row.ratio:.2f}",
            f"{row.makespan_s / row.model_s:.2f}" if row.model_s else "",
            f"{row.bytes_down / 1e6:.0f}",
            f"{row.bytes_up / 1e6:.0f}",
            row.plan.partition(":")[0],
        ]
        for row in rows
    ]
    heads = ["workflow", "near", "policy", "s", "bound", "by the bound", "by the model", "MB down", "MB up", "plan"]
    return "\n\n".join([table(heads, lines), *filter(None, [_verdicts(rows), *map(_stopped, rows)])])


def _stopped(row: Row) -> str:
    """Say that a run was stopped on the way, if it was."""
    if not row.stopped_s:
        return ""
    return f"The run of {row.instance} under {row.policy} was stopped for {row.stopped_s:.0f} s: its makespan says nothing."


def _verdicts(rows: Sequence[Row]) -> str:
    """Return which goals hold, of runs under both policies that followed each other."""
    lines: list[list[str]] = []
    for ours, theirs in pairwise(rows):
        if ours.stopped_s or theirs.stopped_s:
            continue
        if (ours.policy, theirs.policy) == (JITFLOW, ON_DEMAND) and ours.instance == theirs.instance:
            faster = theirs.makespan_s / ours.makespan_s
            holds = {"by the bound": ours.ratio <= GOALS["ratio"], "faster than on demand": faster >= GOALS["speedup"]}
            for (what, good), value, goal in zip(holds.items(), (ours.ratio, faster), GOALS.values(), strict=True):
                lines.append([ours.instance, what, f"{goal}", f"{value:.2f}", "holds" if good else "missed"])
    return table(["workflow", "", "goal", "reached", ""], lines) if lines else ""


if __name__ == "__main__":
    sys.exit(main())
