"""Whether a workflow can run, found out before anything runs.

As Argo does, the whole tree of templates is walked with the values still unknown: every reference, name, type and limit is
checked. What this version does not support yet is refused too. All problems are told at once, each with its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum

from msgspec.structs import replace

from jitflow.model import argo
from jitflow.model.effective import MissingTemplate, effective_spec
from jitflow.model.objects import NO_OBJECTS, Objects
from jitflow.spec import support
from jitflow.spec.documents import Document
from jitflow.spec.places import Path, Places
from jitflow.spec.validation._arguments import check_arguments, check_supplied
from jitflow.spec.validation._cron import check_cron
from jitflow.spec.validation._dag import check_dag
from jitflow.spec.validation._metrics import check_metrics
from jitflow.spec.validation._report import Report, check_names
from jitflow.spec.validation._scope import Scope, check_tags, is_leaf, template_scope, workflow_scope
from jitflow.spec.validation._steps import Templates, check_steps
from jitflow.spec.validation._templates import Context, check_inputs, check_kind, check_limits, check_outputs, check_pod
from jitflow.spec.validation._values import check_metadata, check_parallelism, check_retry, check_volumes

__all__ = ["validate", "validate_document"]

_POD_GC = ("OnPodCompletion", "OnPodSuccess", "OnWorkflowCompletion", "OnWorkflowSuccess")


def validate(workflow: argo.Workflow, places: Places | None = None, *, lint: bool = False, objects: Objects = NO_OBJECTS) -> None:
    """Check that a workflow can run.

    Args:
        workflow: the manifest.
        places: where its parts stand; None: problems have JSON paths only.
        lint: workflow parameters may lack a value: they come at submit.
        objects: the templates that the workflow may refer to.

    Raises:
        Refused: with all problems (at most 50); mistakes before what is not supported (code `unsupported`).
    """
    report = Report(places or Places())
    check_metadata(report, workflow.metadata)
    _check(report, workflow, objects, Mode.LINT if lint else Mode.RUN)


class Mode(Enum):
    """What is checked: a workflow about to run; one whose arguments come at submit; a template, whose caller may be anybody."""

    RUN = "run"
    LINT = "lint"
    TEMPLATE = "template"


def _check(report: Report, workflow: argo.Workflow, objects: Objects, mode: Mode) -> None:
    spec = workflow.spec
    for path, feature in support.uses(spec):
        if feature.status is support.Status.REFUSED:
            report.add(path, feature.note, "remove it", code="unsupported", key=True)
    if spec.workflow_template_ref is None:
        _check_spec(report, workflow, objects, mode)
    elif spec.templates:
        message = "Templates is invalid field in spec if workflow referred WorkflowTemplate reference"
        report.add(("spec", "templates"), message, "remove the templates or the reference", key=True)
    else:
        _check_effective(report, workflow, objects, mode)
    report.close()


def _check_effective(report: Report, workflow: argo.Workflow, objects: Objects, mode: Mode) -> None:
    """Check what a workflow comes to that refers to a template; without a server nothing is known of that."""
    if objects is NO_OBJECTS:
        return
    try:
        spec = effective_spec(workflow, objects)
    except MissingTemplate as error:
        place = ("spec", "workflowTemplateRef", "name")
        report.add(place, str(error), "create the template first, or mend the name")
        return
    spec = replace(spec, workflow_template_ref=None)
    _check_spec(report, replace(workflow, spec=spec), objects, mode)


def validate_document(document: Document, *, lint: bool = False, objects: Objects = NO_OBJECTS) -> None:
    """Check a manifest of any kind.

    Raises:
        Refused: as `validate`.
    """
    if isinstance(document.manifest, argo.Workflow):
        validate(document.manifest, document.places, lint=lint, objects=objects)
    elif isinstance(document.manifest, argo.WorkflowTemplate | argo.ClusterWorkflowTemplate):
        template = document.manifest
        report = Report(document.places)
        check_metadata(report, template.metadata)
        _check(report, argo.Workflow(metadata=template.metadata, spec=template.spec), objects, Mode.TEMPLATE)
    elif isinstance(document.manifest, argo.CronWorkflow):
        cron = document.manifest
        report = Report(document.places, ("spec", "workflowSpec"))
        check_metadata(report, cron.metadata)
        check_cron(report, cron.spec)
        _check(report, argo.Workflow(metadata=cron.metadata, spec=cron.spec.workflow_spec), objects, Mode.LINT)


def _check_spec(report: Report, workflow: argo.Workflow, objects: Objects, mode: Mode) -> None:
    spec = workflow.spec
    check_names(report, spec.templates, ("spec", "templates"), "spec.templates")
    check_arguments(report, spec.arguments, ("spec", "arguments"), "spec.arguments.", values_optional=mode is not Mode.RUN)
    check_retry(report, spec.retry_strategy, ("spec",), "spec")
    check_parallelism(report, spec.parallelism, ("spec",), "spec.")
    check_metrics(report, spec.metrics, ("spec",), "spec")
    check_volumes(report, spec.volumes, ("spec",), "spec.")
    if spec.active_deadline_seconds is not None and spec.active_deadline_seconds < 0:
        message = "spec.activeDeadlineSeconds must not be negative"
        report.add(("spec", "activeDeadlineSeconds"), message, "remove it for no deadline")
    if spec.pod_gc is not None and spec.pod_gc.strategy and spec.pod_gc.strategy not in _POD_GC:
        message = f"podGC.strategy unknown strategy '{spec.pod_gc.strategy}'"
        report.add(("spec", "podGC", "strategy"), message, f"use one of {', '.join(_POD_GC)}")
    namespace = (workflow.metadata and workflow.metadata.namespace) or ""
    by_name = {template.name: template for template in reversed(spec.templates) if template.name}
    templates = Templates(by_name, objects, namespace)
    _check_roots(report, spec, templates, mode)
    scope = workflow_scope(workflow)
    if mode is Mode.TEMPLATE:
        scope.add("workflow.parameters", "workflow.parameters.json", "workflow.parameters.*")
    metadata = spec.workflow_metadata
    if metadata is not None:
        check_tags(report, scope, metadata, ("spec", "workflowMetadata"), "spec.workflowMetadata")
    before_exit = _reachable(spec.entrypoint, templates)
    claims = (claim.metadata.name or "" for claim in spec.volume_claim_templates if claim.metadata is not None)
    volumes = frozenset((*(volume.name for volume in spec.volumes), *claims))
    context = Context(templates=templates, volumes=volumes, default_images=spec.template_defaults is not None)
    for path, template in _with_inline((("spec", "templates", index), template) for index, template in enumerate(spec.templates)):
        inner = template_scope(scope, template)
        if spec.on_exit and template.name not in before_exit:
            inner.add("workflow.failures")
        _check_template(report, inner, template, path, context)


def _with_inline(templates: Iterable[tuple[Path, argo.Template]]) -> Iterator[tuple[Path, argo.Template]]:
    """Yield the templates and those that stand inside their steps and tasks."""
    todo = list(templates)
    todo.reverse()
    while todo:
        path, template = todo.pop()
        yield path, template
        for number, group in enumerate(template.steps):
            for index, step in enumerate(group):
                if step.inline is not None:
                    todo.append(((*path, "steps", number, index, "inline"), step.inline))
        for index, task in enumerate(template.dag.tasks if template.dag is not None else ()):
            if task.inline is not None:
                todo.append(((*path, "dag", "tasks", index, "inline"), task.inline))


def _check_roots(report: Report, spec: argo.WorkflowSpec, templates: Templates, mode: Mode) -> None:
    """Check the entrypoint and the exit handler: they are there and get what they need."""
    if not spec.entrypoint and mode is not Mode.TEMPLATE:
        report.add(("spec",), "spec.entrypoint is required", "add `entrypoint:` with the name of a template", key=True)
    for field, name in (("entrypoint", spec.entrypoint), ("onExit", spec.on_exit)):
        if not name:
            continue
        template = templates.find(report, name, ("spec", field), "")
        if template is None or mode is Mode.TEMPLATE:
            continue
        arguments = spec.arguments or argo.Arguments()
        if mode is Mode.LINT:
            named = tuple(argo.Parameter(name=it.name, value="") for it in arguments.parameters)
            arguments = argo.Arguments(artifacts=arguments.artifacts, parameters=named)
        check_supplied(report, template, arguments, ("spec", field), "")


def _reachable(name: str | None, templates: Templates) -> set[str | None]:
    """Return the templates that a template calls, directly or not, and itself."""
    found: set[str | None] = set()
    todo = [name]
    while todo:
        template = templates.by_name.get(todo.pop() or "")
        if template is None or template.name in found:
            continue
        found.add(template.name)
        todo += [step.template for group in template.steps for step in group]
        todo += [task.template for task in (template.dag.tasks if template.dag is not None else ())]
    return found


def _check_template(report: Report, scope: Scope, template: argo.Template, path: Path, context: Context) -> None:
    check_kind(report, template, path)
    check_inputs(report, template, path)
    check_limits(report, template, path)
    if template.steps:
        check_steps(report, scope, template, path, context.templates)
    if template.dag is not None:
        check_dag(report, scope, template, path, context.templates)
    if is_leaf(template):
        check_pod(report, scope, template, path, context)
    elif template.suspend is not None:
        check_tags(report, scope, template, path, f"templates.{template.name}:")
    check_outputs(report, scope, template, path)
