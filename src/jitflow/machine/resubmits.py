"""A finished, failed workflow submitted anew with memoization: the new one begins with what had succeeded."""

import msgspec

from jitflow.machine import again, names, phases
from jitflow.machine import node as types
from jitflow.machine import templates as keys
from jitflow.machine.node import Node, changed
from jitflow.machine.program import Program
from jitflow.machine.rules import RULES
from jitflow.machine.state import State, new_state, recount
from jitflow.machine.turn import Turn
from jitflow.model import argo, repositories
from jitflow.model.objects import Objects

_replace = msgspec.structs.replace


def memoization_refusal(state: State) -> str:
    """Return why a workflow cannot be submitted anew with memoization, empty when it can."""
    if state.run.finished_at is None or state.run.phase not in phases.UNSUCCESSFUL:
        return "workflow must be Failed/Error to resubmit in memoized mode"
    return ""


def resubmitted(
    workflow: argo.Workflow,
    old: State,
    *,
    now: float,
    objects: Objects,
    repository: argo.ArtifactRepositoryRefStatus = repositories.SERVER,
    archive_logs: bool = False,
    defaults: argo.Workflow | None = None,
) -> State:
    """Return the state of a new workflow that keeps what succeeded in an old one.

    Pods that succeeded become Skipped nodes with their outputs (`original pod: ID`), as in Argo; what failed and what came
    after it, and the exit handlers, are gone. Looks at every node.

    Args:
        workflow: the new workflow, with its name and uid.
        old: the state of the finished one.
        now: seconds since the epoch.
        objects: see `new_state`.
        repository: see `new_state`; the old workflow's own one goes on, for its artifacts lie there.
        archive_logs: see `new_state`.
        defaults: see `new_state`.
    """
    fresh = new_state(workflow, now=now, objects=objects, repository=repository, archive_logs=archive_logs, defaults=defaults)
    if fresh.run.invalid:
        return fresh
    nodes = dict(old.nodes)
    turn = Turn(old, now, RULES, objects)
    gone, begun = again.to_repeat(turn, nodes)
    turn.release()
    kept = [node for node in nodes.values() if node.id not in gone]
    moved = _Move(old.program.name, fresh.program.name, kept)
    carried = {"stored": old.run.stored, "outputs": old.run.outputs, "repository": old.run.repository}
    run = _replace(fresh.run, **carried, taken_over=True)
    program = Program(fresh.workflow, spec=fresh.program.own_spec, stored=run.stored)
    return recount(program, run, [moved.node(node, now if node.id in begun else None) for node in kept])


class _Move:
    """Gives nodes the names and ids that they have in the new workflow."""

    def __init__(self, old: str, new: str, kept: list[Node]) -> None:
        self._old, self._new = old, new
        self._ids: dict[str, str] = {"": ""}
        taken: set[str] = set()
        for node in kept:
            salt = 0
            while (found := names.node_id(new, self._name(node.name), salt)) in taken:
                salt += 1
            taken.add(found)
            self._ids[node.id] = found

    def _name(self, name: str) -> str:
        return self._new + name[len(self._old) :]

    def node(self, node: Node, begins: float | None) -> Node:
        """Return a node as it is in the new workflow; `begins`: when it goes on, if it does."""
        was_pod = node.type in types.EXECUTABLE
        own = keys.scope_of("", self._old)
        return changed(
            node,
            id=self._ids[node.id],
            name=self._name(node.name),
            display_name=self._new if node.display_name == self._old else node.display_name,
            scope=keys.scope_of("", self._new) if node.scope == own else node.scope,
            owner=self._ids[node.owner],
            boundary=self._ids[node.boundary],
            type=types.SKIPPED if was_pod else node.type,
            phase=phases.SKIPPED if was_pod else node.phase,
            message=f"original pod: {node.id}" if was_pod else node.message,
            started_at=node.started_at if begins is None else begins,
            saving=False,
            locking="",
            locks=(),
            memo=None,
            containers=(),
        )
