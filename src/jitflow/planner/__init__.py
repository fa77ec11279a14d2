"""What to fetch, keep, evict and start: pure, over all workflows and the whole primary."""

from jitflow.planner._accounts import AccountView
from jitflow.planner._beside import Beside, choose_beside
from jitflow.planner._plan import Plan
from jitflow.planner._sizes import footprint, smallest_capacity
from jitflow.planner._views import Bytes, ItemView, Wait
from jitflow.planner.chains import Chain, longest
from jitflow.planner.commands import Bypass, Cancel, Command, Evict, Fetch, Forget, Grant, Hurry, Look, Refuse, Store, Take
from jitflow.planner.planner import Planner, PlannerOptions
from jitflow.planner.portfolio import Effort, choose, plain, without_estimates
from jitflow.planner.replicas import MOVES, IllegalMove, moved
from jitflow.planner.simulate import Arrival, Link, Outcome, Setting, explain, simulate

__all__ = [
    "MOVES",
    "AccountView",
    "Arrival",
    "Beside",
    "Bypass",
    "Bytes",
    "Cancel",
    "Chain",
    "Command",
    "Effort",
    "Evict",
    "Fetch",
    "Forget",
    "Grant",
    "Hurry",
    "IllegalMove",
    "ItemView",
    "Link",
    "Look",
    "Outcome",
    "Plan",
    "Planner",
    "PlannerOptions",
    "Refuse",
    "Setting",
    "Store",
    "Take",
    "Wait",
    "choose",
    "choose_beside",
    "explain",
    "footprint",
    "longest",
    "moved",
    "plain",
    "simulate",
    "smallest_capacity",
    "without_estimates",
]
