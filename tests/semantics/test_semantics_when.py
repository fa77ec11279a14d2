# ruff: noqa: E501 - a manifest on one line reads better than one cut in pieces
"""The semantics of `when`.

1. The language is govaluate: bare words are texts, numbers compare as numbers, quotes are optional, `=~`, `in (…)`, `&&`, `||`, `!`;
   what is no condition is an Error of the node that says so. A schedule's `when` knows no bare words.
2. A condition that is an expression tag becomes the text `true` or `false` before. Tags are replaced first; a condition that does
   not hold whatever the item excuses a loop whose list cannot be read; each item is looked at, and skipped, for itself.
3. Where it does not hold the node has the type Skipped, the phase Skipped and says what was evaluated.
"""

import json

import pytest
from semantics_kit import begun, phases, played, shown_node

pytestmark = pytest.mark.pure


def step(when: str, more: str = "") -> str:
    """Return a body of one step with a condition."""
    return f"steps: [[{{name: a, template: echo, when: {json.dumps(when)}{more}}}]]"


@pytest.mark.parametrize(
    "when",
    [
        "heads == heads",
        "heads == 'heads'",
        "'heads' == \"heads\"",
        "10 > 9",
        "5 >= 5.0",
        "abc =~ '^a.c$'",
        "b in (a, b)",
        "'b' in ('a', 'b')",
        "true && (false || !false)",
        "1 + 1 == 2",
        "true",
    ],
)
def test_when_1_govaluate_holds(when: str) -> None:
    """When 1: bare words are texts, numbers compare as numbers, quotes are optional, the operators are govaluate's."""
    assert begun(step(when)).phase("wf[0].a") == "Pending"


@pytest.mark.parametrize("when", ["heads == tails", "10 < 9", "c in (a, b)", "abc !~ 'b'", "!true", "a == A"])
def test_when_1_govaluate_does_not_hold(when: str) -> None:
    """When 1: the same operators where the condition does not hold."""
    assert begun(step(when)).phase("wf[0].a") == "Skipped"


def test_when_1_what_cannot_be_read_is_an_error_with_a_hint() -> None:
    """When 1: what is no condition is an Error: `Invalid 'when' expression` and a hint at quotes."""
    run = played(step("{{workflow.name}} == @b"))
    node = run.node("wf[0].a")
    assert (node.type, node.phase) == ("Skipped", "Error")
    assert node.message.startswith("Invalid 'when' expression 'wf == @b': Invalid token")
    assert node.message.endswith('(hint: try wrapping the affected expression in quotes ("))')


def test_when_1_another_value_than_truth_is_an_error() -> None:
    """When 1: a value that is no truth value is an Error: `Expected boolean evaluation`."""
    node = played(step("1 + 1")).node("wf[0].a")
    assert node.phase == "Error"
    assert node.message.startswith("Expected boolean evaluation for '1 + 1'. Got ")


def test_when_1_a_number_in_quotes_still_compares_with_a_number() -> None:
    """When 1: a value put in for a tag needs no quotes: numbers compare as numbers."""
    main = 'steps: [[{name: num, template: number}], [{name: a, template: echo, when: "{{steps.num.outputs.result}} > 9"}]]'
    assert played(main, ends={"number": {"result": "10"}}).phase("wf[1].a") == "Succeeded"


@pytest.mark.parametrize(
    ("expression", "phase"), [("{{= 1 < 2 }}", "Pending"), ("{{= 'a' == 'b' }}", "Skipped"), ("{{= 1 > 2 }} || true", "Pending")]
)
def test_when_2_expression_tags_become_words(expression: str, phase: str) -> None:
    """When 2: an expression tag gives `true` or `false`, which govaluate reads."""
    assert begun(step(expression)).phase("wf[0].a") == phase


def test_when_2_the_items_of_a_loop_are_skipped_one_by_one() -> None:
    """When 2: a condition that says nothing of the item skips each item."""
    run = played(step("1 == 2", ", withItems: [x, z]"))
    assert phases(run) == {"wf": "Succeeded", "wf[0]": "Succeeded", "wf[0].a(0:x)": "Skipped", "wf[0].a(1:z)": "Skipped"}
    assert run.node("wf[0].a(1:z)").message == "when '1 == 2' evaluated false"


def test_when_2_a_list_that_nobody_needs_may_be_unreadable() -> None:
    """When 2: the condition is looked at before the list: what is skipped needs none."""
    run = played(
        step("1 == 2", ", withParam: '{{workflow.parameters.list}}'"),
        spec="arguments: {parameters: [{name: list, value: no list}]}",
    )
    assert (run.phase("wf[0].a"), run.node("wf[0].a").message) == ("Skipped", "Skipped, empty params")


def test_when_2_for_each_item() -> None:
    """When 2: with the item, the condition is looked at for each item."""
    run = played(step("{{item}} == z", ", withItems: [x, z]"))
    assert phases(run) == {"wf": "Succeeded", "wf[0]": "Succeeded", "wf[0].a(0:x)": "Skipped", "wf[0].a(1:z)": "Succeeded"}


def test_when_3_a_skipped_node_says_what_was_evaluated() -> None:
    """When 3: type Skipped, phase Skipped, `when '…' evaluated false` with the tags replaced."""
    node = shown_node(played(step("{{workflow.name}} == other")), "wf[0].a")
    assert (node.type, node.phase, node.message) == ("Skipped", "Skipped", "when 'wf == other' evaluated false")
