"""What the status tells beside phases: resources, hosts; and what a server's defaults come to."""

import msgspec
import pytest
from machine_driver import Run, pod_end, workflow

from jitflow import machine
from jitflow.model import argo
from jitflow.model.effective import with_defaults
from jitflow.model.objects import Objects
from jitflow.model.pods import ContainerEnd, ContainerRole
from jitflow.model.runs import PodEnded, PodStarted, StartTimer
from jitflow.spec import from_json

pytestmark = pytest.mark.pure

ASKS = """
entrypoint: main
templates:
- name: main
  dag: {tasks: [{name: small, template: small}, {name: big, template: big}, {name: set, template: set}]}
- {name: small, container: {image: i, command: [c]}}
- name: big
  container: {image: i, command: [c], resources: {requests: {cpu: 1500m}, limits: {cpu: 4, memory: 1Gi, nvidia.com/gpu: 2}}}
  sidecars: [{name: s, image: i, command: [c]}]
- name: set
  containerSet: {containers: [{name: a, image: i, command: [c]}, {name: main, image: i, command: [c]}]}
"""


def test_resources_are_whole_seconds_of_what_containers_ask_for_rounded_down() -> None:
    """SEMANTICS Names and IDs: resourcesDuration: defaults of 100m and 100Mi, requests before limits; units 1 and 100Mi."""
    run = Run(workflow(ASKS))
    run.begin()

    def end(name: str, seconds: float, containers: tuple[ContainerEnd, ...] = ()) -> None:
        node = run.node(name).id
        run.send(PodStarted(node_id=node))
        run.now += seconds
        done = pod_end(node, 0, run.now, containers=containers)
        run.send(PodEnded(node_id=node, end=msgspec.structs.replace(done, started_at=run.now - seconds)))

    end("wf.small", 15.9)
    assert nodes(run)["small"].resources_duration == {"cpu": 1, "memory": 15}
    assert nodes(run)["wf"].resources_duration == {}, "it runs"
    end("wf.big", 10)
    assert nodes(run)["big"].resources_duration == {"cpu": 15 + 1, "memory": 102 + 10, "nvidia.com/gpu": 20}
    parts = tuple(
        ContainerEnd(name=name, role=ContainerRole.MAIN, exit_code=0, started_at=0.0, finished_at=seconds)
        for name, seconds in (("a", 10.0), ("main", 30.0))
    )
    end("wf.set", 40, parts)
    assert nodes(run)["set"].resources_duration == {"cpu": 1 + 3, "memory": 40}
    status = machine.status(run.state, run.now, "here")
    assert status.resources_duration == {"cpu": 21, "memory": 167, "nvidia.com/gpu": 20}
    assert status.nodes["wf"].resources_duration == status.resources_duration
    assert {node.host_node_name for node in status.nodes.values() if node.type == "Pod"} == {"here"}


@pytest.mark.parametrize("more", ["", "suspend: true", "synchronization: {mutexes: [{name: m}]}"])
def test_a_node_that_does_not_show_is_left_out_at_once(more: str) -> None:
    """The driver compares the status with the one that a look at all nodes gives."""
    run = Run(workflow(f"entrypoint: main\n{more}\ntemplates: [{{name: main, container: {{image: i, command: [c]}}}}]"))
    run.begin()
    status = machine.status(run.state, run.now)
    assert len(status.nodes) == (0 if more else 1)
    assert (status.synchronization is not None) == ("mutexes" in more)
    assert [condition.status for condition in status.conditions] == {"": ["True"], "suspend: true": ["False"]}.get(more, [])


def nodes(run: Run) -> dict[str, argo.NodeStatus]:
    return {node.display_name or "": node for node in machine.status(run.state, run.now).nodes.values()}


def test_a_pod_that_waits_is_nowhere() -> None:
    run = Run(workflow(ASKS))
    run.begin()
    assert nodes(run)["small"].host_node_name is None


DEFAULTS = {
    "metadata": {"labels": {"team": "red", "of": "all"}, "annotations": {"a": "1"}},
    "spec": {
        "activeDeadlineSeconds": 60,
        "onExit": "tidy",
        "arguments": {"parameters": [{"name": "region", "value": "eu"}, {"name": "p", "value": "default"}]},
        "templateDefaults": {"timeout": "1h"},
        "templates": [{"name": "tidy", "container": {"image": "i", "command": ["tidy"]}}],
    },
}
OWN = """
entrypoint: main
ACTIVE
arguments: {parameters: [{name: p, value: own}]}
templates:
- {name: main, container: {image: i, command: [c], args: ["{{workflow.parameters.region}} {{workflow.parameters.p}}"]}}
"""


def defaults() -> argo.Workflow:
    found = from_json(DEFAULTS, kind="Workflow").manifest
    assert isinstance(found, argo.Workflow)
    return found


class Templates:
    """One WorkflowTemplate."""

    def __init__(self, template: argo.WorkflowTemplate) -> None:
        self._template = template

    def find(self, kind: type, namespace: str, name: str) -> object:
        del namespace
        return self._template if kind is argo.WorkflowTemplate and name == "t" else None


def started(manifest: argo.Workflow, objects: Objects | None = None) -> Run:
    run = Run(manifest, **({"objects": objects} if objects else {}))
    run.state = machine.new_state(manifest, now=run.now, objects=run.objects, defaults=defaults())
    run.begin()
    return run


def test_defaults_of_the_server_hold_where_a_workflow_says_nothing() -> None:
    """SEMANTICS templates by reference, defaults: effective spec = strategic merge workflow over workflowDefaults."""
    run = started(workflow(OWN.replace("ACTIVE", "")))
    timer = run.effects["deadline"]
    assert isinstance(timer, StartTimer)
    assert timer.due == run.now + 60
    launch = run.launch("wf")
    assert launch.template.container is not None
    assert launch.template.container.args == ("eu own",)
    assert launch.template.timeout == "1h"
    run.end("wf")
    assert run.node("wf.onExit").phase == "Pending"
    document = machine.workflow_document(run.state, run.now)
    assert document.spec.on_exit == "tidy"
    assert document.metadata is not None
    assert (document.metadata.labels["team"], document.metadata.labels["of"]) == ("blue", "all")
    assert document.metadata.annotations == {"a": "1"}


def test_a_workflows_own_word_goes_before_the_defaults() -> None:
    run = started(workflow(OWN.replace("ACTIVE", "activeDeadlineSeconds: 5")))
    timer = run.effects["deadline"]
    assert isinstance(timer, StartTimer)
    assert timer.due == run.now + 5


def test_defaults_go_below_the_template_that_a_workflow_refers_to() -> None:
    body = workflow(OWN.replace("ACTIVE", "activeDeadlineSeconds: 30"))
    template = argo.WorkflowTemplate(metadata=argo.ObjectMeta(name="t", namespace="default"), spec=body.spec)
    run = started(workflow("workflowTemplateRef: {name: t}"), Templates(template))  # pyright: ignore[reportArgumentType]
    timer = run.effects["deadline"]
    assert isinstance(timer, StartTimer)
    assert timer.due == run.now + 30
    document = machine.workflow_document(run.state, run.now)
    assert document.spec.on_exit is None, "what was sent stays as it was"
    assert document.status is not None
    assert document.status.stored_workflow_template_spec is not None
    assert document.status.stored_workflow_template_spec.on_exit == "tidy"
    assert document.metadata is not None
    assert document.metadata.labels["of"] == "all"


def test_merging_defaults_twice_changes_nothing() -> None:
    once = with_defaults(workflow(OWN.replace("ACTIVE", "")), defaults())
    assert with_defaults(once, defaults()) == once
