"""Looking ahead: what a run will read and write from now on, told to the data plane."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from jitflow import machine
from jitflow.engine.locations import Locator
from jitflow.engine.pods import declared_output_bytes, future_of, located, step_id
from jitflow.engine.run import LiveRun
from jitflow.model import argo
from jitflow.model.data import FutureStep, ObjectRef, StepId
from jitflow.model.objects import Objects
from jitflow.ports.dataplane import DataPlane, Estimate

PAUSE_PER_COST = 20
"""Looking ahead again takes at most about one part in so many of the time."""


class Outlook(Struct, frozen=True, kw_only=True):
    """What is still to come of a workflow, and the names of its steps."""

    uid: str
    steps: list[FutureStep]
    names: dict[StepId, str]


class Lookahead:
    """Announces the future of live runs, and again when more of it is known."""

    def __init__(
        self,
        dataplane: DataPlane,
        locator: Callable[[], Locator],
        is_live: Callable[[str], bool],
        objects: Objects,
        *,
        enabled: bool,
        intermediates: str = "keep",
    ) -> None:
        """Announce to `dataplane` what `is_live`; nothing when not `enabled` (each step fetches its own inputs).

        `intermediates`: `keep` or `when-needed`, for artifacts that steps hand on to each other.
        """
        self._intermediates = intermediates
        self._dataplane = dataplane
        self._locator = locator
        self._is_live = is_live
        self._enabled = enabled
        self._objects = objects

    def announce(self, run: LiveRun) -> None:
        """Tell the data plane what the run will read and write from now on."""
        run.announcing = False
        if not run.has_data or not self._enabled or not self._is_live(run.uid):
            return
        began = time.perf_counter()
        steps, run.hidden_steps = self.steps(run.uid, run.state)
        priority = run.state.program.spec.priority or 0
        self._dataplane.announce(run.uid, steps, open_ended=run.hidden_steps, priority=priority)
        run.announce_cost_s = time.perf_counter() - began

    def announce_soon(self, run: LiveRun) -> None:
        """Look ahead again if some steps were hidden, but not all the time."""
        if run.hidden_steps and not run.announcing:
            run.announcing = True
            asyncio.get_running_loop().call_later(PAUSE_PER_COST * run.announce_cost_s, self.announce, run)

    def steps(self, uid: str, state: machine.State) -> tuple[list[FutureStep], bool]:
        """Return the steps to come with the objects they read and write, and whether some are not known yet."""
        return self._located(uid, state, self._coming(state))

    def _coming(self, state: machine.State) -> tuple[machine.ForecastStep, ...]:
        """Return the steps to come; what reads outputs unseen is a reason to send all of them to their far stores."""
        seen = machine.is_foreseeable(state, self._objects)
        return machine.forecast(state, objects=self._objects, intermediates=self._intermediates if seen else "")

    def outlook(self, uid: str, state: machine.State, run_s: Callable[[str], float | None], now: float) -> Outlook:
        """Return the steps to come with how long they run as far as that was learned, and their names."""
        coming = self._coming(state)
        steps, _ = self._located(uid, state, coming)
        timed: list[FutureStep] = []
        for step, one in zip(steps, coming, strict=True):
            node = state.nodes.get(one.node_id)
            ran_s = now - node.started_at if node is not None and node.phase == "Running" and node.started_at is not None else 0.0
            whole_s = run_s(one.fingerprint)
            timed.append(replace(step, run_s=max(0.0, whole_s - ran_s)) if whole_s is not None else step)
        return Outlook(uid=uid, steps=timed, names={step.id: one.name for step, one in zip(steps, coming, strict=True)})

    def _located(self, uid: str, state: machine.State, steps: Sequence[machine.ForecastStep]) -> tuple[list[FutureStep], bool]:
        namespace = state.program.metadata.namespace or ""
        locator = self._locator().within(namespace, None if state.run.repository.default else state.run.store)
        barriers: dict[int, tuple[StepId, ...]] = {}
        found: list[FutureStep] = []
        passing: list[tuple[machine.Passing, tuple[tuple[argo.Artifact, ObjectRef], ...]]] = []
        hidden = any(step.unknown for step in steps) or len(steps) >= machine.MAX_STEPS
        read: set[ObjectRef] = set()
        for step in steps:
            # Steps behind one barrier share a tuple here too: those who walk it look at it once.
            after = barriers.get(id(step.after))
            if after is None:
                after = barriers[id(step.after)] = tuple(step_id(uid, node_id) for node_id in step.after)
            inputs, outputs = located(step.inputs, locator), located(step.outputs, locator)
            passing.append((step.passing, outputs))
            read.update(ref for _, ref in inputs)
            found.append(
                future_of(
                    step_id(uid, step.node_id),
                    step.template,
                    inputs,
                    [ref for _, ref in outputs],
                    after=after,
                    certain=step.certain,
                    late=hidden and bool(after),
                    output_bytes=declared_output_bytes(step.body) if step.body else None,
                    family=step_id(uid, machine.family_of(step.name)),
                )
            )
        return [_passing(step, *pair, read) for step, pair in zip(found, passing, strict=True)], hidden


def _passing(
    step: FutureStep, names: machine.Passing, outputs: Sequence[tuple[argo.Artifact, ObjectRef]], read: set[ObjectRef]
) -> FutureStep:
    """Return the step with its outputs marked that need not leave the primary."""
    if not (names.unread or names.read):
        return step
    may = {ref for artifact, ref in outputs if artifact.name in names.unread or (artifact.name in names.read and ref in read)}
    return replace(step, outputs=tuple(replace(one, transient=one.ref in may) for one in step.outputs))


def with_names(estimate: Estimate, names: Mapping[StepId, str]) -> Estimate:
    """Let an estimate name steps as people know them."""
    compute = tuple(names.get(step, step) for step in estimate.compute_chain)
    return replace(
        estimate, compute_chain=compute, transfer_chain=tuple(names.get(step, step) for step in estimate.transfer_chain)
    )
