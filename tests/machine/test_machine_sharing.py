"""Programs share what does not depend on their workflow, and nothing else."""

from typing import Any

import pytest
from msgspec.structs import replace

from jitflow import machine
from jitflow.machine.program import Program
from jitflow.model import argo
from jitflow.model.effective import merged_spec

pytestmark = pytest.mark.pure


def a_spec(image: str = "busybox", **more: object) -> argo.WorkflowSpec:
    template = argo.Template(name="main", container=argo.Container(image=image, args=("{{workflow.parameters.who}}",)))
    return replace(argo.WorkflowSpec(entrypoint="main", templates=(template,)), **more)


def a_program(name: str, spec: argo.WorkflowSpec, who: str = "") -> Program:
    arguments = argo.Arguments(parameters=(argo.Parameter(name="who", value=who),)) if who else spec.arguments
    return Program(argo.Workflow(metadata=argo.ObjectMeta(name=name), spec=replace(spec, arguments=arguments) if who else spec))


def test_one_manifest_is_compiled_once_for_all_its_runs() -> None:
    spec = a_spec()
    first, second = a_program("a", spec), a_program("b", spec)
    assert first.template("main") is second.template("main")
    assert first.constants["workflow.name"] != second.constants["workflow.name"]


def test_equal_templates_are_compiled_once_whatever_the_arguments() -> None:
    first, second = a_program("a", a_spec(), "x"), a_program("b", a_spec(), "y")
    assert first.template("main") is second.template("main")
    assert first.constants["workflow.parameters.who"] == "x"
    assert second.constants["workflow.parameters.who"] == "y"


def test_arguments_stay_each_workflows_own_whenever_they_are_asked_for() -> None:
    spec = a_spec()
    first, second = a_program("a", spec, "x"), a_program("b", spec, "y")
    again = a_program("c", first.spec)
    shown = [program.arguments.parameters["who"].text.source for program in (second, first, again)]
    assert shown == ["y", "x", "x"]
    assert again.arguments is first.arguments


GIVEN: list[argo.Arguments | None] = [
    None,
    argo.Arguments(),
    argo.Arguments(parameters=(argo.Parameter(name="who", value="me"),)),
    argo.Arguments(
        parameters=(argo.Parameter(name="more", value="1"), argo.Parameter(name="who", value_from=argo.ValueFrom(default="d")))
    ),
    argo.Arguments(artifacts=(argo.Artifact(name="a", s3=argo.S3Artifact(key="k")),)),
]


@pytest.mark.parametrize("own", GIVEN)
@pytest.mark.parametrize("under", GIVEN)
@pytest.mark.parametrize("more", [{}, {"entrypoint": "other"}, {"workflow_template_ref": argo.WorkflowTemplateRef(name="far")}])
def test_what_says_only_the_arguments_of_a_template_comes_to_the_same_and_shares_it(
    own: argo.Arguments | None, under: argo.Arguments | None, more: dict[str, object]
) -> None:
    template = argo.WorkflowTemplate(metadata=argo.ObjectMeta(name="t"), spec=a_spec(arguments=under, priority=3, **more))

    class Objects:
        def find(self, kind: type, _namespace: str, _name: str) -> object:
            return template if kind is argo.WorkflowTemplate else None

    objects: Any = Objects()
    reference = argo.WorkflowTemplateRef(name="t")
    for said in ({}, {"entrypoint": "main"}):
        spec = argo.WorkflowSpec(workflow_template_ref=reference, arguments=own, **said)
        workflow = argo.Workflow(metadata=argo.ObjectMeta(name="a", namespace="n"), spec=spec)
        found = machine.new_state(workflow, objects=objects).program
        assert found.spec == merged_spec(template.spec, spec)
        shares = found.spec.templates is template.spec.templates
        assert shares is (not said and "workflow_template_ref" not in more)


def test_templates_of_one_name_that_say_something_else_are_not_mixed_up() -> None:
    first, second = a_program("a", a_spec("one")), a_program("b", a_spec("two"))
    images = [program.template("main").source.container for program in (first, second)]
    assert [image and image.image for image in images] == ["one", "two"]


def test_defaults_of_the_workflow_belong_to_it() -> None:
    defaults = argo.Template(container=argo.Container(working_dir="/there"))
    first, second = a_program("a", a_spec()), a_program("b", a_spec(template_defaults=defaults))
    directories = [program.template("main").source.container for program in (first, second)]
    assert [one and one.working_dir for one in directories] == [None, "/there"]


def test_what_templates_of_other_objects_read_is_asked_for_each_run() -> None:
    calls = argo.Template(
        name="main",
        steps=((argo.WorkflowStep(name="a", template_ref=argo.TemplateRef(name="other", template="reads")),),),
    )
    spec = argo.WorkflowSpec(entrypoint="main", templates=(calls,))
    artifact = argo.Inputs(artifacts=(argo.Artifact(name="x", path="/x"),))

    class Objects:
        def __init__(self, inputs: argo.Inputs | None) -> None:
            reads = argo.Template(name="reads", inputs=inputs, container=argo.Container(image="busybox"))
            self._found = argo.WorkflowTemplate(
                metadata=argo.ObjectMeta(name="other"), spec=argo.WorkflowSpec(templates=(reads,))
            )

        def find(self, kind: type, _namespace: str, _name: str) -> object:
            return self._found if kind is argo.WorkflowTemplate else None

    states = [machine.new_state(argo.Workflow(metadata=argo.ObjectMeta(name=name), spec=spec)) for name in ("a", "b")]
    found = [
        machine.has_data(state, Objects(inputs))  # pyright: ignore[reportArgumentType]
        for state, inputs in zip(states, (None, artifact), strict=True)
    ]
    assert found == [False, True]
