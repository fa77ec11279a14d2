"""Kill a server that runs real workflows, again and again, and say what came of it.

python -m benchmark.chaos [--store sqlite|postgresql|mongodb] [--kills 300] [--workflows 50] [--seed 1] [--pause 1.5] [--keep]

Servers, rclone, the parents of pods and the database are killed with SIGKILL at random moments; the link to the far store is cut,
stalled, throttled; the near disk is filled (as root: it is a small tmpfs); replicas are spoilt. Afterwards every workflow must
have ended as without all that, each step's work must have been done by one attempt unless its pod was killed, no process may be
left, and the primary must hold what the catalogue says. Writes build/chaos/STORE-SEED.json; exit code 1 if something is wrong.
"""

import argparse
import json
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from benchmark.chaos.campaign import Outcome, Plan, run
from benchmark.chaos.world import STORES
from benchmark.service import MeasurementError, no_orphans


def main() -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", choices=STORES, default="sqlite")
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--workflows", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pause", type=float, default=1.5, help="the longest time between two kills, in seconds")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="kill nobody any more after so many seconds")
    parser.add_argument("--output", type=Path, default=Path("build/chaos"))
    parser.add_argument("--keep", action="store_true", help="leave everything where it is, to be looked at")
    arguments = parser.parse_args()
    plan = Plan(
        store=arguments.store,
        kills=arguments.kills,
        workflows=arguments.workflows,
        seed=arguments.seed,
        pause_s=arguments.pause,
        seconds=arguments.seconds,
    )
    root = Path(tempfile.mkdtemp(prefix="jitflow-chaos-"))
    try:
        with no_orphans():
            outcome = run(plan, root / "world")
    except MeasurementError as error:
        print(f"{error}\n(everything is left in {root})", file=sys.stderr)
        return 2
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / f"{plan.store}-{plan.seed}.json").write_text(json.dumps(asdict(outcome), indent=1) + "\n")
    print(report(outcome))
    if outcome.wrong or arguments.keep:
        print(f"everything is left in {root}")
    else:
        shutil.rmtree(root, ignore_errors=True)
    return 1 if outcome.wrong else 0


def report(outcome: Outcome) -> str:
    """Return it for people."""
    plan = outcome.plan
    lines = [
        f"{plan.store}, seed {plan.seed}: {sum(outcome.kills.values())} kills over {outcome.workflows} workflows with"
        f" {outcome.steps} steps in {outcome.seconds:.0f} s",
        "  killed: " + ", ".join(f"{name} {count}" for name, count in outcome.kills.items()),
        "  faults: " + (", ".join(f"{name} {count}" for name, count in outcome.faults.items()) or "none"),
        f"  attempts: {outcome.attempts}, of which {outcome.repeated} repeated what was killed or was to fail",
        f"  longest start after a kill: {outcome.start_s:.1f} s",
        *(f"  WRONG: {one}" for one in outcome.wrong),
    ]
    return "\n".join(lines if outcome.wrong else [*lines, "  all is as without kills"])


if __name__ == "__main__":
    sys.exit(main())
