"""From an event to a decision: the one door of the machine."""

import msgspec

from jitflow.machine import again, daemons, garbage, leavings, locks, phases, pods, relocks, tasks, workflow
from jitflow.machine import node as types
from jitflow.machine.node import Node, changed
from jitflow.machine.rules import RULES
from jitflow.machine.state import Decision, State
from jitflow.machine.turn import Turn
from jitflow.model.objects import NO_OBJECTS, Objects
from jitflow.model.runs import (
    ArtifactsDeleted,
    DeletionRequested,
    Event,
    LabelsSet,
    LocksAwaited,
    LocksRefused,
    LocksTaken,
    OutputsSaved,
    PodEnded,
    PodProgressed,
    PodReady,
    PodRefused,
    PodStarted,
    PodWaits,
    ResumeRequested,
    RetryRequested,
    ShutdownRequested,
    SuspendedNodesSet,
    SuspendRequested,
    TaskEnded,
    TaskProgress,
    TimerFired,
    WorkflowPostponed,
    WorkflowStarted,
)  # fmt: skip

NodeEvent = PodStarted | PodReady | PodProgressed | PodWaits | PodEnded | PodRefused | OutputsSaved
LocksEvent = LocksTaken | LocksAwaited | LocksRefused
TaskEvent = TaskProgress | TaskEnded
GarbageEvent = DeletionRequested | ArtifactsDeleted


def decide(state: State, event: Event, now: float, objects: Objects = NO_OBJECTS) -> Decision:
    """Return what an event comes to. `state` stays valid and unchanged.

    Late, repeated and unknown events change nothing. What goes wrong while the workflow runs becomes the message of a node;
    a request that `refusal` refuses changes nothing.

    Args:
        state: the workflow as it is.
        event: what happened.
        now: seconds since the epoch; not before that of earlier events.
        objects: the templates, ConfigMaps and the like that the workflow may refer to, as they are now.
    """
    turn = Turn(state, now, RULES, objects)
    if isinstance(event, WorkflowStarted):  # the most frequent that is about no node, and never refused
        workflow.begin(turn)
    elif isinstance(event, NodeEvent):
        node = turn.find(event.node_id)
        if node is not None and node.type == types.POD:
            _pod_event(turn, node, event)
    elif isinstance(event, LocksEvent):
        _locks_event(turn, event)
    elif isinstance(event, TaskEvent):
        node = turn.find(event.node_id)
        if node is not None and node.phase in {phases.PENDING, phases.RUNNING} and not node.held and tasks.is_task(turn, node):
            _task_event(turn, node, event)
    elif isinstance(event, GarbageEvent):
        garbage.take(turn, event)
    elif not again.refusal(state, event):
        _workflow_event(turn, event)
    turn.work()
    decision = turn.decision()
    turn.release()
    return decision


def _pod_event(turn: Turn, node: Node, event: NodeEvent) -> None:
    lives = node.phase in {phases.PENDING, phases.RUNNING} and not node.held
    match event:
        case PodStarted() if node.phase == phases.PENDING:
            pods.started(turn, node, event.host)
        case PodReady() if lives and not node.killed and not node.daemoned:
            daemons.ready(turn, node, event.address)
        case PodWaits() if node.phase == phases.PENDING:
            pods.waits(turn, node, event.message)
        case PodProgressed() if lives:
            pods.progressed(turn, node, event.progress)
        case PodEnded() if lives:
            pods.ended(turn, node, event.end)
        case PodEnded():
            leavings.ended_late(turn, node, event.end)
        case PodRefused() if lives:
            pods.refused(turn, node, event.message)
        case OutputsSaved() if node.saving:
            leavings.saved(turn, node, event.error, lost=event.lost)
        case _:
            pass  # late or repeated


def _task_event(turn: Turn, node: Node, event: TaskEvent) -> None:
    if isinstance(event, TaskEnded):
        tasks.ended(turn, node, event)
    else:
        tasks.progressed(turn, node, event)


def _locks_event(turn: Turn, event: LocksEvent) -> None:
    if not event.node_id:
        workflow.locks_event(turn, event)
        return
    node = turn.find(event.node_id)
    again = node is not None and relocks.is_waiting(node)
    if node is None or not (node.is_waiting or again) or node.locking != locks.WANTED:
        return  # late: it was given up
    match event:
        case LocksTaken() if again:
            relocks.taken(turn, node)
        case LocksRefused() if again:
            relocks.refused(turn, node, event.message)
        case LocksTaken():
            turn.locks_taken(node)
        case LocksAwaited():
            if node.message != event.message:
                turn.put(changed(node, message=event.message))
        case LocksRefused():
            turn.locks_refused(node, event.message)


def _workflow_event(turn: Turn, event: Event) -> None:
    match event:
        case WorkflowPostponed():
            workflow.postpone(turn, event.message)
        case TimerFired():
            workflow.timer_fired(turn, event.key)
        case SuspendRequested():
            workflow.suspend(turn)
        case ResumeRequested():
            workflow.resume(turn, event)
        case ShutdownRequested():
            workflow.shut_down(turn, event)
        case SuspendedNodesSet():
            workflow.set_nodes(turn, event)
        case LabelsSet():
            labels = {**turn.run.patched_labels, **event.labels}
            annotations = {**turn.run.patched_annotations, **event.annotations}
            turn.run = msgspec.structs.replace(turn.run, patched_labels=labels, patched_annotations=annotations)
        case RetryRequested():
            again.retry(turn, event)
        case _:
            raise TypeError(f"no event of a workflow: {event!r}")
