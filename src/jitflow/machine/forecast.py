"""What is still to come: the pods that run and will run, in order of need, with the artifacts they read and write.

The live nodes are walked together with the templates. Where a value is known ahead it is used (loops are expanded, `when` is
decided, keys are filled in); where only the future knows it, the step is marked. Locations of artifacts that steps exchange
are known ahead, for they follow from names.
"""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from jitflow.expr import tags
from jitflow.machine import locations, names, phases
from jitflow.machine import node as types
from jitflow.machine import templates as keys
from jitflow.machine.arguments import ArtifactArgument, found_artifact
from jitflow.machine.compiled import CompiledTemplate, Plan, Task
from jitflow.machine.future import FutureInputs, FutureTasks, FutureValues, LiveView, Outcome, future_inputs, has_tags, known
from jitflow.machine.graph import forgiven, plan_for
from jitflow.machine.intermediates import NOTHING, Passing, Policy, place_of
from jitflow.machine.node import Node
from jitflow.machine.pods import planned_outputs
from jitflow.machine.problems import Problem, Unknown
from jitflow.machine.reach import reached
from jitflow.machine.schedule import condition, holds, items_of
from jitflow.machine.scope import Scope
from jitflow.machine.state import State
from jitflow.machine.turn import MAX_DEPTH
from jitflow.machine.values import LiveTasks, template_values
from jitflow.machine.workflow import TERMINATE, exit_name
from jitflow.model import argo
from jitflow.model.objects import NO_OBJECTS, Objects
from jitflow.model.runs import NamedFile

MAX_STEPS = 200_000
"""More steps than this are not looked at ahead."""
MAX_BARREN = 20_000
"""So many templates more than there are pods are gone through: calls that call each other double with each level."""


class ForecastStep(Struct, frozen=True, kw_only=True, gc=False):
    """A pod that runs or will run.

    `certain`: False when it may not run at all. `unknown`: True when an artifact (or a loop's list) is not known yet and
    so left out. `after`: pods that must end first; steps that wait for the same pods share one tuple. `body`: the template,
    its metadata resolved.
    """

    node_id: str
    template: str
    inputs: tuple[argo.Artifact, ...] = ()
    outputs: tuple[argo.Artifact, ...] = ()
    after: tuple[str, ...] = ()
    certain: bool = True
    unknown: bool = False
    body: argo.Template | None = None
    name: str = ""
    fingerprint: str = ""
    """What its run time is learned by."""
    named: tuple[NamedFile, ...] = ()
    passing: Passing = NOTHING
    """Which of its outputs need not leave the primary."""


class _Place(Struct, frozen=True, kw_only=True):
    """Where a node stands or will stand."""

    name: str
    boundary: str = ""
    after: tuple[str, ...] = ()
    certain: bool = True
    unknown: bool = False
    depth: int = 0
    stack: tuple[str, ...] = ()
    """Templates around it."""


def forecast(
    state: State, *, limit: int = MAX_STEPS, objects: Objects = NO_OBJECTS, intermediates: str = ""
) -> tuple[ForecastStep, ...]:
    """Return the pods that run and will run, in order of need: what can start soonest comes first.

    Costs as much as there are nodes and future steps; at most `limit` are returned. `intermediates`: what becomes of artifacts
    that steps hand on to each other (`keep` or `when-needed`); empty: nothing is said of outputs that may stay in the primary.
    """
    return _Forecaster(state, limit, objects, intermediates).run()


def has_data(state: State, objects: Objects = NO_OBJECTS) -> bool:
    """Return whether the workflow names files, or calls templates that read or write artifacts: others need no forecast."""
    program = state.program
    if program.named.files:
        return True
    if program.common.has_data is not None:
        return program.common.has_data
    found, own = False, True
    for template in reached(program, objects):
        own = own and template is not None and not keys.is_of_another(template.key)
        if template is not None and _touches_data(template.source):
            found = True
            break
    if own:
        program.common.has_data = found
    return found


def _touches_data(source: argo.Template) -> bool:
    return bool((source.inputs and source.inputs.artifacts) or (source.outputs and source.outputs.artifacts))


class _FullError(Exception):
    """The limit of steps is reached."""


class _Forecaster:
    def __init__(self, state: State, limit: int, objects: Objects, intermediates: str = "") -> None:
        self._objects = objects
        self._limit = limit
        self._walked = 0
        self._view = LiveView(state, objects)
        self._program = state.program
        self._run = state.run
        self._values = FutureValues(self._view)
        self._steps: list[tuple[int, int, ForecastStep]] = []
        self._levels: dict[str, int] = {}
        self._shared: dict[int, tuple[tuple[str, ...], int]] = {}
        self._policy = Policy(state.program, state.run, intermediates) if intermediates else None
        self._exported: set[bytes] | None = None
        """Where what the workflow exports lies, None as long as that is not known."""

    def run(self) -> tuple[ForecastStep, ...]:
        """Walk from the root."""
        try:
            if self._run.finished_at is None:
                self._walk()
        except _FullError:
            self._mark_cut()
        self._steps.sort(key=lambda entry: entry[:2])
        return tuple(self._without_exports(step) for _, _, step in self._steps)

    def _mark_cut(self) -> None:
        """Say that more may come than was looked at."""
        if self._steps:
            level, rank, step = self._steps[-1]
            self._steps[-1] = (level, rank, msgspec.structs.replace(step, unknown=True))

    def _without_exports(self, step: ForecastStep) -> ForecastStep:
        """Return the step with what the workflow exports not among the outputs that may stay in the primary."""
        if not step.passing.read:
            return step
        exported = self._exported
        own = {a.name for a in step.outputs if exported is not None and place_of(a) not in exported}
        return msgspec.structs.replace(step, passing=Passing(step.passing.unread, step.passing.read & own))

    def _walk(self) -> None:
        spec, name = self._program.spec, self._program.name
        ends = self._top(_Place(name=name), spec.entrypoint or "")
        self._exported = self._exports(spec.entrypoint or "", ends)
        if spec.on_exit and self._run.shutdown != TERMINATE:
            self._top(_Place(name=exit_name(name), after=ends.last), spec.on_exit)

    def _exports(self, entrypoint: str, ends: Outcome) -> set[bytes] | None:
        if self._policy is None:
            return None
        try:
            outputs = self._compiled(entrypoint).source.outputs
        except Problem:
            return None
        declared = [artifact.name for artifact in outputs.artifacts] if outputs is not None else []
        known_ones = [ends.artifacts[name] for name in declared if name in ends.artifacts]
        return {place_of(artifact) for artifact in known_ones} if len(known_ones) == len(declared) else None

    def _top(self, place: _Place, template_key: str) -> Outcome:
        node = self._live(place.name)
        if node is not None:
            return self._live_node(node, place)
        try:
            template = self._compiled(template_key)
        except Problem:
            return Outcome(last=place.after)
        inputs = future_inputs(template, self._program.arguments, Scope(self._values), self._values)
        return self._template(place, template, inputs)

    def _compiled(self, key: str) -> CompiledTemplate:
        self._program.fetch(key, self._objects)
        return self._program.template(key)

    def _live(self, name: str) -> Node | None:
        node = self._view.find(names.node_id(self._program.name, name))
        return node if node is not None and node.name == name and not node.is_waiting else None

    # -- nodes that are there -----------------------------------------------------------------------------------------

    def _live_node(self, node: Node, place: _Place) -> Outcome:
        if node.is_fulfilled or node.held or node.is_daemon:
            artifacts = {a.name: a for a in (node.outputs or argo.Outputs()).artifacts}
            return Outcome(artifacts=artifacts, phase=node.held or node.phase, ended=True)
        template = self._program.template(node.template)
        inputs = FutureInputs(inputs=node.inputs or argo.Inputs())
        match node.type:
            case types.POD if template.kind in {"container", "script"}:
                return self._pod(place, template, inputs, node)
            case types.RETRY:
                return self._attempts(node, place, template, inputs)
            case types.STEPS:
                return self._steps_of(place, template, inputs, node)
            case types.DAG:
                return self._dag_of(place, template, inputs, node)
            case _:
                return Outcome(last=place.after, certain=False)

    def _attempts(self, node: Node, place: _Place, template: CompiledTemplate, inputs: FutureInputs) -> Outcome:
        attempts = 0
        while self._view.child(node.id, (node.task, attempts)) is not None:
            attempts += 1
        last = self._view.child(node.id, (node.task, attempts - 1)) if attempts else None
        if last is not None and not last.is_fulfilled:
            return self._live_node(last, _moved(place, name=last.name))
        return self._template(_moved(place, name=f"{node.name}({attempts})"), template, inputs, retried=True)

    # -- templates ----------------------------------------------------------------------------------------------------

    def _template(self, place: _Place, template: CompiledTemplate, inputs: FutureInputs, *, retried: bool = False) -> Outcome:
        """Foresee a node that is not there yet."""
        self._walked += 1
        if self._walked > len(self._steps) * MAX_DEPTH + MAX_BARREN:
            raise _FullError
        if place.depth > MAX_DEPTH or (not place.certain and template.key in place.stack):
            return Outcome(last=place.after, certain=False)
        if template.retry is not None and not retried:
            place = _moved(place, name=f"{place.name}(0)")
        place = _moved(place, depth=place.depth + 1, stack=(*place.stack, template.key))
        match template.kind:
            case "steps":
                return self._steps_of(place, template, inputs, None)
            case "dag":
                return self._dag_of(place, template, inputs, None)
            case "container" | "script" | "container_set":
                return self._pod(place, template, inputs, None)
            case _:
                return Outcome(last=place.after)

    def _pod(self, place: _Place, template: CompiledTemplate, inputs: FutureInputs, node: Node | None) -> Outcome:
        if len(self._steps) >= self._limit:
            raise _FullError
        name = place.name
        node = node or Node(
            id=names.node_id(self._program.name, name),
            name=name,
            display_name=names.display_name(name, place.boundary),
            template=template.key,
            inputs=inputs.inputs,
        )
        local = template_values(template, node, self._program.name)
        scope = Scope(self._values, inputs=inputs.inputs, local=local)
        outputs = known(lambda: planned_outputs(self._view, node, template, scope))
        planned = outputs.artifacts if outputs is not None else ()
        written = tuple(artifact for artifact in planned if not has_tags(artifact))
        level = 0 if node.phase else 1 + self._level(place.after)
        step = ForecastStep(
            node_id=node.id,
            template=template.name,
            inputs=inputs.inputs.artifacts,
            outputs=written,
            after=() if node.phase else place.after,
            certain=place.certain,
            unknown=place.unknown or not inputs.complete,
            body=self._body(template, scope),
            name=node.name,
            fingerprint=template.fingerprint,
            named=self._program.named.read_by(inputs.inputs.parameters),
            passing=self._policy.of(template, written) if self._policy is not None else NOTHING,
        )
        self._levels[node.id] = level
        self._steps.append((level, 0 if node.phase == phases.RUNNING else 1, step))
        return Outcome(last=(node.id,), artifacts={a.name: a for a in written}, certain=place.certain)

    def _body(self, template: CompiledTemplate, scope: Scope) -> argo.Template:
        if template.annotations is None:
            return template.source
        return known(lambda: template.with_annotations(scope)) or template.source

    def _level(self, after: tuple[str, ...]) -> int:
        if not after:
            return 0
        found = self._shared.get(id(after))
        if found is None:
            found = self._shared[id(after)] = (after, max(self._levels.get(node_id, 0) for node_id in after))
        return found[1]

    # -- steps and DAGs -----------------------------------------------------------------------------------------------

    def _steps_of(self, place: _Place, template: CompiledTemplate, inputs: FutureInputs, node: Node | None) -> Outcome:
        future = FutureTasks(template, LiveTasks(self._view, node) if node is not None else None)
        after, certain = place.after, place.certain
        for number, group in enumerate(template.groups):
            live = self._view.child(node.id, (-1, number)) if node is not None else None
            ends: list[tuple[str, ...]] = []
            for index in group:
                base = f"{place.name}[{number}].{template.tasks[index].name}"
                spot = _moved(place, name=base, boundary=place.name, after=after, certain=certain)
                future.outcomes[index] = self._task(spot, template.tasks[index], inputs, future, live)
                ends.append(future.outcomes[index].last)
            after = _union(ends) or after
        return self._boundary_end(template, inputs, future, after, place)

    def _dag_of(self, place: _Place, template: CompiledTemplate, inputs: FutureInputs, node: Node | None) -> Outcome:
        future = FutureTasks(template, LiveTasks(self._view, node) if node is not None else None)
        try:
            plan = plan_for(self._program, template, inputs.inputs)
        except Problem:
            return Outcome(last=place.after)
        for index in plan.order:
            task = template.tasks[index]
            allowed, certain = _allowed(template, task, future)
            after = _union([future.outcomes[d].last for d in task.dependencies]) or place.after
            if not allowed:
                future.outcomes[index] = Outcome(last=after, phase=phases.OMITTED)
                continue
            spot = _moved(
                place, name=f"{place.name}.{task.name}", boundary=place.name, after=after, certain=place.certain and certain
            )
            future.outcomes[index] = self._task(spot, task, inputs, future, node)
        return self._boundary_end(template, inputs, future, self._ends(plan, future) or place.after, place)

    def _ends(self, plan: Plan, future: FutureTasks) -> tuple[str, ...]:
        return _union([future.outcomes[index].last for index in plan.targets if index in future.outcomes])

    def _boundary_end(
        self, template: CompiledTemplate, inputs: FutureInputs, future: FutureTasks, last: tuple[str, ...], place: _Place
    ) -> Outcome:
        scope = Scope(self._values, inputs=inputs.inputs, tasks=future)
        artifacts: dict[str, argo.Artifact] = {}
        for artifact in (template.source.outputs or argo.Outputs()).artifacts:
            found = known(lambda a=artifact: found_artifact(ArtifactArgument(a), scope))
            if found is not None and locations.store_of(found):
                artifacts[artifact.name] = found
        return Outcome(last=last, artifacts=artifacts, certain=place.certain)

    # -- one task -----------------------------------------------------------------------------------------------------

    def _task(self, place: _Place, task: Task, inputs: FutureInputs, future: FutureTasks, owner: Node | None) -> Outcome:
        """Foresee a step or task; `owner` is its step group or DAG if that is there."""
        live = self._view.child(owner.id, (task.index, -1)) if owner is not None else None
        if live is not None and live.type != types.TASK_GROUP:
            return self._live_node(live, _moved(place, name=live.name))
        if live is not None and live.is_fulfilled:
            return Outcome(phase=live.phase, ended=True)
        scope = Scope(self._values, inputs=inputs.inputs, tasks=future)
        began = live is not None or (owner is not None and self._view.child(owner.id, (task.index, 0)) is not None)
        if not began and task.when is not None and not (task.loops and task.when_has_item):
            runs = _decide(task.when, scope)
            if runs is False:
                # The items of a loop are skipped one by one: the loop itself succeeds.
                return Outcome(last=place.after, phase=phases.SUCCEEDED if task.loops else phases.SKIPPED)
            place = _moved(place, certain=place.certain and runs is True)
        if not task.loops:
            return self._instance(place, task, scope, None)
        return self._loop(
            place, task, scope, lambda item: Scope(self._values, inputs=inputs.inputs, tasks=future, item=item), live or owner
        )

    def _loop(self, place: _Place, task: Task, scope: Scope, inner: Callable[[str], Scope], owner: Node | None) -> Outcome:
        """Foresee a loop; `inner` gives the scope of an item."""
        items = known(lambda: items_of(task, scope))
        if items is None or any("{{" in item for item in items):
            return self._instance(_moved(place, certain=False, unknown=True), task, scope, None)
        ends: list[tuple[str, ...]] = []
        all_ended = True
        for index, item in enumerate(items):
            name = names.item_name(place.name, index, item)
            live = self._view.child(owner.id, (task.index, index)) if owner is not None else None
            spot = _moved(place, name=name)
            if live is None and task.when is not None and task.when_has_item:
                runs = _decide(task.when, inner(item))
                if runs is False:
                    continue
                spot = _moved(spot, certain=spot.certain and runs is True)
            outcome = self._instance(spot, task, inner(item), live)
            all_ended = all_ended and outcome.ended
            ends.append(outcome.last)
        if not items:
            return Outcome(last=place.after, phase=phases.SKIPPED)
        return Outcome(last=_union(ends) if ends else place.after, ended=all_ended and bool(ends))

    def _instance(self, place: _Place, task: Task, scope: Scope, live: Node | None) -> Outcome:
        if live is not None:
            return self._live_node(live, place)
        try:
            template = self._compiled(task.template)
        except Problem:
            return Outcome(last=place.after)
        return self._template(place, template, future_inputs(template, task.arguments, scope, self._values))


def _moved(place: _Place, **changes: Any) -> _Place:
    return msgspec.structs.replace(place, **changes)


def _decide(when: tags.Text, scope: Scope) -> bool | None:
    """Return whether a `when` holds, None when only the future knows."""
    try:
        text = condition(when, scope)
        return None if "{{" in text else holds(text)
    except Unknown:
        return None
    except Problem:
        return False


def _allowed(template: CompiledTemplate, task: Task, future: FutureTasks) -> tuple[bool, bool]:
    """Return whether a task will run if all goes well, and whether that is certain."""
    if task.depends is None:
        return True, True
    answers = {_holds(template, task, future, skipped=False), _holds(template, task, future, skipped=True)}
    return True in answers, len(answers) == 1


def _holds(template: CompiledTemplate, task: Task, future: FutureTasks, *, skipped: bool) -> bool:
    """Evaluate `depends`, with every uncertain task taken as Skipped or as Succeeded."""

    def has(name: str, result: str) -> bool:
        index = template.index_of(name)
        outcome = future.outcomes.get(index) if index is not None else None
        if outcome is None:
            return False
        phase = phases.SKIPPED if skipped and not outcome.certain else outcome.phase
        if result == "AnySucceeded":
            return phase == phases.SUCCEEDED
        return {"Errored": phases.ERROR}.get(result, result) == phase

    return task.depends is None or task.depends.evaluate(has, forgiven(template, task))


def _union(parts: list[tuple[str, ...]]) -> tuple[str, ...]:
    """Return all ids, each once; one part alone is returned as it is, so that it stays shared."""
    filled = [part for part in parts if part]
    if len(filled) == 1:
        return filled[0]
    return tuple(dict.fromkeys(node_id for part in filled for node_id in part))
