"""What to fetch, keep, evict and start: pure, over all workflows and the whole primary."""

from jitflow.planner._sizes import footprint, smallest_capacity
from jitflow.planner._views import Bytes, ItemView, Wait
from jitflow.planner.commands import Bypass, Cancel, Command, Evict, Fetch, Grant, Look, Refuse, Take
from jitflow.planner.planner import Planner, PlannerOptions
from jitflow.planner.replicas import MOVES, IllegalMove, moved
from jitflow.planner.simulate import Arrival, Link, Outcome, Setting, explain, simulate

__all__ = [
    "MOVES",
    "Arrival",
    "Bypass",
    "Bytes",
    "Cancel",
    "Command",
    "Evict",
    "Fetch",
    "Grant",
    "IllegalMove",
    "ItemView",
    "Link",
    "Look",
    "Outcome",
    "Planner",
    "PlannerOptions",
    "Refuse",
    "Setting",
    "Take",
    "Wait",
    "explain",
    "footprint",
    "moved",
    "simulate",
    "smallest_capacity",
]
