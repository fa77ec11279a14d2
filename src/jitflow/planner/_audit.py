"""A recount of everything the planner keeps incrementally: one pass over the steps, one over the objects."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from jitflow.model.data import ReplicaState
from jitflow.planner._accounts import Account
from jitflow.planner._items import Item, Items
from jitflow.planner._steps import Phase, Step, Steps

_HOLDING = (Phase.CLAIMED, Phase.GRANTED)


def audit(items: Items, steps: Steps, running_count: int) -> tuple[str, ...]:
    """Return each invariant that does not hold, in words."""
    recount = _Recount(items)
    for step in steps.table.values():
        recount.step(step)
    for item in items:
        recount.item(item)
    recount.totals(running_count)
    recount.accounts(items.accounts.table)
    return tuple(recount.wrong)


@dataclass
class _Sums:
    """What the ledger keeps, counted anew."""

    fixed: int = 0
    used: int = 0
    fixed_objects: int = 0
    used_objects: int = 0
    loose: int = 0
    leaving: int = 0
    leaving_objects: int = 0
    resident: int = 0
    pinned: int = 0
    dirty: int = 0
    spilling: int = 0
    kept: int = 0
    ahead: int = 0
    held: int = 0


@dataclass
class _Paid:
    """What a namespace pays for, counted anew."""

    held: int = 0
    idle: int = 0
    active: int = 0


@dataclass
class _Recount:
    """What was counted so far, and what was found wrong."""

    items: Items
    wrong: list[str] = field(default_factory=list)
    sums: _Sums = field(default_factory=_Sums)
    running: int = 0
    begun: set[object] = field(default_factory=set)
    burdens: set[object] = field(default_factory=set)
    transients: set[object] = field(default_factory=set)
    claims: dict[Item, int] = field(default_factory=dict)
    uses: dict[Item, int] = field(default_factory=dict)
    claimed: dict[Item, dict[Account, int]] = field(default_factory=dict)
    paid: dict[Account, _Paid] = field(default_factory=dict)

    def expect(self, kept: object, counted: object, *name: object) -> None:
        """Note that something is not what it should be."""
        if kept != counted:
            self.wrong.append(f"{' '.join(map(str, name))}: kept {kept}, counted {counted}")

    def step(self, step: Step) -> None:
        """Count a step, and what it holds or will read."""
        counter = self.uses if step.awaits else self.claims
        for item in step.inputs:
            counter[item] = counter.get(item, 0) + 1
        if step.phase not in _HOLDING:
            return
        self.sums.fixed += step.reserve
        self.sums.fixed_objects += step.writes
        if step.phase is Phase.GRANTED:
            self.running += 1
            self.sums.used += step.reserve
            self.sums.held += step.reserve
            self.sums.used_objects += step.writes
            if not all(item.state is ReplicaState.RESIDENT for item in step.inputs):
                self.wrong.append(f"{step.id} runs without its inputs")
        if step.account is not None:
            paid = self._paid(step.account)
            paid.held += step.reserve
            paid.active += 1
            for item in dict.fromkeys(step.inputs):
                _once_more(self.claimed.setdefault(item, {}), step.account)

    def item(self, item: Item) -> None:
        """Count an object, and compare what is kept with it."""
        sums, size, state, held = self.sums, item.bytes, item.state, item.held
        nowhere = state is ReplicaState.ABSENT or state is ReplicaState.QUEUED
        if held:
            sums.fixed += size
            sums.fixed_objects += 1
        if item.begun:
            self.begun.add(item.ref)
            sums.used += size
            sums.used_objects += 1
        if item.transient:
            self.transients.add(item.ref)
        sums.kept += size if item.kept else 0
        sums.ahead += item.ahead
        if not nowhere:
            self._present(item, size, state)
        claims = self.claims.get(item, 0)
        if item.claims != claims or item.uses != self.uses.get(item, 0):
            self.expect(item.claims, claims, "claims of", item.ref)
            self.expect(item.uses, self.uses.get(item, 0), "uses of", item.ref)
        queued = claims > 0 and nowhere
        if (state is ReplicaState.QUEUED) is not queued:
            self.expect(not queued, queued, "queued", item.ref)
        self._payers(item, size, held=held)

    def _present(self, item: Item, size: int, state: ReplicaState) -> None:
        """Count an object that takes space."""
        sums = self.sums
        sums.used += size
        sums.used_objects += 1
        sums.loose += size if item.loose else 0
        if state is ReplicaState.EVICTING:
            sums.leaving += size
            sums.leaving_objects += 1
        if state is not ReplicaState.RESIDENT:
            return
        sums.resident += size
        if item.claims:
            sums.pinned += size
        if item.dirty:
            sums.dirty += size
            if not item.claims and (item.spilling or not item.transient):
                sums.spilling += size
            elif not item.claims:
                self.burdens.add(item.ref)

    def _payers(self, item: Item, size: int, *, held: bool) -> None:
        """Count an object for the namespaces that hold it, or pay for it."""
        holders = self.claimed.get(item, {})
        for name in item.keepers:
            if name:
                _once_more(holders, self.items.accounts.of(name))
        if item.writer is not None:
            _once_more(holders, item.writer)
        if holders or item.holders:
            self.expect(item.holders or {}, holders, "holders of", item.ref)
        payers = tuple(holders) or item.payers
        if payers and (held or item.begun or item.state is ReplicaState.RESIDENT):
            share = -(-size // len(payers))
            for account in payers:
                paid = self._paid(account)
                paid.held += share if held else 0
                paid.idle += 0 if held else share

    def _paid(self, account: Account) -> _Paid:
        paid = self.paid.get(account)
        if paid is None:
            paid = self.paid[account] = _Paid()
        return paid

    def totals(self, running_count: int) -> None:
        """Compare the sums."""
        items = self.items
        for name, counted in vars(self.sums).items():
            if items.max_objects or name not in {"fixed_objects", "used_objects"}:
                self.expect(getattr(items, name), counted, name)
        self.expect(set(items.begun), self.begun, "begun")
        self.expect(set(items.burdens), self.burdens, "burdens")
        self.expect(set(items.transients), self.transients, "transients")
        self.expect(running_count, self.running, "running")

    def accounts(self, table: Mapping[str, Account]) -> None:
        """Compare what each namespace pays for."""
        for name, account in table.items():
            paid = self.paid.get(account) or _Paid()
            self.expect(account.held, paid.held, "held by", name)
            self.expect(account.idle, paid.idle, "idle of", name)
            self.expect(account.active, paid.active, "active of", name)


def _once_more(holders: dict[Account, int], account: Account) -> None:
    holders[account] = holders.get(account, 0) + 1
