"""Where people's jobs and files may not write: the near store, whose copies have names of its own, and the server's home.

That is not read either, by nobody and through no remote: a token in it would make an administrator of whoever reads it.
"""

from collections.abc import Callable, Iterable, Sequence
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

    def places(self, ref: ObjectRef) -> Sequence[ObjectRef | PurePosixPath]:
        """Return where an object is: paths of this machine with their links followed, or remotes that show no other one."""
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
        for own, path in self._pairs(ref):
            if path.is_relative_to(own) or (deletes and own.is_relative_to(path)):
                where = "lies in" if path.is_relative_to(own) else "holds"
                message = f"{ref} {where} the near store, which keeps copies of far objects there under names of its own"
                raise Refused(Problem(message=message, remedy=REMEDY))

    def _pairs(self, ref: ObjectRef) -> Iterable[tuple[PurePosixPath, PurePosixPath]]:
        """Yield the near store's path, and that of an object, in each store in which both are."""
        ours = self._whereabouts.places(self._place) if isinstance(self._place, ObjectRef) else [self._place]
        theirs = self._whereabouts.places(ref)
        for own in ours:
            for it in theirs:
                if isinstance(own, PurePosixPath):
                    if isinstance(it, PurePosixPath):
                        yield own, it
                elif isinstance(it, ObjectRef) and self._whereabouts.is_same(it.remote, own.remote):
                    yield PurePosixPath("/", own.path), PurePosixPath("/", it.path)


class OwnHome:
    """The server's own directory on this machine: its state, its keys, its tokens."""

    def __init__(self, home: PurePosixPath, free: Sequence[PurePosixPath], whereabouts: Whereabouts) -> None:
        """Guard it. `free`: directories in it that hold far objects, or what is to become some; all with their links followed."""
        self._home = home
        self._free = free
        self._whereabouts = whereabouts

    def concerns(self, remote: str) -> bool:
        """Return whether anything of a remote may lie on this machine."""
        return any(isinstance(place, PurePosixPath) for place in self._whereabouts.places(ObjectRef(remote=remote, path="")))

    def guard(self, ref: ObjectRef, deletes: bool) -> None:
        """See `Guard`.

        Raises:
            Refused: the server keeps its state there.
        """
        for path in self._whereabouts.places(ref):
            if isinstance(path, PurePosixPath) and not any(path.is_relative_to(free) for free in self._free):
                inside = path.is_relative_to(self._home)
                if inside or (deletes and self._home.is_relative_to(path)):
                    message = f"{ref} {'lies in' if inside else 'holds'} the server's home, where its state, keys and tokens are"
                    raise Refused(Problem(message=message, remedy="choose another place"))


def both(first: Guard, second: Guard) -> Guard:
    """Return a guard that asks two, one after the other."""

    def guard(ref: ObjectRef, deletes: bool) -> None:
        first(ref, deletes)
        second(ref, deletes)

    return guard
