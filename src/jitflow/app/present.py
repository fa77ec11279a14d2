"""Workflows as clients see them: the document with what the row knows better."""

from collections.abc import Mapping
from typing import Any

from msgspec import to_builtins
from msgspec.structs import replace

from jitflow.machine.times import rfc3339
from jitflow.model import argo
from jitflow.ports.store import RunRow

API_VERSION = "argoproj.io/v1alpha1"
PHASE_LABEL = "workflows.argoproj.io/phase"
COMPLETED_LABEL = "workflows.argoproj.io/completed"
ARCHIVING_LABEL = "workflows.argoproj.io/workflow-archiving-status"
"""`Archived` of a workflow that the archive knows, `Persisted` of one that only the archive knows."""
FINAL_PHASES = frozenset({"Succeeded", "Failed", "Error"})


def timestamp(at: float) -> str:
    """Return a time as Kubernetes writes it, in whole seconds."""
    return rfc3339(at)


def is_finished(row: RunRow) -> bool:
    """Return whether the run has ended."""
    return row.finished_at is not None or row.phase in FINAL_PHASES


def labels_of(row: RunRow) -> dict[str, str]:
    """Return the row's labels with those that Argo's controller keeps up to date."""
    labels = dict(row.labels)
    if COMPLETED_LABEL not in labels:
        labels[COMPLETED_LABEL] = "true" if is_finished(row) else "false"
    if row.phase:
        labels.setdefault(PHASE_LABEL, row.phase)
    if row.archived:
        labels[ARCHIVING_LABEL] = "Archived" if row.live else "Persisted"
    return labels


def archived(row: RunRow) -> RunRow:
    """Return a row as the archive tells of it, whether its object is there or not."""
    return replace(row, live=False)


def document(workflow: argo.Workflow, row: RunRow) -> argo.Workflow:
    """Return the workflow with the metadata and the phase of its row, complete as Argo's clients need it."""
    metadata = workflow.metadata or argo.ObjectMeta()
    metadata = replace(
        metadata,
        name=row.name,
        namespace=row.namespace,
        uid=row.uid,
        creation_timestamp=metadata.creation_timestamp or timestamp(row.created_at),
        labels={**metadata.labels, **labels_of(row)},
        resource_version=str(row.sequence),
    )
    status = workflow.status or argo.WorkflowStatus()
    if not status.phase:
        status = replace(status, phase=row.phase or "Pending")
    return replace(
        workflow,
        api_version=workflow.api_version or API_VERSION,
        kind=workflow.kind or "Workflow",
        metadata=metadata,
        status=status,
    )


def brief(workflow: argo.Workflow) -> argo.Workflow:
    """Return what lists tell of an archived workflow, as Argo's do: no nodes, nothing of its spec but whether it is suspended."""
    metadata, status = workflow.metadata or argo.ObjectMeta(), workflow.status or argo.WorkflowStatus()
    return argo.Workflow(
        api_version=workflow.api_version,
        kind=workflow.kind,
        metadata=argo.ObjectMeta(
            name=metadata.name,
            namespace=metadata.namespace,
            uid=metadata.uid,
            creation_timestamp=metadata.creation_timestamp,
            labels=metadata.labels,
            annotations=metadata.annotations,
            resource_version=metadata.resource_version,
        ),
        spec=argo.WorkflowSpec(suspend=workflow.spec.suspend),
        status=argo.WorkflowStatus(
            phase=status.phase,
            started_at=status.started_at,
            finished_at=status.finished_at,
            progress=status.progress,
            message=status.message,
            estimated_duration=status.estimated_duration,
            resources_duration=status.resources_duration,
        ),
    )


def outline(row: RunRow) -> dict[str, Any]:
    """Return the JSON of a workflow as far as its row knows it (`fields.ROW_FIELDS`)."""
    status: dict[str, Any] = {"phase": row.phase or "Pending"}
    for key, value in (("startedAt", row.started_at), ("finishedAt", row.finished_at)):
        if value is not None:
            status[key] = timestamp(value)
    for key, text in (("message", row.message), ("progress", row.progress)):
        if text:
            status[key] = text
    return {
        "apiVersion": API_VERSION,
        "kind": "Workflow",
        "metadata": {
            "name": row.name,
            "namespace": row.namespace,
            "uid": row.uid,
            "creationTimestamp": timestamp(row.created_at),
            "labels": labels_of(row),
            "resourceVersion": str(row.sequence),
        },
        "spec": {},
        "status": status,
    }


def plain(value: argo.Workflow | Mapping[str, Any]) -> Any:
    """Return a workflow as dicts and lists, as its JSON will be."""
    return to_builtins(value) if isinstance(value, argo.Workflow) else value
