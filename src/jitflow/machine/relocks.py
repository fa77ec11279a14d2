"""Locks of nodes that go on in a workflow that runs again: they had them, gave them back, and need them anew.

Such a node stays Running and nothing below it goes on before it has its locks, as in Argo.
"""

from collections.abc import Iterable

from jitflow.machine import locks, phases
from jitflow.machine import node as types
from jitflow.machine.node import Node, changed
from jitflow.machine.problems import Problem
from jitflow.machine.scope import Scope
from jitflow.machine.state import COMPOSITES
from jitflow.machine.turn import Turn


def go_on(turn: Turn, nodes: Iterable[Node]) -> None:
    """Open composite nodes that have not ended, those above first; what stands below one that waits for locks waits too."""
    waiting: set[str] = set()
    for node in nodes:
        if node.type not in COMPOSITES or node.is_fulfilled:
            continue
        if node.owner in waiting or _waits(turn, node):
            waiting.add(node.id)
        else:
            turn.open_later(node)


def _waits(turn: Turn, node: Node) -> bool:
    """Ask for a node's locks; False when it needs none, or can have none (it is in Error then)."""
    sync = None if node.retried or node.type in {types.STEP_GROUP, types.TASK_GROUP} else turn.template_of(node).sync
    if sync is None:
        return False
    try:
        wanted = locks.wanted(sync, Scope(turn.values, inputs=node.inputs), turn.program.metadata.namespace or "")
    except Problem as problem:
        turn.finish(node, phases.ERROR, str(problem))
        return True
    if wanted:
        turn.put(changed(node, locking=locks.WANTED, locks=tuple(lock.name for lock in wanted)))
        turn.ask_for_locks(node.id, wanted)
    return bool(wanted)


def is_waiting(node: Node) -> bool:
    """Return whether a node runs again and waits for its locks."""
    return node.locking == locks.WANTED and node.phase == phases.RUNNING


def taken(turn: Turn, node: Node) -> None:
    """The node has its locks."""
    _open(turn, turn.put(changed(node, locking=locks.HELD, message="")))


def refused(turn: Turn, node: Node, message: str) -> None:
    """The node can never have its locks."""
    turn.close(locks.key_of(node.id))
    turn.finish(changed(node, locking="", locks=()), phases.ERROR, message)


def give_up(turn: Turn, node: Node) -> None:
    """The workflow is stopped: the node waits no more; what it opens finds that nothing may start."""
    turn.close(locks.key_of(node.id))
    _open(turn, turn.put(changed(node, locking="", locks=(), message="")))


def _open(turn: Turn, node: Node) -> None:
    below, todo = [node], [node.id]
    while todo:
        children = [child for child in turn.children(todo.pop()) if child.type in COMPOSITES and not child.is_fulfilled]
        below += children
        todo += [child.id for child in children]
    turn.open_later(node)
    go_on(turn, below[1:])
