"""Lifecycle hooks: templates that run when a step, a task or the workflow reaches a state, and exit handlers of steps and tasks.

A hook's node hangs below the node that it is about and holds back only its completion: those that wait for a step go on when its
hooks have ended too. How a hook ends does not change the phase of its node; only the workflow's exit handler does that.
"""

from collections.abc import Mapping

from jitflow.machine import names, phases
from jitflow.machine import node as types
from jitflow.machine import templates as keys
from jitflow.machine.compiled import CompiledHook
from jitflow.machine.expressions import truth
from jitflow.machine.node import HOOK, Node, changed
from jitflow.machine.problems import Problem
from jitflow.machine.scope import Scope
from jitflow.machine.turn import Turn

EXIT = "exit"


def of(turn: Turn, node: Node) -> Mapping[str, CompiledHook]:
    """Return the hooks of a node: those of its task, if it is the node that stands for the task or for one item of its loop.

    As in Argo, of a DAG's loop each item has the exit handler, and the whole loop the other hooks.
    """
    if not node.boundary or node.retried or node.hook or node.task < 0:
        return {}
    found = turn.task_of(node).hooks
    whole = node.type == types.TASK_GROUP
    if found and (whole or turn.nodes[node.owner].type == types.TASK_GROUP):
        return {name: hook for name, hook in found.items() if (name == EXIT) is not whole}
    return found


def look(turn: Turn, node: Node) -> None:
    """Start the hooks of a node whose condition has come true. Called whenever the node's phase changes."""
    if node.id == turn.program.name:
        look_at_workflow(turn)
    hooks = of(turn, node)
    if not hooks or turn.halted(exit_handler=True) or node.phase in {phases.SKIPPED, phases.OMITTED}:
        return
    # As in Argo: the exit handler begins when all other hooks that were begun have ended.
    for number, (name, hook) in sorted(enumerate(hooks.items()), key=lambda entry: entry[1][0] == EXIT):
        if turn.child(node.id, (HOOK, number)) is not None or (name == EXIT and _any_runs(turn, node, len(hooks))):
            continue
        if _wanted(turn, node, name, hook):
            _start(turn, node, name, number, hook)


def hold_back(turn: Turn, node: Node) -> bool:
    """Start what is to run at a node's end; return whether hooks are under way, for which its completion waits."""
    hooks = of(turn, node)
    if not hooks:
        return False
    look(turn, node)
    node = turn.nodes[node.id]
    running = _any_runs(turn, node, len(hooks))
    if running != node.hooking:
        turn.put(changed(node, hooking=running))
    return running


def _any_runs(turn: Turn, node: Node, count: int) -> bool:
    return any(_runs(turn.child(node.id, (HOOK, number))) for number in range(count))


def _runs(node: Node | None) -> bool:
    return node is not None and not node.is_fulfilled


def _wanted(turn: Turn, node: Node, name: str, hook: CompiledHook) -> bool:
    if not hook.expression:
        return name == EXIT and node.is_fulfilled
    if name == EXIT and not node.is_fulfilled:
        return False
    scope = turn.task_scope(turn.nodes[node.boundary], node.item, own=node)
    return _holds(turn, node, hook.expression, scope)


def _holds(turn: Turn, node: Node, expression: str, scope: Scope) -> bool:
    try:
        return truth(expression, scope)
    except Problem as problem:
        # What it asks for may not be known yet; at the end of the node it never will be.
        if node.is_fulfilled:
            turn.note("WorkflowNodeError", f"hook of {node.name}: {problem}", kind="Warning", node_id=node.id)
        return False


def _start(turn: Turn, node: Node, name: str, number: int, hook: CompiledHook) -> None:
    suffix = "onExit" if name == EXIT else f"hooks.{name}"
    full = f"{node.name}.{suffix}"
    boundary = turn.nodes[node.boundary]
    turn.start_hook(
        Node(
            id=turn.new_id(full),
            name=full,
            display_name=names.display_name(full, boundary.name),
            template=keys.home_of(boundary.template) + hook.template if not keys.is_of_another(hook.template) else hook.template,
            scope=keys.scope_of(boundary.template, turn.program.scope_name),
            boundary=boundary.id,
            owner=node.id,
            task=HOOK,
            index=number,
            item=node.item,
            depth=node.depth + 1,
            exit_handler=boundary.exit_handler or name == EXIT,
            hook=name,
        )
    )


# -- the workflow's own hooks -----------------------------------------------------------------------------------------


def look_at_workflow(turn: Turn) -> bool:
    """Start the workflow's hooks whose condition has come true; return whether any is under way."""
    hooks = turn.program.hooks
    running = False
    for name, hook in hooks.items():
        if name == EXIT:
            continue
        full = f"{turn.program.name}.hooks.{name}"
        node = turn.find(names.node_id(turn.program.name, full))
        if node is None and not turn.halted(exit_handler=True) and _workflow_wants(turn, hook):
            node = _start_workflow_hook(turn, name, full, hook)
        running = running or _runs(node)
    return running


def _workflow_wants(turn: Turn, hook: CompiledHook) -> bool:
    try:
        return bool(hook.expression) and truth(hook.expression, Scope(turn.values))
    except Problem:
        return False


def _start_workflow_hook(turn: Turn, name: str, full: str, hook: CompiledHook) -> Node | None:
    node = Node(
        id=names.node_id(turn.program.name, full),
        name=full,
        display_name=full,
        template=hook.template,
        scope=keys.scope_of("", turn.program.scope_name),
        hook=name,
    )
    turn.start_hook(node)
    return turn.find(node.id)
