"""Where people's jobs and files may not write: the near store keeps copies of far objects there, under names of its own."""

from collections.abc import Callable
from pathlib import PurePosixPath

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


class NearStore:
    """The near store's own place: a prefix of a remote, or a directory of this machine."""

    def __init__(self, place: ObjectRef | PurePosixPath, directory: Callable[[str], str]) -> None:
        """Guard it; `directory` returns which directory of this machine a remote is, empty if it is none."""
        self._place = place
        self._directory = directory

    def guard(self, ref: ObjectRef, deletes: bool) -> None:
        """See `Guard`.

        Raises:
            Refused: the near store is there.
        """
        path = self._path(ref)
        if path is None:
            return
        own = self._place if isinstance(self._place, PurePosixPath) else PurePosixPath("/", self._place.path)
        if path.is_relative_to(own) or (deletes and own.is_relative_to(path)):
            where = "lies in" if path.is_relative_to(own) else "holds"
            message = f"{ref} {where} the near store, which keeps copies of far objects there under names of its own"
            raise Refused(Problem(message=message, remedy=REMEDY))

    def _path(self, ref: ObjectRef) -> PurePosixPath | None:
        """Return where an object is, in the terms of the near store's place; None: elsewhere."""
        if isinstance(self._place, ObjectRef):
            return PurePosixPath("/", ref.path) if ref.remote == self._place.remote else None
        directory = self._directory(ref.remote)
        return PurePosixPath(directory, ref.path) if directory else None
