"""Which containers a workflow's pods have, and which labels its pods would have."""

import pytest

from jitflow.app.containers import check_container, pod_labels
from jitflow.model import argo
from jitflow.model.problems import Refused
from jitflow.ports.store import RunRow

pytestmark = pytest.mark.pure

MANY = argo.Template(
    name="many",
    metadata=argo.Metadata(labels={"kind": "set"}),
    container_set=argo.ContainerSetTemplate(containers=(argo.ContainerNode(name="a"), argo.ContainerNode(name="b"))),
    init_containers=(argo.UserContainer(name="before"),),
    sidecars=(argo.UserContainer(name="beside"),),
)
CALLER = argo.Template(
    name="main",
    steps=((argo.WorkflowStep(name="s", inline=MANY), argo.WorkflowStep(name="t", template="plain")),),
)
PLAIN = argo.Template(name="plain", script=argo.ScriptTemplate(image="i", source="x"))


def a_workflow(*templates: argo.Template, status: argo.WorkflowStatus | None = None) -> argo.Workflow:
    return argo.Workflow(spec=argo.WorkflowSpec(entrypoint="main", templates=templates), status=status)


def test_all_containers_of_all_templates_are_known_inline_ones_too():
    for name in ("a", "b", "before", "beside", "main"):
        check_container(a_workflow(CALLER, PLAIN), name, finished=True)


def test_an_unknown_container_is_refused_with_those_that_there_are():
    with pytest.raises(Refused, match="the containers of this workflow are a, b, before, beside"):
        check_container(a_workflow(CALLER), "main", finished=True)


def test_a_container_of_a_template_that_is_not_called_yet_may_be_asked_for():
    calls = argo.Template(
        name="main", steps=((argo.WorkflowStep(name="s", template_ref=argo.TemplateRef(name="w", template="t")),),)
    )
    check_container(a_workflow(calls), "late", finished=False)
    with pytest.raises(Refused, match="late"):
        check_container(a_workflow(calls), "late", finished=True)


def test_a_pod_has_the_labels_of_its_template_wherever_that_stands():
    status = argo.WorkflowStatus(stored_templates={"namespaced/w/many": MANY})
    workflow = a_workflow(PLAIN, status=status)
    row = RunRow(uid="u", namespace="n", name="wf")
    ref = argo.NodeStatus(id="1", name="1", type="Pod", phase="Running", template_ref=argo.TemplateRef(name="w", template="many"))
    labels = pod_labels(row, workflow, ref)
    assert labels["kind"] == "set"
    assert labels["workflows.argoproj.io/completed"] == "false"
    own = argo.NodeStatus(id="2", name="2", type="Pod", phase="Failed", template_name="plain", template_scope="local/wf")
    assert pod_labels(row, workflow, own) == {
        "workflows.argoproj.io/workflow": "wf",
        "workflows.argoproj.io/completed": "true",
    }
