"""Suspend templates: wait for a person or for a while."""

from collections.abc import Mapping

import msgspec

from jitflow.expr import durations
from jitflow.machine import node as types
from jitflow.machine import phases
from jitflow.machine.compiled import CompiledTemplate
from jitflow.machine.node import Node, changed
from jitflow.machine.problems import Problem
from jitflow.machine.scope import Scope
from jitflow.machine.turn import Turn
from jitflow.machine.values import own_values
from jitflow.model import argo
from jitflow.model.runs import StartTimer


class SuspendKind:
    """Templates that wait."""

    node_type = types.SUSPEND

    def start(self, turn: Turn, node: Node, template: CompiledTemplate) -> None:
        """Add the node as Running; with a duration, ask for a timer."""
        body = template.body.render(Scope(turn.values, inputs=node.inputs, local=own_values(turn, node, template)))
        duration = body.suspend.duration if body.suspend else None
        due = turn.now + _seconds(duration) if duration else None
        turn.add(changed(node, phase=phases.RUNNING, started_at=turn.now, due=due, outputs=_awaited(template, node), message=""))
        if due is not None:
            turn.emit(StartTimer(key=timer_key(node.id), due=due))


def _awaited(template: CompiledTemplate, node: Node) -> argo.Outputs | None:
    """Return the outputs to be supplied; one that is called like an input has that input's value until somebody says other."""
    outputs = template.source.outputs
    if outputs is None or node.inputs is None:
        return outputs
    given = {p.name: p.value for p in node.inputs.parameters if p.value is not None}
    parameters = tuple(
        msgspec.structs.replace(p, value_from=msgspec.structs.replace(p.value_from, default=given[p.name]))
        if p.value_from is not None and p.value_from.default is None and p.name in given
        else p
        for p in outputs.parameters
    )
    return msgspec.structs.replace(outputs, parameters=parameters)


def _seconds(text: str) -> float:
    try:
        return durations.parse_duration(text)
    except durations.DurationError as error:
        raise Problem(f"unable to parse suspend duration: {error}") from error


def timer_key(node_id: str) -> str:
    """Return the key of the timer that ends a suspension."""
    return f"suspend/{node_id}"


def supply_refusal(node: Node, values: Mapping[str, str]) -> str:
    """Return why a node does not take output parameters, empty when it does: each may be supplied once, if it is awaited."""
    if not values:
        return ""
    if node.outputs is None:
        return "cannot set output parameters because node is not expecting any raw parameters"
    awaited = {
        p.name: p.value is None and p.value_from is not None and p.value_from.supplied is not None
        for p in node.outputs.parameters
    }
    for name in values:
        if name not in awaited:
            return f"node is not expecting output parameter '{name}'"
        if not awaited[name]:
            return f"cannot set output parameter '{name}' because it does not use valueFrom.raw or it was already set"
    return ""


def supply(turn: Turn, node: Node, values: Mapping[str, str], message: str = "") -> None:
    """Set output parameters that wait to be supplied."""
    outputs = node.outputs or argo.Outputs()
    parameters = tuple(msgspec.structs.replace(p, value=values[p.name]) if p.name in values else p for p in outputs.parameters)
    turn.put(changed(node, outputs=msgspec.structs.replace(outputs, parameters=parameters), message=message or node.message))


def end(turn: Turn, node: Node, message: str = "") -> None:
    """End a suspension: it succeeds if all its outputs are supplied or have a default."""
    close_timer(turn, node)
    outputs, unset = _final(node.outputs)
    if unset:
        turn.finish(node, phases.FAILED, f"raw output parameter '{unset}' has not been set and does not have a default value")
    else:
        turn.finish(node, phases.SUCCEEDED, message, outputs)


def fail(turn: Turn, node: Node, message: str, phase: str = phases.FAILED) -> None:
    """End a suspension as failed."""
    close_timer(turn, node)
    turn.finish(node, phase, message)


def close_timer(turn: Turn, node: Node) -> None:
    """The node's timer is no longer wanted."""
    if node.due is not None:
        turn.close(timer_key(node.id))


def unset_output(node: Node) -> str:
    """Return the first output parameter that is not supplied and has no default."""
    return _final(node.outputs)[1]


def _final(outputs: argo.Outputs | None) -> tuple[argo.Outputs | None, str]:
    if outputs is None:
        return None, ""
    parameters: list[argo.Parameter] = []
    for parameter in outputs.parameters:
        default = parameter.value_from.default if parameter.value_from else None
        value = parameter.value if parameter.value is not None else default
        if value is None:
            return outputs, parameter.name
        parameters.append(msgspec.structs.replace(parameter, value=value))
    return msgspec.structs.replace(outputs, parameters=tuple(parameters)), ""
