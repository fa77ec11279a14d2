"""Outputs that were lost with the disk they lay on: what their far stores have under these names, their steps did not write."""

from collections.abc import Iterable

from jitflow.model.data import ObjectRef


class Losses:
    """Knows what runs have lost, so that no step takes something else for it.

    Under its name there may be far away what an upload left that failed, or what an older run wrote.
    """

    def __init__(self) -> None:
        """Begin with nothing lost."""
        self._lost: dict[str, set[ObjectRef]] = {}

    def lose(self, uid: str, refs: Iterable[ObjectRef]) -> None:
        """What a step of a run has written there is gone."""
        if found := set(refs):
            self._lost.setdefault(uid, set()).update(found)

    def write(self, uid: str, refs: Iterable[ObjectRef]) -> None:
        """A step of a run is to write there (again)."""
        if lost := self._lost.get(uid):
            lost.difference_update(refs)

    def among(self, uid: str, refs: Iterable[ObjectRef]) -> ObjectRef | None:
        """Return the first of a step's inputs that is lost, or of which a part is; None if there is none."""
        lost = self._lost.get(uid)
        return next((ref for ref in refs if any(_meet(ref, one) for one in lost)), None) if lost else None

    def close(self, uid: str) -> None:
        """A run has ended."""
        self._lost.pop(uid, None)


def _meet(one: ObjectRef, other: ObjectRef) -> bool:
    """Return whether names are the same, or one lies below the other; what turned out to be a directory may lack its slash."""
    here, there = (f"{ref.path.rstrip('/')}/" for ref in (one, other))
    return one.remote == other.remote and (here.startswith(there) or there.startswith(here))
