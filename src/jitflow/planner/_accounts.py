"""Who pays for what is in the primary: namespaces, their quotas, and their shares of replicas.

A replica is paid for, in equal parts, by the namespaces that hold it: whose steps read it or are about to, whose result on its
way it is, who keeps it. What nobody holds is paid for by who held it last, or for whom it was fetched ahead, until it is evicted
or falls asleep; such replicas are idle, and the first to go where their namespace needs its quota for something else. What is
promised to the outputs of a step is paid for by its namespace alone.
"""

import heapq
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from jitflow.model.data import ReplicaState

if TYPE_CHECKING:
    from jitflow.planner._items import Item, Key, Rank
    from jitflow.planner._steps import Step


class Paid:
    """Of a replica, who holds it and who pays for it."""

    __slots__ = ("charge", "holders", "keepers", "payers", "writer")

    def __init__(self) -> None:
        """Belong to nobody."""
        self.holders: dict[Account, int] | None = None
        """The namespaces that hold it, and how often."""
        self.payers: tuple[Account, ...] = ()
        """Those that pay for it while nobody holds it."""
        self.charge: Charge | None = None
        """What it is paid with now."""
        self.writer: Account | None = None
        """The namespace that holds it as its result."""
        self.keepers: frozenset[str] = frozenset()
        """Who keeps it: namespaces, and nobody's name for those that keep the whole in order."""


class Account:
    """What one namespace pays for. `quota`, `max_objects`: what it may hold, None and 0 for any amount."""

    __slots__ = (
        "active", "held", "held_objects", "idle", "idle_objects", "later", "max_objects", "name", "parked", "quota", "shut",
        "victims",
    )  # fmt: skip

    def __init__(self, name: str) -> None:
        """Pay for nothing yet."""
        self.name = name
        self.quota: int | None = None
        self.max_objects = 0
        self.shut = False
        """Nothing more is fetched for it, but for steps that are claimed already."""
        self.held = 0
        """Its shares of what cannot be freed, and what is promised to outputs of its steps."""
        self.idle = 0
        """Its shares of what can."""
        self.held_objects = 0
        self.idle_objects = 0
        self.active = 0
        """Its steps that are claimed or granted."""
        self.parked: list[tuple[Key, int, Step]] = []
        """Its ready steps that its quota has no room for; those that are not parked any more are left in it for a while."""
        self.later: list[Item] = []
        """Objects that are not fetched ahead before its quota has room for them."""
        self.victims: list[tuple[Rank, int, Item]] = []

    @property
    def limited(self) -> bool:
        """Whether it has a quota."""
        return self.quota is not None or self.max_objects > 0

    def short(self, size: int, objects: int, *, idle: bool) -> tuple[int, int]:
        """Return by how many bytes and objects its quota would be exceeded by so much more; `idle` counts, or can be freed."""
        used = self.held + size + (self.idle if idle else 0)
        many = self.held_objects + objects + (self.idle_objects if idle else 0)
        return (
            max(0, used - self.quota) if self.quota is not None else 0,
            max(0, many - self.max_objects) if self.max_objects else 0,
        )

    def first_parked(self) -> "Step | None":
        """Return the first of its steps that wait for its quota."""
        while self.parked:
            key, _, step = self.parked[0]
            if step.parked and step.key == key:
                return step
            heapq.heappop(self.parked)
        return None


class AccountView(Struct, frozen=True, kw_only=True):
    """What a namespace pays for, in bytes and objects. `quota_bytes` None and `quota_objects` 0: it has no such limit.

    `held`: cannot be freed now, of which it `keeps` some by pins; `idle`: can. `waiting`: steps that wait for its quota.
    """

    name: str
    quota_bytes: int | None
    quota_objects: int
    held_bytes: int
    idle_bytes: int
    kept_bytes: int
    held_objects: int
    idle_objects: int
    waiting: int


Charge = tuple[tuple[Account, ...], int, bool]
"""Who pays for a replica, how much each, and whether it is held."""


class Accounts:
    """All namespaces that are known, and the shares that each pays."""

    def __init__(self) -> None:
        """Know none."""
        self.table: dict[str, Account] = {}
        self.eased: dict[Account, None] = {}
        """Accounts that pay for less than before: what waits for their quotas may go on."""
        self.grown: dict[Account, None] = {}
        """Accounts that pay for more than before: some of what is idle may have to go."""
        self._tick = 0

    def of(self, name: str) -> Account:
        """Return an account, new if need be."""
        account = self.table.get(name)
        if account is None:
            account = self.table[name] = Account(name)
        return account

    def limit(self, name: str, quota: int | None, max_objects: int, items: "Iterable[Item]" = ()) -> None:
        """Give a namespace a quota, or none; `items`: all; which of them may go is kept only for a quota."""
        account = self.of(name)
        account.quota, account.max_objects = quota, max_objects
        account.victims = []
        for item in items if account.limited else ():
            if item.loose and item.charge is not None and not item.charge[2] and account in item.charge[0]:
                self._tick += 1
                account.victims.append((item.rank, self._tick, item))
        heapq.heapify(account.victims)
        self.eased[account] = self.grown[account] = None

    # -- shares ------------------------------------------------------------------------------------------------------------

    def hold(self, item: "Item", account: Account | None) -> None:
        """A namespace holds a replica (once more)."""
        if account is None:
            return
        if item.holders is None:
            item.holders = {}
        item.holders[account] = item.holders.get(account, 0) + 1
        self.charge(item)

    def let_go(self, item: "Item", account: Account | None) -> None:
        """A namespace holds a replica once less."""
        holders = item.holders
        if account is None or holders is None or account not in holders:
            return
        if holders[account] > 1:
            holders[account] -= 1
            return
        del holders[account]
        if not holders:
            item.holders = None
            item.payers = (account,)
        self.charge(item)

    def charge(self, item: "Item") -> None:
        """Bring the shares up to date with an item that may have changed."""
        payers = tuple(item.holders) if item.holders else item.payers
        held = item.held
        here = held or item.begun or item.state is ReplicaState.RESIDENT
        now: Charge | None = (payers, -(-item.bytes // len(payers)), held) if payers and here else None
        before = item.charge
        if now == before:
            return
        item.charge = now
        if before is not None:
            self._add(before, -1)
        if now is not None:
            self._add(now, 1)
            self.grown.update((account, None) for account in payers if account.limited)
            self.offer(item)
        if before is not None:
            self.eased.update((account, None) for account in before[0] if account.limited)

    def _add(self, charge: Charge, sign: int) -> None:
        payers, share, held = charge
        for account in payers:
            if held:
                account.held += sign * share
                account.held_objects += sign
            else:
                account.idle += sign * share
                account.idle_objects += sign

    def promise(self, account: Account | None, size: int, objects: int) -> None:
        """Add to (or take from) what is promised to the outputs of a namespace's steps."""
        if account is not None:
            account.held += size
            account.held_objects += objects
            if account.limited:
                (self.eased if size < 0 or objects < 0 else self.grown)[account] = None

    def missing(self, step: "Step", reserve: int) -> tuple[int, int]:
        """Return what a step's namespace would hold more, in bytes and objects, if the step were claimed."""
        account = step.account
        size, objects = reserve, step.writes
        for item in step.inputs:
            holders = item.holders or {}
            if account in holders or (item.held and not holders and account in item.payers):
                continue
            size += -(-item.bytes // (len(holders) + 1))
            objects += 1
        return size, objects

    # -- who goes ----------------------------------------------------------------------------------------------------------

    def offer(self, item: "Item") -> None:
        """Enter an idle replica into the order in which its payers let their replicas go."""
        charge = item.charge
        if charge is None or charge[2] or not item.loose:
            return
        for account in charge[0]:
            if account.limited:
                self._tick += 1
                heapq.heappush(account.victims, (item.rank, self._tick, item))

    def pop_victim(self, account: Account) -> "Item | None":
        """Return the idle replica that an account lets go first, and take it off the order."""
        while account.victims:
            rank, _, item = heapq.heappop(account.victims)
            charge = item.charge
            if item.loose and item.rank == rank and charge is not None and not charge[2] and account in charge[0]:
                return item
        return None

    def leave(self, item: "Item", account: Account) -> bool:
        """Let others alone pay for an idle replica; False if there are none."""
        rest = tuple(one for one in item.payers if one is not account)
        if not rest:
            return False
        item.payers = rest
        self.charge(item)
        return True

    # -- for people and tests ----------------------------------------------------------------------------------------------

    def views(self, kept: Sequence["Item"]) -> tuple[AccountView, ...]:
        """Return what each pays for, by name; `kept`: items with pins."""
        return tuple(self._view(account, kept) for _, account in sorted(self.table.items()))

    def _view(self, account: Account, kept: Sequence["Item"]) -> AccountView:
        pinned = sum(item.charge[1] for item in kept if account.name in item.keepers and item.charge is not None)
        return AccountView(
            name=account.name,
            quota_bytes=account.quota,
            quota_objects=account.max_objects,
            held_bytes=account.held,
            idle_bytes=account.idle,
            kept_bytes=pinned,
            held_objects=account.held_objects,
            idle_objects=account.idle_objects,
            waiting=sum(step.parked and step.key == key for key, _, step in account.parked),
        )
