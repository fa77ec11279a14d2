import time

import pytest
from cli_samples import NOW, dag, data, fan, node, view

from jitflow.cli import tree
from jitflow.cli.changes import Changes, summary_line
from jitflow.cli.displays import rendered
from jitflow.cli.follow import Moment

pytestmark = pytest.mark.pure


def lines(*args: object, **more: object) -> list[str]:
    return tree.plain(tree.tree_lines(*args, now=NOW, **more))  # type: ignore[arg-type]


def test_steps_are_nested_by_boundary_and_groups_of_steps_do_not_show() -> None:
    found = view(
        node("wf", "wf", kind="Steps", display="wf"),
        node("wf-2", "wf[0]", kind="StepGroup", above="wf", display="[0]"),
        node("wf-5", "wf[10].last", "Pending", above="wf", display="last", startedAt=None),
        node("wf-4", "wf[1].second", above="wf", display="second"),
        node("wf-3", "wf[0].first", "Succeeded", above="wf", display="first", finishedAt="2026-01-01T00:00:05Z"),
        node("wf-9", "wf.onExit", "Pending", display="wf.onExit", startedAt=None),
    )
    assert [line.split("  ")[0].rstrip() for line in lines(found)] == [
        "● wf",
        "├─ ✔ first",
        "├─ ● second",
        "└─ ◷ last",
        "◷ wf.onExit",
    ]


def test_loops_and_retries_hang_below_their_group_in_order_of_the_index() -> None:
    retry = node("wf-40", "wf.each(2:x)", kind="Retry", above="wf", display="each(2:x)")
    attempt = node("wf-41", "wf.each(2:x)(0)", "Failed", above="wf", display="each(2:x)(0)", message="exit code 1")
    shown = lines(view(*dag(*fan(1, "Running", first=10), *fan(2, "Succeeded"), retry, attempt)))
    assert [line.strip("│├└─ ").split("  ")[0] for line in shown] == [
        "● wf",
        "● each",
        "✔ each(0:x)",
        "✔ each(1:x)",
        "● each(2:x)",
        "✖ each(2:x)(0)",
        "● each(10:x)",
    ]
    assert "exit code 1" in shown[5]
    assert shown[5].startswith("   │  └─")


def test_each_step_says_what_it_does_and_where_its_data_stands() -> None:
    found = view(
        node("wf", "wf", kind="DAG", display="wf"),
        node("wf-1", "wf.a", "Pending", above="wf", startedAt=None),
        node("wf-2", "wf.b", above="wf"),
        node("wf-3", "wf.c", "Succeeded", above="wf", finishedAt="2026-01-01T00:00:05Z"),
        node("wf-4", "wf.d", "Pending", above="wf", startedAt=None),
        node("wf-5", "wf.e", above="wf", kind="Suspend"),
        node("wf-6", "wf.f", "Pending", above="wf", startedAt=None),
    )
    stand = [
        data("wf-1", "fetching", bytes_total=400_000_000, bytes_done=100_000_000, rate_Bps=30e6, eta_s=10.0),
        data("wf-3", "staging-out", bytes_total=2_000_000, bytes_done=0),
        data("wf-4", "waiting"),
        data("wf-6", "ready"),
    ]
    by_name = {line.split()[2]: line for line in lines(found, stand)[1:]}
    assert "fetching 100 MB of 400 MB, 30.0 MB/s, 10s left" in by_name["a"]
    assert "running" in by_name["b"]
    assert "30s" in by_name["b"]
    assert "staging out 0 B of 2.0 MB" in by_name["c"]
    assert "waiting for data" in by_name["d"]
    assert "suspended" in by_name["e"]
    assert "data is here" in by_name["f"]


def test_no_line_is_wider_than_the_terminal() -> None:
    long = node("wf-1", "wf." + "n" * 200, "Failed", above="wf", message="m" * 300)
    shown = lines(view(node("wf", "wf", kind="DAG"), long), width=60)
    assert max(len(line) for line in shown) <= 60


def test_ten_thousand_nodes_fit_a_terminal_and_those_that_do_something_stay() -> None:
    children = [
        *fan(9_000, "Succeeded"),
        *fan(3, "Running", first=9_000),
        *fan(1, "Failed", first=9_003),
        *fan(996, "Pending", first=9_004),
    ]
    found = view(*dag(*children))
    shown = lines(found, [data(children[9_500]["id"], "fetching", bytes_total=10)], height=20)
    assert len(shown) <= 20
    text = "\n".join(shown)
    assert "9,000 succeeded" in text
    assert "995 waiting" in text
    for index in (9_000, 9_001, 9_002, 9_003, 9_500):
        assert f"each({index}:x)" in text


def test_more_active_steps_than_lines_are_counted() -> None:
    shown = lines(view(*dag(*fan(500, "Running"), *fan(20, "Failed", first=500))), height=10)
    assert len(shown) == 10
    assert shown[-1] == "… 491 running, 20 failed"


@pytest.mark.parametrize("height", [1, 2, 3, 7, 50])
def test_the_picture_is_never_higher_than_the_terminal(height: int) -> None:
    found = view(*dag(*fan(30, "Running"), *fan(30, "Pending", first=30)))
    picture = rendered(Moment(found), NOW, max(height, 5), 80)
    assert picture.plain.count("\n") + 1 < max(height, 5)


def test_a_deep_recursion_is_no_problem() -> None:
    chain = [node("wf", "wf", kind="Steps")]
    chain += [
        node(f"wf-{i}", f"wf{'[0].again' * i}", kind="Steps", above="wf" if i == 1 else f"wf-{i - 1}") for i in range(1, 3000)
    ]
    assert len(lines(view(*chain))) == 3000
    assert len(lines(view(*chain), height=10)) <= 10


def test_a_cycle_of_boundaries_ends() -> None:
    odd = view(node("a", "a", above="b"), node("b", "b", above="a"), node("wf", "wf", kind="DAG"))
    assert [line.split()[1] for line in lines(odd)] == ["wf"]


def test_drawing_ten_thousand_nodes_takes_well_below_a_second() -> None:
    found = view(*dag(*fan(5_000, "Succeeded"), *fan(5_000, "Pending", first=5_000)))
    began = time.process_time()
    rendered(Moment(found), NOW, 40, 120)
    assert time.process_time() - began < 2.0  # about 0.15 s on a quiet machine


def test_foot_tells_progress_what_comes_and_the_primary() -> None:
    found = view(*dag(*fan(2, "Succeeded"), *fan(1, "Running", first=2)))
    ahead = data("wf-99", "fetching", objects=(("far:a", "transferring", 20, 100, 0), ("far:b", "queued", 0, None, 1)))
    fill = {"capacity_bytes": 1000, "used_bytes": 250, "fetched_bytes": 5000}
    assert tree.plain(tree.foot_lines(found, [ahead], fill)) == [
        "steps 2/3  1 running, 2 succeeded",
        "ahead 1 step: 1 fetching (2 objects, 80 B to come)",
        "primary 250 B of 1.0 kB (25 %), fetched 5.0 kB",
    ]


def test_head_has_the_phase_and_the_message() -> None:
    shown = tree.plain(tree.head_lines(view(phase="Failed", message="child 'x' failed"), now=NOW))
    assert shown == ["✖ wf  Failed  1m 5s  child 'x' failed"]


def test_plain_lines_tell_each_change_once() -> None:
    changes = Changes()
    running = view(node("wf", "wf", kind="DAG"), node("wf-1", "wf.a", above="wf"))
    assert changes.lines(running, [], NOW) == ["● a running"]
    assert changes.lines(running, [], NOW) == []
    ended = view(
        node("wf", "wf", kind="DAG"),
        node("wf-1", "wf.a", "Failed", above="wf", finishedAt="2026-01-01T00:00:05Z", message="exit code 3"),
    )
    assert changes.lines(ended, [], NOW) == ["✖ a failed in 5s: exit code 3"]
    assert summary_line(ended, [], NOW) == "30s: 1/1 steps done"
