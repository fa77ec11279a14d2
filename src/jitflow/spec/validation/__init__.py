"""Whether a workflow can run, found out before anything runs.

As Argo does, the whole tree of templates is walked with the values still unknown: every reference, name, type and limit is
checked. What this version does not support yet is refused too. All problems are told at once, each with its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final

from msgspec.structs import replace

from jitflow.model import argo
from jitflow.model.effective import MissingTemplate, effective_spec
from jitflow.model.objects import NO_OBJECTS, Objects
from jitflow.model.problems import Problem, Refused
from jitflow.spec import support
from jitflow.spec.documents import Document
from jitflow.spec.places import Places
from jitflow.spec.validation._arguments import check_arguments, check_supplied
from jitflow.spec.validation._artifacts import check_gc
from jitflow.spec.validation._bindings import check_binding
from jitflow.spec.validation._calls import Beside, Call, Templates
from jitflow.spec.validation._cron import check_cron, started_by
from jitflow.spec.validation._deciding import deciding_parameters
from jitflow.spec.validation._expressions import check_expression, check_hooks
from jitflow.spec.validation._locks import check_locks
from jitflow.spec.validation._metrics import check_metrics
from jitflow.spec.validation._report import PARAMETER, Report, check_names
from jitflow.spec.validation._resources import check_pod_patch
from jitflow.spec.validation._scope import Scope, check_tags, workflow_scope
from jitflow.spec.validation._values import (
    check_metadata,
    check_parallelism,
    check_plugins,
    check_pod_gc,
    check_retry,
    check_volumes,
)
from jitflow.spec.validation._visits import Values, Visits

__all__ = ["deciding_parameters", "validate", "validate_document", "validate_together"]

_MAX_CRON_NAME: Final = 52
"""A workflow's name is that of its schedule, a dash and the seconds since the epoch."""


def validate(workflow: argo.Workflow, places: Places | None = None, *, lint: bool = False, objects: Objects = NO_OBJECTS) -> None:
    """Check that a workflow can run.

    Args:
        workflow: the manifest.
        places: where its parts stand; None: problems have JSON paths only.
        lint: workflow parameters may lack a value, and the workflow a name: they come at submit.
        objects: the templates that the workflow may refer to.

    Raises:
        Refused: with all problems (at most 50); mistakes before what is not supported (code `unsupported`).
    """
    report = Report(places or Places())
    check_metadata(report, workflow.metadata, "workflow", needs_name=not lint)
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
    """Check what a workflow comes to that refers to a template; without a server nothing may be known of that."""
    try:
        spec = effective_spec(workflow, objects)
    except MissingTemplate as error:
        if objects is NO_OBJECTS or isinstance(objects, Beside):
            _check_own(report, workflow.spec)
            return
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
    manifest = document.manifest
    report = Report(document.places)
    if isinstance(manifest, argo.Workflow):
        validate(manifest, document.places, lint=lint, objects=objects)
    elif isinstance(manifest, argo.WorkflowTemplate | argo.ClusterWorkflowTemplate):
        kind = "workflow template" if isinstance(manifest, argo.WorkflowTemplate) else "cluster workflow template"
        check_metadata(report, manifest.metadata, kind, needs_name=not lint)
        _check(report, argo.Workflow(metadata=manifest.metadata, spec=manifest.spec), objects, Mode.TEMPLATE)
    elif isinstance(manifest, argo.CronWorkflow):
        report = Report(document.places, ("spec", "workflowSpec"))
        check_metadata(report, manifest.metadata, "cron workflow", needs_name=not lint, longest=_MAX_CRON_NAME)
        check_cron(report, manifest.spec)
        _check(report, started_by(manifest), objects, Mode.RUN)
    elif isinstance(manifest, argo.WorkflowEventBinding):
        check_metadata(report, manifest.metadata, "workflow event binding", needs_name=not lint)
        check_binding(report, manifest.spec)
        report.close()


def validate_together(documents: Sequence[Document], *, lint: bool = False) -> None:
    """Check the manifests of one text, which may refer to one another's templates.

    Raises:
        Refused: as `validate`, with the problems of all.
    """
    beside = Beside([document.manifest for document in documents])
    problems: list[Problem] = []
    for document in documents:
        try:
            validate_document(document, lint=lint, objects=beside)
        except Refused as error:
            problems += error.problems
    if problems:
        raise Refused(problems)


def _check_own(report: Report, spec: argo.WorkflowSpec) -> None:
    """Check what a spec says itself, whatever templates it has."""
    check_retry(report, spec.retry_strategy, ("spec",), "spec")
    check_parallelism(report, spec.parallelism, ("spec",), "spec.")
    check_metrics(report, spec.metrics, ("spec",), "spec")
    check_locks(report, spec.synchronization, ("spec",), "spec")
    check_volumes(report, spec.volumes, ("spec",), "spec.")
    check_plugins(report, spec.executor_plugins, ("spec",))
    check_pod_gc(report, spec.pod_gc)
    check_pod_patch(report, spec.pod_spec_patch, ("spec",), "spec.")
    check_gc(report, spec.artifact_gc, ("spec",), "spec")
    check_hooks(report, spec.hooks, ("spec",), "hooks.")
    if spec.active_deadline_seconds is not None and spec.active_deadline_seconds < 0:
        message = "spec.activeDeadlineSeconds must not be negative"
        report.add(("spec", "activeDeadlineSeconds"), message, "remove it for no deadline")
    sources = spec.workflow_metadata.labels_from if spec.workflow_metadata is not None else {}
    for name, source in sources.items():
        here = ("spec", "workflowMetadata", "labelsFrom", name, "expression")
        check_expression(report, source.expression, here, f"spec.workflowMetadata.labelsFrom.{name}.expression")


def _check_spec(report: Report, workflow: argo.Workflow, objects: Objects, mode: Mode) -> None:
    spec = workflow.spec
    check_names(report, spec.templates, ("spec", "templates"), "spec.templates")
    check_arguments(report, spec.arguments, ("spec", "arguments"), "spec.arguments.", values_optional=mode is not Mode.RUN)
    _check_own(report, spec)
    scope = workflow_scope(workflow)
    if mode is Mode.TEMPLATE:
        scope.add("workflow.parameters", "workflow.parameters.json", "workflow.parameters.*")
    if spec.workflow_metadata is not None:
        check_tags(report, scope, spec.workflow_metadata, ("spec", "workflowMetadata"), "spec.workflowMetadata")
    namespace = (workflow.metadata and workflow.metadata.namespace) or ""
    templates = Templates.of(spec, objects=objects, namespace=namespace)
    visits = Visits(scope, _values(spec))
    _check_roots(report, spec, templates, mode, visits)
    for name in dict.fromkeys(template.name for template in spec.templates if template.name):
        found = templates.find(report, name, ("spec", "templates"), "")
        if found is not None:
            visits.run(Call(found=found))


def _values(spec: argo.WorkflowSpec) -> Values:
    """Return what is known of the workflow before it runs."""
    parameters = spec.arguments.parameters if spec.arguments is not None else ()
    values = {f"workflow.parameters.{it.name}": it.value for it in parameters if it.value is not None}
    return values if spec.priority is None else {**values, "workflow.priority": str(spec.priority)}


def _check_roots(report: Report, spec: argo.WorkflowSpec, templates: Templates, mode: Mode, visits: Visits) -> None:
    """Check the entrypoint and the exit handler, and all that they call: they are there and get what they need."""
    if not spec.entrypoint and mode is not Mode.TEMPLATE:
        report.add(("spec",), "spec.entrypoint is required", "add `entrypoint:` with the name of a template", key=True)
    arguments = _at_submit(spec.arguments or argo.Arguments())
    for field, name in (("entrypoint", spec.entrypoint), ("onExit", spec.on_exit)):
        found = templates.find(report, name, ("spec", field), "") if name else None
        if found is None:
            continue
        if field == "onExit":
            _add_at_exit(visits.scope, spec)
        if mode is Mode.TEMPLATE:
            visits.run(Call(found=found))
        else:
            visits.run(Call(found=found, arguments=arguments))
            check_supplied(report, found.template, arguments, ("spec", field), "")


def _at_submit(arguments: argo.Arguments) -> argo.Arguments:
    """Return arguments whose missing values are those of the workflow's parameters, whatever they will be."""
    parameters = [
        it if it.value is not None or it.value_from is not None else replace(it, value=f"{{{{workflow.parameters.{it.name}}}}}")
        for it in arguments.parameters
    ]
    return replace(arguments, parameters=tuple(parameters))


def _add_at_exit(scope: Scope, spec: argo.WorkflowSpec) -> None:
    """Add what is known when all that runs before the exit handler has run."""
    scope.add("workflow.failures")
    for outputs in (template.outputs for template in spec.templates if template.outputs):
        for kind, items in (("parameters", outputs.parameters), ("artifacts", outputs.artifacts)):
            names = (item.global_name for item in items if item.global_name and not PARAMETER.search(item.global_name))
            scope.add(*(f"workflow.outputs.{kind}.{name}" for name in names))
    artifacts = (artifact for template in spec.templates if template.outputs for artifact in template.outputs.artifacts)
    if any(artifact.global_name and PARAMETER.search(artifact.global_name) for artifact in artifacts):
        scope.add("workflow.outputs.artifacts.*")
