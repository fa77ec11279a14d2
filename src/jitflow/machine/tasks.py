"""Templates that run without a pod of their own: http, plugin, data and resource. The engine's agent performs them."""

import msgspec

from jitflow.expr import durations
from jitflow.machine import node as types
from jitflow.machine import phases
from jitflow.machine.compiled import CompiledTemplate
from jitflow.machine.node import Node, changed
from jitflow.machine.pods import TIMED_OUT, planned_outputs, pod_defaults
from jitflow.machine.problems import Problem
from jitflow.machine.scope import Scope
from jitflow.machine.turn import Turn
from jitflow.machine.values import own_values
from jitflow.model.runs import RunTask, ServePlugins, StartTimer, TaskEnded, TaskProgress

PLUGINS_KEY = "plugins"

KINDS = frozenset({"http", "plugin", "data", "resource"})
"""Kinds of templates that run so."""


class TaskKind:
    """Templates of one of these kinds. Argo shows data and resource as the pods that they are there."""

    def __init__(self, node_type: str) -> None:
        """Say what the status calls such a node."""
        self.node_type = node_type

    def start(self, turn: Turn, node: Node, template: CompiledTemplate) -> None:
        """Add the node as Pending and ask for its work."""
        scope = Scope(turn.values, inputs=node.inputs, local=own_values(turn, node, template))
        outputs = planned_outputs(turn, node, template, scope)
        body = template.body.render(scope)
        limits = [seconds for value in (body.timeout, body.active_deadline_seconds) if (seconds := _seconds(value)) is not None]
        due = turn.now + min(limits) if limits else None
        turn.add(changed(node, phase=phases.PENDING, started_at=turn.now, due=due))
        own_plugins = template.kind == "plugin" and bool(turn.program.spec.executor_plugins)
        if own_plugins:
            _serve_plugins(turn, node)
        turn.emit(
            RunTask(
                key=node.id,
                node_id=node.id,
                kind=template.kind,
                template=msgspec.structs.replace(body, inputs=node.inputs, outputs=outputs),
                workflow_level=pod_defaults(turn, node, scope),
                own_plugins=own_plugins,
            )
        )
        if due is not None:
            turn.emit(StartTimer(key=timer_key(node.id), due=due))


def _serve_plugins(turn: Turn, node: Node) -> None:
    """Ask for the workflow's own plugins, once: they serve all its templates."""
    if not turn.run.plugins:
        turn.run = msgspec.structs.replace(turn.run, plugins=True)
        level = msgspec.structs.replace(pod_defaults(turn, node, Scope(turn.values)), pod_spec_patch="")
        turn.emit(ServePlugins(key=PLUGINS_KEY, plugins=turn.program.spec.executor_plugins, workflow_level=level))


def is_task(turn: Turn, node: Node) -> bool:
    """Return whether a node runs without a pod."""
    if node.type in {types.HTTP, types.PLUGIN}:
        return True
    return node.type == types.POD and turn.template_of(node).kind in KINDS


def timer_key(node_id: str) -> str:
    """Return the key of the timer that ends a task that takes too long."""
    return f"task/{node_id}"


def progressed(turn: Turn, node: Node, event: TaskProgress) -> None:
    """The work has begun, or has something to say."""
    if node.phase == phases.PENDING:
        phases.check(node.id, node.phase, phases.RUNNING)
        turn.rules.look(turn, turn.put(changed(node, phase=phases.RUNNING, message=event.message)))
    elif node.message != event.message:
        turn.put(changed(node, message=event.message))


def ended(turn: Turn, node: Node, event: TaskEnded) -> None:
    """The work is done."""
    phase = event.phase if event.phase in phases.COMPLETED else phases.ERROR
    end(turn, node, phase, event.message, event)


def end(turn: Turn, node: Node, phase: str, message: str, event: TaskEnded | None = None) -> None:
    """End a task, by its own end or before its time: closing its effect cancels the work."""
    if node.due is not None:
        turn.close(timer_key(node.id))
    turn.close(node.id)
    turn.finish(changed(node, due=None), phase, message, event.outputs if event is not None else None)


def timed_out(turn: Turn, node: Node) -> None:
    """The template's `timeout` or `activeDeadlineSeconds` passed."""
    end(turn, node, phases.FAILED, TIMED_OUT)


def _seconds(value: int | str | None) -> float | None:
    if value is None or value == "":
        return None
    try:
        return float(durations.parse_duration(str(value)))
    except durations.DurationError as error:
        raise Problem(str(error)) from error
