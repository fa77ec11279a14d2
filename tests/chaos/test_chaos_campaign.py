"""A short campaign, and whether its checks would notice what they look for."""

from pathlib import Path

import pytest
from benchmark.chaos.campaign import Plan, run
from benchmark.chaos.checks import attempts_of, steps_wrong
from benchmark.chaos.shapes import Case
from benchmark.service import no_orphans

CASE = Case(
    name="w", manifest={}, phase="Succeeded", outputs={}, steps=frozenset({"a", "b"}), after={"b": ("a",)}, fails=frozenset()
)
GOOD = "begin a w-a-1\nend a w-a-1\nbegin b w-b-2\nend b w-b-2\n"


@pytest.mark.slow
def test_a_short_campaign_leaves_all_as_without_kills(tmp_path: Path) -> None:
    with no_orphans():
        outcome = run(Plan(store="sqlite", kills=6, workflows=5, seed=5, pause_s=0.8), tmp_path / "world")
    assert not outcome.wrong
    assert sum(outcome.kills.values()) >= 6
    assert outcome.workflows >= 5
    assert outcome.attempts >= outcome.steps > 15


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
