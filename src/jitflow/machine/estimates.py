"""How long a workflow and its nodes will take, from an earlier one of the same template or schedule that succeeded.

Argo tells it as `estimatedDuration` in whole seconds; see `workflow/controller/estimation` in its sources.
"""

import msgspec

from jitflow.machine import phases
from jitflow.machine.state import State

MOST_NAMES = 1_000
"""Nodes whose time is remembered; of larger workflows the first ones."""


def durations(earlier: State) -> dict[str, int]:
    """Return how long the nodes of a workflow that succeeded took, in seconds, by their names without the workflow's own."""
    if earlier.run.phase != phases.SUCCEEDED:
        return {}
    found: dict[str, int] = {}
    for node in earlier.nodes.values():
        if len(found) == MOST_NAMES:
            break
        if node.started_at is not None and node.finished_at is not None:
            found[node.name.removeprefix(earlier.program.name)] = max(0, round(node.finished_at - node.started_at))
    return found


def expecting(state: State, times_s: dict[str, int]) -> State:
    """Return a workflow that has not begun with what is expected of its nodes."""
    return msgspec.structs.replace(state, run=msgspec.structs.replace(state.run, estimates=times_s))


def of(state: State, name: str) -> int | None:
    """Return what is expected of a node, or of the workflow by its own name; None where nothing is known."""
    return state.run.estimates.get(name.removeprefix(state.program.name)) or None
