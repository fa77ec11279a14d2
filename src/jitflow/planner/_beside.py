"""The choice of a plan for a workflow that does not have the primary alone."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from jitflow.model.data import FutureStep, StepId, WorkflowUid
from jitflow.planner._plan import Plan
from jitflow.planner._sharing import joining
from jitflow.planner._steps import HASTE
from jitflow.planner.portfolio import APART_S, UID, Effort, Search, kind_of, plain
from jitflow.planner.simulate import Arrival, Outcome, Setting

_STRETCHES = (4.0, 2.0, 0.5)
"""How the steps of the newcomer may be placed among those of the others: `Plan.stretch`."""
_FAIRNESS = 0.01
"""So much of the time in which all end may be lost for each time its time alone that workflows take less, on the average."""
_DOUBT = 0.02
"""The plan that is best alone is kept unless another one is faster by more than this share.

Workflows that are still to come are not simulated: what is better by little for those that are there is often worse for all.
"""


class Beside(Struct, frozen=True, kw_only=True):
    """A workflow that runs: its steps that have not ended, the plan that it follows (None: the plain order), and its weight.

    `came_s`: how many seconds before the workflow for which a plan is chosen.
    """

    uid: WorkflowUid
    steps: Sequence[FutureStep]
    plan: Plan | None = None
    came_s: float = 0.0
    weight: float = 1.0


def _lined_up(beside: Sequence[Beside]) -> tuple[list[Arrival], float]:
    """Return what is left of the others as if all came now, with plans that leave the common order as it is.

    The second value says how much later than in its plan the steps of a workflow that comes now have to be placed for that.
    """
    plans = [one.plan or plain(one.steps) for one in beside]
    stretches = [plan.stretch / one.weight for one, plan in zip(beside, plans, strict=True)]
    places: list[dict[str, float]] = []
    for one, plan, stretch in zip(beside, plans, stretches, strict=True):
        left = {step.id for step in one.steps}
        places.append({name: start * HASTE * stretch - one.came_s for name, start in plan.starts.items() if name in left})
    first = min([0.0, *(place for of in places for place in of.values())])
    arrivals = [
        Arrival(
            uid=one.uid,
            steps=tuple(one.steps),
            plan=replace(plan, starts={name: (place - first) / HASTE / stretch for name, place in of.items()}, stretch=stretch),
        )
        for one, plan, stretch, of in zip(beside, plans, stretches, places, strict=True)
    ]
    return arrivals, -first / HASTE


def choose_beside(
    alone: Plan,
    steps: Sequence[FutureStep],
    setting: Setting,
    effort: Effort,
    stop: Callable[[], bool] = lambda: False,
    *,
    beside: Sequence[Beside],
    weight: float = 1.0,
    steady: float = 0.0,
) -> Plan:
    """Return the plan under which all workflows together end first, of those that the effort allows to try.

    It is `alone` unless another one is clearly better, for workflows that are still to come are not simulated.

    That small ones have to wait for large ones counts too: with each time its own time that a workflow takes, on the average, the
    end of all counts as if it came by one hundredth later.

    Args:
        alone: the plan that is best where the workflow has the primary alone: the first one that is tried.
        steps: what is to come of the workflow.
        setting: the world in which plans are tried, with what is here of the objects of all.
        effort: how hard to look.
        stop: nothing more is tried once it says so.
        beside: the other workflows.
        weight: of the workflow beside them.
        steady: `alone` is followed already: it is kept unless another one is faster by more than this share.
    """
    if not beside or not alone.makespan_s:
        return alone
    # The order of what joins others follows theirs, which the plans do not tell: nothing that is tried here would come of it.
    if joining(steps, (step for one in beside for step in one.steps), setting.resident):
        return alone
    search = _Together(steps, setting, effort, stop, alone=alone, beside=beside, weight=weight)
    search.run(alone)
    return search.best(steady)


class _Flow(NamedTuple):
    """One of the workflows that run together."""

    steps: list[StepId]
    came_s: float
    alone_s: float
    weight: float


def _alone_s(plan: Plan | None) -> float:
    """Return how long a workflow takes alone, 0.0 if that is not known."""
    return plan.makespan_s or 0.0 if plan is not None else 0.0


class _Together(Search):
    """Tries the plans of a workflow beside others."""

    def __init__(
        self,
        steps: Sequence[FutureStep],
        setting: Setting,
        effort: Effort,
        stop: Callable[[], bool],
        *,
        alone: Plan,
        beside: Sequence[Beside],
        weight: float,
    ) -> None:
        """Begin with the plan that is best alone."""
        super().__init__(steps, setting, effort, stop)
        self._others, self._later_s = _lined_up(beside)
        self._alone = alone
        self._weight = weight
        self._stretch = 1.0
        self._flows = [_Flow([step.id for step in one.steps], one.came_s, _alone_s(one.plan), one.weight) for one in beside]
        self._flows.append(_Flow([step.id for step in self.steps], 0.0, _alone_s(alone), weight))

    def run(self, current: Plan | None) -> None:
        """Spend the effort: first on whether the workflow had better go before the others or let them go first."""
        if current is not None:
            self.attempt(current, kind_of(current))
            for stretch in _STRETCHES:
                self.attempt(replace(current, stretch=stretch), kind_of(current))
            if self.tried:
                self._stretch = min(self.tried, key=lambda one: self.score(one[1]))[0].stretch
        self.vary()

    def arrivals(self, plan: Plan) -> Sequence[Arrival]:
        """Return all workflows."""
        plan = self._paced(plan)
        stretch = plan.stretch / self._weight
        starts = {name: start + self._later_s / stretch for name, start in plan.starts.items()}
        plan = replace(plan, starts=starts, stretch=stretch, makespan_s=self._alone.makespan_s)
        return [*self._others, Arrival(uid=UID, steps=tuple(self.steps), plan=plan)]

    def _paced(self, plan: Plan) -> Plan:
        """Return a plan in the time that the workflow would take alone: in that it counts against the plans of others."""
        if plan.starts is self._alone.starts:
            return plan
        scale = (self._alone.makespan_s or 0.0) / max(APART_S, *plan.starts.values())
        starts = {name: start * scale for name, start in plan.starts.items()}
        return replace(plan, starts=starts, pace_s=plan.pace_s * scale, stretch=self._stretch)

    def score(self, outcome: Outcome) -> float:
        """Return when all have ended, with something added for how long each takes against the time that it would take alone."""
        slow = weights = 0.0
        for flow in self._flows:
            if flow.alone_s > 0.0 and flow.steps:
                ended_s = max(outcome.ended.get(name, outcome.makespan_s) for name in flow.steps)
                slow += flow.weight * (flow.came_s + ended_s) / flow.alone_s
                weights += flow.weight
        return outcome.makespan_s * (1 + _FAIRNESS * max(0.0, slow / weights)) if weights else outcome.makespan_s

    def best(self, steady: float) -> Plan:
        """Return the plan that moves the fewest bytes of those under which all end hardly later than under the best."""
        alone = self._alone
        if not self.tried:
            return alone
        least_s = min(self.score(outcome) for _, outcome, _ in self.tried)
        kept = next((outcome for plan, outcome, _ in self.tried if plan is alone), None)
        others = f"{len(self._others)} other workflow{'s' * (len(self._others) > 1)}"
        if kept is not None and least_s >= self.score(kept) * (1 - max(steady, _DOUBT)):
            reason = f"{alone.name}: best alone; beside {others} none of {len(self.tried)} plans that ended is clearly better"
            return alone if steady else replace(alone, reason=reason)
        plan, outcome = self.thriftiest(least_s)
        reason = (
            f"{plan.name}: best of {len(self.tried)} plans that ended, beside {others} "
            f"(all together {outcome.makespan_s:.1f} s, in {self.spent:,} simulated events)"
        )
        return replace(self._paced(plan), makespan_s=alone.makespan_s, reason=reason)
