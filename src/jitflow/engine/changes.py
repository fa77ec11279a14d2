"""What the engine tells those who watch."""

from typing import Literal

from msgspec import Struct

from jitflow.ports.store import RunRow


class Change(Struct, frozen=True, kw_only=True):
    """A run was added, changed or deleted, durably; `row` is its newest row."""

    kind: Literal["ADDED", "MODIFIED", "DELETED"]
    row: RunRow
    ends: bool = False
    """Whether the run has ended with this change."""
