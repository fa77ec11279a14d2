"""Room on the disk: who has to go when bytes are about to come."""

from jitflow.planner._accounts import Account
from jitflow.planner._items import Item, Items, Key
from jitflow.planner.commands import Command, Evict, Forget

_VICTIMS_PER_SOFT_FETCH = 256


class Room:
    """Makes room by evicting replicas that nobody holds."""

    def __init__(self, items: Items) -> None:
        """Work on these items."""
        self._items = items

    def make(
        self,
        size: int,
        out: list[Command],
        why: str,
        *,
        objects: int = 0,
        before: Key | None = None,
        but: Item | None = None,
    ) -> bool:
        """Return whether `size` bytes in so many `objects` may be used now; where not, begin the evictions that will allow it.

        With `before`, only replicas go that are read later than that (do no harm), and none goes if that is not enough. What has
        come of interrupted transfers, except of `but`, goes at once: first what nobody wants, last what somebody does.
        """
        items = self._items
        if self._fits(size, objects):
            return True
        need = items.used + size - items.capacity - items.leaving
        lack = items.used_objects + objects - items.max_objects - items.leaving_objects if items.max_objects else 0
        if (need > 0 or lack > 0) and items.begun:
            forgotten = self._forget(need, lack, out, why, but, wanted=False)
            need, lack = need - forgotten[0], lack - forgotten[1]
        if need > 0 or lack > 0:
            victims = self._victims(need, lack, before)
            for victim in victims:
                self.evict(victim, out, why)
            need, lack = need - sum(victim.bytes for victim in victims), lack - len(victims)
            if (need > 0 or lack > 0) and items.begun and before is None:
                self._forget(need, lack, out, why, but, wanted=True)
        return self._fits(size, objects)

    def _fits(self, size: int, objects: int) -> bool:
        items = self._items
        if items.used + size > items.capacity:
            return False
        return not items.max_objects or not objects or items.used_objects + objects <= items.max_objects

    def _forget(self, need: int, lack: int, out: list[Command], why: str, but: Item | None, *, wanted: bool) -> tuple[int, int]:
        """Give up parts that have come of objects until so many bytes and objects are free; return how many are."""
        free = objects = 0
        for item in list(self._items.begun.values()):
            if free >= need and objects >= lack:
                break
            if item is not but and (wanted or not (item.uses or item.claims)):
                free += item.bytes
                objects += 1
                self.forget(item, out, why)
        return free, objects

    def forget(self, item: Item, out: list[Command], why: str) -> None:
        """Give up what has come of an object."""
        item.begun = False
        out.append(Forget(ref=item.ref, reason=why))
        self._items.settle(item)

    def shrink(self, out: list[Command]) -> None:
        """Evict until what is used fits the capacity (it may have become smaller)."""
        items = self._items
        excess = items.used - items.leaving - items.capacity
        many = items.used_objects - items.leaving_objects - items.max_objects if items.max_objects else 0
        if excess > 0 or many > 0:
            why = "the capacity became smaller"
            forgotten = self._forget(excess, many, out, why, None, wanted=True)
            for victim in self._victims(excess - forgotten[0], many - forgotten[1], None):
                self.evict(victim, out, why)

    def evict(self, item: Item, out: list[Command], why: str) -> None:
        """Decide the removal of a loose replica."""
        reader = self._items.first_reader(item)
        use = f"read again only by {reader.id}" if reader else "no announced step reads it"
        self._items.evicting(item)
        out.append(Evict(ref=item.ref, reason=f"{use}; {why}"))

    def shed(self, account: Account, size: int, objects: int, out: list[Command], why: str, *, before: Key | None = None) -> bool:
        """Let idle replicas of a namespace go until its quota has room for so much more; return whether it has.

        With `before`, only those go that are read later than that. What others pay for too stays, and is theirs alone.
        """
        accounts = self._items.accounts
        for item in [one for one in self._items.begun.values() if not one.claims and account in one.payers]:
            if any(account.short(size, objects, idle=True)) and not (before is not None and self._reads_before(item, before)):
                self.forget(item, out, why)
        spared: list[Item] = []
        while any(account.short(size, objects, idle=True)):
            victim = accounts.pop_victim(account)
            if victim is None:
                break
            if before is not None and self._reads_before(victim, before):
                spared.append(victim)
                break
            if not accounts.leave(victim, account):
                self.evict(victim, out, why)
        for victim in spared:
            accounts.offer(victim)
        return not any(account.short(size, objects, idle=True))

    def _reads_before(self, item: Item, key: Key) -> bool:
        use = self._items.next_use(item)
        return use is not None and use <= key

    def _victims(self, need: int, lack: int, before: Key | None) -> list[Item]:
        """Return replicas to evict for so many bytes and objects, in order; with `before`, enough of them or none."""
        items = self._items
        if before is not None and items.loose < need:
            return []
        chosen: dict[Item, None] = {}
        spared: list[Item] = []
        got = 0
        while got < need or len(chosen) < lack:
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
            if not victim.bytes and len(chosen) >= lack:
                spared.append(victim)
                continue
            chosen[victim] = None
            got += victim.bytes
        if before is not None and (got < need or len(chosen) < lack):
            spared.extend(chosen)
            chosen = {}
        for victim in spared:
            items.push_victim(victim)
        return list(chosen)
