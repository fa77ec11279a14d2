"""Looking ahead: what a run will read and write from now on, told to the data plane."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from jitflow import machine
from jitflow.engine.locations import Locator
from jitflow.engine.pods import declared_run_s, future_of, inputs_named, located, outputs_of, step_id
from jitflow.engine.run import LiveRun
from jitflow.engine.runtimes import RunTimes
from jitflow.model import argo
from jitflow.model.data import FutureOutput, FutureStep, ObjectRef, StepId
from jitflow.model.objects import Objects
from jitflow.model.problems import Refused
from jitflow.model.reports import Estimate
from jitflow.ports.clock import Clock
from jitflow.ports.dataplane import DataPlane

PAUSE_PER_COST = 20
"""Looking ahead again takes at most about one part in so many of the time."""
_MUCH, _LITTLE_S = 1.5, 1.0
"""A run time is another one if it has changed by such a factor and a little more."""
_MOST_BEFORE = 32
"""What waits for more steps shares the list of them with others, and keeps it."""


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
        run_times: RunTimes,
        clock: Clock,
        stopwatch: Callable[[], float],
        enabled: bool,
        intermediates: str = "keep",
    ) -> None:
        """Announce to `dataplane` what `is_live`; nothing when not `enabled` (each step fetches its own inputs).

        `stopwatch`: tells how long looking ahead takes. `intermediates`: `keep` or `when-needed`, for artifacts that steps hand
        on to each other.
        """
        self._stopwatch = stopwatch
        self._intermediates = intermediates
        self._dataplane = dataplane
        self._locator = locator
        self._is_live = is_live
        self._enabled = enabled
        self._objects = objects
        self._run_times = run_times
        self._clock = clock

    def announce(self, run: LiveRun) -> None:
        """Tell the data plane what the run will read and write from now on, and for how long its steps will run."""
        run.announcing = False
        if not run.has_data or not self._enabled or not self._is_live(run.uid):
            return
        began = self._stopwatch()
        coming = self._coming(run.state)
        steps, run.hidden_steps = self._located(run.uid, run.state, coming)
        run.estimates = {key: self._run_times.of(key) for key in {step.fingerprint for step in coming}}
        priority = run.state.program.spec.priority or 0
        self._dataplane.announce(run.uid, steps, open_ended=run.hidden_steps, priority=priority)
        run.announce_cost_s = self._stopwatch() - began

    def announce_soon(self, run: LiveRun, learned: Collection[str] = ()) -> None:
        """Look ahead again if steps were hidden, or if much was `learned` of templates; but not all the time."""
        news = run.hidden_steps or any(self._is_news(run, key) for key in learned)
        if news and not run.announcing:
            run.announcing = True
            asyncio.get_running_loop().call_later(PAUSE_PER_COST * run.announce_cost_s, self.announce, run)

    def _is_news(self, run: LiveRun, fingerprint: str) -> bool:
        """Return whether the run time of a template is quite another one than was announced."""
        if fingerprint not in run.estimates:
            return False
        before, now = run.estimates[fingerprint], self._run_times.of(fingerprint)
        if before is None or now is None:
            return before is not now
        return max(before, now) > _MUCH * min(before, now) + _LITTLE_S

    def steps(self, uid: str, state: machine.State) -> list[FutureStep]:
        """Return the steps to come with the objects they read and write.

        Raises:
            Refused: an annotation of one cannot be used.
        """
        return self._located(uid, state, self._coming(state), strict=True)[0]

    def _coming(self, state: machine.State) -> tuple[machine.ForecastStep, ...]:
        """Return the steps to come; what reads outputs unseen is a reason to send all of them to their far stores."""
        seen = machine.is_foreseeable(state, self._objects)
        return machine.forecast(state, objects=self._objects, intermediates=self._intermediates if seen else "")

    def outlook(self, uid: str, state: machine.State) -> Outlook:
        """Return the steps to come with how long they run as far as that is known, and their names."""
        coming = self._coming(state)
        steps, _ = self._located(uid, state, coming)
        return Outlook(uid=uid, steps=steps, names={step.id: one.name for step, one in zip(steps, coming, strict=True)})

    def _located(
        self, uid: str, state: machine.State, steps: Sequence[machine.ForecastStep], *, strict: bool = False
    ) -> tuple[list[FutureStep], bool]:
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
            inputs = located(step.inputs, locator)
            outputs, run_s = self._estimated(state, step, locator, strict=strict)
            passing.append((step.passing, located(step.outputs, locator)))
            read.update(ref for _, ref in inputs)
            found.append(
                future_of(
                    step_id(uid, step.node_id),
                    step.template,
                    inputs,
                    outputs,
                    after=after,
                    certain=step.certain,
                    late=hidden and bool(after),
                    run_s=run_s,
                    family=step_id(uid, machine.family_of(step.name)),
                    named=inputs_named(step.named, locator),
                )
            )
        found = [_passing(step, *pair, read) for step, pair in zip(found, passing, strict=True)]
        return in_turn(found, state.program.spec.parallelism or 0), hidden

    def _estimated(
        self, state: machine.State, step: machine.ForecastStep, locator: Locator, *, strict: bool
    ) -> tuple[list[FutureOutput], float | None]:
        """Return what a step writes and for how long it still runs: as declared, else as learned of its template."""
        key, outputs = step.fingerprint, located(step.outputs, locator)
        body = step.body or argo.Template()
        run_s: float | None = None
        try:
            run_s = declared_run_s(body)
            written = outputs_of(body, outputs, lambda name: self._run_times.written(key, name))
        except Refused:
            if strict:
                raise
            # It will be said when the step is launched.
            written = outputs_of(argo.Template(), outputs)
        if run_s is None:
            run_s = self._run_times.of(key)
        node = state.nodes.get(step.node_id) if run_s is not None else None
        if run_s is None or node is None or node.phase != "Running" or node.started_at is None:
            return written, run_s
        return written, max(0.0, run_s - (self._clock.now() - node.started_at))


def _passing(
    step: FutureStep, names: machine.Passing, outputs: Sequence[tuple[argo.Artifact, ObjectRef]], read: set[ObjectRef]
) -> FutureStep:
    """Return the step with its outputs marked that need not leave the primary."""
    if not (names.unread or names.read):
        return step
    may = {ref for artifact, ref in outputs if artifact.name in names.unread or (artifact.name in names.read and ref in read)}
    return replace(step, outputs=tuple(replace(one, transient=one.ref in may) for one in step.outputs))


def in_turn(steps: list[FutureStep], at_once: int) -> list[FutureStep]:
    """Return the steps as a workflow runs them that lets no more than `at_once` run (0: any number): in this order.

    Each comes after the one so many places before it. With more than one place that is what is to be expected, not a must: the
    other one may take longer.
    """
    if at_once <= 0:
        return steps
    waiting = steps[:at_once]
    for before, step in zip(steps, steps[at_once:], strict=False):
        # One after the other, each comes after all; of many that it waits for anyway the last ones are close to its turn.
        own = () if at_once == 1 else step.after
        waiting.append(step if len(own) > _MOST_BEFORE or before.id in own else replace(step, after=(*own, before.id)))
    return waiting


def with_names(estimate: Estimate, names: Mapping[StepId, str]) -> Estimate:
    """Let an estimate name steps as people know them."""
    compute = tuple(names.get(step, step) for step in estimate.compute_chain)
    return replace(
        estimate, compute_chain=compute, transfer_chain=tuple(names.get(step, step) for step in estimate.transfer_chain)
    )
