"""Templates that do work of their own: what their pods and requests need."""

from __future__ import annotations

from jitflow.model import argo
from jitflow.spec.places import Path
from jitflow.spec.validation._artifacts import path_complaint
from jitflow.spec.validation._calls import Found
from jitflow.spec.validation._containers import check_container_set
from jitflow.spec.validation._expressions import check_expression
from jitflow.spec.validation._report import Report
from jitflow.spec.validation._resources import check_pod_patch, check_resource
from jitflow.spec.validation._scope import Scope, check_tags
from jitflow.spec.validation._values import check_volumes


def check_leaf(report: Report, scope: Scope, found: Found) -> None:
    """Check a template that runs a pod or a request, or waits: tags, images, environment, mounts, what its kind needs."""
    template, path = found.template, found.path
    prefix = f"templates.{template.name}"
    check_tags(report, scope, found.filled, path, f"{prefix}:")
    check_volumes(report, template.volumes, path, f"{prefix}.")
    defaults = found.templates.defaults
    for kind, part, default in (
        ("container", template.container, defaults.container),
        ("script", template.script, defaults.script),
    ):
        if part is not None:
            if not part.image and not (default is not None and default.image):
                report.add((*path, kind), f"{prefix}.{kind}.image may not be empty", "add `image:`")
            _check_environment(report, part, (*path, kind), f"{prefix}.{kind}")
            _check_probe(report, part.readiness_probe, (*path, kind, "readinessProbe"), f"{prefix}.{kind}.readinessProbe")
            _check_mounts(report, template, part, (*path, kind))
    check_container_set(report, template, path)
    check_resource(report, found.filled, path)
    check_pod_patch(report, template.pod_spec_patch, path, f"{prefix}.")
    if len(template.plugin) > 1:
        message = f"{prefix}.plugin: expected exactly one key, got {len(template.plugin)}"
        report.add((*path, "plugin"), message, "name one plugin, and give it what it needs below its name")
    if template.http is not None:
        check_expression(
            report, template.http.success_condition, (*path, "http", "successCondition"), f"{prefix}.http.successCondition"
        )
    if template.data is not None and template.data.source.artifact_paths is None:
        report.add((*path, "data", "source"), f"{prefix}.data.source.artifactPaths is required", "add `artifactPaths:`")
    for index, step in enumerate(template.data.transformation if template.data is not None else ()):
        here = (*path, "data", "transformation", index, "expression")
        check_expression(report, step.expression, here, f"{prefix}.data.transformation[{index}].expression")


def _check_probe(report: Report, probe: argo.Probe | None, path: Path, prefix: str) -> None:
    if probe is None:
        return
    ways = [way for way in (probe.exec, probe.grpc, probe.http_get, probe.tcp_socket) if way is not None]
    if len(ways) != 1:
        what = "has several ways to ask" if ways else "has no way to ask"
        report.add(path, f"{prefix} {what}", "give exactly one of httpGet and tcpSocket")


def _check_environment(report: Report, part: argo.Container | argo.ScriptTemplate, path: Path, prefix: str) -> None:
    for index, variable in enumerate(part.env):
        if not variable.name or "=" in variable.name or "\x00" in f"{variable.name}{variable.value or ''}":
            here = (*path, "env", index, "name")
            report.add(here, f"{prefix}.env[{index}].name '{variable.name}' is invalid", "use letters, digits and _")


def _check_mounts(report: Report, template: argo.Template, part: argo.Container | argo.ScriptTemplate, path: Path) -> None:
    kind = str(path[-1])
    taken: dict[str, str] = {}
    for index, mount in enumerate(part.volume_mounts):
        here = (*path, "volumeMounts", index)
        check_mount(report, mount, here, f"templates.{template.name}.{kind}.volumeMounts[{index}]", taken)
        taken[mount.mount_path or ""] = f"{kind}.volumeMounts.{mount.name}"
    inputs = template.inputs or argo.Inputs()
    for index, artifact in enumerate(inputs.artifacts):
        if artifact.path in taken:
            name = f"templates.{template.name}.inputs.artifacts[{index}].path"
            here = (*path[:-1], "inputs", "artifacts", index, "path")
            report.add(here, f"{name} '{artifact.path}' already mounted in {taken[artifact.path]}", "give it a path of its own")
        if artifact.path:
            taken[artifact.path] = f"inputs.artifacts.{artifact.name}"


def check_mount(report: Report, mount: argo.VolumeMount, path: Path, name: str, taken: dict[str, str]) -> None:
    """Check where a volume is mounted; `taken`: paths and what is there.

    As in Argo, a volume or a path that is not there is found out when the pod is made, not before.
    """
    complaint = path_complaint(mount.mount_path) if mount.mount_path else ""
    if complaint:
        report.add((*path, "mountPath"), f"{name}.mountPath '{mount.mount_path}' {complaint}", "give a path in the pod")
    if mount.sub_path and (mount.sub_path.startswith("/") or ".." in mount.sub_path.split("/")):
        message = f"{name}.subPath '{mount.sub_path}' must be a relative path without `..`"
        report.add((*path, "subPath"), message, "name a directory in the volume")
    if mount.mount_path and mount.mount_path in taken:
        message = f"{name}.mountPath '{mount.mount_path}' already mounted in {taken[mount.mount_path]}"
        report.add((*path, "mountPath"), message, "mount it elsewhere")
