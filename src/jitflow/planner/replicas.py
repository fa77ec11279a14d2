"""The life of a replica: the legal moves as a table. An illegal move raises and changes nothing."""

from typing import Final

from jitflow.model.data import ReplicaState

_S = ReplicaState

MOVES: Final[dict[tuple[ReplicaState, str], ReplicaState]] = {
    (_S.ABSENT, "want"): _S.QUEUED,
    (_S.QUEUED, "unwant"): _S.ABSENT,
    (_S.ABSENT, "start"): _S.TRANSFERRING,
    (_S.QUEUED, "start"): _S.TRANSFERRING,
    (_S.ABSENT, "find"): _S.RESIDENT,
    (_S.TRANSFERRING, "arrive"): _S.RESIDENT,
    (_S.TRANSFERRING, "fail"): _S.ABSENT,
    (_S.RESIDENT, "evict"): _S.EVICTING,
    (_S.EVICTING, "gone"): _S.ABSENT,
}
"""(state, cause) -> next state.

`want`: a step claimed it; `unwant`: no step claims it any more; `start`: space is reserved and bytes begin to move (from far, or
from a pod's outputs); `find`: the catalogue knew it when the service started; `arrive`: complete and verified; `fail`: the
transfer ended without it; `evict`: its removal was decided; `gone`: its bytes are free.
"""

CAUSES: Final[frozenset[str]] = frozenset(cause for _, cause in MOVES)


class IllegalMove(Exception):
    """A replica was asked to make a move that the table does not know: a defect of the caller."""


_FROM: Final[dict[str, tuple[tuple[ReplicaState, ReplicaState], ...]]] = {
    cause: tuple((before, after) for (before, by), after in MOVES.items() if by == cause) for cause in CAUSES
}


def moved(state: ReplicaState, cause: str) -> ReplicaState:
    """Return the state after `cause`.

    Raises:
        IllegalMove: the table has no such move.
    """
    for before, after in _FROM.get(cause, ()):
        if before is state:
            return after
    raise IllegalMove(f"a replica that is {state} cannot {cause}")
