# ruff: noqa: E501 - a manifest on one line reads better than one cut in pieces
"""The semantics of loops and outputs.

1. What a loop gives out counts its successful children only, by index; attempts and hooks do not count. `outputs.result` is a list of
   the results, which must be JSON, else the Steps or DAG node is in Error; `outputs.parameters` is a list of maps; `outputs.parameters.x`
   a list of texts, but of maps and lists if all values are such.
2. `withSequence` counts with `count`, or from `start` to `end` (texts or numbers; `count` and `end` exclude each other), down if `end` is
   below `start`; its format is printf's; the items are texts; a count of 0 is an empty list.
3. `withParam` takes a JSON list only; numbers and truth values keep their JSON as items; `{{item.x}}` needs maps; `{{item}}` of a map is
   its JSON.
4. A result is captured only if somebody beside reads it (`(steps|tasks).NAME.outputs.result`); it is what the container main printed, at
   most the last 256 kB, without one line break at its end.
5. `valueFrom.path`: the file's content without one line break at its end; a file that is not there gives the default, or an Error. Outputs
   are collected from a failed main too; its own end counts more.
6. `exitCode` is a text; pods have one, failed ones too; the message is `main: Error (exit code N)`, 64 if the command could not start.
7. `globalName` copies an output to the workflow's outputs, where `workflow.outputs.{parameters,artifacts}.x` reads it.
"""

import json

import pytest
import yaml
from semantics_kit import ERRED, FAILED, begun, end_of, output, phases, played, received, refused

from jitflow import machine
from jitflow.model import argo

pytestmark = pytest.mark.pure


def loop(items: str, then: str, producer: str = "number", more: str = "") -> str:
    """Return a loop over items, and a step that receives something of it."""
    value = f"arguments: {{parameters: [{{name: m, value: '{then}'}}]}}"
    return f"steps: [[{{name: l, template: {producer}, withItems: {items}{more}}}], [{{name: a, template: echo, {value}}}]]"


RESULT = "{{steps.l.outputs.result}}"
VALUES = "{{steps.l.outputs.parameters.p}}"


# -- 1 ----------------------------------------------------------------------------------------------------------------


def test_loops_1_results_are_a_list_by_index() -> None:
    """Loops 1: however the children end, their results stand in order; maps, numbers and texts as their JSON."""
    run = begun(loop("[x, z, w]", RESULT))
    for name, result in (("2:w", '"t"'), ("0:x", '{"k": 1}'), ("1:z", "7")):
        run.end(f"wf[0].l({name})", result=result)
    assert json.loads(received(run, "wf[1].a") or "") == [{"k": 1}, 7, "t"]


@pytest.mark.parametrize("end", [FAILED, ERRED])
def test_loops_1_only_what_succeeded_counts(end: dict[str, object]) -> None:
    """Loops 1: failed children give nothing."""
    run = played(
        loop("[x, z]", RESULT, more=", continueOn: {failed: true, error: true}"),
        ends={"number": {"result": "1"}, "wf[0].l(1:z)": {**end, "result": "2"}},
    )
    assert received(run, "wf[1].a") == "[1]"


def test_loops_1_attempts_and_hooks_do_not_count() -> None:
    """Loops 1: one value for each item, of its last attempt; none of its hooks."""
    run = played(
        loop("[x]", RESULT, "again", ", hooks: {exit: {template: number}}"),
        extra="- {name: again, retryStrategy: {limit: 2}, script: {image: i, command: [sh], source: x}}",
        ends={"wf[0].l(0:x)(0)": {"exit_code": 1, "result": "1"}, "wf[0].l(0:x)(1)": {"result": "2"}, "number": {"result": "3"}},
    )
    assert received(run, "wf[1].a") == "[2]"


@pytest.mark.parametrize("result", ["no json", "", "{1: 2}", "'x'"])
def test_loops_1_a_result_that_is_no_json(result: str) -> None:
    """Loops 1: one result that is no JSON puts the Steps node in Error."""
    run = played(loop("[x, z]", RESULT), ends={"number": {"result": "1"}, "wf[0].l(1:z)": {"result": result}})
    assert (run.phase("wf"), run.phase("wf[0]")) == ("Error", "Succeeded")
    assert end_of(run)[1].startswith("error in entry template execution: failed to resolve {{steps.l.outputs.result}}")
    assert "wf[1]" not in run.names()


def test_loops_1_a_result_that_is_no_json_in_a_dag() -> None:
    """Loops 1: the same puts a DAG in Error."""
    value = "arguments: {parameters: [{name: m, value: '{{tasks.l.outputs.result}}'}]}"
    run = played(
        f"dag: {{tasks: [{{name: l, template: number, withItems: [x]}}, {{name: a, template: echo, depends: l, {value}}}]}}",
        ends={"number": {"result": "no json"}},
    )
    assert (end_of(run)[0], run.phase("wf"), run.phase("wf.a")) == ("Error", "Error", "Error")


def test_loops_1_parameters() -> None:
    """Loops 1: all parameters as a list of maps, one as a list of texts."""
    ends = {"wf[0].l(0:x)": {"parameters": {"p": "1"}}, "wf[0].l(1:z)": {"parameters": {"p": "two"}}}
    run = played(loop("[x, z]", "{{steps.l.outputs.parameters}}", "write"), ends=ends)
    assert json.loads(received(run, "wf[1].a") or "") == [{"p": "1"}, {"p": "two"}]
    run = played(loop("[x, z]", VALUES, "write"), ends=ends)
    assert json.loads(received(run, "wf[1].a") or "") == ["1", "two"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (('{"k":1}', "[2]"), [{"k": 1}, [2]]),
        (('{"k":1}', "text"), ['{"k":1}', "text"]),
        (("1", "2"), ["1", "2"]),
        (("true", "false"), ["true", "false"]),
        (('{"k":1}', "{k"), ['{"k":1}', "{k"]),
    ],
)
def test_loops_1_values_that_are_all_maps_or_lists(values: tuple[str, str], expected: list[object]) -> None:
    """Loops 1: only if all values are JSON maps or lists do they stand as such."""
    ends = {
        f"wf[0].l({index}:{item})": {"parameters": {"p": value}}
        for index, (item, value) in enumerate(zip("xz", values, strict=True))
    }
    assert json.loads(received(played(loop("[x, z]", VALUES, "write"), ends=ends), "wf[1].a") or "") == expected


# -- 2 ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sequence", "items"),
    [
        ("count: 3", ["0", "1", "2"]),
        ('count: "2"', ["0", "1"]),
        ("count: 2, start: 5", ["5", "6"]),
        ('start: "2", end: "4"', ["2", "3", "4"]),
        ("end: 2", ["0", "1", "2"]),
        ("start: 3, end: 1", ["3", "2", "1"]),
        ("start: 1, end: 1", ["1"]),
        ("start: -1, end: 1", ["-1", "0", "1"]),
        ('count: 2, start: 9, format: "n%03d.txt"', ["n009.txt", "n010.txt"]),
        ('start: 10, count: 2, format: "%02X"', ["0A", "0B"]),
        ('count: "{{workflow.parameters.n}}"', ["0", "1"]),
    ],
)
def test_loops_2_sequences(sequence: str, items: list[str]) -> None:
    """Loops 2: count; start and end, up and down; format; each item a text."""
    run = begun(
        f"steps: [[{{name: l, template: echo, withSequence: {{{sequence}}}, arguments: {{parameters: [{{name: m, value: '{{{{item}}}}'}}]}}}}]]",
        spec="arguments: {parameters: [{name: n, value: '2'}]}".replace("name: n,", "name: 'n',"),
    )
    assert [received(run, f"wf[0].l({index}:{item})") for index, item in enumerate(items)] == items
    assert len(run.live()) == len(items)


def test_loops_2_a_count_of_nothing() -> None:
    """Loops 2: count 0 gives no item: the step is skipped."""
    assert phases(played("steps: [[{name: l, template: echo, withSequence: {count: 0}}]]"))["wf[0].l"] == "Skipped"


def test_loops_2_count_and_end_exclude_each_other() -> None:
    """Loops 2: both at once are refused."""
    assert "only one of count or end" in refused("steps: [[{name: l, template: echo, withSequence: {count: 1, end: 2}}]]")


# -- 3 ----------------------------------------------------------------------------------------------------------------


def over(text: str, value: str = "{{item}}") -> machine.Node | list[str | None]:
    """Return what each item of a `withParam` gives to its step, in order; the step's node when it was not expanded."""
    run = begun(
        f"steps: [[{{name: l, template: echo, withParam: '{{{{workflow.parameters.list}}}}', arguments: {{parameters: [{{name: m, value: '{value}'}}]}}}}]]",
        spec=f"arguments: {{parameters: [{{name: list, value: {json.dumps(text)}}}]}}",
    )
    made = sorted((node for node in run.state.nodes.values() if node.name.startswith("wf[0].l")), key=lambda node: node.index)
    return made[0] if made[0].index < 0 else [received(run, node.name) for node in made]


@pytest.mark.parametrize("text", ['{"a": 1}', "text", "7", "", "null", '["a",]'])
def test_loops_3_only_lists(text: str) -> None:
    """Loops 3: what is no JSON list is an Error: `withParam value could not be parsed as a JSON list`; null is an empty one."""
    node = over(text)
    assert isinstance(node, machine.Node)
    if text == "null":
        assert (node.phase, node.message) == ("Skipped", "Skipped, empty params")
    else:
        assert node.phase == "Error"
        assert node.message.startswith("withParam value could not be parsed as a JSON list")


def test_loops_3_items_keep_their_json() -> None:
    """Loops 3: numbers and truth values as they are written; texts without quotes; maps and lists as JSON."""
    assert over('[1, 1.50, true, null, "t", "1", {"b": 2, "a": [1]}, [1, "x"]]') == [
        "1", "1.50", "true", "null", "t", "1", '{"a":[1],"b":2}', '[1,"x"]',
    ]  # fmt: skip


def test_loops_3_fields_of_items() -> None:
    """Loops 3: `{{item.x}}` reads a map's value; maps in maps as JSON."""
    assert over('[{"x": "a"}, {"x": 1}, {"x": {"k": [2]}}]', "{{item.x}}") == ["a", "1", '{"k":[2]}']


@pytest.mark.parametrize("items", ["[text]", "[1]", "[[1]]", "[{z: 1}]"])
def test_loops_3_an_item_without_the_field(items: str) -> None:
    """Loops 3: an item that is no map, or has no such field, is an error of the loop."""
    run = played(
        "steps: [[{name: l, template: echo, withParam: '{{workflow.parameters.list}}', arguments: {parameters: [{name: m, value: '{{item.x}}'}]}}]]",
        spec=f"arguments: {{parameters: [{{name: list, value: {json.dumps(json.dumps(yaml.safe_load(items)))}}}]}}",
    )
    assert run.phase("wf[0]") == "Error"
    assert "{{item.x}}" in run.node("wf[0]").message
    assert not run.launched


# -- 4 ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reads", "captured"),
    [
        ("arguments: {parameters: [{name: m, value: '{{steps.s.outputs.result}}'}]}", True),
        ("arguments: {parameters: [{name: m, value: \"{{=steps['s'].outputs.result}}\"}]}", True),
        ("when: \"'{{steps.s.outputs.result}}' == x\"", True),
        ("arguments: {parameters: [{name: m, value: '{{steps.s.id}}'}]}", False),
        ("when: 'true'", False),
    ],
)
def test_loops_4_captured_if_somebody_reads_it(reads: str, captured: bool) -> None:
    """Loops 4: some text beside the step must name its result."""
    run = begun(f"steps: [[{{name: s, template: number}}], [{{name: a, template: echo, {reads}}}]]")
    assert run.launch("wf[0].s").capture_result is captured


def test_loops_4_captured_for_the_outputs_and_hooks() -> None:
    """Loops 4: outputs of the template and hooks may be the readers."""
    run = begun(
        "steps: [[{name: s, template: number}]]\noutputs: {parameters: [{name: o, valueFrom: {parameter: '{{steps.s.outputs.result}}'}}]}"
    )
    assert run.launch("wf[0].s").capture_result
    hook = "hooks: {exit: {template: echo, arguments: {parameters: [{name: m, value: '{{steps.s.outputs.result}}'}]}}}"
    run = begun(f"steps: [[{{name: s, template: number, {hook}}}]]")
    assert run.launch("wf[0].s").capture_result
    run.end("wf[0].s", result="hi")
    assert received(run, "wf[0].s.onExit") == "hi"


# -- 5 and 6 ----------------------------------------------------------------------------------------------------------


def test_loops_5_a_file_that_is_not_there() -> None:
    """Loops 5: the default stands in, else the step is in Error."""
    run = played("steps: [[{name: d, template: defaulted}]]", ends={"defaulted": {"parameters": {}}})
    assert output(run, "wf[0].d") == "own"
    run = played("steps: [[{name: d, template: write}]]", ends={"write": {"parameters": {}}})
    assert run.phase("wf[0].d") == "Error"
    assert "/p" in run.node("wf[0].d").message


def test_loops_5_outputs_of_a_failed_main() -> None:
    """Loops 5: they are collected; the phase is main's, whatever is missing."""
    ends = {"write": {"exit_code": 3, "parameters": {"p": "left"}}}
    run = played("steps: [[{name: d, template: write}]]", ends=ends)
    assert (run.phase("wf[0].d"), output(run, "wf[0].d")) == ("Failed", "left")
    run = played("steps: [[{name: d, template: write}]]", ends={"write": {"exit_code": 3, "parameters": {}}})
    assert (run.phase("wf[0].d"), run.node("wf[0].d").message) == ("Failed", "main: Error (exit code 3)")


def test_loops_6_exit_codes() -> None:
    """Loops 6: a text, of pods that failed too, for later steps and for `when`."""
    value = "arguments: {parameters: [{name: m, value: '{{steps.f.exitCode}} {{steps.f.status}}'}]}"
    run = played(
        f"steps: [[{{name: f, template: fail, continueOn: {{failed: true}}}}], [{{name: a, template: echo, {value}, when: '{{{{steps.f.exitCode}}}} == 4'}}]]",
        ends={"fail": {"exit_code": 4}},
    )
    assert (run.node("wf[0].f").outputs or argo.Outputs()).exit_code == "4"
    assert received(run, "wf[1].a") == "4 Failed"
    assert run.node("wf").outputs is None
    assert run.node("wf[0].f").message == "main: Error (exit code 4)"


# -- 7 ----------------------------------------------------------------------------------------------------------------


def test_loops_7_global_outputs() -> None:
    """Loops 7: `globalName` copies to the workflow's outputs; later steps and the exit handler read it."""
    run = begun(
        """
steps:
- - {name: w, template: out}
- - {name: a, template: echo, arguments: {parameters: [{name: m, value: "{{workflow.outputs.parameters.far}}"}]}}
  - {name: b, template: take, arguments: {artifacts: [{name: f, from: "{{workflow.outputs.artifacts.file}}"}]}}
""",
        extra="""
- name: out
  outputs: {parameters: [{name: p, globalName: far, valueFrom: {path: /p}}], artifacts: [{name: f, path: /f, globalName: file, s3: {key: k}}]}
  container: {image: i}
- {name: take, inputs: {artifacts: [{name: f, path: /f}]}, container: {image: i}}
""",
    )
    run.play()
    assert received(run, "wf[1].a") == "value of p"
    outputs = run.state.run.outputs or argo.Outputs()
    assert [(p.name, p.value) for p in outputs.parameters] == [("far", "value of p")]
    assert [a.name for a in outputs.artifacts] == ["file"]
    inputs = run.node("wf[1].b").inputs or argo.Inputs()
    assert inputs.artifacts[0].s3 is not None
    assert inputs.artifacts[0].s3.key == "k"


def test_loops_7_global_outputs_of_steps_and_dags() -> None:
    """Loops 7: a Steps or DAG template's outputs may be global too; a name may hold tags."""
    run = played(
        "steps: [[{name: w, template: write}]]\noutputs: {parameters: [{name: o, globalName: 'of-{{workflow.name}}', valueFrom: {parameter: '{{steps.w.outputs.parameters.p}}'}}]}"
    )
    outputs = run.state.run.outputs or argo.Outputs()
    assert [(p.name, p.value) for p in outputs.parameters] == [("of-wf", "value of p")]
