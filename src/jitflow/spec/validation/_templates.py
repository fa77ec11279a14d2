"""One template: its kind, inputs, outputs and what its pod needs."""

from collections.abc import Mapping

from msgspec import Struct

from jitflow.model import argo
from jitflow.spec.places import Path
from jitflow.spec.validation._artifacts import check_artifact, check_global_name, path_complaint
from jitflow.spec.validation._metrics import check_metrics
from jitflow.spec.validation._report import Report, check_names
from jitflow.spec.validation._scope import Scope, check_tags, is_leaf
from jitflow.spec.validation._steps import Templates
from jitflow.spec.validation._values import (
    check_duration,
    check_integer,
    check_parallelism,
    check_retry,
    check_volumes,
    has_tag,
)  # fmt: skip

_CHOICE = "choose one of: container, containerSet, steps, script, resource, dag, suspend, template, template ref"
KINDS: Mapping[str, str] = {
    "container": "Container", "container_set": "ContainerSet", "script": "Script", "resource": "Resource", "data": "Data",
    "http": "HTTP", "plugin": "Plugin", "steps": "Steps", "dag": "DAG", "suspend": "Suspend",
}  # fmt: skip


class Context(Struct, frozen=True, kw_only=True):
    """What a template finds in its workflow. `default_images`: `templateDefaults` may give images."""

    templates: Templates
    volumes: frozenset[str]
    default_images: bool


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


def check_outputs(report: Report, scope: Scope, template: argo.Template, path: Path) -> None:
    """Check the outputs that a template declares."""
    outputs = template.outputs
    if outputs is None:
        return
    prefix = f"templates.{template.name}.outputs"
    here = (*path, "outputs")
    check_names(report, outputs.parameters, (*here, "parameters"), f"{prefix}.parameters", values=True, tags=True)
    check_names(report, outputs.artifacts, (*here, "artifacts"), f"{prefix}.artifacts", values=True, tags=True)
    if not is_leaf(template):
        check_tags(report, scope, outputs, here, prefix)
    group = template.container_set
    if group is not None and (outputs.artifacts or outputs.parameters) and all(one.name != "main" for one in group.containers):
        message = f'templates.{template.name}.containerSet.containers must have a container named "main" for input or output'
        report.add((*path, "containerSet", "containers"), message, "name the container that makes the outputs `main`")
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
    elif template.suspend is not None and source.supplied is None:
        report.add(here, f"{name}.supplied must be specified for Suspend templates", "write `valueFrom: {supplied: {}}`")


def _check_parameter_path(report: Report, template: argo.Template, source: argo.ValueFrom, path: Path, name: str) -> None:
    if not source.path:
        kind = kinds_of(template)[0]
        report.add(path, f"{name}.path must be specified for {kind} templates", "add `path:`")
        return
    complaint = path_complaint(source.path)
    if complaint:
        report.add((*path, "path"), f"{name}.path '{source.path}' {complaint}", "give an absolute path in the pod")


def check_limits(report: Report, template: argo.Template, path: Path) -> None:
    """Check time limits, retries and parallelism."""
    prefix = f"templates.{template.name}"
    check_retry(report, template.retry_strategy, path, prefix)
    check_metrics(report, template.metrics, path, prefix)
    leaf = is_leaf(template)
    if template.timeout:
        here = (*path, "timeout")
        if not leaf:
            kind = (kinds_of(template) or ["this"])[0]
            message = f"{prefix}: {kind} template doesn't support timeout field."
            report.add(here, message, "give it to the templates that run pods")
        elif not has_tag(template.timeout) and template.timeout.strip().lstrip("+-").isdecimal():
            message = f"{prefix}: {template.name} has invalid duration format in timeout."
            report.add(here, message, f'add a unit: "{template.timeout.strip()}s"')
        else:
            check_duration(report, template.timeout, here, f"{prefix}.timeout", bare_seconds=False)
    deadline = template.active_deadline_seconds
    if deadline is not None:
        here = (*path, "activeDeadlineSeconds")
        if template.steps or template.dag is not None:
            message = f"{prefix}.activeDeadlineSeconds is only valid for leaf templates"
            report.add(here, message, "give it to the templates that run pods, or to the workflow")
        else:
            check_integer(report, deadline, here, f"{prefix}.activeDeadlineSeconds", least=0)
    if template.parallelism is not None and not (template.steps or template.dag is not None):
        message = f"{prefix}.parallelism is only valid for steps and dag templates"
        report.add((*path, "parallelism"), message, "give it to the template that calls this one, or to the workflow")
    check_parallelism(report, template.parallelism, path, f"{prefix}.")
    if template.suspend is not None:
        check_duration(report, template.suspend.duration, (*path, "suspend", "duration"), f"{prefix}.suspend.duration")


def check_pod(report: Report, scope: Scope, template: argo.Template, path: Path, context: Context) -> None:
    """Check what runs in a pod: tags, image, environment, mounts."""
    prefix = f"templates.{template.name}"
    check_tags(report, scope, template, path, f"{prefix}:")
    check_volumes(report, template.volumes, path, f"{prefix}.")
    for kind, part in (("container", template.container), ("script", template.script)):
        if part is None:
            continue
        if not part.image and not context.default_images:
            report.add((*path, kind), f"{prefix}.{kind}.image may not be empty", "add `image:`")
        for index, variable in enumerate(part.env):
            if not variable.name or "=" in variable.name or "\x00" in f"{variable.name}{variable.value or ''}":
                here = (*path, kind, "env", index, "name")
                report.add(here, f"{prefix}.{kind}.env[{index}].name '{variable.name}' is invalid", "use letters, digits and _")
        _check_mounts(report, template, part, (*path, kind), context)


def _check_mounts(
    report: Report, template: argo.Template, part: argo.Container | argo.ScriptTemplate, path: Path, context: Context
) -> None:
    kind = str(path[-1])
    prefix = f"templates.{template.name}.{kind}"
    taken: dict[str, str] = {}
    for index, mount in enumerate(part.volume_mounts):
        here = (*path, "volumeMounts", index)
        name = f"{prefix}.volumeMounts[{index}]"
        # As in Argo, a volume or a path that is not there is found out when the pod is made, not before.
        complaint = path_complaint(mount.mount_path) if mount.mount_path else ""
        if complaint:
            report.add(
                (*here, "mountPath"), f"{name}.mountPath '{mount.mount_path}' {complaint}", "give an absolute path in the pod"
            )
        if mount.sub_path and (mount.sub_path.startswith("/") or ".." in mount.sub_path.split("/")):
            message = f"{name}.subPath '{mount.sub_path}' must be a relative path without `..`"
            report.add((*here, "subPath"), message, "name a directory in the volume")
        if mount.mount_path and mount.mount_path in taken:
            message = f"{name}.mountPath '{mount.mount_path}' already mounted in {taken[mount.mount_path]}"
            report.add((*here, "mountPath"), message, "mount it elsewhere")
        taken[mount.mount_path or ""] = f"{kind}.volumeMounts.{mount.name}"
    inputs = template.inputs or argo.Inputs()
    for index, artifact in enumerate(inputs.artifacts):
        if artifact.path in taken:
            name = f"templates.{template.name}.inputs.artifacts[{index}].path"
            here = (*path[:-1], "inputs", "artifacts", index, "path")
            report.add(here, f"{name} '{artifact.path}' already mounted in {taken[artifact.path]}", "give it a path of its own")
        if artifact.path:
            taken[artifact.path] = f"inputs.artifacts.{artifact.name}"
