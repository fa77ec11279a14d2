"""The planner's async shell: transfers, the primary, the catalogue, stage-out."""

from jitflow.dataplane.bandwidth import Bandwidth, Chosen
from jitflow.dataplane.choosing import PlanProcess
from jitflow.dataplane.core import Tuning
from jitflow.dataplane.inventory import Inventory
from jitflow.dataplane.links import QUEUED_AHEAD
from jitflow.dataplane.plane import LocalDataPlane
from jitflow.dataplane.primary import PrimaryDirectory
from jitflow.dataplane.provenance import Provenance
from jitflow.dataplane.remote_primary import RemotePrimary
from jitflow.dataplane.scratch import Scratch
from jitflow.dataplane.spending import SpendingKeeper, budget_fault
from jitflow.dataplane.view import LocalView

__all__ = [
    "QUEUED_AHEAD",
    "Bandwidth",
    "Chosen",
    "Inventory",
    "LocalDataPlane",
    "LocalView",
    "PlanProcess",
    "PrimaryDirectory",
    "Provenance",
    "RemotePrimary",
    "Scratch",
    "SpendingKeeper",
    "Tuning",
    "budget_fault",
]
