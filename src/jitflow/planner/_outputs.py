"""Outputs of ended steps: taken into the primary where they fit, else sent from where they lie."""

from jitflow.model.data import ReplicaState
from jitflow.planner._accounts import Account
from jitflow.planner._items import Item, Items, Source
from jitflow.planner._room import Room
from jitflow.planner.commands import Bypass, Command, Take


class Outputs:
    """Outputs on offer. The rule: an output is admitted only if it fits beside all that is promised; it never waits for that."""

    def __init__(self, items: Items, room: Room) -> None:
        """Work on these items."""
        self._items = items
        self._room = room
        self._offers: list[tuple[Item, int, Account | None]] = []

    def offer(self, item: Item, size: int, account: Account | None) -> None:
        """Queue an output; until it is taken or uploaded nobody can have it (but an older replica, if there is one)."""
        item.uploading = True
        self._offers.append((item, size, account))

    def decide(self, out: list[Command]) -> None:
        """Admit or send each; an admitted one waits for evictions only."""
        offers, self._offers = self._offers, []
        for item, size, account in offers:
            if not item.uploading:
                continue
            if item.dirty and item.state is ReplicaState.ABSENT:
                self._take(item, size, account, out)
            elif item.state is ReplicaState.EVICTING:
                self._offers.append((item, size, account))
            elif item.state is ReplicaState.RESIDENT and item.loose:
                self._room.evict(item, out, "a step wrote it anew")
                self._offers.append((item, size, account))
            elif item.state is ReplicaState.ABSENT and self._fits(size, account):
                item.size = size
                item.dirty = True
                item.writer = account
                self._items.settle(item)
                self._items.accounts.hold(item, account)
                self._take(item, size, account, out)
            else:
                self._send(item, size, account, out)

    def _fits(self, size: int, account: Account | None) -> bool:
        if account is not None and any(account.short(size, 1, idle=False)):
            return False
        return self._items.fixed + size <= self._items.capacity and self._items.short_of_objects(1) <= 0

    def _take(self, item: Item, size: int, account: Account | None, out: list[Command]) -> None:
        if self._room.make(size, out, f"room for the output {item.ref}", objects=1):
            item.uploading = False
            item.source = Source.FAR
            self._items.move(item, "start")
            out.append(Take(ref=item.ref, size_bytes=size))
        else:
            self._offers.append((item, size, account))

    def _send(self, item: Item, size: int, account: Account | None, out: list[Command]) -> None:
        if item.state is ReplicaState.ABSENT:
            item.size = size
            self._items.settle(item)
            reason = f"{size:,} bytes do not fit beside the {self._items.fixed:,} that are in use"
            if account is not None and any(account.short(size, 1, idle=False)):
                reason = f"{size:,} bytes do not fit into the quota of {account.name} beside what it holds"
        else:
            reason = "an older copy of it is in use"
        out.append(Bypass(ref=item.ref, reason=reason))
