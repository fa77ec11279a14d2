"""A recount of everything the planner keeps incrementally."""

from jitflow.model.data import ReplicaState
from jitflow.planner._items import Items
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


def _nowhere(state: ReplicaState) -> bool:
    return state in {ReplicaState.ABSENT, ReplicaState.QUEUED}
