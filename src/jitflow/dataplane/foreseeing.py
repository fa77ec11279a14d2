"""What a simulation of the planner says of workflows before they run, or of what is left of them."""

import asyncio
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from jitflow.dataplane.core import Core
from jitflow.dataplane.worlds import Worlds
from jitflow.model.data import FutureStep, ObjectRef, StepId, WorkflowUid
from jitflow.model.reports import Estimate
from jitflow.planner import Arrival, Outcome, Plan, longest, simulate
from jitflow.ports.dataplane import Quota

_READS_SIMULATED = 2000

Workflows = Sequence[tuple[WorkflowUid, Sequence[FutureStep]]]


async def foreseen(
    core: Core, estimate: Estimate, workflows: Workflows, worlds: Worlds, plans: Mapping[WorkflowUid, Plan] | None = None
) -> Estimate:
    """Add the chains, and what a simulation says: the peak, and where the links' rates are known, the times."""
    steps = [step for _, some in workflows for step in some]
    # What no workflow in question reads could leave at once, so it is not there for the simulation.
    refs = {one.ref for step in steps for one in step.inputs}
    estimate = _with_chains(estimate, steps, {ref: row.size_bytes for ref in refs if (row := core.rows.get(ref)) is not None})
    if not estimate.objects:
        return estimate
    plans = plans or {}
    if sum(len(step.inputs) + 2 for step in steps) > _READS_SIMULATED:
        # The plan of one workflow was tried elsewhere, in this very world.
        alone_s = plans[workflows[0][0]].makespan_s if len(workflows) == 1 and workflows[0][0] in plans else None
        return replace(estimate, too_large=True, expected_s=alone_s if estimate.link_Bps else None)
    # Of what is on its way only the rest has still to come.
    arrived = {ref: done for ref in refs if (done := core.arrived_bytes(ref))}
    arrivals = [Arrival(uid=uid, steps=_left(some, arrived), plan=plans.get(uid)) for uid, some in workflows]
    quota = Quota(bytes=estimate.quota_bytes)
    setting = await worlds.setting(steps, worlds.basis(steps, quota))
    ahead = await asyncio.to_thread(simulate, arrivals, setting)
    estimate = replace(estimate, peak_bytes=min(estimate.capacity_bytes, ahead.peak_bytes + sum(arrived.values())))
    if estimate.link_Bps is None:
        return estimate
    alone = await asyncio.to_thread(simulate, arrivals, replace(setting, ahead=False))
    return replace(estimate, expected_s=_makespan(ahead), on_demand_s=_makespan(alone))


def _left(steps: Sequence[FutureStep], arrived: Mapping[ObjectRef, int]) -> tuple[FutureStep, ...]:
    """Return the steps with what has still to come of their inputs."""
    if not arrived:
        return tuple(steps)
    return tuple(
        replace(
            step,
            inputs=tuple(
                replace(one, size_bytes=max(0, one.size_bytes - arrived.get(one.ref, 0))) if one.size_bytes else one
                for one in step.inputs
            ),
        )
        for step in steps
    )


def _makespan(outcome: Outcome) -> float | None:
    return None if outcome.unfinished else outcome.makespan_s


def _with_chains(estimate: Estimate, steps: Sequence[FutureStep], here: dict[ObjectRef, int]) -> Estimate:
    """Add the longest chain of run times, and the longest of transfers over a link that each has for itself."""
    compute = longest(steps, {step.id: step.run_s for step in steps if step.run_s})
    produced = {output.ref for step in steps for output in step.outputs}
    fetched: dict[StepId, float] = {}
    seen = set(here) | produced
    for step in steps:
        # An object that several steps read is counted for the first of them: it comes only once.
        fresh = {one.ref: one.size_bytes or 0 for one in step.inputs if one.ref not in seen}
        seen.update(fresh)
        fetched[step.id] = float(sum(fresh.values()))
    transfer = longest(steps, fetched)
    return replace(
        estimate,
        steps=len(steps),
        timed=sum(step.run_s is not None for step in steps),
        compute_s=compute.length,
        compute_chain=compute.steps,
        chain_s=transfer.length / estimate.link_Bps if estimate.link_Bps else None,
        transfer_chain=transfer.steps,
    )
