"""Daemons: pods that serve others. Who waits for one goes on when it is ready; it ends with its boundary.

The node of a daemon that is needed no more has succeeded at once. What its pod leaves behind, its archived log among it, is taken
when the pod has ended; the workflow ends after that, as in Argo, whose controller waits for the pod's task result.
"""

from jitflow.machine import leavings, phases, pods
from jitflow.machine import node as types
from jitflow.machine.node import Node, changed
from jitflow.machine.retries import Retries
from jitflow.machine.turn import Turn
from jitflow.model.runs import KillPod

SERVED = "the daemon is needed no more"


def is_one(turn: Turn, node: Node) -> bool:
    """Return whether a node's template is a daemon's; a hook's runs to its end, for nothing ends it."""
    return bool(turn.template_of(node).source.daemon) and not node.hook


def ready(turn: Turn, node: Node, address: str) -> None:
    """The pod of a daemon is ready: its dependants go on. One that nothing encloses has served its purpose at once."""
    if not is_one(turn, node):
        return
    if node.phase == phases.PENDING:
        pods.started(turn, node)
        node = turn.nodes[node.id]
    if not node.boundary:
        _end(turn, turn.put(changed(node, ip=address)))
        return
    turn.ready(node, address)


def end_all(turn: Turn, boundary: Node) -> None:
    """A boundary ends: so do its daemons. They have succeeded, however their pods take it."""
    for node_id in sorted(turn.frame(boundary.id).daemons):
        node = turn.find(node_id)
        if node is not None and node.is_daemon:
            _end(turn, node)


def _end(turn: Turn, node: Node) -> None:
    if node.type == types.POD:
        if not node.killed:
            turn.emit(KillPod(key=pods.kill_key(node.id), node_id=node.id))
        # The kill stays open until the pod has ended: a restart must end it too.
        node = changed(node, killed=node.killed or SERVED, saving=leavings.leaves_outputs(turn, node))
        if node.saving:
            turn.saving += 1
        else:
            turn.close(node.id)
    turn.finish(node, phases.SUCCEEDED)


def ended(turn: Turn, node: Node) -> None:
    """A daemon that had been ready has ended: one that failed is repeated, or counts against those above that still run."""
    owner = turn.nodes[node.owner]
    if owner.is_fulfilled or owner.held or not node.is_unsuccessful:
        return
    if owner.type == types.RETRY:
        Retries().child_ended(turn, owner, node)
        return
    handler = turn.rules.composites[owner.type]
    if owner.type == types.DAG:
        node = turn.put(changed(node, branch=node.phase))
    handler.child_failed_late(turn, owner, node)
    handler.settle(turn, turn.nodes[owner.id])
