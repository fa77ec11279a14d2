"""The longest chain of a workflow's steps, by what they compute or by what they read."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from jitflow.model.data import FutureStep, StepId
from jitflow.planner._order import depth_first


class Chain(Struct, frozen=True, kw_only=True):
    """Steps that wait for each other, and the sum of what they take."""

    length: float = 0.0
    steps: tuple[StepId, ...] = ()


def longest(steps: Sequence[FutureStep], weights: Mapping[StepId, float]) -> Chain:
    """Return the chain whose weights add up to most; steps that weigh nothing are left out of it."""
    best: dict[StepId, float] = {}
    before: dict[StepId, StepId | None] = {}
    # Steps behind one barrier share a tuple, which is looked at once.
    lasts: dict[int, StepId | None] = {}
    for step in depth_first(steps):
        if id(step.after) not in lasts:
            lasts[id(step.after)] = max((name for name in step.after if name in best), key=best.__getitem__, default=None)
        last = lasts[id(step.after)]
        before[step.id] = last
        best[step.id] = weights.get(step.id, 0.0) + (best[last] if last is not None else 0.0)
    at = max(best, key=best.__getitem__, default=None)
    length, path = best[at] if at is not None else 0.0, list[StepId]()
    while at is not None:
        path.append(at)
        at = before[at]
    return Chain(length=length, steps=tuple(name for name in reversed(path) if weights.get(name)))
