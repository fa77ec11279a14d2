"""Whole trees of objects, as transfer jobs need them: listings by rules, and copies and deletions of many files at once."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from msgspec import Struct

from jitflow.model.bandwidth import Rate
from jitflow.model.data import ObjectInfo, ObjectRef
from jitflow.model.jobs import Moving


class BulkProgress(Struct, frozen=True, kw_only=True):
    """What one copy or deletion of many files has done so far. `failed`: paths and why, as far as it is known.

    `within_bytes` of the `moved_bytes` were copied within one store, and over no link.
    """

    moved_bytes: int = 0
    within_bytes: int = 0
    files_done: int = 0
    speed_Bps: float = 0.0
    moving: tuple[Moving, ...] = ()
    failed: dict[str, str] = {}


class BulkOrder(Struct, frozen=True, kw_only=True):
    """Files below `source` to be copied to the same paths below `destination`, or (None) to be deleted.

    `paths`: which; None: all that `rules` let through, which must be exactly those meant when the order is given.
    `lane`: of which limit of their own the bytes are a part, empty: of none.
    `small`: so little is in each file that a question about it costs as much as the file.
    """

    source: ObjectRef
    destination: ObjectRef | None = None
    paths: tuple[str, ...] | None = None
    rules: tuple[str, ...] = ()
    transfers: int = 32
    lane: str = ""
    small: bool = False


Report = Callable[[BulkProgress], None]


class Bulk(Protocol):
    """Far stores, many objects at once. Every method raises `jitflow.ports.errors`; messages never hold a secret.

    Cancelling the awaiting task ends what is under way before it raises. What was copied stays, nothing is half-written under a
    final name. Rules are rclone's: `- pattern`, `+ pattern`, the first that fits decides.
    """

    async def check(self, rules: Sequence[str]) -> None:
        """Raise `FixRequest` for rules that cannot be read."""
        ...

    async def tree(self, prefix: ObjectRef, rules: Sequence[str] = (), *, hashes: bool = False) -> Sequence[ObjectInfo]:
        """Return all objects below a prefix that the rules let through, none if nothing is there.

        `hashes`: also those of stores that must read an object to know its hash.
        """
        ...

    async def perform(self, order: BulkOrder, report: Report) -> None:
        """Copy over what is at the destination, or delete; `report` is told now and then, and once at the end.

        Raises:
            PortError: not everything could be done. What could be is, and the caller finds out what by `tree`.
        """
        ...

    def lane(self, name: str, rate: Rate) -> AbstractAsyncContextManager[Callable[[Rate], None]]:
        """Give orders that name this lane a limit of their own while the context is open; what it yields sets another one."""
        ...
