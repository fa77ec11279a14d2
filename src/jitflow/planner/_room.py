"""Room on the disk: who has to go when bytes are about to come."""

from jitflow.planner._items import Item, Items, Key
from jitflow.planner.commands import Command, Evict

_VICTIMS_PER_SOFT_FETCH = 256


class Room:
    """Makes room by evicting replicas that nobody holds."""

    def __init__(self, items: Items) -> None:
        """Work on these items."""
        self._items = items

    def make(self, size: int, out: list[Command], why: str, *, before: Key | None = None) -> bool:
        """Return whether `size` bytes may be used now; where not, begin the evictions that will allow it.

        With `before`, only replicas go that are read later than that (do no harm), and none goes if that is not enough.
        """
        items = self._items
        missing = items.used + size - items.capacity
        if missing <= 0:
            return True
        need = missing - items.leaving
        if need > 0:
            victims = self._victims(need, before)
            for victim in victims:
                self.evict(victim, out, why)
        return False

    def shrink(self, out: list[Command]) -> None:
        """Evict until the used bytes fit the capacity (it may have become smaller)."""
        excess = self._items.used - self._items.leaving - self._items.capacity
        if excess > 0:
            for victim in self._victims(excess, None):
                self.evict(victim, out, "the capacity became smaller")

    def evict(self, item: Item, out: list[Command], why: str) -> None:
        """Decide the removal of a loose replica."""
        reader = self._items.first_reader(item)
        use = f"read again only by {reader.id}" if reader else "no announced step reads it"
        self._items.evicting(item)
        out.append(Evict(ref=item.ref, reason=f"{use}; {why}"))

    def _victims(self, need: int, before: Key | None) -> list[Item]:
        items = self._items
        if before is not None and items.loose < need:
            return []
        chosen: dict[Item, None] = {}
        spared: list[Item] = []
        got = 0
        while got < need:
            victim = items.pop_victim()
            if victim is None:
                break
            if victim in chosen:
                continue
            if before is not None:
                use = items.next_use(victim)
                if (use is not None and use <= before) or len(chosen) >= _VICTIMS_PER_SOFT_FETCH:
                    spared.append(victim)
                    break
            if not victim.bytes:
                spared.append(victim)
                continue
            chosen[victim] = None
            got += victim.bytes
        if before is not None and got < need:
            spared.extend(chosen)
            chosen = {}
        for victim in spared:
            items.push_victim(victim)
        return list(chosen)
