"""Live results that have to leave the primary for a while, because what comes next does not fit beside them."""

from collections.abc import Sequence

from jitflow.planner._items import Item, Items
from jitflow.planner.commands import Command, Store


class Spills:
    """Sends results to their far stores, those read last first."""

    def __init__(self, items: Items) -> None:
        """Work on these items."""
        self._items = items

    def free(self, need: int, out: list[Command], why: str, objects: int = 0) -> bool:
        """Begin to send results until, with those on their way, `need` bytes and `objects` will be free; say whether any is."""
        sent = False
        need -= self._items.spilling
        if objects > 0:
            objects -= sum(item.spilling and not item.claims for item in self._items.transients.values())
        while need > 0 or objects > 0:
            item = self._items.pop_burden()
            if item is None:
                break
            need -= item.bytes
            objects -= 1
            sent = True
            self._send(item, out, why)
        return sent

    def send(self, items: Sequence[Item], need: int, out: list[Command], why: str, objects: int) -> None:
        """Begin to send so many of these results, those read last first, as bring `need` bytes and `objects`."""
        for item in sorted(items, key=self._items.lateness):
            if need <= 0 and objects <= 0:
                return
            need -= item.bytes
            objects -= 1
            self._send(item, out, why)

    def _send(self, item: Item, out: list[Command], why: str) -> None:
        item.spilling = True
        self._items.settle(item)
        reader = self._items.first_reader(item)
        use = f"read again only by {reader.id}" if reader else "no announced step reads it"
        out.append(Store(ref=item.ref, size_bytes=item.bytes, reason=f"{use}; {why}"))
