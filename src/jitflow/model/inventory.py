"""Listings of far stores that are kept, and what has changed between two of them. Times in seconds since the epoch."""

from msgspec import Struct

from jitflow.model.data import ObjectInfo, ObjectRef


class InventoryChanges(Struct, frozen=True, kw_only=True):
    """What a fresh listing says that an earlier one, taken at `since`, did not: names below the prefix, the first of each."""

    since: float = 0.0
    added: int = 0
    changed: int = 0
    removed: int = 0
    added_names: tuple[str, ...] = ()
    changed_names: tuple[str, ...] = ()
    removed_names: tuple[str, ...] = ()


class InventoryView(Struct, frozen=True, kw_only=True):
    """A listing that is kept: everything below `prefix` (`recursive`), or what lies directly in it.

    `stale`: of so many replicas in the primary it said that their sources have changed; they are fetched again when next wanted.
    """

    prefix: ObjectRef
    recursive: bool
    listed_at: float
    age_s: float
    objects: int
    size_bytes: int
    stale: int = 0
    changes: InventoryChanges | None = None
    """What it said that was not so before; None: there was none before."""


class InventoryPage(Struct, frozen=True, kw_only=True):
    """A page of a listing that is kept; `next`: where the next page begins, empty on the last one."""

    inventory: InventoryView
    items: tuple[ObjectInfo, ...]
    next: str = ""
