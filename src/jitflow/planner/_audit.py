"""A recount of everything the planner keeps incrementally."""

from collections.abc import Callable

from jitflow.model.data import ReplicaState
from jitflow.planner._items import Item, Items
from jitflow.planner._steps import Phase, Steps


def audit(items: Items, steps: Steps, running_count: int) -> tuple[str, ...]:
    """Return each invariant that does not hold, in words."""
    wrong: list[str] = []

    def expect(name: str, kept: object, counted: object) -> None:
        if kept != counted:
            wrong.append(f"{name}: kept {kept}, counted {counted}")

    holding = [step for step in steps.table.values() if step.phase in {Phase.CLAIMED, Phase.GRANTED}]
    running = [step for step in holding if step.phase is Phase.GRANTED]
    table = list(items)
    begun = [item for item in table if item.begun]
    present = [item for item in table if item.state not in {ReplicaState.ABSENT, ReplicaState.QUEUED}]
    expect("fixed", items.fixed, sum(item.bytes for item in table if item.held) + sum(step.reserve for step in holding))
    expect("used", items.used, sum(item.bytes for item in [*present, *begun]) + sum(step.reserve for step in running))
    if items.max_objects:
        promised = sum(step.writes for step in holding)
        expect("fixed objects", items.fixed_objects, sum(item.held for item in table) + promised)
        expect("used objects", items.used_objects, len(present) + len(begun) + sum(step.writes for step in running))
    expect("begun", set(items.begun), {item.ref for item in begun})
    expect("loose", items.loose, sum(item.bytes for item in present if item.loose))
    expect("leaving objects", items.leaving_objects, sum(item.state is ReplicaState.EVICTING for item in present))
    expect("leaving", items.leaving, sum(item.bytes for item in present if item.state is ReplicaState.EVICTING))
    resident = [item for item in present if item.state is ReplicaState.RESIDENT]
    expect("resident", items.resident, sum(item.bytes for item in resident))
    expect("pinned", items.pinned, sum(item.bytes for item in resident if item.claims))
    expect("dirty", items.dirty, sum(item.bytes for item in resident if item.dirty))
    leaving = [item for item in resident if item.dirty and not item.claims and (item.spilling or not item.transient)]
    expect("spilling", items.spilling, sum(item.bytes for item in leaving))
    spillable = {item.ref for item in resident if item.dirty and not item.claims and item.transient and not item.spilling}
    expect("burdens", set(items.burdens), spillable)
    expect("transients", set(items.transients), {item.ref for item in table if item.transient})
    expect("running", running_count, len(running))
    expect("kept", items.kept, sum(item.bytes for item in table if item.kept))
    expect("ahead", items.ahead, sum(1 for item in table if item.ahead))
    expect("held", items.held, sum(step.reserve for step in running))
    _audit_accounts(items, steps, table, expect)
    claims: dict[object, int] = {}
    uses: dict[object, int] = {}
    for step in steps.table.values():
        counter = uses if step.awaits else claims
        for item in step.inputs:
            counter[item.ref] = counter.get(item.ref, 0) + 1
        whole = all(item.state is ReplicaState.RESIDENT for item in step.inputs)
        if step.phase is Phase.GRANTED and not whole:
            wrong.append(f"{step.id} runs without its inputs")
    for item in table:
        expect(f"claims of {item.ref}", item.claims, claims.get(item.ref, 0))
        expect(f"uses of {item.ref}", item.uses, uses.get(item.ref, 0))
        expect(f"queued {item.ref}", item.state is ReplicaState.QUEUED, item.claims > 0 and _nowhere(item.state))
    return tuple(wrong)


def _audit_accounts(items: Items, steps: Steps, table: list[Item], expect: Callable[[str, object, object], None]) -> None:
    """Recount what each namespace pays for, and who holds what."""
    holding = [step for step in steps.table.values() if step.phase in {Phase.CLAIMED, Phase.GRANTED}]
    held: dict[str, int] = {}
    idle: dict[str, int] = {}
    for step in holding:
        if step.account is not None:
            held[step.account.name] = held.get(step.account.name, 0) + step.reserve
    for item in table:
        holders: dict[str, int] = {}
        claimed = [step.account for step in holding if item in step.inputs]
        kept = [items.accounts.of(name) for name in item.keepers if name]
        for account in (*claimed, *kept, item.writer):
            if account is not None:
                holders[account.name] = holders.get(account.name, 0) + 1
        expect(f"holders of {item.ref}", {account.name: count for account, count in (item.holders or {}).items()}, holders)
        payers = list(holders) or [account.name for account in item.payers]
        here = item.held or item.begun or item.state is ReplicaState.RESIDENT
        for name in payers if here else ():
            sums = held if item.held else idle
            sums[name] = sums.get(name, 0) + -(-item.bytes // len(payers))
    for name, account in items.accounts.table.items():
        expect(f"held by {name}", account.held, held.get(name, 0))
        expect(f"idle of {name}", account.idle, idle.get(name, 0))
        expect(f"active of {name}", account.active, sum(step.account is account for step in holding))


def _nowhere(state: ReplicaState) -> bool:
    return state in {ReplicaState.ABSENT, ReplicaState.QUEUED}
