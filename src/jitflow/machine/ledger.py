"""The mutable working copy of a state during one decision: nodes, counters, effects. It knows no rules."""

from collections.abc import Iterable
from typing import Any

import msgspec
from immutables import Map

from jitflow.machine import names, shares
from jitflow.machine.compiled import CompiledTemplate, Task
from jitflow.machine.graph import task_of
from jitflow.machine.node import Key, Node
from jitflow.machine.state import NO_CHILDREN, NO_FRAME, Counts, Decision, Frame, Run, State
from jitflow.model import argo
from jitflow.model.runs import Effect, Note

_replace = msgspec.structs.replace
_EMPTY: Map[Any, Any] = Map()
"""One for all: most workflows have nothing in most maps, and states are kept for as long as their workflows run."""


class Ledger:
    """The working copy. `nodes` and the other maps are mutated in place; `decision` freezes them."""

    def __init__(self, state: State, now: float) -> None:
        """Open the state for change."""
        self.state = state
        self.now = now
        self.program = state.program
        self.run: Run = state.run
        self.nodes = state.nodes.mutate()
        self.below = state.children.mutate()
        self.frames = state.frames.mutate()
        self.waits = state.waits.mutate()
        self.queues = state.queues.mutate()
        self._take_counts(state.counts)
        self._changed: dict[str, None] = {}
        self._removed: dict[str, None] = {}
        self._effects: list[Effect] = []
        self._done: dict[str, None] = {}
        self._notes: list[Note] = []

    def _take_counts(self, counts: Counts) -> None:
        self.active_pods: int = counts.active_pods
        self.progress: tuple[int, int] = counts.progress
        self.saving: int = counts.saving
        self.seq: int = counts.seq

    # -- what is there ------------------------------------------------------------------------------------------------

    def find(self, node_id: str) -> Node | None:
        """Return a node by its id."""
        return self.nodes.get(node_id)

    def child(self, owner: str, key: Key) -> Node | None:
        """Return the node at a place below an owner."""
        found = self.below.get(owner, NO_CHILDREN).get(key)
        return self.nodes[found] if found is not None else None

    def children(self, owner: str) -> list[Node]:
        """Return the nodes below an owner, in order. Costs as much as there are."""
        found = self.below.get(owner, NO_CHILDREN)
        return [self.nodes[found[key]] for key in sorted(found)]

    def frame(self, node_id: str) -> Frame:
        """Return what a composite node counts."""
        return self.frames.get(node_id, NO_FRAME)

    def template_of(self, node: Node) -> CompiledTemplate:
        """Return a node's template."""
        return self.program.template(node.template)

    def task_of(self, node: Node) -> Task:
        """Return the task that a node runs."""
        return task_of(self.program, self.nodes, node)

    # -- elementary changes -------------------------------------------------------------------------------------------

    def put(self, node: Node) -> Node:
        """Replace a node."""
        self._count_progress(self.nodes.get(node.id), node)
        self.nodes[node.id] = node
        self._changed[node.id] = None
        self._removed.pop(node.id, None)
        return node

    def _count_progress(self, old: Node | None, new: Node | None) -> None:
        before = shares.of(old) if old is not None else (0, 0)
        after = shares.of(new) if new is not None else (0, 0)
        if before != after:
            self.progress = (self.progress[0] + after[0] - before[0], self.progress[1] + after[1] - before[1])

    def set_frame(self, node_id: str, **changes: Any) -> None:
        """Change what a composite node counts."""
        self.frames[node_id] = _replace(self.frame(node_id), **changes)

    def remove(self, node: Node) -> None:
        """Take a node out."""
        self._count_progress(node, None)
        del self.nodes[node.id]
        if node.owner:
            self.below[node.owner] = self.below[node.owner].delete(node.key)
        self._changed.pop(node.id, None)
        self._removed[node.id] = None

    def export(self, outputs: argo.Outputs) -> None:
        """Copy outputs that have a global name to the workflow's."""
        parameters = [p for p in outputs.parameters if p.global_name]
        artifacts = [a for a in outputs.artifacts if a.global_name]
        if not parameters and not artifacts:
            return
        own = self.run.outputs or argo.Outputs()
        found = {p.name: p for p in own.parameters}
        found.update({p.global_name or "": argo.Parameter(name=p.global_name or "", value=p.value) for p in parameters})
        places = {a.name: a for a in own.artifacts}
        places.update({a.global_name or "": _replace(a, name=a.global_name or "", global_name=None) for a in artifacts})
        self.run = _replace(self.run, outputs=_replace(own, parameters=tuple(found.values()), artifacts=tuple(places.values())))

    def new_id(self, name: str) -> str:
        """Return the id of a node's name; where another name has the same hash, the next free one."""
        salt = 0
        while True:
            found = names.node_id(self.program.name, name, salt)
            node = self.nodes.get(found)
            if node is None or node.name == name:
                return found
            salt += 1

    def all_nodes(self) -> Map[str, Node]:
        """Return all nodes as they are now, for the few events that must look at each."""
        nodes = self.nodes.finish()
        self.nodes = nodes.mutate()
        return nodes

    def in_order(self) -> list[Node]:
        """Return all nodes, those above before those below, in the same order in every process."""
        return sorted(self.all_nodes().values(), key=lambda node: (node.depth, node.key, node.name))

    def rebase(self, state: State, *, removed: Iterable[str], changed: Iterable[str]) -> None:
        """Go on from another state of the same workflow."""
        self.program, self.run = state.program, state.run
        self.nodes, self.below = state.nodes.mutate(), state.children.mutate()
        self.frames, self.waits, self.queues = state.frames.mutate(), state.waits.mutate(), state.queues.mutate()
        self._take_counts(state.counts)
        self._removed.update(dict.fromkeys(removed))
        self._changed.update(dict.fromkeys(changed))

    # -- effects ------------------------------------------------------------------------------------------------------

    def emit(self, effect: Effect) -> None:
        """Ask for an effect."""
        self._effects.append(effect)
        self._done.pop(effect.key, None)

    def close(self, key: str) -> None:
        """Say that an effect is performed or no longer wanted."""
        self._done[key] = None

    def note(self, reason: str, message: str, *, kind: str = "Normal", node_id: str = "") -> None:
        """Add a line to the run's history."""
        self._notes.append(Note(at=self.now, reason=reason, message=message, kind=kind, node_id=node_id))

    # -- the result ---------------------------------------------------------------------------------------------------

    def decision(self) -> Decision:
        """Freeze the working copy."""
        old = self.state.counts
        counts = Counts(active_pods=self.active_pods, progress=self.progress, saving=self.saving, seq=self.seq)
        counts = old if counts == old else counts
        state = State(
            program=self.program,
            run=self.run,
            nodes=self.nodes.finish(),
            children=self.below.finish() if self.below else _EMPTY,
            frames=self.frames.finish() if self.frames else _EMPTY,
            waits=self.waits.finish() if self.waits else _EMPTY,
            queues=self.queues.finish() if self.queues else _EMPTY,
            counts=counts,
        )
        return Decision(
            state=state,
            nodes=tuple([state.nodes[node_id] for node_id in self._changed]),
            nodes_removed=tuple([node_id for node_id in self._removed if node_id in self.state.nodes]) if self._removed else (),
            effects=tuple(self._effects),
            effects_done=tuple(self._done),
            notes=tuple(self._notes),
            header_changed=self.run is not self.state.run or self.program is not self.state.program,
        )
