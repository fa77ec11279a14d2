"""What to fetch, keep, evict and start: pure, over all workflows and the whole primary."""

from jitflow.planner._sizes import footprint, smallest_capacity
from jitflow.planner._views import Bytes, ItemView, Wait
from jitflow.planner.commands import Bypass, Cancel, Command, Evict, Fetch, Grant, Look, Refuse, Take
from jitflow.planner.planner import Planner, PlannerOptions
from jitflow.planner.replicas import MOVES, IllegalMove, moved

__all__ = [
    "MOVES",
    "Bypass",
    "Bytes",
    "Cancel",
    "Command",
    "Evict",
    "Fetch",
    "Grant",
    "IllegalMove",
    "ItemView",
    "Look",
    "Planner",
    "PlannerOptions",
    "Refuse",
    "Take",
    "Wait",
    "footprint",
    "moved",
    "smallest_capacity",
]
