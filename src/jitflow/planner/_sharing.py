"""Workflows that read the same: what comes later joins what is under way, so that an object is read by all while it is here."""

from collections.abc import Sequence

from jitflow.model.data import FutureStep, ObjectRef, ReplicaState, StepId
from jitflow.planner._items import Items
from jitflow.planner._sizes import declared

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


def _worth_it(items: Items, steps: Sequence[FutureStep]) -> bool:
    """Return whether more is shared than is written: results of several workflows would lie here at once."""
    shared: dict[ObjectRef, int] = {}
    for step in steps:
        for one in step.inputs:
            item = items.table.get(one.ref)
            if item is not None and item.producer is None:
                shared[one.ref] = item.bytes
    return sum(shared.values()) > sum(declared(step) for step in steps)


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
