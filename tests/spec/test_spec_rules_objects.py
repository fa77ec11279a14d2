# ruff: noqa: E501 - a manifest is written on few lines
"""What Argo accepts and refuses of templates, schedules and bindings, and of workflows that refer to templates."""

from typing import Any

import pytest

from jitflow import spec
from jitflow.model.objects import NO_OBJECTS, Objects
from jitflow.model.problems import Problem, Refused

pytestmark = pytest.mark.pure

LEAF = "templates: [{name: a, inputs: {parameters: [{name: m, default: x}]}, container: {image: i, args: ['%s']}}]"


class Shelf:
    """Objects by type and name."""

    def __init__(self, *texts: str) -> None:
        manifests: list[Any] = [document.manifest for text in texts for document in spec.load(text)]
        self.found = {(type(it), it.metadata.name): it for it in manifests}

    def find(self, kind: type[Any], namespace: str, name: str) -> Any:
        del namespace
        return self.found.get((kind, name))


def head(kind: str, name: str = "w", more: str = "") -> str:
    return f"apiVersion: argoproj.io/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}{more}}}\n"


def workflow(body: str, more: str = "") -> str:
    return f"{head('Workflow', more=more)}spec: {{{body}}}\n"


def template(body: str, name: str = "lib", kind: str = "WorkflowTemplate", more: str = "") -> str:
    return f"{head(kind, name, more)}spec: {{{body}}}\n"


def problems(text: str, *, lint: bool = False, objects: Objects = NO_OBJECTS) -> tuple[Problem, ...]:
    try:
        spec.validate_document(spec.load_one(text), lint=lint, objects=objects)
    except Refused as error:
        return error.problems
    return ()


def told(text: str, *, lint: bool = False, objects: Objects = NO_OBJECTS) -> list[str]:
    found = problems(text, lint=lint, objects=objects)
    assert all(problem.place is not None and problem.place.line and problem.remedy for problem in found)
    return [problem.message for problem in found]


CALL = "entrypoint: m, templates: [{name: m, steps: [[{name: s, templateRef: {name: lib, template: a}}]]}]"
ALL = "workflowTemplateRef: {name: lib}"


# -- templates alone ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["WorkflowTemplate", "ClusterWorkflowTemplate"])
def test_a_template_needs_no_entrypoint_no_values_and_knows_any_parameter(kind: str):
    assert told(template(LEAF % "{{workflow.parameters.any}}", kind=kind)) == []
    assert told(template(f"arguments: {{parameters: [{{name: p}}, {{name: e, enum: [a]}}]}}, {LEAF % ''}", kind=kind)) == []
    assert told(template("entrypoint: a, templates: [{name: a, inputs: {parameters: [{name: m}]}, container: {image: i}}]")) == []


def test_a_template_is_checked_like_a_workflow_besides():
    assert told(template(LEAF % "{{workflow.nothing}}")) == ["templates.a: failed to resolve {{workflow.nothing}}"]
    assert told(template(f"entrypoint: b, {LEAF % ''}")) == ["template name 'b' undefined"]
    assert told(template(f"arguments: {{artifacts: [{{name: p}}]}}, {LEAF % ''}")) == [
        "spec.arguments.p.from, artifact location, or key is required"
    ]
    assert told(template(f"arguments: {{parameters: [{{name: e, value: b, enum: [a]}}]}}, {LEAF % ''}")) == [
        "spec.arguments.e.value should be present in spec.arguments.e.enum list"
    ]


def test_an_enum_is_not_empty():
    with pytest.raises(Refused, match="enum should contain at least one value"):
        spec.load_one(template(f"arguments: {{parameters: [{{name: e, value: b, enum: []}}]}}, {LEAF % ''}"))


@pytest.mark.parametrize(
    ("kind", "said", "longest"),
    [
        ("Workflow", "workflow", 63),
        ("WorkflowTemplate", "workflow template", 63),
        ("ClusterWorkflowTemplate", "cluster workflow template", 63),
        ("CronWorkflow", "cron workflow", 52),
    ],
)
def test_names_are_not_too_long(kind: str, said: str, longest: int):
    inner = f"entrypoint: a, {LEAF % ''}"
    body = f"schedules: ['@daily'], workflowSpec: {{{inner}}}" if kind == "CronWorkflow" else inner
    name = "a" * (longest + 1)
    size = f"must not be more than {longest} characters long (currently {longest + 1})"
    assert told(template(body, name, kind)) == [f'{said} name "{name}" {size}']
    assert told(template(body, name[1:], kind)) == []


def test_lint_needs_no_name():
    text = workflow(f"entrypoint: a, {LEAF % ''}").replace("metadata: {name: w}\n", "")
    assert told(text) == ["metadata.name: name or generateName is required"]
    assert told(text, lint=True) == []


# -- references --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [CALL, ALL + ", entrypoint: a"])
def test_references_are_found_or_told(body: str):
    assert told(workflow(body)) == []
    assert told(workflow(body), objects=Shelf(template(LEAF % ""))) == []
    assert len(told(workflow(body), objects=Shelf(template(LEAF % "", "other")))) == 1


def test_a_template_of_the_object_that_is_not_there():
    objects = Shelf(template(LEAF % "", more="").replace("name: a", "name: b"))
    assert told(workflow(CALL), objects=objects) == ["templates.m.steps[0].s template reference lib.a not found"]


def test_cluster_scope_is_another_shelf():
    body = CALL.replace("template: a", "template: a, clusterScope: true")
    assert told(workflow(body), objects=Shelf(template(LEAF % "", kind="ClusterWorkflowTemplate"))) == []
    assert told(workflow(body), objects=Shelf(template(LEAF % ""))) != []


def test_a_called_template_sees_the_workflow_that_calls_it():
    objects = Shelf(template(LEAF % "{{workflow.parameters.p}}"))
    assert told(workflow(CALL + ", arguments: {parameters: [{name: p, value: 1}]}"), objects=objects) == []
    (problem,) = problems(workflow(CALL), objects=objects)
    assert problem.message == "WorkflowTemplate lib: templates.a: failed to resolve {{workflow.parameters.p}}"
    assert problem.place is not None
    assert problem.place.path == "$.spec.templates[0].steps[0][0].templateRef"
    assert problem.remedy == "mend WorkflowTemplate lib: did you mean 'workflow.namespace'?"


def test_what_a_called_template_calls_is_looked_up_beside_it():
    lib = template("templates: [{name: a, steps: [[{name: s, template: b}]]}, {name: b, container: {image: i}}]")
    assert told(workflow(CALL), objects=Shelf(lib)) == []
    told_of = told(workflow(CALL), objects=Shelf(lib.replace("name: b,", "name: c,")))
    assert told_of == ["WorkflowTemplate lib: templates.a.steps[0].s template name 'b' undefined"]
    far = template("templates: [{name: a, steps: [[{name: s, templateRef: {name: far, template: a}}]]}]")
    assert told(workflow(CALL), objects=Shelf(far, template(LEAF % "{{workflow.nothing}}", "far"))) == [
        "WorkflowTemplate far: templates.a: failed to resolve {{workflow.nothing}}"
    ]


def test_a_called_template_gives_what_it_has():
    objects = Shelf(
        template("templates: [{name: a, container: {image: i}, outputs: {parameters: [{name: o, valueFrom: {path: /o}}]}}]")
    )
    body = CALL.replace(
        "}}]]", "}}], [{name: t, templateRef: {name: lib, template: a}, when: '{{steps.s.outputs.parameters.%s}} == x'}]]"
    )
    assert told(workflow(body % "o"), objects=objects) == []
    assert told(workflow(body % "p"), objects=objects) == [
        "templates.m.steps[1].t failed to resolve {{steps.s.outputs.parameters.p}}"
    ]


def test_a_called_template_needs_its_inputs_and_has_its_own_defaults():
    objects = Shelf(
        template(
            "templateDefaults: {container: {image: i}}, templates: [{name: a, inputs: {parameters: [{name: m}]}, container: {args: [x]}}]"
        )
    )
    assert told(workflow(CALL), objects=objects) == ["templates.m.steps[0].s templates.a inputs.parameters.m was not supplied"]
    given = CALL.replace("template: a}", "template: a}, arguments: {parameters: [{name: m, value: 1}]}")
    assert told(workflow(given), objects=objects) == []


@pytest.mark.parametrize(
    ("lib", "own", "of_workflow", "accepted"),
    [
        ("", "", "", False),
        ("", "", ", labels: {l: x}", True),
        ("workflowMetadata: {labels: {l: x}}, ", "", "", True),
        ("", ", workflowMetadata: {labels: {l: x}}", "", True),
        ("", ", workflowMetadata: {labelsFrom: {l: {expression: workflow.name}}}", "", True),
    ],
)
def test_labels_come_from_the_workflow_and_from_what_it_refers_to(lib: str, own: str, of_workflow: str, accepted: bool):
    objects = Shelf(template(f"{lib}entrypoint: a, {LEAF % '{{workflow.labels.l}}'}"))
    assert (told(workflow(ALL + own, of_workflow), objects=objects) == []) is accepted


def test_one_template_does_not_bring_the_labels_of_its_object():
    objects = Shelf(
        template(f"workflowMetadata: {{labels: {{l: x}}}}, {LEAF % '{{workflow.labels.l}}'}", more=", labels: {l: x}")
    )
    assert told(workflow(CALL), objects=objects) == ["WorkflowTemplate lib: templates.a: failed to resolve {{workflow.labels.l}}"]


def test_arguments_are_merged_with_those_of_the_template():
    objects = Shelf(
        template(
            "entrypoint: a, arguments: {parameters: [{name: m}]}, templates: [{name: a, inputs: {parameters: [{name: m}]}, container: {image: i}}]"
        )
    )
    assert told(workflow(ALL), objects=objects) == ["spec.arguments.m.value or spec.arguments.m.valueFrom is required"]
    assert told(workflow(ALL), objects=objects, lint=True) == []
    assert told(workflow(ALL + ", arguments: {parameters: [{name: m, value: 1}]}"), objects=objects) == []


def test_manifests_of_one_text_know_one_another():
    lib = template("templates: [{name: a, inputs: {parameters: [{name: m}]}, container: {image: i}}]")
    elsewhere = "entrypoint: m, templates: [{name: m, steps: [[{name: s, templateRef: {name: not-here, template: a}}]]}]"
    spec.validate_together(spec.load("---\n".join([lib, workflow(elsewhere)])))
    with pytest.raises(Refused, match=r"inputs\.parameters\.m was not supplied"):
        spec.validate_together(spec.load("---\n".join([workflow(CALL), lib])))
    with pytest.raises(Refused) as caught:
        spec.validate_together(spec.load("---\n".join([workflow("entrypoint: x"), workflow("entrypoint: y")])))
    assert [problem.place.line for problem in caught.value.problems if problem.place] == [4, 9]


# -- schedules and bindings --------------------------------------------------------------------------------------------


def cron(more: str = "", inner: str = LEAF % "") -> str:
    return template(f"schedules: ['@daily']{more}, workflowSpec: {{entrypoint: a, {inner}}}", "c", "CronWorkflow")


@pytest.mark.parametrize(
    "text",
    [
        cron(
            ", timezone: Europe/Berlin, concurrencyPolicy: Forbid, startingDeadlineSeconds: 0, when: '{{=cronworkflow.failed}} == 0'"
        ),
        cron(", stopStrategy: {expression: cronworkflow.failed >= 3}"),
        cron(", workflowMetadata: {labels: {l: x}}", LEAF % "{{workflow.labels.l}} {{workflow.scheduledTime}}"),
        cron("", LEAF % "{{workflow.labels.workflows.argoproj.io/cron-workflow}}"),
        cron().replace("@daily", "@every 1h30m"),
        cron().replace("@daily", "TZ=Asia/Tokyo 0 2 * * 1-5"),
    ],
)
def test_good_schedules_pass(text: str):
    assert told(text) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (cron().replace("'@daily'", ""), "cron workflow must have at least one schedule"),
        (cron().replace("@daily", "* * * *"), "is malformed"),
        (cron().replace("@daily", "@fortnightly"), "is malformed"),
        (cron().replace("@daily", "61 * * * *"), "is malformed"),
        (cron(", timezone: Mars/Base"), "unknown time zone 'Mars/Base'"),
        (cron(", concurrencyPolicy: Maybe"), "'Maybe' is not a valid concurrencyPolicy"),
        (cron(", startingDeadlineSeconds: -1"), "startingDeadlineSeconds must be positive"),
        (cron(", when: 'a =='"), "cron workflow when: Invalid 'when' expression 'a =='"),
        (cron(", stopStrategy: {expression: 'a >'}"), "cron workflow stopStrategy.expression is no expression"),
        (cron(", labels: {}").replace(", labels: {}", "", 1).replace("entrypoint: a", "entrypoint: b"), "template name 'b' undefined"),
        (cron("", f"arguments: {{parameters: [{{name: p}}]}}, {LEAF % ''}"), "spec.arguments.p.value or spec.arguments.p.valueFrom is required"),
        (cron("", LEAF % "{{workflow.labels.l}}"), "failed to resolve {{workflow.labels.l}}"),
    ],
)  # fmt: skip
def test_bad_schedules_are_refused(text: str, message: str):
    found = told(text)
    assert [it for it in found if message in it], found


def binding(body: str) -> str:
    return template(body, "b", "WorkflowEventBinding")


def test_bindings_are_checked():
    good = "event: {selector: payload.a == 1}, submit: {workflowTemplateRef: {name: t}, arguments: {parameters: [{name: p, valueFrom: {event: payload.b}}]}}"
    assert told(binding(good)) == []
    assert told(binding("event: {selector: 'payload.a =='}")) == [
        "spec.event.selector is no expression: unexpected token EOF (1:12)"
    ]
    assert told(binding("event: {selector: ''}")) == ["spec.event.selector is required"]
    assert told(binding(good.replace("{name: t}", "{}"))) == ["spec.submit.workflowTemplateRef.name is required"]
    (message,) = told(binding(good.replace("payload.b", "'payload['")))
    assert message.startswith("spec.submit.arguments.parameters[0].valueFrom.event is no expression: ")


# -- expressions -------------------------------------------------------------------------------------------------------

STEP = "entrypoint: m, templates: [{name: w, container: {image: i}}, {name: m, %s}]"


@pytest.mark.parametrize(
    ("body", "path", "place"),
    [
        ("steps: [[{name: s, template: w, when: 'a == (b'}]]", "steps[0][0].when", "(1:6)"),
        ("steps: [[{name: s, template: w, withParam: '[1, 2'}]]", "steps[0][0].withParam", "(1:6)"),
        ("dag: {tasks: [{name: a, template: w}, {name: b, template: w, depends: 'a && (a'}]}", "dag.tasks[1].depends", "(1:8)"),
        ("steps: [[{name: s, template: w}]], outputs: {parameters: [{name: o, valueFrom: {expression: 'steps.s. + 1'}}]}", "outputs.parameters[0].valueFrom.expression", "(1:10)"),
        ("steps: [[{name: s, template: w}]], outputs: {artifacts: [{name: o, fromExpression: \"a ?\\n b\"}]}", "outputs.artifacts[0].fromExpression", "(2:2)"),
        ("steps: [[{name: s, template: w, hooks: {h: {template: w, expression: '== 1'}}}]]", "steps[0][0].hooks.h.expression", "(1:1)"),
        ("container: {image: i}, retryStrategy: {expression: 'lastRetry.exitCode in [1'}", "retryStrategy.expression", "(1:24)"),
        ("http: {url: x, successCondition: 'response.statusCode === 200'}", "http.successCondition", "(1:23)"),
        ("data: {source: {artifactPaths: {name: a, s3: {key: k}}}, transformation: [{expression: 'filter(data, {'}]}", "data.transformation[0].expression", "(1:14)"),
        ("resource: {action: get}, outputs: {parameters: [{name: o, valueFrom: {jqFilter: '.a |'}}]}", "outputs.parameters[0].valueFrom.jqFilter", "line 1, column 4"),
        ("resource: {action: get}, outputs: {parameters: [{name: o, valueFrom: {jsonPath: '{.a[}'}}]}", "outputs.parameters[0].valueFrom.jsonPath", "(1:5)"),
        ("resource: {action: create, manifest: \"a: 1\\nb: [\"}", "resource.manifest", "(3:1)"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_names_its_line_and_column(body: str, path: str, place: str):
    (problem,) = [it for it in problems(workflow(STEP % body)) if it.code == "invalid"]
    assert problem.place is not None
    assert problem.place.path == f"$.spec.templates[1].{path}"
    assert place in problem.message


def test_what_holds_tags_is_read_when_they_are_replaced():
    body = "steps: [[{name: s, template: w, when: '{{workflow.name}} ==', withParam: '{{workflow.name}}'}]], retryStrategy: {expression: '{{workflow.name}} =='}"
    assert told(workflow(STEP % body)) == []
