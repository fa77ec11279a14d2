"""The arrows between nodes as Argo draws them: children and outbound nodes, derived from owners and dependencies."""

import heapq
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from jitflow.machine import node as types
from jitflow.machine.node import Key, Node
from jitflow.machine.state import NO_CHILDREN, State

T = TypeVar("T")
_RUN = 2_000
"""So many items are sorted at once: longer lists would keep the interpreter, which threads share, for too long."""


def in_order(items: Iterable[T], key: Callable[[T], Any]) -> list[T]:
    """Return the items sorted; what a thread does besides goes on meanwhile."""
    listed = list(items)
    if len(listed) <= _RUN:
        return sorted(listed, key=key)
    runs = [sorted(listed[at : at + _RUN], key=key) for at in range(0, len(listed), _RUN)]
    return list(heapq.merge(*runs, key=key))


class Edges:
    """The arrows of one state; worked out once, when first asked."""

    def __init__(self, state: State) -> None:
        """Look at a state."""
        self._state = state
        self._outbound: dict[str, tuple[str, ...]] = {}
        self._arrows: dict[str, list[str]] = {}
        shown = (node for node in state.nodes.values() if node.is_shown)
        self.nodes = in_order(shown, key=lambda node: (node.depth, node.key, node.name))
        for node in self.nodes:
            for parent in self._parents(node):
                self._arrows.setdefault(parent, []).append(node.id)

    def children(self, node: Node) -> tuple[str, ...]:
        """Return the nodes that follow a node, in the order in which they were made."""
        return tuple(self._arrows.get(node.id, ()))

    def outbound(self, node: Node) -> tuple[str, ...]:
        """Return the last nodes below a node: those that what comes after it hangs on."""
        found = self._outbound.get(node.id)
        if found is None:
            found = self._outbound[node.id] = self._last(node)
        return found

    def _owned(self, node_id: str) -> list[Node]:
        owned = self._state.children.get(node_id, NO_CHILDREN)
        found = [self._state.nodes[owned[key]] for key in in_order(owned, key=lambda key: key)]
        return [node for node in found if node.is_shown and not node.is_hook]

    def _child(self, owner: str, key: Key) -> Node | None:
        found = self._state.children.get(owner, NO_CHILDREN).get(key)
        return self._state.nodes[found] if found is not None else None

    def _parents(self, node: Node) -> tuple[str, ...]:
        if not node.owner:
            return ()
        owner = self._state.nodes[node.owner]
        if node.is_hook:
            return (owner.id,)
        if node.type == types.STEP_GROUP and node.index > 0:
            before = self._child(owner.id, (-1, node.index - 1))
            return self._group_outbound(before) if before is not None else ()
        if owner.type == types.DAG:
            task = self._state.program.template(owner.template).tasks[node.task]
            if task.dependencies:
                before = [self._child(owner.id, (index, -1)) for index in task.dependencies]
                return tuple(dict.fromkeys(last for one in before if one is not None for last in self.outbound(one)))
        return (owner.id,)

    def _group_outbound(self, group: Node) -> tuple[str, ...]:
        steps = self._owned(group.id)
        return tuple(last for step in steps for last in self.outbound(step)) if steps else (group.id,)

    def _last(self, node: Node) -> tuple[str, ...]:
        match node.type:
            case types.STEPS:
                groups = self._owned(node.id)
                return self._group_outbound(groups[-1]) if groups else (node.id,)
            case types.DAG:
                tasks = self._state.program.template(node.template).tasks
                ends = [child for child in self._owned(node.id) if not tasks[child.task].dependents]
                return tuple(last for child in ends for last in self.outbound(child)) or (node.id,)
            case types.TASK_GROUP:
                return tuple(last for item in self._owned(node.id) for last in self.outbound(item)) or (node.id,)
            case types.RETRY:
                attempts = self._owned(node.id)
                return self.outbound(attempts[-1]) if attempts else (node.id,)
            case _:
                return (node.id,)
