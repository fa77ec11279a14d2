# ruff: noqa: E501 - a manifest on one line reads better than one cut in pieces
"""The semantics of DAG templates.

1. `dependencies: [a]` and a bare `depends: a` take a as Succeeded, Skipped or Daemoned, and Failed or Error if a's `continueOn` says
   so; not as Omitted.
2. The results that `depends` asks for are Succeeded, Failed, Errored, Skipped, Omitted, Daemoned, AnySucceeded and AllFailed (the last
   two of loops), joined by `&&`, `||`, `!` and parentheses; a dash in a name is no minus. With `depends` a name must not begin with a
   digit, and neither `dependencies` nor a task's `continueOn` may stand beside it.
3. A condition that is not met gives a node of type Skipped, phase Omitted, `omitted: depends condition not met`; an argument that
   cannot be resolved gives one of type Skipped, phase Error.
4. A dependency counts when it has ended and its hooks have too. A loop has a node of type TaskGroup, with the items below it.
5. The phase is that of the targets (all leaves, if none are named): a failed leaf fails the DAG unless `continueOn` forgives it; an
   omitted one takes the failures of those before it; with `failFast` (so by default) nothing new starts after a failure, what
   runs goes on to its end; Error counts more than Failed within a branch. `target` is split at blanks and may be a parameter.
"""

import pytest
from semantics_kit import ERRED, FAILED, begun, end_of, phases, played, refused, shown_node

from jitflow.model.runs import PodReady, PodStarted

pytestmark = pytest.mark.pure

A_ENDS = {"succeeds": {}, "fails": FAILED, "errs": ERRED}


def dag(*tasks: str, more: str = "") -> str:
    """Return a DAG of tasks, each given as `name …` in YAML's flow style; `echo` unless a template is named."""
    lines = [f"  - {{name: {task}{'' if ', template:' in task else ', template: echo'}}}" for task in tasks]
    return "\n".join(("dag:", *([f"  {more}"] if more else []), "  tasks:", *lines))


@pytest.mark.parametrize("after", ["dependencies: [a]", "depends: a"])
@pytest.mark.parametrize(
    ("task", "end", "phase"),
    [
        ("a", "succeeds", "Succeeded"),
        ("a, when: '1 == 2'", "succeeds", "Succeeded"),
        ("a", "fails", "Omitted"),
        ("a", "errs", "Omitted"),
        ("a, continueOn: {failed: true}", "fails", "Succeeded"),
        ("a, continueOn: {failed: true}", "errs", "Omitted"),
        ("a, continueOn: {error: true}", "errs", "Succeeded"),
        ("a, continueOn: {error: true}", "fails", "Omitted"),
    ],
)
def test_dag_1_what_a_bare_name_takes(after: str, task: str, end: str, phase: str) -> None:
    """DAG 1: Succeeded and Skipped are taken; Failed and Error as `continueOn` says."""
    if "continueOn" in task and after.startswith("depends:"):
        assert "continueOn" in refused(dag(task, f"b, {after}"))
        return
    run = played(dag(task, f"b, {after}", more="failFast: false"), ends={"wf.a": A_ENDS[end]})
    assert run.phase("wf.b") == phase


@pytest.mark.parametrize("after", ["dependencies: [b]", "depends: b"])
def test_dag_1_omitted_is_not_taken(after: str) -> None:
    """DAG 1: what depends on an omitted task is omitted too."""
    first = "b, depends: a.Failed" if after == "depends: b" else "b, dependencies: [a]"
    run = played(dag("a", first, f"c, {after}", more="failFast: false"), ends={"wf.a": {} if after == "depends: b" else FAILED})
    assert (run.phase("wf.b"), run.phase("wf.c")) == ("Omitted", "Omitted")


@pytest.mark.parametrize(
    ("depends", "runs"),
    [
        ("ok.Succeeded", True),
        ("ok.Failed", False),
        ("bad.Failed", True),
        ("bad.Errored", False),
        ("lost.Errored", True),
        ("lost.Failed", False),
        ("skip.Skipped", True),
        ("skip.Succeeded", False),
        ("left.Omitted", True),
        ("left.Skipped", False),
        ("mixed.AnySucceeded", True),
        ("mixed.AllFailed", False),
        ("none.AllFailed", True),
        ("none.AnySucceeded", False),
        ("errs.AllFailed", False),
        ("mixed.Failed", True),
        ("ok && bad.Failed", True),
        ("ok && !bad.Failed", False),
        ("ok.Failed || (bad.Failed && !ok.Failed)", True),
        ("da-sh.Succeeded && ok", True),
    ],
)
def test_dag_2_results_and_operators(depends: str, runs: bool) -> None:
    """DAG 2: each result is told from the others; `&&`, `||`, `!`, parentheses; names with dashes."""
    run = played(
        dag(
            "ok", "bad, template: fail", "lost", "skip, when: 'false'", "left, depends: ok.Failed", "da-sh",
            "mixed, template: echo, withItems: [1, 2]", "none, template: fail, withItems: [1, 2]",
            "errs, withItems: [1]",
            f'x, depends: "{depends}"', more="failFast: false",
        ),
        ends={"wf.lost": ERRED, "wf.mixed(1:2)": FAILED, "wf.errs(0:1)": ERRED},
    )  # fmt: skip
    assert run.phase("wf.x") == ("Succeeded" if runs else "Omitted")


@pytest.mark.parametrize("depends", ["d.Daemoned", "d", "!d.Succeeded && d.Daemoned"])
def test_dag_2_a_ready_daemon_is_daemoned(depends: str) -> None:
    """DAG 2: Daemoned is the result of a daemon that is ready and runs."""
    run = begun(
        dag("d, template: server", f'x, depends: "{depends}"'), extra="- {name: server, daemon: true, container: {image: i}}"
    )
    run.send(PodStarted(node_id=run.node("wf.d").id))
    run.send(PodReady(node_id=run.node("wf.d").id, address="127.64.0.1"))
    assert run.phase("wf.x") == "Pending"


@pytest.mark.parametrize(
    ("task", "why"),
    [
        ("1b, depends: a", "name cannot begin with a digit"),
        ("b, depends: a, dependencies: [a]", "cannot use both 'depends' and 'dependencies'"),
        ("b, depends: a, continueOn: {failed: true}", "cannot use 'continueOn' when using 'depends'"),
        ("b, depends: a.Finished", "Finished"),
        ("b, depends: gone", "gone"),
    ],
)
def test_dag_2_what_may_not_stand_together_is_refused(task: str, why: str) -> None:
    """DAG 2: a name that begins with a digit, `dependencies` or `continueOn` beside `depends`, and unknown results are refused."""
    assert why in refused(dag("a", task))


def test_dag_3_a_condition_that_is_not_met() -> None:
    """DAG 3: type Skipped, phase Omitted, `omitted: depends condition not met`."""
    node = shown_node(played(dag("a", "b, depends: a.Failed")), "wf.b")
    assert (node.type, node.phase, node.message) == ("Skipped", "Omitted", "omitted: depends condition not met")


def test_dag_3_an_argument_that_cannot_be_resolved() -> None:
    """DAG 3: type Skipped, phase Error; the DAG is in Error."""
    run = played(
        dag(
            "s, template: write, when: 'false'",
            "b, template: strict, depends: s, arguments: {parameters: [{name: m, value: '{{tasks.s.outputs.parameters.p}}'}]}",
        )
    )
    node = shown_node(run, "wf.b")
    assert (node.type, node.phase) == ("Skipped", "Error")
    assert node.message is not None
    assert node.message.startswith("inputs.parameters.m: argument references an absent optional")
    assert end_of(run)[0] == "Error"


def test_dag_4_hooks_come_before_dependants() -> None:
    """DAG 4: a task counts as ended when its hooks have ended."""
    run = begun(dag("a, hooks: {exit: {template: echo}}", "b, depends: a"))
    run.send(PodStarted(node_id=run.node("wf.a").id))
    run.end("wf.a")
    assert "wf.b" not in run.names()
    run.end("wf.a.onExit")
    assert run.phase("wf.b") == "Pending"


def test_dag_4_a_loop_has_a_group_node() -> None:
    """DAG 4: `wf.a` is of type TaskGroup, its items are its children."""
    run = played(dag("a, withItems: [x, z]", "b, depends: a"))
    group = shown_node(run, "wf.a")
    assert (group.type, group.phase) == ("TaskGroup", "Succeeded")
    items = (run.node("wf.a(0:x)").id, run.node("wf.a(1:z)").id)
    assert group.children == items
    assert shown_node(run, "wf.a(0:x)").children == shown_node(run, "wf.a(1:z)").children == (run.node("wf.b").id,)


@pytest.mark.parametrize(
    ("tasks", "ends", "phase"),
    [
        (("a", "b"), {"wf.b": FAILED}, "Failed"),
        (("a", "b, continueOn: {failed: true}"), {"wf.b": FAILED}, "Succeeded"),
        (("a", "b, continueOn: {failed: true}"), {"wf.b": ERRED}, "Error"),
        (("a", "b, depends: a.Failed"), {"wf.a": FAILED}, "Succeeded"),
        (("a", "b, depends: a.Succeeded"), {"wf.a": FAILED}, "Failed"),
        (("a", "b, depends: a", "c, depends: b"), {"wf.a": ERRED}, "Error"),
        (("a, continueOn: {failed: true}", "b, dependencies: [a]"), {"wf.a": FAILED}, "Succeeded"),
        (("a", "b", "c, dependencies: [a, b]"), {"wf.a": FAILED, "wf.b": ERRED}, "Error"),
        (("a", "b", "c, dependencies: [a, b]"), {"wf.a": ERRED, "wf.b": FAILED}, "Error"),
    ],
)
def test_dag_5_the_leaves_decide(tasks: tuple[str, ...], ends: dict[str, dict[str, object]], phase: str) -> None:
    """DAG 5: leaves decide; an omitted one hands on what came before; `continueOn` forgives; Error counts more than Failed."""
    for fast in ("true", "false"):
        assert end_of(played(dag(*tasks, more=f"failFast: {fast}"), ends=ends))[0] == phase


def test_dag_5_fail_fast_starts_nothing_new_and_waits() -> None:
    """DAG 5: after a failure what runs goes on to its end, and nothing new starts."""
    run = begun(dag("a, template: fail", "b", "c, depends: b"))
    run.end("wf.a", 1)
    assert end_of(run)[0] == "Running"
    run.send(PodStarted(node_id=run.node("wf.b").id))
    run.end("wf.b")
    assert "wf.c" not in run.names()
    assert end_of(run)[0] == "Failed"


def test_dag_5_without_fail_fast_the_other_branches_go_on() -> None:
    """DAG 5: `failFast: false` lets all other branches run to their ends."""
    run = played(dag("a, template: fail", "b", "c, depends: b", more="failFast: false"))
    assert (run.phase("wf.c"), end_of(run)[0]) == ("Succeeded", "Failed")


def test_dag_5_targets() -> None:
    """DAG 5: `target` names the tasks that are needed, split at blanks; it may be a parameter."""
    tasks = ("a", "b, depends: a", "c, depends: a", "d")
    run = played(
        dag(*tasks, more="target: '{{inputs.parameters.t}}'") + "\ninputs: {parameters: [{name: t}]}",
        spec="arguments: {parameters: [{name: t, value: b c}]}",
    )
    assert phases(run) == {"wf": "Succeeded", "wf.a": "Succeeded", "wf.b": "Succeeded", "wf.c": "Succeeded"}


def test_dag_5_only_targets_decide() -> None:
    """DAG 5: a failure that the target's own branch forgives does not count."""
    run = played(dag("a, template: fail", "b, depends: a.Failed", more="target: b"))
    assert (run.phase("wf.b"), end_of(run)[0]) == ("Succeeded", "Succeeded")
