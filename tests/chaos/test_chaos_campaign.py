"""A short campaign, and whether its checks would notice what they look for."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from benchmark.chaos.checks import attempts_of, steps_wrong
from benchmark.chaos.shapes import Case

ROOT = Path(__file__).parents[2]
CASE = Case(
    name="w", manifest={}, phase="Succeeded", outputs={}, steps=frozenset({"a", "b"}), after={"b": ("a",)}, fails=frozenset()
)
GOOD = "begin a w-a-1\nend a w-a-1\nbegin b w-b-2\nend b w-b-2\n"


@pytest.mark.slow
def test_a_short_campaign_leaves_all_as_without_kills(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmark.chaos", "--kills", "6", "--workflows", "5", "--seed", "5", "--pause", "0.8"]
    # In a process of its own, which ends all that is left below it.
    done = subprocess.run([*command, "--output", str(tmp_path)], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    outcome = json.loads((tmp_path / "sqlite-5.json").read_text())
    assert not outcome["wrong"]
    assert sum(outcome["kills"].values()) >= 6
    assert outcome["workflows"] >= 5
    assert outcome["attempts"] >= outcome["steps"] > 15


@pytest.mark.parametrize(
    ("marks", "killed", "said"),
    [
        (GOOD, set(), ""),
        (GOOD.replace("begin a w-a-1\n", "begin a w-a-1\nbegin a w-a-1\n"), set(), "was started twice"),
        (GOOD + "begin b w-b-3\nend b w-b-3\n", set(), "once would have been enough"),
        (GOOD + "begin b w-b-3\nend b w-b-3\n", {"2"}, ""),
        (GOOD + "begin b w-b-3\n", set(), "did not do its work"),
        ("begin a w-a-1\nend a w-a-1\n", set(), "step b has never run"),
        ("begin b w-b-2\nbegin a w-a-1\nend a w-a-1\nend b w-b-2\n", set(), "began before a was done"),
        (GOOD + "begin c w-c-3\nend c w-c-3\n", set(), "step c has run, and should not"),
        (GOOD.replace("end b w-b-2\n", ""), {"2"}, "step b was never done"),
    ],
)
def test_marks_tell_what_was_done_twice_too_early_or_not_at_all(tmp_path: Path, marks: str, killed: set[str], said: str) -> None:
    (tmp_path / "w").write_text(marks)
    wrong = list(steps_wrong(CASE, attempts_of(tmp_path / "w"), killed))
    assert bool(wrong) == bool(said)
    assert not said or any(said in one for one in wrong)
