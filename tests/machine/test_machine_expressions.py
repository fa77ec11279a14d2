# ruff: noqa: E501 - a manifest on one line reads better than one cut in pieces
"""Templating and `when`: what tags and expressions stand for in a running workflow, and in one that is looked at ahead."""

import json

import pytest
from machine_driver import Run, workflow

from jitflow import machine
from jitflow.model.runs import LaunchPod

pytestmark = pytest.mark.pure

ECHO = """
- {name: echo, inputs: {parameters: [{name: m, default: d}]}, outputs: {parameters: [{name: p, valueFrom: {path: /p}}]}, container: {image: i, args: ["{{inputs.parameters.m}}"]}}
- {name: defaulted, outputs: {parameters: [{name: p, valueFrom: {path: /p, default: own}}]}, container: {image: i}}
- {name: strict, inputs: {parameters: [{name: m}]}, container: {image: i, args: ["{{inputs.parameters.m}}"]}}
"""


def driven(main: str, extra: str = "", arguments: str = "") -> Run:
    """Return a workflow that has begun; `main` is the body of its entrypoint."""
    run = Run(workflow(f"entrypoint: main\n{arguments}\ntemplates:\n- name: main\n{_indented(main)}\n{ECHO}{extra}"))
    run.begin()
    return run


def _indented(text: str) -> str:
    return "\n".join("  " + line for line in text.strip("\n").splitlines())


def args(run: Run, name: str) -> str:
    """Return the first argument of a launched pod's command."""
    container = run.launch(name).template.container
    assert container is not None
    return container.args[0]


def with_value(text: str, **more: str) -> str:
    """Return what an argument `value: text` gives to a step."""
    return args(
        driven(
            f"steps: [[{{name: a, template: echo, arguments: {{parameters: [{{name: m, value: {json.dumps(text)}}}]}}}}]]", **more
        ),
        "wf[0].a",
    )


# -- expression tags --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{=1 + 1}}", "2"),
        ('{{="a" + "b"}}', "ab"),
        ("{{=[1, 'x']}}", '[1,"x"]'),
        ("{{={'b': 1.0, 'a': '<'}}}", "{{={'b': 1.0, 'a': '<'}}}"),
        ("{{= {'b': 1.0, 'a': '<'} }}", '{"a":"\\u003c","b":1}'),
        ("{{=2 > 1}}", "true"),
        ("{{=workflow.name | upper()}}", "WF"),
        ("{{=workflow['labels'].team}}", "blue"),
        ("{{=asInt('2') * 3}} {{=asFloat('2.5')}}", "6 2.5"),
        ("{{=sprig.trim('  x ') + sprig.repeat(2, 'y')}}", "xyy"),
        ("{{=jsonpath('{\"a\": [1, 2]}', '$.a[1]')}}", "2"),
        ("{{=toJson({'a': 1})}}", '{"a":1}'),
        ('{{="quote \\" and\\nline"}}', 'quote " and\nline'),
        ("{{=`raw`}}", "raw"),
    ],
)
def test_expression_tags_become_text(text: str, expected: str) -> None:
    """SEMANTICS Templating: `{{=…}}`: text is JSON-unescaped, then expr-lang; result is JSON-marshalled, outer quotes trimmed if string."""
    assert with_value(text) == expected


@pytest.mark.parametrize("text", ["{{=gone.x}}", "{{=gone + 1}}", "{{=workflow.gone ?? 'd'}}", "{{=1 +}}", "{{=nil}}", "{{=item}}", "{{=retries}}", "{{=lastRetry.exitCode}}", "{{=sprig.env('HOME')}}"])  # fmt: skip
def test_what_cannot_be_evaluated_stays(text: str) -> None:
    """SEMANTICS Templating: missing identifiers leave the whole tag unresolved; names item, retries, lastRetry.* stay lazy."""
    assert with_value(text) == text


def test_expressions_in_defaults_and_in_the_workflows_arguments() -> None:
    """SEMANTICS Templating: Globals and locals replace first, inputs after."""
    arguments = """
arguments: {parameters: [{name: a, value: "{{=workflow.name + '-a'}}"}, {name: b, value: "{{=date(workflow.creationTimestamp).Year()}}"}]}
"""
    extra = """
- {name: own, inputs: {parameters: [{name: x, value: "{{=workflow.parameters.a + '!'}}"}, {name: z, default: "{{=inputs.parameters.x + '?'}}"}]}, container: {image: i, args: ["{{inputs.parameters.x}} {{inputs.parameters.z}} {{=inputs.parameters.x}}"]}}
"""
    run = driven(
        "steps: [[{name: a, template: own}, {name: b, template: echo, arguments: {parameters: [{name: m, value: '{{workflow.parameters.b}}'}]}}]]",
        extra,
        arguments,
    )
    assert args(run, "wf[0].a") == "wf-a! wf-a!? wf-a!"
    assert args(run, "wf[0].b") == "2026"


def test_names_with_dashes_and_outputs_of_steps() -> None:
    """SEMANTICS Templating: `tasks['a-b'].outputs…` is the form for dashes; dotted scope keys are expanded to nested maps."""
    run = driven(
        """
dag:
  tasks:
  - {name: a-b, template: echo}
  - name: c
    template: echo
    depends: a-b
    arguments: {parameters: [{name: m, value: "{{=tasks['a-b'].outputs.parameters.p + tasks['a-b'].outputs.parameters['p'] + tasks['a-b'].status}}"}]}
"""
    )
    run.end("wf.a-b", parameters={"p": "v"})
    assert args(run, "wf.c") == "vvSucceeded"


def test_items_of_loops_in_expressions() -> None:
    """SEMANTICS Loops: numbers/bools keep their JSON text as item; `{{item.x}}` needs maps."""
    run = driven(
        """
steps:
- - name: a
    template: echo
    withParam: '[1, "x", {"k": 2, "l": [true]}]'
    when: "{{=string(item) != 'x'}}"
    arguments: {parameters: [{name: m, value: "{{=type(item)}} {{=get(item, 'k') ?? 'none'}}"}]}
"""
    )
    assert args(run, "wf[0].a(0:1)") == "string none"
    assert run.phase("wf[0].a(1:x)") == "Skipped"
    assert args(run, "wf[0].a(2:k:2,l:[true])") == "map 2"


def test_a_name_that_begins_like_item_is_no_item() -> None:
    run = driven(
        """
inputs: {parameters: [{name: items, value: "none"}]}
steps: [[{name: a, template: echo, when: "{{=inputs.parameters.items == 'all'}}", withItems: [1, 2]}]]
"""
    )
    assert run.node("wf[0].a(0:1)").message == "when 'false' evaluated false"


@pytest.mark.parametrize(
    ("when", "phase"),
    [
        ("{{=workflow.name == 'wf'}}", "Pending"),
        ("{{=workflow.name != 'wf'}}", "Skipped"),
        ("{{=workflow.name == 'wf'}} && 1 == 2", "Skipped"),
        ("{{=1 + 1}} == 2", "Pending"),
        ("{{=gone}}", "Error"),
        ("{{=1 + 1}}", "Error"),
    ],
)
def test_expressions_in_when(when: str, phase: str) -> None:
    """SEMANTICS when: an already expr-tagged `{{=…}}` yields the text "true"/"false", which goes to govaluate."""
    run = driven(f'steps: [[{{name: a, template: echo, when: "{when}"}}]]')
    assert run.phase("wf[0].a") == phase


# -- outputs of nodes that did not run --------------------------------------------------------------------------------

SKIPPED = """
dag:
  tasks:
  - {{name: a, template: {template}, when: "1 == 2"}}
  - {{name: b, template: {callee}, depends: a.Skipped, arguments: {{parameters: [{{name: m, value: "{value}"}}]}}}}
"""


@pytest.mark.parametrize(
    ("template", "callee", "value", "expected"),
    [
        ("echo", "echo", "{{tasks.a.outputs.parameters.p}}", "d"),
        ("defaulted", "echo", "{{tasks.a.outputs.parameters.p}}", "own"),
        ("echo", "echo", "{{=tasks.a.outputs.parameters.p ?? 'else'}}", "else"),
        ("echo", "strict", "{{=tasks.a.outputs.parameters.p == nil ? 'nil' : 'there'}}", "nil"),
        ("defaulted", "echo", "{{=tasks.a.outputs.parameters.p ?? 'else'}}", "own"),
        ("echo", "echo", "{{=tasks.a.status}}", "Skipped"),
    ],
)
def test_outputs_of_a_skipped_node(template: str, callee: str, value: str, expected: str) -> None:
    """SEMANTICS Templating: an "absent optional": as a pure tag the callee's default applies; expressions see nil (`??` works)."""
    run = driven(SKIPPED.format(template=template, callee=callee, value=value))
    assert args(run, "wf.b") == expected


@pytest.mark.parametrize(
    ("callee", "value"),
    [("strict", "{{tasks.a.outputs.parameters.p}}"), ("echo", "text {{tasks.a.outputs.parameters.p}}")],
)
def test_outputs_of_a_skipped_node_that_nothing_can_replace(callee: str, value: str) -> None:
    """SEMANTICS Templating: mixed into text, or without a default it is a terminal error."""
    run = driven(SKIPPED.format(template="echo", callee=callee, value=value))
    assert run.phase("wf.b") == "Error"


def test_outputs_of_a_skipped_node_in_with_param() -> None:
    """SEMANTICS Templating: in withParam it is a terminal error."""
    run = driven(
        """
dag:
  tasks:
  - {name: a, template: echo, when: "1 == 2"}
  - {name: b, template: echo, depends: a.Skipped, withParam: "{{tasks.a.outputs.parameters.p}}"}
"""
    )
    assert run.phase("wf.b") == "Error"


def test_output_expressions_choose_among_branches() -> None:
    """A parameter and an artifact chosen by an expression, one branch skipped."""
    run = driven(
        """
outputs:
  parameters: [{name: o, valueFrom: {expression: "steps.flip.outputs.result == 'heads' ? steps.h.outputs.parameters.p : steps.t.outputs.parameters.p"}},
               {name: e, valueFrom: {expression: "steps.t.outputs.parameters.p ?? 'none'"}},
               {name: f, valueFrom: {expression: "steps.gone.outputs.result", default: fallback}}]
steps:
- [{name: flip, template: script}]
- [{name: h, template: echo, when: "{{steps.flip.outputs.result}} == heads"}, {name: t, template: echo, when: "{{steps.flip.outputs.result}} == tails"}]
""",
        "- {name: script, script: {image: i, command: [sh], source: echo}}",
    )
    run.end("wf[0].flip", result="heads")
    run.end("wf[1].h", parameters={"p": "face"})
    outputs = run.node("wf").outputs
    assert outputs is not None
    assert {p.name: p.value for p in outputs.parameters} == {"o": "face", "e": "none", "f": "fallback"}


# -- looking ahead ----------------------------------------------------------------------------------------------------

AHEAD = """
dag:
  tasks:
  - {name: first, template: echo}
  - {name: sure, template: read, depends: first, arguments: {parameters: [{name: m, value: "{{=workflow.name + '!'}}"}]}}
  - {name: later, template: read, depends: first, arguments: {parameters: [{name: m, value: "{{=tasks.first.outputs.parameters.p ?? 'x'}}"}]}}
  - {name: perhaps, template: read, depends: first, when: "{{=tasks.first.outputs.parameters.p == 'yes'}}"}
  - {name: never, template: read, depends: first, when: "{{=workflow.name == 'other'}}"}
  - {name: loop, template: read, depends: first, withParam: "{{=toJson(split(tasks.first.outputs.parameters.p, 'e'))}}"}
"""


def test_the_forecast_takes_expressions_of_unknown_names_as_unknown() -> None:
    """What only the future knows is unknown, and filled in as soon as it is known."""
    reading = """
- {name: read, inputs: {parameters: [{name: m, default: d}], artifacts: [{name: far, path: /far, plugin: {name: rclone, key: "far:{{inputs.parameters.m}}"}}]}, container: {image: i, args: ["{{inputs.parameters.m}}"]}}
"""
    run = driven(AHEAD, reading)
    steps = {step.node_id: step for step in machine.forecast(run.state)}

    def step(name: str) -> machine.ForecastStep:
        return steps[machine.node_id("wf", name)]

    def read(name: str) -> list[str | None]:
        return [artifact.plugin.key for artifact in step(name).inputs if artifact.plugin]

    assert read("wf.sure") == ["far:wf!"]
    assert (read("wf.later"), step("wf.later").unknown) == ([], True)
    assert not step("wf.perhaps").certain
    assert machine.node_id("wf", "wf.never") not in steps
    assert step("wf.loop").unknown
    run.end("wf.first", parameters={"p": "yes"})
    launched = [effect.template for effect in run.effects.values() if isinstance(effect, LaunchPod)]
    assert sorted(t.container.args[0] for t in launched if t.container) == ["d", "d", "d", "wf!", "yes"]
