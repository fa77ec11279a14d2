"""Which tags can be resolved where."""

from __future__ import annotations

from typing import Any, Final

from jitflow.expr import tags
from jitflow.model import argo
from jitflow.spec._walk import tagged_texts
from jitflow.spec.places import Path
from jitflow.spec.validation._report import PARAMETER, Report, suggest

_CHECKED: Final = ("item.", "steps.", "inputs.", "outputs.", "pod.", "workflow.", "tasks.")
"""Tags that begin otherwise are not ours to judge, as in Argo."""

_AT_RUN_TIME: Final = (
    "outputs.", "workflow.creationTimestamp", "workflow.scheduledTime", "workflow.duration", "tasks.name", "steps.name",
)  # fmt: skip
_ANY: Final = {
    "item.": "item.*",
    "workflow.outputs.parameters.": "workflow.outputs.parameters.*",
    "workflow.outputs.artifacts.": "workflow.outputs.artifacts.*",
    "workflow.parameters": "workflow.parameters.*",
}
"""Names that stand for all names below a prefix."""

_MAIN: Final = "main"


class Scope:
    """Names that can be resolved; a scope sees those of the scope around it."""

    __slots__ = ("_names", "_outer")

    def __init__(self, outer: Scope | None = None) -> None:
        """Start without names of its own."""
        self._names: set[str] = set()
        self._outer = outer

    @property
    def everywhere(self) -> Scope:
        """The outermost scope: names of the whole workflow."""
        scope = self
        while scope._outer is not None:
            scope = scope._outer
        return scope

    def add(self, *names: str) -> None:
        """Add names."""
        self._names.update(names)

    def __contains__(self, name: str) -> bool:
        """Return whether a name is known here."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope._names:
                return True
            scope = scope._outer
        return False

    def allows(self, name: str) -> bool:
        """Return whether a tag may have this name. One that is put together of others is judged by how it begins."""
        if not name.startswith(_CHECKED) or name.startswith(_AT_RUN_TIME) or name in self:
            return True
        return any(name.startswith(prefix) and star in self for prefix, star in _ANY.items())

    def near(self, name: str) -> str:
        """Return a hint at what may have been meant."""
        known: set[str] = set()
        scope: Scope | None = self
        while scope is not None:
            known |= scope._names
            scope = scope._outer
        return suggest(name, (it for it in known if not it.endswith("*")), "nothing here has that name")


def check_tags(report: Report, scope: Scope, value: Any, path: Path, prefix: str) -> None:
    """Check that the tags in all texts of a value can be resolved."""
    for here, text in tagged_texts(value, path):
        for tag in tags.find_all(text):
            if not tag.is_expression and not scope.allows(tag.name):
                report.add(here, f"{prefix} failed to resolve {{{{{tag.text}}}}}", scope.near(tag.name))


def workflow_scope(workflow: argo.Workflow) -> Scope:
    """Return the names known everywhere in a workflow before anything has run."""
    scope = Scope()
    scope.add(*(f"workflow.{name}" for name in ("name", "namespace", "mainEntrypoint", "serviceAccountName", "uid", "status")))
    scope.add("workflow.annotations", "workflow.annotations.json", "workflow.labels", "workflow.labels.json")
    spec = workflow.spec
    if spec.arguments is not None and spec.arguments.parameters:
        scope.add("workflow.parameters", "workflow.parameters.json")
        scope.add(*(f"workflow.parameters.{parameter.name}" for parameter in spec.arguments.parameters))
    extra = spec.workflow_metadata or argo.WorkflowMetadata()
    own = workflow.metadata or argo.ObjectMeta()
    scope.add(*(f"workflow.annotations.{key}" for key in (*own.annotations, *extra.annotations)))
    scope.add(*(f"workflow.labels.{key}" for key in (*own.labels, *extra.labels, *extra.labels_from)))
    if spec.priority is not None:
        scope.add("workflow.priority")
    return scope


def template_scope(outer: Scope, template: argo.Template) -> Scope:
    """Return the names known in a template's own texts."""
    scope = Scope(outer)
    inputs, outputs = template.inputs or argo.Inputs(), template.outputs or argo.Outputs()
    scope.add(*(f"inputs.parameters.{parameter.name}" for parameter in inputs.parameters))
    if inputs.parameters:
        scope.add("inputs.parameters")
    for artifact in inputs.artifacts:
        scope.add(f"inputs.artifacts.{artifact.name}")
        if is_leaf(template):
            scope.add(f"inputs.artifacts.{artifact.name}.path")
    if is_pod(template):
        scope.add("pod.name")
    if is_leaf(template):
        scope.add(*(f"outputs.artifacts.{it.name}.path" for it in outputs.artifacts if it.path))
    return scope


def add_outputs(scope: Scope, prefix: str, template: argo.Template | None, *, aggregate: bool) -> None:
    """Add what a step or task that calls a template offers to others; its global outputs are then known everywhere."""
    scope.add(*(f"{prefix}.{name}" for name in ("id", "startedAt", "finishedAt", "hostNodeName")))
    if template is None:
        return
    if template.daemon:
        scope.add(f"{prefix}.ip")
    if has_result(template):
        scope.add(f"{prefix}.outputs.result", f"{prefix}.exitCode")
    outputs = template.outputs or argo.Outputs()
    scope.add(*(f"{prefix}.outputs.parameters.{parameter.name}" for parameter in outputs.parameters))
    scope.add(*(f"{prefix}.outputs.artifacts.{artifact.name}" for artifact in outputs.artifacts))
    for kind, items in (("parameters", outputs.parameters), ("artifacts", outputs.artifacts)):
        for name in (item.global_name for item in items if item.global_name):
            if PARAMETER.search(name):
                scope.add(f"workflow.outputs.{kind}.*")
            else:
                scope.everywhere.add(f"workflow.outputs.{kind}.{name}")
    if aggregate:
        scope.add(f"{prefix}.outputs.parameters")


def add_items(scope: Scope, step: argo.WorkflowStep | argo.DAGTask) -> None:
    """Add the names that a loop gives to its body."""
    if step.with_param:
        scope.add("item.*")
    for item in step.with_items:
        if isinstance(item, dict):
            scope.add(*(f"item.{key}" for key in item))  # type: ignore[reportUnknownVariableType]
        elif isinstance(item, list):
            scope.add(*(f"item.[{index}]" for index in range(len(item))))  # type: ignore[reportUnknownArgumentType]


def add_inline(scope: Scope, step: argo.WorkflowStep | argo.DAGTask) -> None:
    """Add the inputs of an inline template, whose texts are part of its step's."""
    inputs = step.inline.inputs if step.inline is not None else None
    if inputs is not None:
        scope.add(*(f"inputs.parameters.{parameter.name}" for parameter in inputs.parameters))


def is_pod(template: argo.Template) -> bool:
    """Return whether a template runs a pod of its own."""
    runs = (template.container, template.script, template.container_set, template.resource, template.data)
    return any(part is not None for part in runs)


def is_leaf(template: argo.Template) -> bool:
    """Return whether a template does work of its own."""
    return is_pod(template) or template.http is not None or bool(template.plugin)


def has_result(template: argo.Template) -> bool:
    """Return whether a template ends with a result and an exit code."""
    group = template.container_set
    if group is not None:
        return any(container.name == _MAIN for container in group.containers)
    return is_leaf(template) and template.resource is None
