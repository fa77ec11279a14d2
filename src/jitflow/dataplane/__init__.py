"""The planner's async shell: transfers, the primary directory, the catalogue, stage-out."""

from jitflow.dataplane.core import Tuning
from jitflow.dataplane.plane import LocalDataPlane

__all__ = ["LocalDataPlane", "Tuning"]
