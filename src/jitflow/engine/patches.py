"""`podSpecPatch`: a strategic merge patch of the pod that Kubernetes would run, applied to the template that stands for it."""

from typing import Any

import msgspec
import yaml

from jitflow.model import argo
from jitflow.model.merge import strategic_merge
from jitflow.model.problems import Refused

_ARGOS_OWN = {"initContainers": "init", "containers": "wait"}
"""Containers that Argo adds to its pods, and that many patches name (for their resources): here there are none."""
_SPEC_FIELDS = ("activeDeadlineSeconds", "nodeSelector", "volumes", "initContainers")


def patched(template: argo.Template, *patches: str | None) -> argo.Template:
    """Return a template with patches applied, the workflow's before the template's own.

    Raises:
        Refused: a patch is no YAML or JSON mapping, or what comes out is no pod.
    """
    wanted = [_parsed(patch) for patch in patches if patch and patch.strip()]
    if not wanted:
        return template
    plain: dict[str, Any] = msgspec.to_builtins(template)
    kind = "container" if template.container is not None else "script" if template.script is not None else ""
    containers = [plain[kind] | {"name": "main"}] if kind else list(plain.get("containerSet", {}).get("containers", []))
    pod: dict[str, Any] = {"containers": containers + list(plain.get("sidecars", []))}
    pod |= {field: plain[field] for field in _SPEC_FIELDS if field in plain}
    own_names = {field: {container.get("name") for container in pod.get(field, ())} for field in _ARGOS_OWN}
    for patch in wanted:
        pod = strategic_merge(pod, patch)
    for field, name in _ARGOS_OWN.items():
        if field in pod and name not in own_names[field]:
            pod[field] = [container for container in pod[field] if container.get("name") != name]
    known = {container["name"] for container in containers}
    own = [container for container in pod["containers"] if container.get("name") in known]
    others = [container for container in pod["containers"] if container.get("name") not in known]
    plain |= {field: pod[field] for field in _SPEC_FIELDS if field in pod}
    if kind:
        plain[kind] = own[0]
    elif own:
        plain["containerSet"] = plain["containerSet"] | {"containers": own}
    if others:
        plain["sidecars"] = others
    try:
        return msgspec.convert(plain, argo.Template, strict=False)
    except msgspec.ValidationError as error:
        raise Refused(f"podSpecPatch of template {template.name!r}: {error}") from error


def _parsed(patch: str) -> dict[str, Any]:
    try:
        found = yaml.safe_load(patch)
    except yaml.YAMLError as error:
        raise Refused(f"podSpecPatch is neither YAML nor JSON: {error}") from error
    if not isinstance(found, dict):
        raise Refused("podSpecPatch must be a mapping, as `containers: [{name: main, …}]`")
    return found
