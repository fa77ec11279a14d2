# ruff: noqa: E501 - a manifest on one line reads better than one cut in pieces
"""The semantics of steps templates.

1. Nodes: `wf` (Steps), `wf[0]` (StepGroup), `wf[0].name`. What follows a group hangs on the outbound nodes of that group.
2. A group whose step failed says `child '<node id>' failed`; the Steps node is Failed then, even if the step was in Error.
   `continueOn` forgives Failed and Error apart.
3. The child of a loop is called `name(0:item)`; a map's items are told by key as `k:v,k:v`, without parentheses; a list's as JSON.
   An empty list gives one Skipped node.
4. The items of a group are made together; one that cannot be made puts the group in Error, with `step group deemed errored due to child …`.
"""

from typing import Any

import pytest
from semantics_kit import ERRED, FAILED, begun, end_of, phases, played, shown_node

pytestmark = pytest.mark.pure

TWO_GROUPS = "steps: [[{name: a, template: echo}, {name: b, template: echo}], [{name: c, template: echo}]]"

GONE = """
steps:
- - {{name: s, template: write, when: "1 == 2"}}
- - {{name: a, template: strict, arguments: {{parameters: [{{name: m, value: "{{{{steps.s.outputs.parameters.p}}}}"}}]}}{more}}}
- - {{name: z, template: echo}}
"""


def test_steps_1_names_and_types() -> None:
    """Steps 1: `wf` is of type Steps, `wf[0]` of type StepGroup, `wf[0].a` the step."""
    run = played(TWO_GROUPS)
    assert {node.name: node.type for node in run.state.nodes.values()} == {
        "wf": "Steps", "wf[0]": "StepGroup", "wf[0].a": "Pod", "wf[0].b": "Pod", "wf[1]": "StepGroup", "wf[1].c": "Pod",
    }  # fmt: skip


def test_steps_1_the_next_group_hangs_on_the_outbound_nodes() -> None:
    """Steps 1: children of `wf` are the first group only; the second group is a child of each step of the first."""
    run = played(TWO_GROUPS)
    second = run.node("wf[1]").id
    assert shown_node(run, "wf").children == (run.node("wf[0]").id,)
    assert shown_node(run, "wf[0]").children == (run.node("wf[0].a").id, run.node("wf[0].b").id)
    assert shown_node(run, "wf[0].a").children == shown_node(run, "wf[0].b").children == (second,)
    assert shown_node(run, "wf").outbound_nodes == (run.node("wf[1].c").id,)


def test_steps_1_the_outbound_nodes_of_a_nested_template_are_its_last_leaves() -> None:
    """Steps 1: what follows a step that calls steps hangs on the last leaves below it."""
    run = played(
        "steps: [[{name: a, template: inner}], [{name: b, template: echo}]]",
        extra="- {name: inner, steps: [[{name: x, template: echo}], [{name: z, template: echo}]]}",
    )
    assert shown_node(run, "wf[0].a").outbound_nodes == (run.node("wf[0].a[1].z").id,)
    assert shown_node(run, "wf[0].a[1].z").children == (run.node("wf[1]").id,)


@pytest.mark.parametrize(("end", "phase"), [(FAILED, "Failed"), (ERRED, "Error")])
def test_steps_2_a_failed_step_fails_its_group_and_steps(end: dict[str, Any], phase: str) -> None:
    """Steps 2: the group's message names the child's id; group and Steps node are Failed, even if the child was in Error."""
    run = played(TWO_GROUPS, ends={"wf[0].a": end})
    message = f"child '{run.node('wf[0].a').id}' failed"
    assert phases(run) == {"wf": "Failed", "wf[0]": "Failed", "wf[0].a": phase, "wf[0].b": "Succeeded"}
    assert run.node("wf[0]").message == run.node("wf").message == message
    assert end_of(run) == ("Failed", message)


@pytest.mark.parametrize(
    ("forgiven", "end", "result"),
    [
        ("{failed: true}", FAILED, "Succeeded"),
        ("{failed: true}", ERRED, "Failed"),
        ("{error: true}", ERRED, "Succeeded"),
        ("{error: true}", FAILED, "Failed"),
        ("{error: true, failed: true}", ERRED, "Succeeded"),
    ],
)
def test_steps_2_continue_on_is_for_each_phase(forgiven: str, end: dict[str, Any], result: str) -> None:
    """Steps 2: `continueOn` forgives the phases that it names."""
    run = played(
        f"steps: [[{{name: a, template: echo, continueOn: {forgiven}}}], [{{name: b, template: echo}}]]", ends={"wf[0].a": end}
    )
    assert end_of(run)[0] == result
    assert ("wf[1].b" in run.names()) == (result == "Succeeded")


def test_steps_3_names_of_a_loops_children() -> None:
    """Steps 3: texts, numbers, maps by key, lists as JSON; parentheses are taken out."""
    run = played('steps: [[{name: a, template: echo, withItems: [x, 2, true, {k2: v, k1: 1}, [1, "two"], "f(x) and (z)"]}]]')
    assert [name.removeprefix("wf[0].") for name in run.names()[2:]] == [
        "a(0:x)", "a(1:2)", "a(2:true)", "a(3:k1:1,k2:v)", 'a(4:[1,"two"])', "a(5:fx and z)",
    ]  # fmt: skip


@pytest.mark.parametrize("loop", ["withParam: '[]'", "withSequence: {count: 0}"])
def test_steps_3_an_empty_list_is_one_skipped_node(loop: str) -> None:
    """Steps 3: an empty list gives one node of type and phase Skipped, and the steps go on."""
    run = played(f"steps: [[{{name: a, template: echo, {loop}}}], [{{name: b, template: echo}}]]")
    node = run.node("wf[0].a")
    assert (node.type, node.phase, node.message) == ("Skipped", "Skipped", "Skipped, empty params")
    assert run.phase("wf[1].b") == "Succeeded"


def test_steps_4_all_items_of_a_group_are_made_together() -> None:
    """Steps 4: no step of a group waits for another."""
    run = begun("steps: [[{name: a, template: echo, withItems: [1, 2, 3]}, {name: b, template: echo}]]")
    assert {node.phase for node in run.live()} == {"Pending"}
    assert len(run.live()) == 4


@pytest.mark.parametrize("more", ["", ", continueOn: {error: true, failed: true}"])
def test_steps_4_a_step_that_cannot_be_made_puts_the_group_in_error(more: str) -> None:
    """Steps 4: the group is in Error, the Steps node Failed with its message; `continueOn` does not help."""
    run = played(GONE.format(more=more))
    message = "step group deemed errored due to child wf[1].a error: "
    assert run.phase("wf[1]") == "Error"
    assert run.node("wf[1]").message.startswith(message)
    assert end_of(run)[0] == "Failed"
    assert end_of(run)[1].startswith(message)
