"""The time line of one workflow: its steps, and what was moved for them and for nobody else."""

import pytest

from jitflow.app.spans import timeline_of
from jitflow.model import argo
from jitflow.model.data import ObjectRef
from jitflow.model.reports import TransferRecord
from jitflow.ports.store import RunRow

pytestmark = pytest.mark.pure


def moved(at: float, *steps: str, direction: str = "in") -> TransferRecord:
    ref = ObjectRef(remote="far", path=f"at-{at}")
    return TransferRecord(ref=ref, direction=direction, size_bytes=7, started_at=at, finished_at=at + 1, reason="x", steps=steps)


def test_steps_and_transfers_are_told_in_order_and_only_those_of_the_workflow() -> None:
    nodes = {
        "b": argo.NodeStatus(id="b", name="w.b", type="Pod", phase="Pending"),
        "a": argo.NodeStatus(id="a", name="w.a", type="Pod", phase="Running", started_at="1970-01-01T00:01:00Z"),
        "w": argo.NodeStatus(
            id="w", name="w", type="DAG", phase="Running", started_at="1970-01-01T00:00:50Z", finished_at="1970-01-01T00:02:00Z"
        ),
    }
    workflow = argo.Workflow(spec=argo.WorkflowSpec(), status=argo.WorkflowStatus(nodes=nodes))
    row = RunRow(uid="u", namespace="n", name="w", phase="Running", created_at=1.0, sequence=1)
    found = timeline_of(row, workflow, [moved(30.0, "u/a", "other/x"), moved(20.0, "other/x"), moved(10.0, "u/b", "u/a")])
    assert [(one.id, one.started_at, one.finished_at) for one in found.steps] == [
        ("w", 50.0, 120.0), ("a", 60.0, None), ("b", None, None),
    ]  # fmt: skip
    assert [(one.started_at, one.steps) for one in found.transfers] == [(10.0, ("b", "a")), (30.0, ("a",))]
