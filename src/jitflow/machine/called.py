"""How a node's template was called, as Argo's status tells it: `templateName` or `templateRef`, `nodeFlag`, stored templates.

A template of another object is stored under `SCOPE/RESOURCE/NAME` when it is first called. One that stands inside a step or task
is stored under `SCOPE/RESOURCE/inline/STEP`, by the object that calls it; the workflow's own are not stored.
"""

from collections.abc import Iterable

from jitflow.machine import node as types
from jitflow.machine import phases
from jitflow.machine import templates as keys
from jitflow.machine.graph import Nodes, task_of
from jitflow.machine.node import Node
from jitflow.machine.program import Program
from jitflow.machine.state import State
from jitflow.model import argo

ORIGINAL = "original pod: "
"""How the message begins of a node that stands for a pod of the workflow that was resubmitted."""
_LOCAL = "local/"
_RAN_NOT = frozenset({phases.SKIPPED, phases.OMITTED, phases.ERROR})


def name_of(program: Program, nodes: Nodes, node: Node) -> str | None:
    """Return a node's `templateName`: None if it was called by reference or inline, or calls nothing itself."""
    if node.type == types.STEP_GROUP or _is_by_reference(program, nodes, node):
        return None
    return keys.name_of(node.template) or None


def reference_of(program: Program, nodes: Nodes, node: Node) -> argo.TemplateRef | None:
    """Return a node's `templateRef`, None if its caller named no other object."""
    if node.type == types.STEP_GROUP or not _is_by_reference(program, nodes, node):
        return None
    return keys.reference_of(node.template)


def flag_of(node: Node) -> argo.NodeFlag | None:
    """Return a node's `nodeFlag`.

    As in Argo it is empty where the node was made for a task and not for a template (groups, and tasks that did not run), and the
    Retry node of a hook has the flag of its attempts.
    """
    hooked = bool(node.hook) or (node.exit_handler and not node.boundary)
    retried = node.retried or (hooked and node.type == types.RETRY)
    if hooked or retried:
        return argo.NodeFlag(hooked=hooked or None, retried=retried or None)
    made_for_task = node.type in {types.STEP_GROUP, types.TASK_GROUP} or (
        node.type == types.SKIPPED and node.phase in _RAN_NOT and not node.message.startswith(ORIGINAL)
    )
    return argo.NodeFlag() if made_for_task else None


def stored(state: State, nodes: Iterable[Node]) -> dict[str, argo.Template]:
    """Return `status.storedTemplates`; `nodes`: all that show, those above first. Costs as much as there are nodes."""
    found = {keys.stored_key(key): template for key, template in state.run.stored.items()}
    if not found:
        return found
    for node in nodes:
        if node.scope.startswith(_LOCAL) or node.retried or node.type in {types.STEP_GROUP, types.TASK_GROUP, types.SKIPPED}:
            continue
        template = state.program.template(node.template)
        if keys.is_inline(node.template):
            found.setdefault(f"{node.scope}/inline/{_step_name(state, node)}", _as_written(state, node))
        for task in template.tasks:
            if task.source.inline is not None:
                found.setdefault(f"{node.scope}/inline/{task.name}", task.source.inline)
    return found


def _as_written(state: State, node: Node) -> argo.Template:
    """Return the template of a node that is inline, without the workflow's defaults."""
    parent, _, place = node.template.rpartition("/")
    inline = state.program.template(parent).tasks[int(place)].source.inline
    assert inline is not None, "the key says so"
    return inline


def _step_name(state: State, node: Node) -> str:
    """Return a step's name as its node's name has it, the item of a loop included."""
    boundary = state.nodes[node.boundary].name
    return node.name[len(boundary) :].partition(".")[2]


def _is_by_reference(program: Program, nodes: Nodes, node: Node) -> bool:
    """Return whether the caller named another object: a template that calls one of its own object mostly does so by name."""
    if keys.home_of(node.template) == "" or keys.is_inline(node.template):
        return False
    if keys.scope_of(node.template, "") != node.scope:
        return True
    if not node.boundary:
        return False
    if not node.hook:
        return task_of(program, nodes, node).source.template_ref is not None
    about = nodes[node.owner]
    if node.retried:
        about = nodes[about.owner]
    return keys.is_of_another(task_of(program, nodes, about).hooks[node.hook].template)
