"""The time line of one workflow: when its steps ran, and when what they read and wrote was moved."""

from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace

from jitflow.app.selectors import instant
from jitflow.model import argo
from jitflow.model.reports import RunTimeline, StepSpan, TransferRecord
from jitflow.ports.store import RunRow

_LATEST: Final = float("inf")


def timeline_of(row: RunRow, workflow: argo.Workflow, transfers: Iterable[TransferRecord]) -> RunTimeline:
    """Return a workflow's time line; of `transfers` those that are for it, and of their steps its own."""
    nodes = (workflow.status.nodes if workflow.status else None) or {}
    steps = sorted((_step(node) for node in nodes.values()), key=_beginning)
    moved = [found for one in transfers if (found := _transfer(one, f"{row.uid}/")) is not None]
    return RunTimeline(
        namespace=row.namespace,
        name=row.name,
        uid=row.uid,
        phase=row.phase,
        steps=tuple(steps),
        transfers=tuple(sorted(moved, key=lambda one: one.started_at)),
    )


def _step(node: argo.NodeStatus) -> StepSpan:
    return StepSpan(
        id=node.id or "",
        name=node.name or "",
        type=node.type or "",
        template=node.template_name or "",
        phase=node.phase or "",
        started_at=instant(node.started_at) if node.started_at else None,
        finished_at=instant(node.finished_at) if node.finished_at else None,
    )


def _beginning(step: StepSpan) -> tuple[float, str]:
    return (_LATEST if step.started_at is None else step.started_at, step.name)


def _transfer(one: TransferRecord, own: str) -> TransferRecord | None:
    steps = tuple(step.removeprefix(own) for step in one.steps if step.startswith(own))
    return replace(one, steps=steps) if steps else None
