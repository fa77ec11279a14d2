"""One template: its kind, inputs, outputs and what its pod needs."""

from collections.abc import Mapping

from jitflow.model import argo
from jitflow.spec.places import Path
from jitflow.spec.validation._artifacts import check_artifact, check_global_name, path_complaint
from jitflow.spec.validation._calls import Found
from jitflow.spec.validation._expressions import check_expression, check_query
from jitflow.spec.validation._locks import check_locks, check_memoize
from jitflow.spec.validation._metrics import check_metrics
from jitflow.spec.validation._report import Report, check_names, is_whole_number
from jitflow.spec.validation._scope import Scope, check_tags, is_leaf
from jitflow.spec.validation._values import (
    check_duration,
    check_integer,
    check_parallelism,
    check_retry,
)  # fmt: skip

_CHOICE = "choose one of: container, containerSet, steps, script, resource, dag, suspend, template, template ref"
KINDS: Mapping[str, str] = {
    "container": "Container", "container_set": "ContainerSet", "script": "Script", "resource": "Resource", "data": "Data",
    "http": "HTTP", "plugin": "Plugin", "steps": "Steps", "dag": "DAG", "suspend": "Suspend",
}  # fmt: skip


def kinds_of(template: argo.Template) -> list[str]:
    """Return the kinds that a template has: one, if it is right."""
    return [shown for attribute, shown in KINDS.items() if getattr(template, attribute) not in (None, (), {})]


def check_kind(report: Report, template: argo.Template, path: Path) -> None:
    """Check that a template is of one kind."""
    kinds = kinds_of(template)
    if not kinds:
        message = f"templates.{template.name} template type unspecified. {_CHOICE}"
        report.add(path, message, "add `container:`, `script:`, `steps:`, `dag:` or `suspend:`")
    elif len(kinds) > 1:
        message = f"templates.{template.name} multiple template types specified. {_CHOICE}"
        report.add(path, message, f"it has {', '.join(kinds)}: keep one of them")


def check_inputs(report: Report, template: argo.Template, path: Path) -> None:
    """Check the inputs that a template declares."""
    inputs = template.inputs
    if inputs is None:
        return
    prefix = f"templates.{template.name}.inputs"
    check_names(report, inputs.parameters, (*path, "inputs", "parameters"), f"{prefix}.parameters", values=True)
    check_names(report, inputs.artifacts, (*path, "inputs", "artifacts"), f"{prefix}.artifacts", values=True)
    for index, artifact in enumerate(inputs.artifacts):
        here = (*path, "inputs", "artifacts", index)
        check_artifact(report, artifact, here, f"{prefix}.artifacts.{artifact.name}", "input", leaf=is_leaf(template))


def check_init_containers(report: Report, template: argo.Template, path: Path) -> None:
    """Check that init containers and sidecars have names, each its own."""
    for field, containers in (("initContainers", template.init_containers), ("sidecars", template.sidecars)):
        for index, container in enumerate(containers):
            if not container.name:
                here = (*path, field, index)
                report.add(here, f"templates.{template.name} {field} must all have container name", "add `name:`")


def check_outputs(report: Report, scope: Scope, found: Found) -> None:
    """Check the outputs that a template declares."""
    template, path = found.template, found.path
    outputs = template.outputs
    if outputs is None:
        return
    prefix = f"templates.{template.name}.outputs"
    here = (*path, "outputs")
    check_names(report, outputs.parameters, (*here, "parameters"), f"{prefix}.parameters", values=True, tags=True)
    check_names(report, outputs.artifacts, (*here, "artifacts"), f"{prefix}.artifacts", values=True, tags=True)
    if not is_leaf(template):
        check_tags(report, scope, found.filled.outputs, here, prefix)
    for index, artifact in enumerate(outputs.artifacts):
        name = f"{prefix}.artifacts.{artifact.name}"
        check_artifact(report, artifact, (*here, "artifacts", index), name, "output", leaf=is_leaf(template))
    for index, parameter in enumerate(outputs.parameters):
        _check_output_parameter(report, template, parameter, (*here, "parameters", index))


def _check_output_parameter(report: Report, template: argo.Template, parameter: argo.Parameter, path: Path) -> None:
    name = f"templates.{template.name}.outputs.parameters.{parameter.name}"
    check_global_name(report, parameter.global_name, path, name)
    source = parameter.value_from
    if source is not None and parameter.value is not None:
        report.add(path, f"{name} has both valueFrom and value specified. Choose one.", "remove one of them")
    if parameter.value is not None:
        return
    if source is None:
        report.add(path, f"{name} does not have valueFrom or value specified", "add `valueFrom: {path: /tmp/x}`")
        return
    chosen = [it for it in (source.path, source.jq_filter, source.json_path, source.parameter, source.expression) if it]
    count = len(chosen) + (source.supplied is not None)
    here = (*path, "valueFrom")
    if count != 1:
        what = "multiple valueFrom types specified" if count else "valueFrom type unspecified"
        message = f"{name} {what}. choose one of: path, jqFilter, jsonPath, parameter, raw, expression"
        report.add(here, message, "give exactly one of them")
        return
    if template.container is not None or template.script is not None or template.container_set is not None:
        _check_parameter_path(report, template, source, here, name)
    elif (template.steps or template.dag is not None) and not source.parameter and not source.expression:
        kind = kinds_of(template)[0]
        report.add(here, f"{name}.parameter or expression must be specified for {kind} templates", "add `parameter:`")
    elif template.resource is not None and not source.jq_filter and not source.json_path:
        message = f"{name} .jqFilter or jsonPath must be specified for Resource templates"
        report.add(here, message, "add `jsonPath: '{.metadata.name}'`")
    elif template.suspend is not None and source.supplied is None:
        report.add(here, f"{name}.supplied must be specified for Suspend templates", "write `valueFrom: {supplied: {}}`")
    check_expression(report, source.expression, (*here, "expression"), f"{name}.valueFrom.expression")
    check_query(report, source, here, f"{name}.valueFrom")


def _check_parameter_path(report: Report, template: argo.Template, source: argo.ValueFrom, path: Path, name: str) -> None:
    if not source.path:
        kind = kinds_of(template)[0]
        report.add(path, f"{name}.path must be specified for {kind} templates", "add `path:`")
        return
    complaint = path_complaint(source.path)
    if complaint:
        report.add((*path, "path"), f"{name}.path '{source.path}' {complaint}", "give a path in the pod")


def check_limits(report: Report, template: argo.Template, path: Path) -> None:
    """Check retries, metrics, locks, caches and parallelism."""
    prefix = f"templates.{template.name}"
    check_retry(report, template.retry_strategy, path, prefix)
    check_metrics(report, template.metrics, path, prefix)
    check_locks(report, template.synchronization, path, prefix)
    check_memoize(report, template.memoize, path, prefix)
    if template.parallelism is not None and not (template.steps or template.dag is not None):
        message = f"{prefix}.parallelism is only valid for steps and dag templates"
        report.add((*path, "parallelism"), message, "give it to the template that calls this one, or to the workflow")
    check_parallelism(report, template.parallelism, path, f"{prefix}.")
    if template.suspend is not None:
        check_duration(report, template.suspend.duration, (*path, "suspend", "duration"), f"{prefix}.suspend.duration")


def check_times(report: Report, found: Found) -> None:
    """Check time limits: who may have them, and how they are written."""
    template, path = found.template, found.path
    prefix = f"templates.{template.name}"
    _check_timeout(report, found, "timeout", found.filled.timeout, template.timeout)
    _check_timeout(report, found, "pendingTimeout", found.filled.pending_timeout, template.pending_timeout)
    deadline = found.filled.active_deadline_seconds
    if deadline is not None:
        here = (*path, "activeDeadlineSeconds")
        if template.steps or template.dag is not None:
            message = f"{prefix}.activeDeadlineSeconds is only valid for leaf templates"
            report.add(here, message, "give it to the templates that run pods, or to the workflow")
        else:
            check_integer(report, deadline, here, f"{prefix}.activeDeadlineSeconds", least=0)


def _check_timeout(report: Report, found: Found, field: str, filled: str | None, written: str | None) -> None:
    if not filled:
        return
    template, here = found.template, (*found.path, field)
    prefix = f"templates.{template.name}"
    if not is_leaf(template):
        kind = (kinds_of(template) or ["this"])[0]
        report.add(here, f"{prefix}: {kind} template doesn't support {field} field.", "give it to the templates that run pods")
    elif is_whole_number(filled):
        report.add(here, f"{prefix}: {template.name} has invalid duration format in {field}.", f'add a unit: "{filled}s"')
    else:
        check_duration(report, written, here, f"{prefix}.{field}", bare_seconds=False)
