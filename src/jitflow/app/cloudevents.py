"""What others are told of workflows: CloudEvents 1.0 in JSON. Pure."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from jitflow.model import argo
from jitflow.ports.store import RunRow

STARTED: Final = "io.jitflow.workflow.started"
FINISHED: Final = "io.jitflow.workflow.finished"
FAILED: Final = "io.jitflow.workflow.failed"
NODE_STARTED: Final = "io.jitflow.node.started"
NODE_FINISHED: Final = "io.jitflow.node.finished"
NODE_FAILED: Final = "io.jitflow.node.failed"

WORKFLOW_TYPES: Final = (STARTED, FINISHED, FAILED)
NODE_TYPES: Final = (NODE_STARTED, NODE_FINISHED, NODE_FAILED)
TYPES: Final = (*WORKFLOW_TYPES, *NODE_TYPES)

_GOOD_ENDS: Final = frozenset({"Succeeded", "Skipped", "Omitted"})
_BAD_ENDS: Final = frozenset({"Failed", "Error"})


class CloudEvent(Struct, frozen=True, kw_only=True):
    """One event. Equal `source` and `id` mean the same event, however often it comes."""

    id: str
    source: str
    type: str
    subject: str
    time: str
    data: dict[str, Any]
    specversion: str = "1.0"
    datacontenttype: str = "application/json"


def started(row: RunRow) -> CloudEvent:
    """Return that a workflow has started."""
    return _of_run(row, STARTED, row.started_at or row.created_at)


def ended(row: RunRow) -> CloudEvent:
    """Return that a workflow has ended."""
    return _of_run(row, FINISHED if row.phase == "Succeeded" else FAILED, row.finished_at or row.created_at)


def node_type(phase: str) -> str:
    """Return the type of the event that a node's phase is, empty for one that is none."""
    if phase in _GOOD_ENDS:
        return NODE_FINISHED
    if phase in _BAD_ENDS:
        return NODE_FAILED
    return NODE_STARTED if phase == "Running" else ""


def of_node(row: RunRow, node: argo.NodeStatus, at: float) -> CloudEvent:
    """Return that a node has started or ended; `at` when it is not known better."""
    kind = node_type(node.phase or "")
    moment = (node.started_at if kind == NODE_STARTED else node.finished_at) or _rfc3339(at) or ""
    data = {
        "namespace": row.namespace,
        "workflow": row.name,
        "uid": row.uid,
        "id": node.id,
        "name": node.name,
        "displayName": node.display_name,
        "type": node.type,
        "templateName": node.template_name,
        "phase": node.phase,
        "message": node.message,
        "startedAt": node.started_at,
        "finishedAt": node.finished_at,
    }
    return CloudEvent(
        id=f"{row.uid}.{node.id}.{kind.rpartition('.')[2]}.{moment}",
        source=_source(row),
        type=kind,
        subject=f"{row.name}/{node.id}",
        time=moment,
        data={key: value for key, value in data.items() if value is not None},
    )


def encoded(event: CloudEvent) -> bytes:
    """Return the event as it is sent."""
    return msgspec.json.encode(event)


def check_types(wanted: Sequence[str]) -> tuple[str, ...]:
    """Return the types that names mean: whole ones, or without `io.jitflow.`, as `workflow.failed`.

    Raises:
        ValueError: one of them means none.
    """
    found = [name if name.startswith("io.jitflow.") else f"io.jitflow.{name}" for name in wanted]
    unknown = next((name for name in found if name not in TYPES), None)
    if unknown is not None:
        raise ValueError(
            f"there are no events {unknown.removeprefix('io.jitflow.')[:80]!r}; there are {', '.join(_short(TYPES))}"
        )
    return tuple(dict.fromkeys(found))


def _short(types: Iterable[str]) -> list[str]:
    return [name.removeprefix("io.jitflow.") for name in types]


def _of_run(row: RunRow, kind: str, at: float) -> CloudEvent:
    data: dict[str, Any] = {
        "namespace": row.namespace,
        "name": row.name,
        "uid": row.uid,
        "phase": row.phase,
        "message": row.message,
        "progress": row.progress,
        "labels": row.labels,
        "createdAt": _rfc3339(row.created_at),
        "startedAt": _rfc3339(row.started_at),
        "finishedAt": _rfc3339(row.finished_at),
    }
    return CloudEvent(
        id=f"{row.uid}.{kind.rpartition('.')[2]}.{int(at * 1000)}",
        source=_source(row),
        type=kind,
        subject=row.name,
        time=_rfc3339(at) or "",
        data={key: value for key, value in data.items() if value is not None},
    )


def _source(row: RunRow) -> str:
    return f"/jitflow/namespaces/{row.namespace}/workflows"


def _rfc3339(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
