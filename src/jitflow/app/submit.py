"""Workflows made of templates and schedules, with what the submission says on top."""

from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec import Struct
from msgspec.structs import replace

from jitflow.app.present import ARCHIVING_LABEL, COMPLETED_LABEL, PHASE_LABEL
from jitflow.model import argo
from jitflow.model.objects import Objects
from jitflow.model.problems import Refused
from jitflow.objects.store import resource

TEMPLATE_LABEL = "workflows.argoproj.io/workflow-template"
CLUSTER_TEMPLATE_LABEL = "workflows.argoproj.io/cluster-workflow-template"
RESUBMITTED_LABEL = "workflows.argoproj.io/resubmitted-from-workflow"
CRON_LABEL = "workflows.argoproj.io/cron-workflow"
SCHEDULED_TIME = "workflows.argoproj.io/scheduled-time"

_STATE_LABELS = frozenset({PHASE_LABEL, COMPLETED_LABEL, ARCHIVING_LABEL})

_KINDS = {
    "WorkflowTemplate": ("WorkflowTemplate", "workflowtemplate", "workflowtemplates", "wftmpl"),
    "ClusterWorkflowTemplate": ("ClusterWorkflowTemplate", "clusterworkflowtemplate", "clusterworkflowtemplates", "cwftmpl"),
    "CronWorkflow": ("CronWorkflow", "cronworkflow", "cronworkflows", "cronwf"),
}


class SubmitOptions(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a submission says of the workflow, as Argo's `SubmitOpts`."""

    name: str | None = None
    generate_name: str | None = None
    entry_point: str | None = None
    parameters: tuple[str, ...] | None = None
    artifacts: tuple[str, ...] | None = None
    labels: str | None = None
    annotations: str | None = None
    dry_run: bool | None = None
    server_dry_run: bool | None = None
    service_account: str | None = None
    priority: int | None = None
    pod_priority_class_name: str | None = None
    owner_reference: argo.OwnerReference | None = None


def from_resource(objects: Objects, namespace: str, kind: str, name: str, options: SubmitOptions, *, now: float) -> argo.Workflow:
    """Return the workflow that a template or schedule stands for.

    Args:
        objects: where the object is found.
        namespace: its namespace.
        kind: as Argo names it; see its server's sources for the forms.
        name: its name.
        options: what the submission says on top.
        now: seconds since the epoch, for the scheduled time of a schedule's workflow.

    Raises:
        Refused: the kind is none of those, there is no such object, or an option cannot be read.
    """
    known = next((known for known, forms in _KINDS.items() if kind in forms), "")
    if known == "CronWorkflow":
        cron = objects.find(argo.CronWorkflow, namespace, name)
        if cron is None:
            raise Refused(f'{resource(known)} "{name}" not found', code="not_found")
        return with_options(from_cron(cron, now), options)
    if not known:
        raise Refused(f"Resource kind '{kind}' is not supported for submitting")
    clustered = known == "ClusterWorkflowTemplate"
    found = objects.find(argo.ClusterWorkflowTemplate if clustered else argo.WorkflowTemplate, namespace, name)
    if found is None:
        raise Refused(f'{resource(known)} "{name}" not found', code="not_found")
    reference = argo.WorkflowTemplateRef(name=name, cluster_scope=True if clustered else None)
    label = CLUSTER_TEMPLATE_LABEL if clustered else TEMPLATE_LABEL
    workflow = argo.Workflow(
        metadata=argo.ObjectMeta(generate_name=f"{name}-", namespace=namespace, labels={label: name}),
        spec=argo.WorkflowSpec(workflow_template_ref=reference),
    )
    return with_options(workflow, options)


def resubmission(workflow: argo.Workflow, parameters: Sequence[str] = ()) -> argo.Workflow:
    """Return a workflow like one that is there, to be run anew: another name, no status, what was asked of the old one forgotten.

    Raises:
        Refused: a parameter is not of the form NAME=VALUE.
    """
    old = workflow.metadata or argo.ObjectMeta()
    labels = {key: value for key, value in old.labels.items() if key not in _STATE_LABELS}
    metadata = argo.ObjectMeta(
        generate_name=old.generate_name or f"{old.name}-",
        namespace=old.namespace,
        labels={**labels, RESUBMITTED_LABEL: old.name or ""},
        annotations=old.annotations,
        owner_references=old.owner_references,
    )
    made = replace(workflow, metadata=metadata, spec=replace(workflow.spec, shutdown=None), status=None)
    return with_options(made, SubmitOptions(parameters=tuple(parameters)))


def from_cron(cron: argo.CronWorkflow, scheduled_at: float, *, name: str = "") -> argo.Workflow:
    """Return the workflow of one run of a schedule; with `name`, it has that, else one of its own is made up."""
    metadata, more = cron.metadata or argo.ObjectMeta(), cron.spec.workflow_metadata or argo.ObjectMeta()
    owner = argo.OwnerReference(
        api_version="argoproj.io/v1alpha1", kind="CronWorkflow", name=metadata.name or "", uid=metadata.uid or "",
        controller=True, block_owner_deletion=True,
    )  # fmt: skip
    at = datetime.fromtimestamp(int(scheduled_at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return argo.Workflow(
        metadata=argo.ObjectMeta(
            name=name or None,
            generate_name=None if name else f"{metadata.name}-",
            namespace=metadata.namespace,
            labels={**more.labels, CRON_LABEL: metadata.name or ""},
            annotations={**more.annotations, SCHEDULED_TIME: at},
            owner_references=(owner,),
            finalizers=more.finalizers,
        ),
        spec=cron.spec.workflow_spec,
    )


def with_options(workflow: argo.Workflow, options: SubmitOptions) -> argo.Workflow:
    """Return a workflow with what a submission says on top.

    Raises:
        Refused: an option cannot be read.
    """
    metadata, spec = workflow.metadata or argo.ObjectMeta(), workflow.spec
    arguments = spec.arguments or argo.Arguments()
    given = _pairs(options.parameters or (), "parameter")
    parameters = {p.name: p for p in arguments.parameters}
    parameters.update({name: argo.Parameter(name=name, value=value) for name, value in given.items()})
    artifacts = {a.name: a for a in arguments.artifacts}
    for name, key in _pairs(options.artifacts or (), "artifact").items():
        old = artifacts.get(name, argo.Artifact(name=name))
        artifacts[name] = replace(old, s3=replace(old.s3 or argo.S3Artifact(), key=key))
    arguments = argo.Arguments(parameters=tuple(parameters.values()), artifacts=tuple(artifacts.values()))
    labels = _pairs(_listed(options.labels), "label")
    annotations = _pairs(_listed(options.annotations), "annotation")
    owners = (options.owner_reference,) if options.owner_reference else metadata.owner_references
    metadata = replace(
        metadata,
        name=options.name or metadata.name,
        generate_name=options.generate_name or metadata.generate_name,
        labels={**metadata.labels, **labels},
        annotations={**metadata.annotations, **annotations},
        owner_references=owners,
    )
    spec = replace(
        spec,
        arguments=arguments if parameters or artifacts else spec.arguments,
        entrypoint=options.entry_point or spec.entrypoint,
        service_account_name=options.service_account or spec.service_account_name,
        priority=spec.priority if options.priority is None else options.priority,
        pod_priority_class_name=options.pod_priority_class_name or spec.pod_priority_class_name,
    )
    return replace(workflow, metadata=metadata, spec=spec)


def _listed(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def _pairs(texts: tuple[str, ...] | list[str], what: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise Refused(f"expected {what} of the form: NAME=VALUE. Received: {text[:200]}")
        found[name] = value
    return found
