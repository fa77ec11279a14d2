"""The phases of a node and the legal moves between them, as data."""

PENDING = "Pending"
RUNNING = "Running"
SUCCEEDED = "Succeeded"
SKIPPED = "Skipped"
FAILED = "Failed"
ERROR = "Error"
OMITTED = "Omitted"

WAITING = ""
"""A node that may not start yet (parallelism, suspension); it is not shown."""

FULFILLED = frozenset({SUCCEEDED, SKIPPED, FAILED, ERROR, OMITTED})
UNSUCCESSFUL = frozenset({FAILED, ERROR})
COMPLETED = frozenset({SUCCEEDED, FAILED, ERROR})
"""Ended after having run; Skipped and Omitted did not run."""

MOVES: dict[str, frozenset[str]] = {
    WAITING: frozenset({PENDING, RUNNING, SUCCEEDED, SKIPPED, FAILED, ERROR, OMITTED}),
    PENDING: frozenset({PENDING, RUNNING, SUCCEEDED, FAILED, ERROR}),
    RUNNING: frozenset({RUNNING, SUCCEEDED, FAILED, ERROR}),
    # An output that cannot be saved turns a success into a failure, up to the first ancestor that still runs.
    SUCCEEDED: frozenset({FAILED, ERROR}),
    SKIPPED: frozenset(),
    FAILED: frozenset(),
    ERROR: frozenset(),
    OMITTED: frozenset(),
}
"""From each phase, where a node may go."""

RESETS: frozenset[str] = frozenset({FAILED, ERROR, SUCCEEDED})
"""Phases from which a retry of the workflow takes a composite node back to Running."""


class IllegalMove(Exception):
    """A node was to go where the table does not allow; a defect of the machine, nothing was changed."""

    def __init__(self, node_id: str, old: str, new: str) -> None:
        """Hold the move."""
        super().__init__(f"node {node_id}: {old or 'Waiting'} -> {new or 'Waiting'} is no legal move")


def check(node_id: str, old: str, new: str) -> None:
    """Raise unless a node may go from `old` to `new`.

    Raises:
        IllegalMove: the table does not allow it.
    """
    if new not in MOVES[old]:
        raise IllegalMove(node_id, old, new)


def worse(first: str, second: str) -> str:
    """Return the worse of two branch phases: Error before Failed before anything else."""
    for phase in (ERROR, FAILED):
        if phase in {first, second}:
            return phase
    return first or second
