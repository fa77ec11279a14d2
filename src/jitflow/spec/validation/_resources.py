"""Resource templates: what is done, and to which manifest; and patches of pods."""

from __future__ import annotations

from typing import Final

from jitflow.expr import tags
from jitflow.model import argo
from jitflow.model.problems import Refused
from jitflow.spec._nodes import MAP, parse
from jitflow.spec.places import Path
from jitflow.spec.validation._report import Report, has_tag, suggest

ACTIONS: Final = ("get", "create", "apply", "delete", "replace", "patch")
_MERGES: Final = ("strategic", "merge", "json")
_WITHOUT_MANIFEST: Final = ("get", "delete")


def check_resource(report: Report, template: argo.Template, path: Path) -> None:
    """Check a `resource`: its action, and that there is one manifest which can be read."""
    resource = template.resource
    if resource is None:
        return
    here = (*path, "resource")
    prefix = f"templates.{template.name}.resource"
    if resource.action not in ACTIONS and not has_tag(resource.action):
        listed = ", ".join(ACTIONS)
        report.add((*here, "action"), f"{prefix}.action must be one of: {listed}", suggest(resource.action, ACTIONS, "use one"))
    if resource.merge_strategy and resource.merge_strategy not in _MERGES and not has_tag(resource.merge_strategy):
        message = f"{prefix}.mergeStrategy '{resource.merge_strategy}' is unknown"
        report.add((*here, "mergeStrategy"), message, f"use one of {', '.join(_MERGES)}")
    if resource.action not in _WITHOUT_MANIFEST:
        _check_manifest(report, template, resource, here, prefix)


def _check_manifest(report: Report, template: argo.Template, resource: argo.ResourceTemplate, path: Path, prefix: str) -> None:
    source = resource.manifest_from
    if not resource.manifest and source is None:
        message = f"either {prefix}.manifest or {prefix}.manifestFrom must be specified"
        report.add(path, message, "add `manifest:`")
    if resource.manifest and source is not None:
        message = f"{prefix} shouldn't have both `manifest` and `manifestFrom` specified"
        report.add((*path, "manifestFrom"), message, "keep one of them")
    inputs = template.inputs or argo.Inputs()
    if source is not None and all(artifact.name != source.artifact.name for artifact in inputs.artifacts):
        message = f"{prefix}: artifact {source.artifact.name} in `manifestFrom` refer to a non-exist artifact"
        names = [artifact.name for artifact in inputs.artifacts]
        remedy = suggest(source.artifact.name, names, "name an input artifact of this template")
        report.add((*path, "manifestFrom", "artifact", "name"), message, remedy)
    if resource.manifest:
        check_yaml(report, resource.manifest, (*path, "manifest"), f"{prefix}.manifest")


def _filled(text: str) -> str:
    """Return a text with a word for each tag, which ends where it does when it is filled in: braces of YAML may follow."""
    parts: list[str] = []
    end = 0
    for tag in sorted(tags.find_all(text), key=lambda tag: tag.start):
        if tag.start >= end:
            parts += [text[end : tag.start], "x"]
            end = tag.end
    return "".join([*parts, text[end:]])


def check_yaml(report: Report, text: str, path: Path, prefix: str, *, mapping: bool = False) -> None:
    """Check that a text is YAML, whatever its tags will become; `mapping`: with named parts."""
    try:
        roots = parse(_filled(text))
    except Refused as error:
        problem = error.problems[0]
        place = f" ({problem.place.line}:{problem.place.column})" if problem.place is not None and problem.place.line else ""
        report.add(path, f"{prefix} must be a valid yaml: {problem.message}{place}", "mend it at this line and column")
        return
    if mapping and (len(roots) != 1 or roots[0].kind != MAP):
        report.add(path, f"{prefix} must be an object", "write it like `containers: [{name: main, …}]`")


def check_pod_patch(report: Report, patch: str | None, path: Path, prefix: str) -> None:
    """Check a `podSpecPatch`, unless its form comes from a tag. `prefix` ends in a dot."""
    if patch and not has_tag(patch):
        check_yaml(report, patch, (*path, "podSpecPatch"), f"{prefix}podSpecPatch", mapping=True)
