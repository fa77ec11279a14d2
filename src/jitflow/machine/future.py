"""What the tags of a step that is still to come stand for: known values, or `Unknown` for what only the future knows."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from msgspec import Struct

from jitflow.machine import phases
from jitflow.machine.arguments import input_artifact, input_value
from jitflow.machine.compiled import CompiledArguments, CompiledTemplate
from jitflow.machine.expressions import rendered
from jitflow.machine.node import Key, Node
from jitflow.machine.problems import Problem, Unknown
from jitflow.machine.program import Program
from jitflow.machine.scope import Scope
from jitflow.machine.state import NO_CHILDREN, Run, State
from jitflow.machine.values import LiveTasks, WorkflowValues
from jitflow.model import argo
from jitflow.model.objects import NO_OBJECTS, Objects

T = TypeVar("T")


class LiveView:
    """The nodes of a state, for reading."""

    def __init__(self, state: State, objects: Objects = NO_OBJECTS) -> None:
        """Look at a state."""
        self._state = state
        self.objects = objects
        self.program: Program = state.program
        self.run: Run = state.run
        self.now: float = state.run.started_at or 0.0

    def find(self, node_id: str) -> Node | None:
        """Return a node by its id."""
        return self._state.nodes.get(node_id)

    def all_nodes(self) -> Mapping[str, Node]:
        """Return all nodes."""
        return self._state.nodes

    def child(self, owner: str, key: Key) -> Node | None:
        """Return the node at a place below an owner; one that waits for a slot counts as not there."""
        found = self._state.children.get(owner, NO_CHILDREN).get(key)
        node = self._state.nodes[found] if found is not None else None
        return None if node is not None and node.is_waiting else node


class FutureValues:
    """The workflow's values, as far as the future does not change them."""

    def __init__(self, view: LiveView) -> None:
        """Look at the workflow as it is."""
        self._values = WorkflowValues(view)

    def __call__(self, tag: str) -> str | None:
        """Return a value.

        Raises:
            Unknown: it is known only later.
        """
        if tag in {"workflow.status", "workflow.failures", "workflow.duration"}:
            raise Unknown(tag)
        if tag.startswith("="):
            return rendered(tag[1:], self)
        value = self._values(tag)
        if value is None and tag.startswith("workflow.outputs."):
            raise Unknown(tag)
        return value

    @property
    def now(self) -> float:
        """The time of the decision."""
        return self._values.now

    @property
    def item(self) -> str:
        """No loop's item."""
        return ""

    def config(self, reference: argo.ConfigMapKeySelector) -> str | None:
        """Return a value of a ConfigMap."""
        return self._values.config(reference)

    def artifact(self, name: str) -> argo.Artifact | None:
        """Return a global artifact.

        Raises:
            Unknown: it is known only later.
        """
        found = self._values.artifact(name)
        if found is None:
            raise Unknown(name)
        return found


class Outcome(Struct, frozen=True, kw_only=True):
    """What comes out of a node: the pods to wait for, its artifacts, and its phase as far as one can tell.

    `ended`: the node is there and has ended, so everything is known of it.
    """

    last: tuple[str, ...] = ()
    artifacts: Mapping[str, argo.Artifact] = {}
    phase: str = phases.SUCCEEDED
    certain: bool = True
    ended: bool = False


class FutureTasks:
    """The steps or tasks of a boundary: those that have ended, and what is foreseen of the others."""

    def __init__(self, template: CompiledTemplate, live: LiveTasks | None) -> None:
        """Look at a boundary; `live` is None when it has no node yet."""
        self._template = template
        self._live = live
        self.outcomes: dict[int, Outcome] = {}

    def value(self, task: str, field: str) -> str | None:
        """Return a value, see `TaskOutputs.value`.

        Raises:
            Unknown: the task has not ended.
        """
        outcome = self._outcome(task) if not field.startswith("outputs.artifacts.") else None
        if outcome is None:
            return None
        if self._live is not None and outcome.ended:
            return self._live.value(task, field)
        raise Unknown(task)

    def artifact(self, task: str, name: str) -> argo.Artifact | None:
        """Return where an artifact lies or will lie.

        Raises:
            Unknown: only the future knows.
        """
        outcome = self._outcome(task)
        if outcome is None:
            return None
        if self._live is not None and outcome.ended:
            return self._live.artifact(task, name)
        if name not in outcome.artifacts:
            raise Unknown(name)
        return outcome.artifacts[name]

    def _outcome(self, task: str) -> Outcome | None:
        index = self._template.index_of(task)
        if index is None:
            return None
        if index not in self.outcomes:
            raise Unknown(task)
        return self.outcomes[index]


def known(read: Callable[[], T]) -> T | None:
    """Return what `read` returns, None when only the future knows it."""
    try:
        return read()
    except (Problem, Unknown):
        return None


class FutureInputs(Struct, frozen=True, kw_only=True):
    """A step's inputs as far as they are known; `complete` is False when an artifact is left out."""

    inputs: argo.Inputs
    complete: bool = True


def future_inputs(template: CompiledTemplate, arguments: CompiledArguments, outer: Scope, values: FutureValues) -> FutureInputs:
    """Return a template's inputs for arguments of which some may not be known yet."""
    parameters: list[argo.Parameter] = []
    for parameter in template.input_parameters:
        text = known(lambda p=parameter: input_value(p, template, arguments, outer, values))
        is_known = text is not None and "{{" not in text
        parameters.append(argo.Parameter(name=parameter.name, value=text if is_known else None))
    inputs = argo.Inputs(parameters=tuple(parameters))
    if not template.input_artifacts:
        return FutureInputs(inputs=inputs)
    inner = Scope(values, inputs=inputs)
    artifacts: list[argo.Artifact] = []
    complete = True
    for declared, compiled in template.input_artifacts:
        try:
            artifact = input_artifact(declared, compiled, arguments, outer, inner)
        except (Problem, Unknown):
            complete = False
            continue
        if artifact is not None and has_tags(artifact):
            complete = False
        elif artifact is not None:
            artifacts.append(artifact)
    return FutureInputs(inputs=argo.Inputs(parameters=tuple(parameters), artifacts=tuple(artifacts)), complete=complete)


def has_tags(artifact: argo.Artifact) -> bool:
    """Return whether a location still depends on something unknown."""
    for store in (artifact.s3, artifact.plugin, artifact.http, artifact.gcs, artifact.azure, artifact.oss, artifact.hdfs):
        if store is not None and any("{{" in text for text in _texts(store)):
            return True
    return False


def _texts(store: Struct) -> list[str]:
    return [value for field in store.__struct_fields__ if isinstance(value := getattr(store, field), str)]
