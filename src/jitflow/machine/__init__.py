"""One workflow's life, as a pure state machine.

`new_state` → `decide(state, event, now)` → `Decision(state, nodes, effects, …)`; `encode_header`, `encode_node` and `restore`
keep it; `status` and `workflow_document` show it; `forecast` says what will come. The cost of an event does not grow with the
size of the workflow: composite nodes count their children, nothing looks at all nodes but the rare requests of people.
"""

from jitflow.machine.again import refusal
from jitflow.machine.archives import container_of
from jitflow.machine.deciding import decide
from jitflow.machine.estimates import durations, expecting
from jitflow.machine.forecast import MAX_STEPS, ForecastStep, forecast, has_data
from jitflow.machine.garbage import holds_back, let_go
from jitflow.machine.intermediates import Passing, family_of, is_foreseeable
from jitflow.machine.names import node_id, pod_name
from jitflow.machine.node import Node, decode_node, encode_node
from jitflow.machine.phases import IllegalMove
from jitflow.machine.report import (
    Summary,
    awaits_end,
    history,
    holds_locks,
    is_ended,
    is_good,
    node_views,
    status,
    summary,
    workflow_document,
)
from jitflow.machine.resubmits import memoization_refusal, resubmitted
from jitflow.machine.state import Decision, State, encode_header, header_differs, new_state, restore
from jitflow.machine.why import why

__all__ = [
    "MAX_STEPS",
    "Decision",
    "ForecastStep",
    "IllegalMove",
    "Node",
    "Passing",
    "State",
    "Summary",
    "awaits_end",
    "container_of",
    "decide",
    "decode_node",
    "durations",
    "encode_header",
    "encode_node",
    "expecting",
    "family_of",
    "forecast",
    "has_data",
    "header_differs",
    "history",
    "holds_back",
    "holds_locks",
    "is_ended",
    "is_foreseeable",
    "is_good",
    "let_go",
    "memoization_refusal",
    "new_state",
    "node_id",
    "node_views",
    "pod_name",
    "refusal",
    "restore",
    "resubmitted",
    "status",
    "summary",
    "why",
    "workflow_document",
]
