"""The containers and pods of a workflow's templates, as far as its document tells of them."""

from collections.abc import Iterator, Mapping

from jitflow.model import argo
from jitflow.model.problems import Refused
from jitflow.ports.store import RunRow

MAIN = "main"
WORKFLOW_LABEL = "workflows.argoproj.io/workflow"
COMPLETED_LABEL = "workflows.argoproj.io/completed"
_NO_STATUS = argo.WorkflowStatus()
_UNFINISHED = frozenset({"Pending", "Running"})


def containers_of(template: argo.Template) -> set[str]:
    """Return the names of the containers of a template's pod; none if it runs none."""
    names = {one.name for one in (*template.init_containers, *template.sidecars)}
    if template.container_set is not None:
        names |= {one.name for one in template.container_set.containers}
    elif template.container is not None or template.script is not None:
        names.add(MAIN)
    return names


def check_container(workflow: argo.Workflow, name: str, *, finished: bool) -> None:
    """Refuse a container that no pod of the workflow can have.

    A workflow that runs may still call templates of other objects, which are not known before.

    Raises:
        Refused: there is none of that name.
    """
    known = {one for template in _templates(workflow) for one in containers_of(template)}
    if name in known or (not finished and _calls_others(workflow)):
        return
    listed = ", ".join(sorted(known)) or "none"
    note = "; what Argo's wait container does, the executor does here" if name == "wait" else ""
    raise Refused(f"container {name!r} is not valid: the containers of this workflow are {listed}{note}")


def pod_labels(row: RunRow, workflow: argo.Workflow, node: argo.NodeStatus) -> dict[str, str]:
    """Return the labels that the pod of a node would have in Kubernetes."""
    labels = {WORKFLOW_LABEL: row.name, COMPLETED_LABEL: "false" if node.phase in _UNFINISHED else "true"}
    template = _template_of(workflow, node)
    for metadata in (workflow.spec.pod_metadata, template.metadata if template is not None else None):
        labels |= metadata.labels if metadata is not None else {}
    return labels


def _specs(workflow: argo.Workflow) -> Iterator[argo.WorkflowSpec]:
    yield workflow.spec
    stored = (workflow.status or _NO_STATUS).stored_workflow_template_spec
    if stored is not None:
        yield stored


def _stored(workflow: argo.Workflow) -> Mapping[str, argo.Template]:
    return (workflow.status or _NO_STATUS).stored_templates


def _templates(workflow: argo.Workflow) -> Iterator[argo.Template]:
    """Yield all templates of a workflow, those inside steps and tasks included."""
    todo = [template for spec in _specs(workflow) for template in spec.templates]
    todo += [spec.template_defaults for spec in _specs(workflow) if spec.template_defaults is not None]
    todo += _stored(workflow).values()
    while todo:
        template = todo.pop()
        yield template
        todo += [call.inline for call in _calls(template) if call.inline is not None]


def _calls(template: argo.Template) -> Iterator[argo.WorkflowStep | argo.DAGTask]:
    for group in template.steps:
        yield from group
    if template.dag is not None:
        yield from template.dag.tasks


def _calls_others(workflow: argo.Workflow) -> bool:
    return any(call.template_ref is not None for template in _templates(workflow) for call in _calls(template))


def _template_of(workflow: argo.Workflow, node: argo.NodeStatus) -> argo.Template | None:
    """Return the template of a node; None for one that stands inside a step or task."""
    name, scope = node.template_name or "", node.template_scope or ""
    if node.template_ref is not None:
        kind = "cluster" if node.template_ref.cluster_scope else "namespaced"
        name, scope = node.template_ref.template or "", f"{kind}/{node.template_ref.name or ''}"
    if not name:
        return None
    if scope and not scope.startswith("local/"):
        return _stored(workflow).get(f"{scope}/{name}")
    return next((template for spec in _specs(workflow) for template in spec.templates if template.name == name), None)
