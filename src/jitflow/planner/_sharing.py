"""Workflows that read the same: what comes later joins what is under way, so that an object is read by all while it is here."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from jitflow.model.data import FutureStep, ObjectRef, ReplicaState, StepId
from jitflow.planner._items import Item, Items
from jitflow.planner._sizes import declared
from jitflow.planner._steps import Phase, Step

_APART = 1e-6


def joined(items: Items, steps: Sequence[FutureStep], places: Sequence[float], *, front: float) -> dict[StepId, float]:
    """Return when each step of a new workflow should come so that it reads together with those that were there before.

    `steps` in their order, `places` when they would come otherwise, `front`: what comes at once. A step joins the next reader of
    the largest object that it shares, and what it allows follows at the same distance as before. The others come when all that
    has joined is done: workflows that are still to come can join them then. Empty if there is nothing to join, or results would
    pile up.
    """
    if not _worth_it(items, steps):
        return {}
    pulls = [_pull(items, step, front) for step in steps]
    table = {step.id: n for n, step in enumerate(steps)}
    before = [[table[name] for name in dict.fromkeys(step.after) if name in table] for step in steps]
    moved = _joining(pulls, places, before)
    ahead = [at for at, place in zip(moved, places, strict=True) if at < place]
    last = max(ahead, default=places[0])
    for n, place in enumerate(places):
        if moved[n] == place:
            moved[n] = max(place, last + place - places[0])
        moved[n] = max([moved[n], *(moved[one] for one in before[n])])
    result: dict[StepId, float] = {}
    last = float("-inf")
    for n in sorted(range(len(steps)), key=lambda n: (moved[n], n)):
        last = max(moved[n], last + _APART)
        result[steps[n].id] = last
    return result


def gathered(items: Items, steps: Sequence[FutureStep]) -> dict[Step, float]:
    """Return the ready steps that had better come earlier when a new workflow joins, and where.

    They read what the first reader does, which the new workflow joins, but later: the object would have to stay for them alone,
    or would be evicted and come again.
    """
    found: dict[Step, float] = {}
    for item, place in dict(filter(None, (_meeting(items, step) for step in steps))).items():
        for key, _, step in item.readers:
            ready = step.phase is Phase.ASKED and step.key == key
            if ready and step.declared < item.bytes and place < found.get(step, key[0]):
                found[step] = place
    return found


def _joining(pulls: Sequence[float | None], places: Sequence[float], before: Sequence[Sequence[int]]) -> list[float]:
    """Return the places with those moved forward that join others, that such steps allow, or that they wait for."""
    moved = list(places)
    for n, pull in enumerate(pulls):
        if pull is not None:
            moved[n] = min(moved[n], pull)
        if before[n]:
            moved[n] = min(moved[n], max(moved[one] + places[n] - places[one] for one in before[n]))
    for n in range(len(places) - 1, -1, -1):
        for one in before[n]:
            moved[one] = min(moved[one], moved[n])
    return moved


def joining(steps: Sequence[FutureStep], others: Iterable[FutureStep], near: Collection[ObjectRef]) -> bool:
    """Return whether a new workflow is going to join others, with these objects in the primary: see `joined`."""
    others = list(others)
    known = {one.ref for step in others for one in step.inputs}.union(near)
    known.difference_update(one.ref for step in others for one in step.outputs)
    sizes = {one.ref: one.size_bytes or 0 for step in steps for one in step.inputs if one.ref in known}
    return _more_is_shared(sizes, steps)


def _worth_it(items: Items, steps: Sequence[FutureStep]) -> bool:
    """Return whether a new workflow had better join others."""
    shared: dict[ObjectRef, int] = {}
    for step in steps:
        for one in step.inputs:
            item = items.table.get(one.ref)
            if item is not None and item.producer is None:
                shared[one.ref] = item.bytes
    return _more_is_shared(shared, steps)


def _more_is_shared(sizes: Mapping[ObjectRef, int], steps: Sequence[FutureStep]) -> bool:
    """Return whether more is shared than is written: results of several workflows would lie here at once."""
    return sum(sizes.values()) > sum(declared(step) for step in steps)


def _meeting(items: Items, step: FutureStep) -> tuple[Item, float] | None:
    """Return the largest object that a step shares with others if it is worth reading it with them, and where they do."""
    largest: Item | None = None
    for one in step.inputs:
        item = items.table.get(one.ref)
        if item is not None and item.producer is None and (largest is None or item.bytes > largest.bytes):
            largest = item
    use = items.next_use(largest) if largest is not None else None
    return (largest, use[0]) if largest is not None and use is not None and largest.bytes > declared(step) else None


def _pull(items: Items, step: FutureStep, front: float) -> float | None:
    """Return the place at which others read the largest object that a step shares with them, None if it is not worth it."""
    largest, place = 0, None
    for one in step.inputs:
        item = items.table.get(one.ref)
        if item is None or item.producer is not None or item.bytes <= largest:
            continue
        use = items.next_use(item)
        if use is not None:
            largest, place = item.bytes, use[0]
        elif item.state in {ReplicaState.RESIDENT, ReplicaState.TRANSFERRING}:
            largest, place = item.bytes, front
    return place if largest > declared(step) else None
