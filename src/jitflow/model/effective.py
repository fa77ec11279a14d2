"""The spec that a workflow runs with: its own, over that of the template it refers to."""

from typing import Any

import msgspec

from jitflow.model import argo
from jitflow.model.merge import strategic_merge
from jitflow.model.objects import ConfigMap, Objects


class MissingTemplate(LookupError):
    """A template or ConfigMap that a workflow refers to is not there. The message is Argo's."""


def template_spec(reference: argo.WorkflowTemplateRef, namespace: str, objects: Objects) -> argo.WorkflowSpec:
    """Return the spec of the WorkflowTemplate or ClusterWorkflowTemplate that a reference names.

    Raises:
        MissingTemplate: there is none.
    """
    name = reference.name or ""
    if reference.cluster_scope:
        found = objects.find(argo.ClusterWorkflowTemplate, "", name)
        kind = "clusterworkflowtemplates"
    else:
        found = objects.find(argo.WorkflowTemplate, namespace, name)
        kind = "workflowtemplates"
    if found is None:
        raise MissingTemplate(f'{kind}.argoproj.io "{name}" not found')
    return found.spec


def with_defaults(workflow: argo.Workflow, defaults: argo.Workflow) -> argo.Workflow:
    """Return a workflow with what the server's defaults say where it says nothing; its own word goes first.

    As in Argo, the spec of one that refers to a template stays as it is: the defaults go below the template's, see
    `effective_spec`.
    """
    own, more = workflow.metadata or argo.ObjectMeta(), defaults.metadata or argo.ObjectMeta()
    labels, annotations = {**more.labels, **own.labels}, {**more.annotations, **own.annotations}
    workflow = msgspec.structs.replace(workflow, metadata=msgspec.structs.replace(own, labels=labels, annotations=annotations))
    if workflow.spec.workflow_template_ref is not None:
        return workflow
    return msgspec.structs.replace(workflow, spec=merged_spec(defaults.spec, workflow.spec))


def effective_spec(workflow: argo.Workflow, objects: Objects, defaults: argo.WorkflowSpec | None = None) -> argo.WorkflowSpec:
    """Return the spec that a workflow runs with.

    Without `workflowTemplateRef` it is the workflow's own. Else the two are merged as Kubernetes merges a strategic patch (the
    workflow's word goes before the template's, arguments by name), see `workflow/util` in Argo's sources. `defaults` of the
    server go below both.

    Most workflows that refer to a template say nothing more but its arguments: these share all else with the template, so that it
    is neither merged nor compiled for each.

    Raises:
        MissingTemplate: the template is not there.
    """
    spec = workflow.spec
    if spec.workflow_template_ref is None:
        return spec
    namespace = (workflow.metadata and workflow.metadata.namespace) or ""
    under = template_spec(spec.workflow_template_ref, namespace, objects)
    if defaults is not None:
        under = merged_spec(defaults, under)
    only = argo.WorkflowSpec(arguments=spec.arguments, workflow_template_ref=spec.workflow_template_ref)
    if spec != only or under.workflow_template_ref is not None:
        return merged_spec(under, spec)
    given = merged_spec(argo.WorkflowSpec(arguments=under.arguments), argo.WorkflowSpec(arguments=spec.arguments))
    return msgspec.structs.replace(under, arguments=given.arguments, workflow_template_ref=spec.workflow_template_ref)


def config_value(reference: argo.ConfigMapKeySelector, namespace: str, objects: Objects) -> str | None:
    """Return a value of a ConfigMap, None when there is no such map or key."""
    found = objects.find(ConfigMap, namespace, reference.name or "")
    return None if found is None else found.data.get(reference.key)


def missing_config(reference: argo.ConfigMapKeySelector) -> str:
    """Return how a value that a ConfigMap lacks is called in messages."""
    return f"ConfigMap '{reference.name}': there is no such ConfigMap, or it has no key '{reference.key}'"


def with_config_values(arguments: argo.Arguments, namespace: str, objects: Objects) -> argo.Arguments:
    """Return a workflow's arguments with the values that come from ConfigMaps.

    Raises:
        MissingTemplate: a value is not there and has no default.
    """
    found: list[argo.Parameter] = []
    for parameter in arguments.parameters:
        source = parameter.value_from
        reference = source.config_map_key_ref if source is not None and parameter.value is None else None
        if source is None or reference is None:
            found.append(parameter)
            continue
        value = config_value(reference, namespace, objects)
        if value is None:
            value = source.default if source.default is not None else parameter.default
        if value is None and not reference.optional:
            raise MissingTemplate(f"failed to set global parameter {parameter.name} from {missing_config(reference)}")
        found.append(msgspec.structs.replace(parameter, value=value or "", value_from=None))
    return msgspec.structs.replace(arguments, parameters=tuple(found))


def merged_spec(under: argo.WorkflowSpec, over: argo.WorkflowSpec) -> argo.WorkflowSpec:
    """Return `under` with all that `over` says put on top."""
    base, patch = msgspec.to_builtins(under), msgspec.to_builtins(over)
    merged = strategic_merge(base, patch)
    for kind in ("parameters", "artifacts"):
        given = {item["name"]: item for item in patch.get("arguments", {}).get(kind, [])}
        listed = merged.get("arguments", {}).get(kind)
        if listed:
            merged["arguments"][kind] = [_given(item, given.get(item["name"])) for item in listed]
    return msgspec.convert(merged, argo.WorkflowSpec, strict=False)


def _given(item: dict[str, Any], own: dict[str, Any] | None) -> dict[str, Any]:
    """Return an argument without what the workflow's own word for it replaces: a value goes before where it came from."""
    if own is None:
        return item
    if "value" in own and "valueFrom" not in own:
        return {key: value for key, value in item.items() if key != "valueFrom"}
    if "valueFrom" in own and "value" not in own:
        return {key: value for key, value in item.items() if key != "value"}
    return item
