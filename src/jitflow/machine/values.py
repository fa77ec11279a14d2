"""Values that come out of nodes: outputs of steps and loops, and what the workflow knows of itself."""

from collections.abc import Iterable, Mapping
from typing import Protocol

import msgspec

from jitflow.machine import names, phases, times
from jitflow.machine import node as types
from jitflow.machine import templates as keys
from jitflow.machine.compiled import CompiledTemplate, Task
from jitflow.machine.expressions import rendered
from jitflow.machine.node import Key, Node
from jitflow.machine.problems import Absent, Unresolved
from jitflow.machine.program import Program
from jitflow.machine.state import Run
from jitflow.model import argo
from jitflow.model.effective import config_value
from jitflow.model.objects import Objects

NO_OUTPUTS = argo.Outputs()


class View(Protocol):
    """Nodes as they are now."""

    program: Program
    run: Run
    now: float
    objects: Objects

    def find(self, node_id: str) -> Node | None:
        """Return a node by its id."""
        ...

    def all_nodes(self) -> Mapping[str, Node]:
        """Return all nodes by id."""
        ...

    def child(self, owner: str, key: Key) -> Node | None:
        """Return the node at a place below an owner."""
        ...


class LiveTasks:
    """The steps or tasks of one boundary node."""

    __slots__ = ("_boundary", "_own", "_template", "_view")

    def __init__(self, view: View, boundary: Node, own: Node | None = None) -> None:
        """Look at one Steps or DAG node; `own`: the node that its task's name stands for."""
        self._own = own
        self._view = view
        self._boundary = boundary
        self._template = view.program.template(boundary.template)

    def value(self, task: str, field: str) -> str | None:
        """Return a field of a task's node, see `TaskOutputs.value`."""
        index = self._template.index_of(task)
        if index is None or field.startswith("outputs.artifacts."):
            return None
        compiled = self._template.tasks[index]
        node = self._node(compiled)
        if node is None:
            if field.startswith("outputs."):
                items = self._items(compiled)
                if items is not None:
                    return _aggregate(items, field.removeprefix("outputs."), _tag(self._boundary, task, field))
            raise Unresolved(f"failed to resolve {{{{{_tag(self._boundary, task, field)}}}}}")
        if field.startswith("outputs."):
            return self._output(node, compiled, field.removeprefix("outputs."), _tag(self._boundary, task, field))
        return _field(node, field, self._view.run.host)

    def artifact(self, task: str, name: str) -> argo.Artifact | None:
        """Return an output artifact of a task's node, see `TaskOutputs.artifact`."""
        index = self._template.index_of(task)
        node = self._node(self._template.tasks[index]) if index is not None else None
        outputs = (node.outputs if node is not None else None) or NO_OUTPUTS
        return next((artifact for artifact in outputs.artifacts if artifact.name == name), None)

    def _node(self, task: Task) -> Node | None:
        """Return the one node of a task; None when it was expanded to items or has not begun."""
        if self._own is not None and self._own.task == task.index:
            return self._own
        return self._view.child(self._owner(task), (task.index, -1))

    def _owner(self, task: Task) -> str:
        if self._boundary.type == types.DAG:
            return self._boundary.id
        group = self._view.child(self._boundary.id, (-1, task.group))
        return group.id if group is not None else ""

    def _items(self, task: Task) -> list[Node] | None:
        owner = self._owner(task)
        return item_nodes(self._view, owner, task.index) or None

    def _output(self, node: Node, task: Task, field: str, tag: str) -> str | None:
        if node.type == types.TASK_GROUP:
            return _aggregate(item_nodes(self._view, node.id, task.index), field, tag)
        value = _output_field(node.outputs or NO_OUTPUTS, field)
        if value is not None:
            return value
        if node.phase in {phases.SKIPPED, phases.OMITTED}:
            if task.loops and node.message == EMPTY_LOOP:
                return "[]"
            return self._default(task, field, tag)
        raise Unresolved(f"failed to resolve {{{{{tag}}}}}")

    def _default(self, task: Task, field: str, tag: str) -> str:
        """Return what the template of a node that did not run gives as the output's default."""
        template = self._view.program.template(task.template)
        name = field.removeprefix("parameters.")
        for parameter in (template.source.outputs or NO_OUTPUTS).parameters:
            default = parameter.value_from.default if parameter.value_from else None
            if parameter.name == name and default is not None:
                return default
        raise Absent(tag)


EMPTY_LOOP = "Skipped, empty params"


def item_nodes(view: View, owner: str, task: int) -> list[Node]:
    """Return the nodes of a loop's items, in order."""
    found: list[Node] = []
    while (node := view.child(owner, (task, len(found)))) is not None:
        found.append(node)
    return found


def _tag(boundary: Node, task: str, field: str) -> str:
    return f"{'tasks' if boundary.type == types.DAG else 'steps'}.{task}.{field}"


def _field(node: Node, field: str, host: str) -> str | None:
    match field:
        case "id":
            return node.id
        case "status":
            return node.phase
        case "exitCode":
            return (node.outputs or NO_OUTPUTS).exit_code
        case "startedAt":
            return times.rfc3339(node.started_at)
        case "finishedAt":
            return times.rfc3339(node.finished_at)
        case "ip":
            return node.ip
        case "hostNodeName":
            return host if host and node.type in {types.POD, types.RETRY} else None
        case _:
            return None


def _output_field(outputs: argo.Outputs, field: str) -> str | None:
    if field == "result":
        return outputs.result
    if field == "exitCode":
        return outputs.exit_code
    if field == "parameters":
        return msgspec.json.encode(outputs.parameters).decode()
    name = field.removeprefix("parameters.")
    for parameter in outputs.parameters:
        if parameter.name == name and parameter.value is not None:
            return parameter.value
    return None


def _aggregate(items: Iterable[Node], field: str, tag: str) -> str:
    """Return the outputs of a loop's items as one JSON list; only items that succeeded count.

    Raises:
        Problem: a result is no JSON, or nothing has that output.
    """
    outputs = [node.outputs or NO_OUTPUTS for node in items if node.phase == phases.SUCCEEDED]
    if field == "result":
        return _json_list([_checked_json(o.result, tag) for o in outputs if o.result is not None])
    if field == "parameters":
        maps = [{p.name: p.value or "" for p in o.parameters} for o in outputs]
        return msgspec.json.encode(maps).decode()
    name = field.removeprefix("parameters.")
    values = [p.value or "" for o in outputs for p in o.parameters if p.name == name]
    if not field.startswith("parameters.") or (outputs and not values):
        raise Unresolved(f"failed to resolve {{{{{tag}}}}}")
    if values and all(value[:1] in {"{", "["} and _is_json(value) for value in values):
        return _json_list(values)
    return msgspec.json.encode(values).decode()


def check_results(items: Iterable[Node], tag: str) -> None:
    """Check that each result among a loop's items is JSON.

    Raises:
        Problem: one is not.
    """
    _aggregate(items, "result", tag)


def _json_list(texts: list[str]) -> str:
    return msgspec.json.format(f"[{','.join(texts)}]", indent=-1)


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError:
        return False
    return True


def _checked_json(text: str, tag: str) -> str:
    if not _is_json(text):
        raise Unresolved(f"failed to resolve {{{{{tag}}}}}: the result {text[:80]!r} of a loop's item is no JSON")
    return text.strip()


_ALL_LABELS = frozenset({"workflow.labels", "workflow.labels.json"})


def _template_name(node: Node) -> str:
    """Return the name of the template that a node calls, by reference or not; a step group calls none."""
    return "" if node.type == types.STEP_GROUP else keys.name_of(node.template)


class WorkflowValues:
    """Values of the `workflow.…` tags at one moment."""

    __slots__ = ("_view",)

    def __init__(self, view: View) -> None:
        """Look at the workflow."""
        self._view = view

    def __call__(self, tag: str) -> str | None:
        """Return a tag's value, None when there is none."""
        if tag in _ALL_LABELS and self._view.run.labels:
            own = self._view.program.metadata.labels
            return msgspec.json.encode(own | self._view.run.labels, order="sorted").decode()
        found = self._view.program.constants.get(tag)
        if found is not None:
            return found
        if tag.startswith("="):
            return rendered(tag[1:], self)
        if tag.startswith("workflow.labels."):  # one that was worked out when the workflow began
            return self._view.run.labels.get(tag.removeprefix("workflow.labels."))
        if tag.startswith("workflow.outputs."):
            return _output_field(self._view.run.outputs or NO_OUTPUTS, tag.removeprefix("workflow.outputs."))
        match tag:
            case "workflow.status":
                root = self._root()
                return (root.held or root.phase) if root is not None else self._view.run.phase
            case "workflow.duration":
                return f"{max(0.0, self._end() - (self._view.run.started_at or self._view.now)):.6f}"
            case "workflow.failures":
                return self._failures()
            case _:
                return None

    @property
    def now(self) -> float:
        """The time of the decision."""
        return self._view.now

    @property
    def item(self) -> str:
        """No loop's item."""
        return ""

    def config(self, reference: argo.ConfigMapKeySelector) -> str | None:
        """Return a value of a ConfigMap of the workflow's namespace."""
        return config_value(reference, self._view.program.metadata.namespace or "", self._view.objects)

    def artifact(self, name: str) -> argo.Artifact | None:
        """Return a global output artifact, or an argument of the workflow."""
        arguments = self._view.program.spec.arguments or argo.Arguments()
        for artifact in (*(self._view.run.outputs or NO_OUTPUTS).artifacts, *arguments.artifacts):
            if artifact.name == name:
                return artifact
        return None

    def _root(self) -> Node | None:
        return self._view.find(self._view.program.name)

    def _end(self) -> float:
        root = self._root()
        return root.finished_at if root is not None and root.finished_at is not None else self._view.now

    def _failures(self) -> str:
        """Return the failed nodes as a JSON list in a string. Costs a look at every node: only exit handlers ask for it."""
        failed = [
            {
                "displayName": node.display_name,
                "message": node.message,
                "templateName": _template_name(node),
                "phase": node.phase,
                "podName": names.pod_name(self._view.program.name, _template_name(node), node.name, node.id),
                "finishedAt": times.rfc3339(node.finished_at),
            }
            for node in self._view.all_nodes().values()
            if node.is_unsuccessful and not node.exit_handler
        ]
        failed.sort(key=lambda entry: (entry["finishedAt"], entry["podName"]))
        # As in Argo: the list is a text in quotes, so that a shell hands it on whole.
        return msgspec.json.encode(msgspec.json.encode(failed or None).decode()).decode()


def last_values(attempt: Node | None, retries: int, no_code: str = "0") -> dict[str, str]:
    """Return what an attempt that has ended tells the next one, with Argo's defaults when there was none.

    Args:
        attempt: the one that has ended.
        retries: how many there have been.
        no_code: the exit code of one that has none: `0` in a template, `-1` in the expression of a retry strategy.
    """
    if attempt is None:
        return {
            "retries": "0",
            "lastRetry.exitCode": "0",
            "lastRetry.status": "",
            "lastRetry.duration": "0",
            "lastRetry.message": "",
        }
    began = attempt.started_at or 0.0
    lasted = max(0, int(attempt.finished_at or began) - int(began))
    return {
        "retries": str(retries),
        "lastRetry.exitCode": (attempt.outputs or NO_OUTPUTS).exit_code or no_code,
        "lastRetry.status": attempt.phase,
        "lastRetry.duration": str(lasted),
        "lastRetry.message": attempt.message,
    }


def own_values(view: View, node: Node, template: CompiledTemplate) -> dict[str, str]:
    """Return the values that only the template of one node knows: `pod.name`, `node.name`, paths, `retries`."""
    owner = view.find(node.owner) if node.owner else None
    if owner is None or owner.type != types.RETRY:
        return template_values(template, node, view.program.name)
    last = view.child(owner.id, (node.task, node.index - 1))
    values = template_values(template, node, view.program.name) | last_values(last, node.index)
    return values | {"steps.name": owner.display_name, "tasks.name": owner.display_name}


def template_values(template: CompiledTemplate, node: Node, workflow: str) -> dict[str, str]:
    """Return the values that the template of a node knows whatever encloses it."""
    pod = names.pod_name(workflow, keys.name_of(node.template), node.name, node.id)
    own = {"node.name": node.name, "pod.name": pod, "steps.name": node.display_name, "tasks.name": node.display_name}
    return dict(template.paths) | own
