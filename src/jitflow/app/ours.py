"""Where people's jobs and files may not write: the near store keeps copies of far objects there, under names of its own."""

from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Protocol

from jitflow.model.data import ObjectRef
from jitflow.model.problems import Problem, Refused

PRIMARY = "primary"
"""What people may take for the name of a remote."""
REMEDY = (
    "`jitflow data stage REF` brings an object near, `jitflow data evict REF` removes it, `jitflow data check` compares; to send "
    "on what lies near, name the store that it came from as the source"
)

Guard = Callable[[ObjectRef, bool], None]
"""Raises `Refused` if an object, or a prefix, is not to be written; True: nor deleted, with all below it."""


def nobodys(ref: ObjectRef, deletes: bool) -> None:
    """Let everything be written."""
    del ref, deletes


class Whereabouts(Protocol):
    """Knows where remotes lead: several may lead to the same store, or to a directory of this machine."""

    def place(self, ref: ObjectRef) -> ObjectRef | PurePosixPath:
        """Return where an object really is: a path of this machine with its links followed, or a remote that is no alias."""
        ...

    def is_same(self, one: str, other: str) -> bool:
        """Return whether two remotes, neither of them an alias, lead to the same store, as far as their settings tell."""
        ...


class NearStore:
    """The near store's own place: a prefix of a remote, or a directory of this machine."""

    def __init__(self, place: ObjectRef | PurePosixPath, whereabouts: Whereabouts) -> None:
        """Guard it. `place`: as it is set; where it leads may change with the remotes."""
        self._place = place
        self._whereabouts = whereabouts

    def guard(self, ref: ObjectRef, deletes: bool) -> None:
        """See `Guard`.

        Raises:
            Refused: the near store is there.
        """
        own, path = self._both(ref)
        if path is None:
            return
        if path.is_relative_to(own) or (deletes and own.is_relative_to(path)):
            where = "lies in" if path.is_relative_to(own) else "holds"
            message = f"{ref} {where} the near store, which keeps copies of far objects there under names of its own"
            raise Refused(Problem(message=message, remedy=REMEDY))

    def _both(self, ref: ObjectRef) -> tuple[PurePosixPath, PurePosixPath | None]:
        """Return the near store's path, and that of an object in the same store; None: it is elsewhere."""
        own = self._whereabouts.place(self._place) if isinstance(self._place, ObjectRef) else self._place
        it = self._whereabouts.place(ref)
        if isinstance(own, PurePosixPath):
            return own, it if isinstance(it, PurePosixPath) else None
        in_it = isinstance(it, ObjectRef) and self._whereabouts.is_same(it.remote, own.remote)
        return PurePosixPath("/", own.path), PurePosixPath("/", it.path) if in_it and isinstance(it, ObjectRef) else None
