"""Makes a failing seed small: leaves out one thing after the other as long as it still fails."""

from benchmark.simulate.simulator import Outcome, drawn, simulate

MOST_RUNS = 80


def shrink(failed: Outcome) -> tuple[list[str], Outcome]:
    """Return what can be left out of a failing seed, and how it fails without that."""
    faults, load = drawn(failed.seed)
    candidates = [f"w{number}" for number in range(len(load.workflows))]
    candidates += [f"f{number}" for number in range(len(faults))]
    candidates += [f"c{number}" for number in range(len(load.commands))]
    drops: list[str] = []
    runs, before = 0, -1
    while before != len(drops) and runs < MOST_RUNS:
        before = len(drops)
        for one in [one for one in candidates if one not in drops]:
            if len(load.workflows) == 1 + sum(drop[0] == "w" for drop in drops) and one[0] == "w":
                continue
            runs += 1
            outcome = simulate(failed.seed, [*drops, one])
            if _kind(outcome.wrong) == _kind(failed.wrong):
                drops.append(one)
                failed = outcome
    return drops, failed


def _kind(wrong: str) -> str:
    """Return what a violation is about, without the names in it."""
    return " ".join(word for word in wrong.split() if word.isalpha())[:60]
