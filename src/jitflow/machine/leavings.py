"""What pods leave behind when their nodes have ended: outputs that are being saved, and those of daemons that were ended."""

import msgspec

from jitflow.machine import archives, phases, pods
from jitflow.machine import node as types
from jitflow.machine.node import Node, changed
from jitflow.machine.problems import Problem
from jitflow.machine.program import Program
from jitflow.machine.turn import Turn
from jitflow.model import argo
from jitflow.model.pods import PodEnd


def leaves_outputs(turn: Turn, node: Node) -> bool:
    """Return whether a daemon's pod may leave something to keep: outputs of its template, or archived logs."""
    template = turn.template_of(node)
    return template.outputs is not None or bool(archives.log_artifacts(turn.program, turn.run, template))


def awaits_end(program: Program, node: Node) -> bool:
    """Return whether a node is a daemon that has ended before its pod, whose outputs it takes; also while these are saved.

    Of daemons only those have succeeded; a hook's pod is none, see `daemons.is_one`.
    """
    succeeded = (node.held or node.phase) == phases.SUCCEEDED
    return node.saving and succeeded and not node.hook and bool(program.template(node.template).source.daemon)


def ended_late(turn: Turn, node: Node, end: PodEnd) -> None:
    """The pod of a node that had been given up, or of a daemon that is needed no more, ended. Harmless to repeat."""
    if node.killed:
        turn.close(pods.kill_key(node.id))
    if not awaits_end(turn.program, node):
        return
    template = turn.template_of(node)
    try:
        planned = pods.planned_outputs(turn, node, template, pods.scope_of(turn, node, template))
    except Problem as problem:
        planned = None
        _late_problem(turn, node, str(problem))
    outputs, _ = pods.collect(planned or argo.Outputs(), end)
    outputs = pods.with_logs(outputs, pods.planned_logs(turn, node, template), end) or argo.Outputs()
    outputs = msgspec.structs.replace(outputs, exit_code=None)  # it was told to end: how it did says nothing
    turn.export(outputs)
    node = turn.put(changed(node, outputs=outputs if outputs != argo.Outputs() else None))
    if not end.artifacts:
        saved(turn, node, "")


def _late_problem(turn: Turn, node: Node, problem: str) -> None:
    """Tell of outputs that cannot be had; as in Argo, what a daemon leaves behind decides nothing any more."""
    turn.note("WorkflowNodeError", f"outputs of {node.name}: {problem}", kind="Warning", node_id=node.id)


def saved(turn: Turn, node: Node, error: str, *, lost: bool = False) -> None:
    """The outputs are proven far away; or they cannot be: the node fails after all, with all above it up to one that runs.

    Where they are `lost`, the node has them no more: whatever lies under their names far away, no step is to take it for them.
    """
    turn.saving -= 1
    turn.close(node.id)
    late = awaits_end(turn.program, node)
    outputs = node.outputs
    if lost and outputs is not None:
        outputs = msgspec.structs.replace(outputs, artifacts=())
    node = turn.put(changed(node, saving=False, outputs=outputs))
    if error and late:
        _late_problem(turn, node, error)
    elif error:
        _fail_after_all(turn, node, phases.ERROR, error)
    turn.rules.top_ended(turn)


def _fail_after_all(turn: Turn, node: Node, phase: str, message: str) -> None:
    while True:
        if node.held:
            turn.put(changed(node, held=phase, message=message))
            return
        if node.phase != phases.SUCCEEDED:
            return
        phases.check(node.id, node.phase, phase)
        branch = phase if node.branch else ""
        failed = turn.put(changed(node, phase=phase, message=message, branch=branch))
        if failed.boundary and failed.fails_boundary and not turn.nodes[failed.boundary].is_fulfilled:
            turn.count_failure(failed)
        if not node.owner:
            return
        owner = turn.nodes[node.owner]
        if _is_forgiven(turn, owner, failed):
            return
        if not owner.is_fulfilled:
            turn.rules.composites[owner.type].child_failed_late(turn, owner, failed)
            if not owner.held:
                return
        phase, message = _above(owner, failed)
        node = turn.nodes[owner.id]


def _above(owner: Node, child: Node) -> tuple[str, str]:
    """Return the phase and message of an ended node of which a child has failed after all."""
    if owner.type == types.STEP_GROUP:
        return phases.FAILED, f"child '{child.id}' failed"
    if owner.type == types.STEPS:
        return phases.FAILED, child.message
    return child.phase, child.message if owner.type == types.RETRY else ""


def _is_forgiven(turn: Turn, owner: Node, child: Node) -> bool:
    if owner.type in {types.STEP_GROUP, types.DAG}:
        return child.phase in turn.task_of(child).forgives
    return False
