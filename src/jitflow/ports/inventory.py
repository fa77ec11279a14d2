"""Listings of far stores that are kept for a while."""

from collections.abc import Sequence
from typing import Protocol

from jitflow.model.data import ObjectRef
from jitflow.model.inventory import InventoryPage, InventoryView


class Inventories(Protocol):
    """What people see and do of kept listings."""

    def kept(self) -> Sequence[InventoryView]:
        """Return all that are kept, by prefix."""
        ...

    def page(self, prefix: ObjectRef, *, after: str = "", limit: int = 1000) -> InventoryPage:
        """Return a page of one, by name; `after`: `next` of the page before.

        Raises:
            Refused: none is kept for this prefix (`not_found`).
        """
        ...

    async def refresh(self, prefix: ObjectRef) -> InventoryView:
        """List everything below a prefix now, keep it, and mark what is near and has changed.

        Raises:
            PortError: it cannot be listed.
        """
        ...
