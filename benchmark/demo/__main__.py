"""One workflow over far data, twice: each step fetching for itself when it starts, and just in time.

    python -m benchmark.demo        (or: make demo; with a built wheel: make demo WHEEL=dist/jitflow-….whl)

The far store is a real S3 server behind a link of 40 ms; the near store holds less than a third of the data. In the second run
the server is killed with SIGKILL in the middle and started again. Everything is written to build/demo.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import jitflow
from benchmark.demo import data, picture
from benchmark.demo.measure import Run, length, overlap, result, waited_for_data
from benchmark.demo.runs import Plan, run
from benchmark.service import MeasurementError, background, free_port, no_orphans, shown_in_pods
from jitflow.testing.s3_server import S3Server

EXAMPLE = Path(__file__).parents[2] / "examples" / "demo"
RTT_MS = 40
LINK_MBIT = 200
CONNECTION_MBIT = 20
"""What one connection gets of the link, as with a distant object store."""
PLACES = 2
CAPACITY_BYTES = 100 * 2**20
KILL_AFTER_STEPS = 36
TARGETS = {"ratio": 0.65, "overlap": 0.8}


def main() -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("build/demo"))
    parser.add_argument("--only", choices=("on-demand", "jit"), help="one run; no comparison")
    parser.add_argument("--no-kill", action="store_true", help="leave the server alone in the second run")
    arguments = parser.parse_args()
    console = Console(soft_wrap=True, highlight=False)
    began = time.monotonic()
    try:
        with no_orphans():
            code = _demo(arguments.output.absolute(), arguments.only, console, kill=not arguments.no_kill)
    except KeyboardInterrupt:
        console.print("\ninterrupted; everything that was started has been ended")
        return 130
    except MeasurementError as error:
        console.print(f"the demo cannot go on: {error}", style="red", markup=False)
        return 1
    console.print(f"took {time.monotonic() - began:.0f} s")
    return code


def _demo(output: Path, only: str | None, console: Console, *, kill: bool) -> int:
    output.mkdir(parents=True, exist_ok=True)
    dataset = data.write(output / "far")
    console.print(
        f"jitflow:    {version('jitflow')} at {Path(jitflow.__file__).parent}\n"
        f"far store:  {dataset.objects} objects, {_mb(dataset.size_bytes)} MB, made from real rasters and temperatures "
        f"({dataset.root})\n"
        f"link:       {RTT_MS} ms, {LINK_MBIT} Mbit/s, {CONNECTION_MBIT} Mbit/s a connection\n"
        f"near store: {_mb(CAPACITY_BYTES)} MB; {PLACES} places to run\n"
        f"workflow:   {EXAMPLE / 'workflow.yaml'}",
        markup=False,
    )
    runs: dict[str, Run] = {}
    for label, lookahead in (("on demand", False), ("just in time", True)):
        name = "jit" if lookahead else "on-demand"
        if only in {None, name}:
            with _far_store(output, name) as remote:
                plan = Plan(
                    label=label,
                    home=output / name,
                    settings=_settings(remote, lookahead=lookahead),
                    manifest=EXAMPLE / "workflow.yaml",
                    results=f"results/{name}",
                    bucket=output / "far" / "earth",
                    kill_after_steps=KILL_AFTER_STEPS if lookahead and kill else None,
                    tell=lambda text: console.print(text, markup=False),
                )
                runs[name] = run(plan)
            runs[name].link_down_bytes = _link_bytes(output / f"{name}-link.log")
    picture.draw(list(runs.values()), output / "timeline.png")
    (output / "timeline.json").write_text(json.dumps({name: asdict(one) for name, one in runs.items()}) + "\n")
    if only:
        return 0
    return _tell(runs["on-demand"], runs["jit"], dataset.size_bytes, output, console)


@contextmanager
def _far_store(output: Path, name: str) -> Iterator[dict[str, Any]]:
    """Serve the data behind a slow link; yields the remote's settings. Each run has a new link: its byte count is its own."""
    log = output / f"{name}-link.log"
    log.unlink(missing_ok=True)
    port = free_port()
    with S3Server(output / "far", hash_cache=output / "far-hashes") as server:
        ends = ["--listen", f"127.0.0.1:{port}", "--to", f"127.0.0.1:{server.port}"]
        pace = ["--rtt-ms", str(RTT_MS), "--mbit", str(LINK_MBIT), "--connection-mbit", str(CONNECTION_MBIT)]
        command = [sys.executable, "-m", "jitflow.testing.slow_link", *ends, *pace]
        with background(command, log, port=port):
            options = server.options(endpoint=f"http://127.0.0.1:{port}")
            yield {"type": "s3", "endpoints": ["far.example:9000"], "options": options}


def _settings(remote: dict[str, Any], *, lookahead: bool) -> dict[str, Any]:
    programs = str(Path(sys.executable).parent)
    image = {
        "root": "",
        "env": {"PATH": f"{programs}:/usr/bin:/bin", "PYTHONPATH": str(EXAMPLE), "PYTHONDONTWRITEBYTECODE": "1"},
        "files": shown_in_pods(Path(sys.prefix), Path(sys.base_prefix), EXAMPLE),
    }
    return {
        "executor": "sandbox",
        "max_pods": PLACES,
        "primary": {"capacity": CAPACITY_BYTES, "lookahead": lookahead},
        "remotes": {"far": remote},
        "images": {"earth:1": image},
    }


def _link_bytes(log: Path) -> int:
    """Return the bytes that came from the far store, as the link counted them at its end."""
    words = log.read_text().split()
    return int(words[words.index("down") + 1]) if "down" in words else 0


def _tell(on_demand: Run, jit: Run, distinct_bytes: int, output: Path, console: Console) -> int:
    found = result(on_demand, jit, distinct_bytes=distinct_bytes, places=PLACES)
    (output / "result.json").write_text(json.dumps(found, indent=1) + "\n")
    table = Table(title=f"{found['steps']} steps over {_mb(distinct_bytes)} MB")
    for number, heading in enumerate(("", "on demand", "just in time")):
        table.add_column(heading, justify="right" if number else "left")
    both = (on_demand, jit)
    table.add_row("makespan", *(f"{each.makespan_s:.1f} s" for each in both))
    table.add_row("places empty, waiting for data", *(f"{waited_for_data(each.steps, PLACES):.1f} s" for each in both))
    table.add_row(
        "transfers under way", *(f"{length((t.started_at, t.finished_at) for t in each.inbound):.1f} s" for each in both)
    )
    table.add_row("… while a step computes", *(f"{overlap(each):.0%}" for each in both))
    table.add_row("fetched", *(f"{_mb(each.fetched_bytes)} MB" for each in both))
    table.add_row("fetched twice", *(f"{each.fetched_twice_bytes} bytes" for each in both))
    table.add_row("through the link, by its count", *(f"{_mb(each.link_down_bytes)} MB" for each in both))
    table.add_row("near store's peak, by the service", *(f"{each.service_peak_bytes:,} bytes" for each in both))
    table.add_row("near store's peak, seen on disk", *(f"{each.sampled_peak_bytes:,} bytes" for each in both))
    table.add_row("near store's capacity", *(f"{each.capacity_bytes:,} bytes" for each in both))
    table.add_row("server killed with SIGKILL", "no", "yes" if found["server_killed"] else "no")
    console.print(table)
    same = "identical, byte for byte" if found["identical"] else "DIFFERENT"
    console.print(f"results:  {len(jit.results)} objects, {same}: {output / 'far/earth/results'}", markup=False)
    console.print(
        f"figures:  {output / 'result.json'}, {output / 'timeline.json'}\npicture:  {output / 'timeline.png'}", markup=False
    )
    console.print(f"just in time took {jit.makespan_s / on_demand.makespan_s:.2f} of the time on demand", style="bold")
    for line in slower(found):
        console.print(line, style="yellow", markup=False)
    wrong = list(faults(found))
    for line in wrong:
        console.print(f"not as promised: {line}", style="red", markup=False)
    return 1 if wrong else 0


def faults(found: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong, on whatever machine."""
    if found["primary_peak_bytes"] > found["primary_capacity_bytes"]:
        yield "the near store held more than its capacity"
    if found["bytes_fetched_twice"]:
        yield f"{found['bytes_fetched_twice']} bytes were fetched twice"
    if not found["identical"]:
        yield "the results of both runs differ"


def slower(found: dict[str, Any]) -> Iterator[str]:
    """Yield where less was saved than a machine at rest saves: that depends on its speed, and on what else it does."""
    ratio = found["jit_makespan_s"] / found["on_demand_makespan_s"]
    if round(ratio, 2) > TARGETS["ratio"]:  # in the digits in which it is told
        saved = found["on_demand_wait_s"] / (PLACES * found["on_demand_makespan_s"])
        yield (
            f"That is more than the {TARGETS['ratio']} of a machine at rest. Places were empty on demand for {saved:.0%} of the "
            "time, and there is no more to save. Less is saved where computing takes longer, or where something else runs"
        )
    if found["overlap"] < TARGETS["overlap"]:
        yield f"Only {found['overlap']:.0%} of the transfers' time was hidden behind computing; it is more on a machine at rest"


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.0f}"


if __name__ == "__main__":
    sys.exit(main())
