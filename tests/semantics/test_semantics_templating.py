# ruff: noqa: E501 - a manifest on one line reads better than one cut in pieces
"""The semantics of tags, and where values come from.

1. A template is turned into JSON and its tags are replaced in that text, the values JSON-escaped: quotes and line breaks do no harm,
   a number in a text stays a text, and the result must be JSON again.
2. A simple tag that nobody knows stays as it is; a reference to a step's output that is not there is told as `failed to resolve {{…}}`,
   but not one of an artifact.
3. `{{=…}}` is un-escaped, then read as expr-lang; one with a name that is not known yet stays whole; what concerns the item, retries,
   the workflow's status and failures is read when that is known; the value is put in as JSON, texts without their quotes.
4. Expressions know asInt, asFloat, jsonpath, toJson and sprig (without env and expandenv); dots lead into maps; `tasks['a-b']` is for
   names with dashes. Conditions must be exactly true or false.
5. An inner tag goes first (`{{a.{{b}}}}`); what was put in is not looked at again.
6. An input is what the argument says, else its own default, else the value of a ConfigMap's key (its default if that is not there),
   else an error: `inputs.parameters.x was not supplied`. `{{inputs.parameters}}` is a JSON list of all.
7. The output of a node that was skipped or omitted, without a default, is absent: as a whole argument it lets the input's default
   apply; in a text, a `withParam`, a `subPath` or without a default it is an error for good; expressions see nil.
8. The paths of inputs and outputs may be used in the command; `pod.name`, `node.name`, `steps.name` and `tasks.name` are there.
9. Before anything runs the whole tree is walked: unknown references, missing inputs, names used twice, results of templates that have
   none, `timeout` where no pod is, timeouts without a unit and `depends` beside `dependencies` are refused.
"""

import json

import pytest
from semantics_kit import FAILED, arguments, begun, end_of, given, played, received, refused

from jitflow.expr import tags
from jitflow.model import argo
from jitflow.model.objects import ConfigMap

pytestmark = pytest.mark.pure


def step(value: str, template: str = "echo", more: str = "") -> str:
    """Return a step that gives a value to its template."""
    return f"{{name: a, template: {template}, arguments: {{parameters: [{{name: m, value: {json.dumps(value)}}}]}}{more}}}"


# -- 1 ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ['say "hi"', "two\nlines", "back\\slash", "tab\t", "ünï ☃", '{"a": [1]}', "", "{not json"])
def test_templating_1_values_are_escaped(value: str) -> None:
    """Templating 1: any text goes through arguments, inputs and the pod's command as it is."""
    spec = f"arguments: {{parameters: [{{name: v, value: {json.dumps(value)}}}]}}"
    run = begun(f"steps: [[{step('{{workflow.parameters.v}}')}]]", spec=spec)
    assert received(run, "wf[0].a") == value
    assert arguments(run, "wf[0].a") == [value]


def test_templating_1_a_number_in_a_text_stays_a_text() -> None:
    """Templating 1: `args: ["{{inputs.parameters.m}}"]` with 5 gives the text 5."""
    assert given("5") == "5"
    run = begun(f"steps: [[{step('3')}]]", extra="- {name: t, container: {image: i}}")
    assert received(run, "wf[0].a") == "3"


def test_templating_1_the_result_must_be_json_again() -> None:
    """Templating 1: braces that would break the document do not: values are escaped, so it always is JSON."""
    assert given('"}]{{=toJson("\\"")}}') == '"}]"\\""'


# -- 2 ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["{{nobody.knows}}", "{{ }}", "{{user `id`}}", "{{.Values.x}}"])
def test_templating_2_unknown_tags_stay(text: str) -> None:
    """Templating 2: a simple tag that is not ours is text."""
    assert given(text) == text


def test_templating_2_a_step_output_that_is_not_there() -> None:
    """Templating 2: `failed to resolve {{steps.…}}`, never a text with braces in it for a pod."""
    run = played(
        f"steps: [[{{name: w, template: bad, continueOn: {{failed: true}}}}], [{step('{{steps.w.outputs.parameters.p}}')}]]",
        extra="- {name: bad, outputs: {parameters: [{name: p, valueFrom: {path: /p}}]}, container: {image: i}}",
        ends={"bad": FAILED | {"parameters": {}}},
    )
    assert "failed to resolve {{steps.w.outputs.parameters.p}}" in run.node("wf[1].a").message
    assert run.launched == [run.node("wf[0].w").id]


# -- 3 ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{=1 + 1}}", "2"),
        ("{{= 'a' + \"b\" }}", "ab"),
        ("{{=[1, 'x', nil]}}", '[1,"x",null]'),
        ("{{= {'b': 1.5, 'a': true} }}", '{"a":true,"b":1.5}'),
        ("x{{=1 > 0}}y", "xtruey"),
        ('{{="a\\"b"}}', 'a"b'),
        ("{{=workflow.name + '!'}}", "wf!"),
    ],
)
def test_templating_3_expressions_become_text(text: str, expected: str) -> None:
    """Templating 3: un-escaped, evaluated, put in as JSON; a text without its quotes."""
    assert given(text) == expected


@pytest.mark.parametrize("text", ["{{=gone}}", "{{=workflow.parameters.gone}}", "{{=gone.deep + 1}}"])
def test_templating_3_an_expression_of_unknown_names_stays(text: str) -> None:
    """Templating 3: the whole tag stays as it is."""
    assert given(text) == text


def test_templating_3_items_retries_and_the_status_are_late() -> None:
    """Templating 3: `item`, `retries`, `lastRetry` and `workflow.status` are read when they are known."""
    run = begun(f"steps: [[{step('{{=item + 1}}', more=', withItems: [a]')}]]")
    assert received(run, "wf[0].a(0:a)") == "{{=item + 1}}"
    run = begun(f"steps: [[{step('{{=asInt(item) + 1}}', more=', withItems: [1]')}]]")
    assert received(run, "wf[0].a(0:1)") == "2"
    run = begun(
        "steps: [[{name: a, template: r}]]",
        extra='- {name: r, retryStrategy: {limit: 2}, container: {image: i, args: ["{{=asInt(retries) * 10}} {{lastRetry.exitCode}}"]}}',
    )
    run.end("wf[0].a(0)", 3)
    assert arguments(run, "wf[0].a(1)") == ["10 3"]
    run = begun(
        "container: {image: i}",
        spec="onExit: bye",
        extra="- {name: bye, container: {image: i, args: [\"{{=workflow.status == 'Failed' ? 'sad' : 'glad'}} {{=fromJSON(fromJSON(workflow.failures))[0].phase}}\"]}}",
    )
    run.end("wf", 1)
    assert arguments(run, "wf.onExit") == ["sad Failed"]


# -- 4 ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{=asInt('12') + 1}}", "13"),
        ("{{=asFloat('1.5') * 2}}", "3"),
        ("{{=jsonpath(workflow.parameters.j, '$.a[1]')}}", "two"),
        ("{{=toJson({'k': [1]})}}", '{"k":[1]}'),
        ("{{=sprig.upper('x')}}", "X"),
        ("{{=sprig.trim(sprig.nospace(' a b '))}}", "ab"),
        ("{{=sprig.default('d', '')}}", "d"),
        ("{{=sprig.env('HOME')}}", "{{=sprig.env('HOME')}}"),
        ("{{=sprig.expandenv('$HOME')}}", "{{=sprig.expandenv('$HOME')}}"),
        ("{{=workflow.labels.team}}", "blue"),
        ("{{=workflow.parameters['a-b']}}", "dashed"),
    ],
)
def test_templating_4_what_expressions_know(text: str, expected: str) -> None:
    """Templating 4: Argo's helpers, sprig without the environment, dotted names, names in brackets."""
    spec = 'arguments: {parameters: [{name: j, value: "{\\"a\\": [1, \\"two\\"]}"}, {name: a-b, value: dashed}]}'
    assert given(text, spec=spec) == expected


def test_templating_4_outputs_of_names_with_dashes() -> None:
    """Templating 4: `steps['a-b'].outputs…` reads the output of a step whose name has a dash."""
    run = begun(f"""steps: [[{{name: w-1, template: write}}], [{step("{{=steps['w-1'].outputs.parameters.p + '!'}}")}]]""")
    run.end("wf[0].w-1", parameters={"p": "v"})
    assert received(run, "wf[1].a") == "v!"


@pytest.mark.parametrize("expression", ["1", "'true'", "nil"])
def test_templating_4_conditions_must_be_bool(expression: str) -> None:
    """Templating 4: the condition of a hook or retry that is no bool is an error, not taken for true or false."""
    run = played(
        "steps: [[{name: a, template: r}]]",
        extra=f'- {{name: r, retryStrategy: {{limit: 3, expression: "{expression}"}}, container: {{image: i}}}}',
        ends={"r": FAILED},
    )
    assert "to bool" in run.node("wf[0].a").message
    assert len(run.launched) == 1


# -- 5 ----------------------------------------------------------------------------------------------------------------


def test_templating_5_inner_tags_go_first() -> None:
    """Templating 5: `{{workflow.parameters.{{inputs.parameters.m}}}}` looks up the parameter that m names."""
    run = begun(
        """
        inputs: {parameters: [{name: m}]}
        container: {image: i, args: ["{{workflow.parameters.{{inputs.parameters.m}}}}"]}
        """,
        spec="arguments: {parameters: [{name: m, value: second}, {name: first, value: '1'}, {name: second, value: '2'}]}",
    )
    assert arguments(run, "wf") == ["2"]


def test_templating_5_values_are_not_looked_at_again() -> None:
    """Templating 5: a value that looks like a tag stays what it is in the pod's command."""
    assert tags.substitute("{{a}}", {"a": "{{b}}", "b": "x"}.get) == "{{b}}"


# -- 6 ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "argument", "value"), [("echo", True, "given"), ("echo", False, "none"), ("strict", True, "given")]
)
def test_templating_6_the_argument_then_the_default(template: str, argument: bool, value: str) -> None:
    """Templating 6: the argument wins over the default."""
    main = step("given", template) if argument else f"{{name: a, template: {template}}}"
    assert received(begun(f"steps: [[{main}]]"), "wf[0].a") == value


def test_templating_6_an_empty_argument_is_an_argument() -> None:
    """Templating 6: an empty text is given, not missing."""
    assert received(begun(f"steps: [[{step('')}]]"), "wf[0].a") == ""


def test_templating_6_without_any_value() -> None:
    """Templating 6: `inputs.parameters.m was not supplied`, refused before it runs where that can be known."""
    assert "inputs.parameters.m was not supplied" in refused("steps: [[{name: a, template: strict}]]")


def test_templating_6_globals_before_inputs() -> None:
    """Templating 6: an argument may hold workflow values, inputs and items side by side."""
    run = begun(
        f"inputs: {{parameters: [{{name: x, value: in}}]}}\nsteps: [[{step('{{workflow.name}} {{inputs.parameters.x}} {{item}}', more=', withItems: [1]')}]]"
    )
    assert received(run, "wf[0].a(0:1)") == "wf in 1"


class Configured:
    """Objects that are one ConfigMap, `cm`, with one key, `k`."""

    def find(self, kind: type, namespace: str, name: str) -> object:
        """Return the ConfigMap."""
        del namespace
        return ConfigMap(metadata=argo.ObjectMeta(name="cm"), data={"k": "kept"}) if (kind, name) == (ConfigMap, "cm") else None


@pytest.mark.parametrize(
    ("source", "argument", "value"),
    [
        ("valueFrom: {configMapKeyRef: {name: cm, key: k}}", "", "kept"),
        ("default: d, valueFrom: {configMapKeyRef: {name: cm, key: k}}", "", "kept"),
        ("valueFrom: {configMapKeyRef: {name: cm, key: none}, default: own}", "", "own"),
        ("valueFrom: {configMapKeyRef: {name: cm, key: k}}", "value: given", "given"),
        ("default: d", "valueFrom: {configMapKeyRef: {name: cm, key: k}}", "kept"),
        ("default: d", "valueFrom: {configMapKeyRef: {name: '{{workflow.parameters.map}}', key: k}}", "kept"),
    ],
)
def test_templating_6_config_maps(source: str, argument: str, value: str) -> None:
    """Templating 6: an argument goes before the input's ConfigMap; an argument may name a ConfigMap; a default stands in."""
    given_to = f", arguments: {{parameters: [{{name: m, {argument}}}]}}" if argument else ""
    run = begun(
        f"steps: [[{{name: a, template: c{given_to}}}]]",
        extra=f"- {{name: c, inputs: {{parameters: [{{name: m, {source}}}]}}, container: {{image: i}}}}",
        spec="arguments: {parameters: [{name: map, value: cm}]}",
        objects=Configured(),
    )
    assert received(run, "wf[0].a") == value


def test_templating_6_a_config_map_that_is_not_there() -> None:
    """Templating 6: without a default it is an error that names the ConfigMap."""
    run = begun(
        "steps: [[{name: a, template: c}]]",
        extra="- {name: c, inputs: {parameters: [{name: m, valueFrom: {configMapKeyRef: {name: gone, key: k}}}]}, container: {image: i}}",
        objects=Configured(),
    )
    assert run.node("wf[0].a").message.startswith("unable to retrieve inputs.parameters.m from ConfigMap 'gone'")


def test_templating_6_all_inputs_as_json() -> None:
    """Templating 6: `{{inputs.parameters}}` is a JSON list of names and values."""
    run = begun(
        f"steps: [[{step('v', 'all')}]]",
        extra='- {name: all, inputs: {parameters: [{name: m}, {name: o, value: w}]}, container: {image: i, args: ["{{inputs.parameters}}"]}}',
    )
    assert [(one["name"], one["value"]) for one in json.loads(arguments(run, "wf[0].a")[0])] == [("m", "v"), ("o", "w")]


# -- 7 ----------------------------------------------------------------------------------------------------------------

SKIPPED = "steps: [[{name: s, template: %s, when: 'false'}], [%s]]"
TAG = "{{steps.s.outputs.parameters.p}}"


@pytest.mark.parametrize(
    ("producer", "value", "template", "expected"),
    [
        ("write", TAG, "echo", "none"),
        ("write", f"  {TAG}  ".strip(), "echo", "none"),
        ("defaulted", TAG, "echo", "own"),
        ("defaulted", f"x {TAG}", "echo", "x own"),
        ("write", "{{=steps.s.outputs.parameters.p ?? 'else'}}", "strict", "else"),
        ("write", "{{=steps.s.outputs.parameters.p == nil}}", "strict", "true"),
    ],
)
def test_templating_7_an_absent_output(producer: str, value: str, template: str, expected: str) -> None:
    """Templating 7: the producer's default, else the input's, else nil for expressions."""
    assert received(begun(SKIPPED % (producer, step(value, template))), "wf[1].a") == expected


@pytest.mark.parametrize(
    "step_text",
    [step(TAG, "strict"), step(f"x {TAG}"), f"{{name: a, template: echo, withParam: '{TAG}'}}"],
    ids=["no default", "in a text", "withParam"],
)
def test_templating_7_an_absent_output_that_nothing_replaces(step_text: str) -> None:
    """Templating 7: without a default, in a text or as `withParam` it is an error for good."""
    run = played(SKIPPED % ("write", step_text))
    assert run.phase("wf[1].a") == "Error"
    assert "absent optional" in run.node("wf[1].a").message
    assert end_of(run)[0] == "Failed"


def test_templating_7_an_absent_output_in_a_sub_path() -> None:
    """Templating 7: in an artifact's `subPath` it is an error for good."""
    take = f"{{name: a, template: take, arguments: {{artifacts: [{{name: f, from: '{{{{steps.m.outputs.artifacts.f}}}}', subPath: 'x/{TAG}'}}]}}}}"
    run = played(
        f"steps: [[{{name: s, template: write, when: 'false'}}, {{name: m, template: make}}], [{take}]]",
        extra="""
- {name: make, outputs: {artifacts: [{name: f, path: /f, s3: {key: k}}]}, container: {image: i}}
- {name: take, inputs: {artifacts: [{name: f, path: /f}]}, container: {image: i}}
""",
    )
    assert run.phase("wf[1].a") == "Error"


def test_templating_7_an_omitted_task() -> None:
    """Templating 7: the same for a task that was omitted."""
    run = begun(
        f"dag: {{tasks: [{{name: f, template: echo}}, {{name: s, template: write, depends: f.Failed}}, {step('{{tasks.s.outputs.parameters.p}}', more=', depends: s.Omitted')}]}}"
    )
    run.end("wf.f")
    assert received(run, "wf.a") == "none"


# -- 8 ----------------------------------------------------------------------------------------------------------------


def test_templating_8_paths() -> None:
    """Templating 8: the paths of artifacts and of output parameters, in command, args and source."""
    run = begun(
        "steps: [[{name: a, template: p}]]",
        extra="""
- name: p
  inputs: {artifacts: [{name: i, path: /in, raw: {data: x}}]}
  outputs: {artifacts: [{name: o, path: /out, s3: {key: k}}], parameters: [{name: q, valueFrom: {path: /q}}]}
  script: {image: i, command: [sh, "{{inputs.artifacts.i.path}}"], source: "cp {{inputs.artifacts.i.path}} {{outputs.artifacts.o.path}}; echo > {{outputs.parameters.q.path}}"}
""",
    )
    script = run.launch("wf[0].a").template.script
    assert script is not None
    assert (script.source, script.command) == ("cp /in /out; echo > /q", ("sh", "/in"))


@pytest.mark.parametrize(
    ("kind", "main", "name"), [("steps", "steps: [[%s]]", "wf[0].a"), ("tasks", "dag: {tasks: [%s]}", "wf.a")]
)
def test_templating_8_names(kind: str, main: str, name: str) -> None:
    """Templating 8: `pod.name`, `node.name`, and `steps.name` or `tasks.name`."""
    run = begun(
        main % "{name: a, template: n}",
        extra='- {name: n, container: {image: i, args: ["{{pod.name}}", "{{node.name}}", "{{KIND.name}}"]}}'.replace(
            "KIND", kind
        ),
    )
    assert arguments(run, name) == [run.launch(name).pod_name, name, "a"]


def test_templating_8_the_pods_name_is_that_of_the_attempt() -> None:
    """Templating 8: in a repeated template `pod.name` is the attempt's."""
    run = begun(
        "steps: [[{name: a, template: n}]]",
        extra='- {name: n, retryStrategy: {limit: 1}, container: {image: i, args: ["{{pod.name}}"]}}',
    )
    assert arguments(run, "wf[0].a(0)") == [run.launch("wf[0].a(0)").pod_name]


@pytest.mark.parametrize(
    ("name", "found"),
    [("{{workflow.parameters.p}}", "one"), ("{{steps.w.outputs.parameters.p}}", "two"), ("{{steps.gone.outputs.result}}", None)],
)
def test_templating_8_volumes_of_the_workflow(name: str, found: str | None) -> None:
    """Templating 8: the workflow's volumes may be named by its parameters, and by outputs of earlier steps."""
    run = begun(
        "steps: [[{name: w, template: write}], [{name: a, template: echo}]]",
        spec=f"arguments: {{parameters: [{{name: p, value: one}}]}}\nvolumes: [{{name: v, configMap: {{name: '{name}'}}}}]",
    )
    run.end("wf[0].w", parameters={"p": "two"})
    (volume,) = run.launch("wf[1].a").workflow_level.volumes
    assert volume.config_map is not None
    assert volume.config_map.name == (name if found is None else found)


# -- 9 ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("main", "extra", "why"),
    [
        (f"steps: [[{step('{{steps.gone.outputs.result}}')}]]", "", "failed to resolve {{steps.gone.outputs.result}}"),
        (f"steps: [[{step('{{workflow.parameters.gone}}')}]]", "", "failed to resolve {{workflow.parameters.gone}}"),
        ("container: {image: i, args: ['{{inputs.parameters.gone}}']}", "", "failed to resolve {{inputs.parameters.gone}}"),
        ("steps: [[{name: a, template: strict}]]", "", "inputs.parameters.m was not supplied"),
        ("steps: [[{name: a, template: echo}, {name: a, template: echo}]]", "", "not unique"),
        ("dag: {tasks: [{name: a, template: echo}, {name: a, template: echo}]}", "", "not unique"),
        ("steps: [[{name: a, template: gone}]]", "", "gone"),
        (
            f"steps: [[{{name: s, template: pause}}], [{step('{{steps.s.outputs.result}}')}]]",
            "- {name: pause, suspend: {}}",
            "failed to resolve {{steps.s.outputs.result}}",
        ),
        ("timeout: 10s\nsteps: [[{name: a, template: echo}]]", "", "doesn't support timeout field"),
        ("timeout: '10'\ncontainer: {image: i}", "", "invalid duration format in timeout"),
        (
            "dag: {tasks: [{name: a, template: echo}, {name: b, template: echo, depends: a, dependencies: [a]}]}",
            "",
            "cannot use both 'depends' and 'dependencies'",
        ),
    ],
)
def test_templating_9_what_is_refused(main: str, extra: str, why: str) -> None:
    """Templating 9: found before anything runs, at create and at lint."""
    assert why in refused(main, extra=extra)
