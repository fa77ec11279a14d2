"""What the engine tells those who watch."""

from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct

from jitflow import machine
from jitflow.model import argo
from jitflow.ports.store import RunRow


class Change(Struct, frozen=True, kw_only=True):
    """A run was added, changed or deleted, durably; `row` is its newest row."""

    kind: Literal["ADDED", "MODIFIED", "DELETED"]
    row: RunRow
    ends: bool = False
    """Whether the run has ended with this change."""
    nodes: tuple[str, ...] = ()
    """The ids of the nodes that were added or changed."""
    removed: tuple[str, ...] = ()
    """The ids of the nodes that are no more."""
    state: machine.State | None = None
    """The run after the change; it shares what did not change with the state before."""

    def views(self, ids: Iterable[str]) -> Sequence[argo.NodeStatus]:
        """Return how some nodes are after this change, without what follows from other nodes; costs as much as there are ids."""
        return machine.node_views(self.state, ids) if self.state is not None else ()
