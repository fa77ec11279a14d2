"""The order of a workflow's steps, and keys that stay what they are while steps come and go."""

from collections.abc import Iterator, Mapping, Sequence

from jitflow.model.data import FutureStep, StepId

_SMALLEST_GAP = 1e-7


def depth_first(steps: Sequence[FutureStep]) -> list[FutureStep]:
    """Return the steps in another order that respects `after`: each as late as possible before the first step that needs it.

    One branch is finished before the next is begun, so that what it wrote is read while it is here. Among equals the given order
    stands. Costs as much as there are steps and different `after` tuples.
    """
    table = {step.id: step for step in steps}
    needed = {name for after in {id(step.after): step.after for step in steps}.values() for name in after}
    order: dict[StepId, FutureStep] = {}
    seen: set[int] = set()
    for last in steps:
        if last.id in needed or last.id in order:
            continue
        stack: list[tuple[FutureStep, Iterator[StepId]]] = [(last, _after(last, seen))]
        open_steps = {last.id}
        while stack:
            step, before = stack[-1]
            name = next(before, None)
            if name is None:
                stack.pop()
                order[step.id] = step
            elif name in table and name not in order and name not in open_steps:
                open_steps.add(name)
                stack.append((table[name], _after(table[name], seen)))
    # What is left over lies on a cycle, which no workflow has: it keeps its place at the end.
    return [*order.values(), *(step for step in steps if step.id not in order)]


def _after(step: FutureStep, seen: set[int]) -> Iterator[StepId]:
    """Return what comes before a step; steps behind one barrier share a tuple, which is walked once."""
    if id(step.after) in seen:
        return iter(())
    seen.add(id(step.after))
    return iter(step.after)


def positions(known: Mapping[str, float], ids: Sequence[str], pace: float = 1.0) -> list[float]:
    """Return a growing key for each id in order, keeping the known keys that are in order already; new ones go by `pace`.

    A workflow is announced again and again with some steps gone and some new; keys that stay cost nothing later.
    """
    keys: list[float | None] = []
    last = -1.0
    for name in ids:
        key = known.get(name)
        if key is not None and key > last:
            keys.append(key)
            last = key
        else:
            keys.append(None)
    filled = _filled(keys, pace)
    return filled if filled is not None else [place * pace for place in range(len(ids))]


def _filled(keys: Sequence[float | None], pace: float) -> list[float] | None:
    """Return the keys with the gaps filled evenly, or None where a gap has become too narrow."""
    result: list[float] = []
    start = 0
    previous = -pace
    for place, key in enumerate(keys):
        if key is None:
            continue
        gap = (key - previous) / (place - start + 1)
        if gap < _SMALLEST_GAP:
            return None
        result.extend(previous + gap * (n + 1) for n in range(place - start))
        result.append(key)
        previous, start = key, place + 1
    result.extend(previous + pace * (n + 1) for n in range(len(keys) - start))
    return result
