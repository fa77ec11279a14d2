"""Room on the disk: who has to go when bytes are about to come."""

from jitflow.planner._items import Item, Items, Key
from jitflow.planner.commands import Command, Evict, Forget

_VICTIMS_PER_SOFT_FETCH = 256


class Room:
    """Makes room by evicting replicas that nobody holds."""

    def __init__(self, items: Items) -> None:
        """Work on these items."""
        self._items = items

    def make(self, size: int, out: list[Command], why: str, *, before: Key | None = None, but: Item | None = None) -> bool:
        """Return whether `size` bytes may be used now; where not, begin the evictions that will allow it.

        With `before`, only replicas go that are read later than that (do no harm), and none goes if that is not enough. What has
        come of interrupted transfers, except of `but`, goes at once: first what nobody wants, last what somebody does.
        """
        items = self._items
        missing = items.used + size - items.capacity
        if missing <= 0:
            return True
        need = missing - items.leaving
        if need > 0 and items.begun:
            need -= self._forget(need, out, why, but, wanted=False)
        if need > 0:
            victims = self._victims(need, before)
            for victim in victims:
                self.evict(victim, out, why)
            need -= sum(victim.bytes for victim in victims)
            if need > 0 and items.begun and before is None:
                self._forget(need, out, why, but, wanted=True)
        return items.used + size <= items.capacity

    def _forget(self, need: int, out: list[Command], why: str, but: Item | None, *, wanted: bool) -> int:
        """Give up parts that have come of objects until so many bytes are free; return how many are."""
        free = 0
        for item in list(self._items.begun.values()):
            if free >= need:
                break
            if item is not but and (wanted or not (item.uses or item.claims)):
                free += item.bytes
                self.forget(item, out, why)
        return free

    def forget(self, item: Item, out: list[Command], why: str) -> None:
        """Give up what has come of an object."""
        item.begun = False
        out.append(Forget(ref=item.ref, reason=why))
        self._items.settle(item)

    def shrink(self, out: list[Command]) -> None:
        """Evict until the used bytes fit the capacity (it may have become smaller)."""
        excess = self._items.used - self._items.leaving - self._items.capacity
        if excess > 0:
            why = "the capacity became smaller"
            excess -= self._forget(excess, out, why, None, wanted=True)
            for victim in self._victims(excess, None) if excess > 0 else ():
                self.evict(victim, out, why)

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
