"""Run recorded workflows for real, scaled down: a jitflow server, pods that read and write bytes, an S3 store behind a slow link.

python -m benchmark.traces.real [--only montage-chameleon-2mass-05d] [--fraction 25] [--seconds 90] [--megabytes 400]
                                [--policies jitflow,on-demand] [--repeats 1]

Writes build/bench/real.json and real.md. Beside each makespan stands the bound of the model (benchmark/traces/bound.py) at the
rate that was measured on the link. Estimates of run times and sizes are declared in the manifest; `--estimates learned` leaves
them out, runs the workflow once before it is measured, and lets the server go by what it has learned.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from benchmark.service import MeasurementError, Server, background, checked, free_port, no_orphans
from benchmark.traces import bound
from benchmark.traces.manifest import BUCKET, workflow
from benchmark.traces.tables import table
from benchmark.traces.workloads import STREAM_SHARE, TRANSFERS, WORKERS, Trace, load, point
from jitflow.storage.binary import clean_environment, find_rclone
from jitflow.testing.s3_server import S3Server

NAMESPACE = "default"
FINAL = {"Succeeded", "Failed", "Error"}
JITFLOW, ON_DEMAND = "jitflow", "on-demand"
_TRACES = ("montage-chameleon-2mass-05d", "epigenomics-chameleon-hep-3seq-50k")
_LATENCY_S = 0.1
_RATE_BPS = 4e6
"""The link of the whole workflow, before it is scaled."""
_STANDSTILL_S = 120.0
_PROBE_S = 4.0


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
    """One run. `bytes_down`, `bytes_up`: over the link; `plan`: why the last plan was chosen."""

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
            for fraction in arguments.fractions:
                case = scaled(load(path), int(fraction), arguments.seconds, arguments.megabytes * 1e6, arguments.rate * 1e6)
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
    parser.add_argument("--only", type=_words, default=_TRACES, help="traces whose names hold one of these")
    parser.add_argument("--fractions", type=_words, default=("25",), help="capacity in hundredths of all bytes")
    parser.add_argument("--seconds", type=float, default=90.0, help="least computing time of a run, for scaling")
    parser.add_argument("--megabytes", type=float, default=400.0, help="all bytes of a run, for scaling")
    parser.add_argument("--rate", type=float, default=_RATE_BPS / 1e6, help="MB/s of the link, before scaling")
    parser.add_argument("--policies", type=_words, default=(JITFLOW, ON_DEMAND))
    parser.add_argument("--estimates", choices=("declared", "learned"), default="declared")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("build/bench"))
    return parser.parse_args()


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
    with S3Server(work / "far") as server:
        measured = _probed(case, server, work)
        least = bound.bound(case.trace, measured, case.capacity, case.latency_s)
        print(
            f"{case.trace.name}: {len(case.trace.tasks):,} steps, {sum(case.trace.sizes.values()) / 1e6:.0f} MB, "
            f"{case.capacity / 1e6:.0f} MB near, link {case.rate_Bps / 1e6:.2f} MB/s (measured {measured / 1e6:.2f}), "
            f"{1000 * case.latency_s:.0f} ms; bound {least:.1f} s",
            flush=True,
        )
        for policy in arguments.policies:
            row = _run(case, policy, server, work, estimates=arguments.estimates)
            row = replace(row, measured_Bps=measured, bound_s=least)
            rows.append(row)
            print(f"  {policy}: {row.makespan_s:.1f} s, {row.ratio:.2f} of the bound; {row.plan}", flush=True)
    return rows


def _write_inputs(case: Case, bucket: Path) -> None:
    random = Random(7)
    for file in case.trace.external:
        path = bucket / "in" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.randbytes(case.trace.sizes[file]))
    probe = bucket / "probe"
    probe.mkdir(parents=True)
    for number in range(2 * STREAM_SHARE):
        (probe / str(number)).write_bytes(random.randbytes(round(case.rate_Bps * _PROBE_S / 2 / STREAM_SHARE)))


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
            "primary": {"capacity": case.capacity, "lookahead": policy == JITFLOW, "transfers": TRANSFERS},
            "remotes": {"far": {"type": "s3", "endpoints": ["far.example:9000"], "options": server.options(endpoint=endpoint)}},
            "images": {"trace": {"root": ""}},
        }
        home = work / policy
        shutil.rmtree(home, ignore_errors=True)
        with Server(home, settings) as jitflow:
            if estimates == "learned":
                _once(jitflow, case, "before", declared=False)
                _forget_inputs(jitflow)
            makespan_s, plan = _once(jitflow, case, policy, declared=estimates == "declared")
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
    )


def _primary(server: Server) -> dict[str, Any]:
    return server.get("/data/v1/primary")


def _forget_inputs(server: Server) -> None:
    """Empty the near store."""
    for one in _primary(server)["replicas"]:
        ref = one["ref"]
        name = ref if isinstance(ref, str) else f"{ref['remote']}:{ref['path']}"
        server.call("POST", "/data/v1/primary/evict", {"ref": name})


def _once(server: Server, case: Case, prefix: str, *, declared: bool) -> tuple[float, str]:
    """Run the workflow; return how long that took, and the last plan that it had.

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
    last, moved_at = "", began
    while True:
        status = server.get(path, fields="status.phase,status.progress,status.message").get("status") or {}
        now = time.monotonic()
        if status.get("phase") in FINAL:
            break
        if status.get("progress") != last:
            last, moved_at = status.get("progress", ""), now
        if now - moved_at > _STANDSTILL_S:
            raise MeasurementError(f"nothing ended for {_STANDSTILL_S:.0f} s; see {server.log}")
        if not plan and now - looked_at > 5:
            looked_at = now
            answer = server.call("GET", f"/api/jit/v1/workflows/{NAMESPACE}/{name}/explain")
            plans = answer.json().get("plans", []) if answer.is_success else []
            plan = plans[0]["reason"] if plans else ""
        time.sleep(0.2)
    if status["phase"] != "Succeeded":
        raise MeasurementError(f"the workflow ended as {status['phase']}: {status.get('message')}; see {server.log}")
    return now - began, plan


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
            f"{row.bytes_down / 1e6:.0f}",
            f"{row.bytes_up / 1e6:.0f}",
            row.plan.partition(":")[0],
        ]
        for row in rows
    ]
    return table(["workflow", "near", "policy", "s", "bound", "ratio", "MB down", "MB up", "plan"], lines)


if __name__ == "__main__":
    sys.exit(main())
