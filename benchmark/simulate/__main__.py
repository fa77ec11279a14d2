"""Simulate seeds, or one of them with all that happens in it.

    python -m benchmark.simulate --seeds 0..1999
    python -m benchmark.simulate --seeds 831 --drop f0,c1

The first seed that fails is made smaller, and the command that shows it is printed. What was run is kept in build/simulate; with
`--continue` seeds that are there already are not run again. Ends with 1 when an invariant did not hold.
"""

import argparse
import gc
import hashlib
import logging
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from benchmark.simulate.shrink import shrink
from benchmark.simulate.simulator import Outcome, simulate

RESULTS = Path(os.environ.get("SIMULATE_RESULTS", "build/simulate/results.jsonl"))
BLOCK = 250
COLLECT = (100_000, 50, 100)
"""When Python looks for garbage: a seed makes much, and little of it in circles."""


class Block(msgspec.Struct, kw_only=True):
    """What became of some seeds, on which commit."""

    first: int
    last: int
    commit: str = ""
    effects: int = 0
    lives: int = 0
    taken: int = 0
    longest_s: float = 0.0
    pods: int = 0
    simulated_s: float = 0.0
    spent_s: float = 0.0
    traces: str = ""
    """The hash of the traces of all of them."""
    injected: dict[str, int] = msgspec.field(default_factory=dict)
    wrong: dict[int, str] = msgspec.field(default_factory=dict)


def main() -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0..99", help="a seed, or the first and the last: 0..99")
    parser.add_argument("--drop", default="", help="leave these out of a seed: faults f0,f1,…, commands c0,…, workflows w0,…")
    parser.add_argument("--continue", dest="go_on", action="store_true", help="do not run again what was run before")
    parser.add_argument("--no-shrink", action="store_true", help="do not make failing seeds smaller")
    parser.add_argument("--stop-after", type=float, default=float("inf"), help="seconds")
    arguments = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets is a part of what a seed says
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "benchmark.simulate", *sys.argv[1:]])
    logging.disable(logging.CRITICAL)
    gc.freeze()
    gc.set_threshold(*COLLECT)
    first, _, last = arguments.seeds.partition("..")
    if not last:
        return _show(int(first), [one for one in arguments.drop.split(",") if one])
    return _campaign(int(first), int(last), arguments)


def _show(seed: int, drops: list[str]) -> int:
    outcome = simulate(seed, drops, log=True)
    print("\n".join(outcome.log))
    print(_verdict(outcome))
    return 1 if outcome.wrong else 0


def _verdict(outcome: Outcome) -> str:
    what = outcome.wrong or "all invariants held"
    return f"seed {outcome.seed}: {what} ({outcome.effects} effects, {outcome.lives} lives, trace {outcome.trace[:16]})"


def _campaign(first: int, last: int, arguments: argparse.Namespace) -> int:
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    before = list(_read()) if arguments.go_on else []
    if not arguments.go_on:
        RESULTS.unlink(missing_ok=True)
    done = {seed for block in before for seed in range(block.first, block.last + 1)}
    blocks, began, shrunk = [one for one in before if first <= one.first and one.last <= last], time.monotonic(), False
    for start in range(first, last + 1, BLOCK):
        seeds = [seed for seed in range(start, min(start + BLOCK, last + 1)) if seed not in done]
        if not seeds or time.monotonic() - began > arguments.stop_after:
            continue
        block = _block(seeds)
        blocks.append(block)
        with RESULTS.open("ab") as file:
            file.write(msgspec.json.encode(block) + b"\n")
        for seed, wrong in block.wrong.items():
            print(f"seed {seed}: {wrong}", flush=True)
            if not arguments.no_shrink and not shrunk:
                shrunk = True
                _print_smaller(seed)
    print(_summary(blocks))
    return 1 if any(block.wrong for block in blocks) else 0


def _block(seeds: list[int]) -> Block:
    block, began = Block(first=seeds[0], last=seeds[-1], commit=_commit()), time.process_time()
    injected: Counter[str] = Counter()
    traces = hashlib.sha256()
    for seed in seeds:
        outcome = simulate(seed)
        traces.update(outcome.trace.encode())
        block.effects += outcome.effects
        block.lives += outcome.lives
        block.taken += outcome.taken
        block.longest_s = max(block.longest_s, outcome.longest_s)
        block.pods += outcome.pods
        block.simulated_s += outcome.simulated_s
        injected.update(outcome.injected)
        if outcome.wrong:
            block.wrong[seed] = outcome.wrong
    block.traces = traces.hexdigest()
    block.injected = dict(sorted(injected.items()))
    block.spent_s = time.process_time() - began
    return block


def _print_smaller(seed: int) -> None:
    drops, outcome = shrink(simulate(seed))
    print(f"  smaller: {outcome.wrong}")
    option = f" DROP={','.join(drops)}" if drops else ""
    print(f"  replay:  make simulate SEEDS={seed}{option}", flush=True)


def _read() -> Iterator[Block]:
    if RESULTS.exists():
        for line in RESULTS.read_bytes().splitlines():
            yield msgspec.json.decode(line, type=Block)


def _summary(blocks: list[Block]) -> str:
    injected: Counter[str] = Counter()
    for block in blocks:
        injected.update(block.injected)
    count = sum(block.last - block.first + 1 for block in blocks)
    failed = sum(len(block.wrong) for block in blocks)
    spent = sum(block.spent_s for block in blocks)
    lines = [
        f"{count} seeds, {failed} failed; {sum(one.effects for one in blocks):,} effects, "
        f"{sum(one.pods for one in blocks):,} pods, {sum(one.lives for one in blocks):,} lives, "
        f"the lead taken {sum(one.taken for one in blocks):,} times (the longest took "
        f"{max((one.longest_s for one in blocks), default=0.0):.1f} s), "
        f"{sum(one.simulated_s for one in blocks) / 3600:,.0f} simulated hours, "
        f"{spent:,.0f} s of processor time ({1000 * spent / max(1, count):.0f} ms a seed)"
    ]
    lines.append("traces " + hashlib.sha256("".join(one.traces for one in blocks).encode()).hexdigest()[:32])
    lines += [f"  {kind:24} {number:>9,}" for kind, number in sorted(injected.items())]
    return "\n".join(lines)


def _commit() -> str:
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
