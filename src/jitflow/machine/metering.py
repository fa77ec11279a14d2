"""When custom metrics are told: at the end of a node or of the workflow, or from the beginning on."""

from collections.abc import Callable, Iterator, Mapping

import msgspec

from jitflow.machine import meters, phases
from jitflow.machine import node as types
from jitflow.machine.compiled import CompiledTemplate
from jitflow.machine.node import Node
from jitflow.machine.problems import Problem
from jitflow.machine.resources import CPU, MEMORY, asked_by, taken
from jitflow.machine.scope import Scope
from jitflow.machine.turn import Turn
from jitflow.model import argo
from jitflow.model.runs import EmitMetrics, Sample, ShowClocks

WORKFLOW_CLOCKS = frozenset({"workflow.duration"})
CLOCKS = WORKFLOW_CLOCKS | {"duration"}


class _Variables(Mapping[str, str]):
    """What metrics of a template may refer to, beside its inputs and the workflow; found when it is asked for."""

    def __init__(self, turn: Turn, node: Node) -> None:
        self._turn = turn
        self._node = node
        outputs = node.outputs or argo.Outputs()
        began = node.started_at if node.started_at is not None else turn.now
        self._known: dict[str, Callable[[], str | None]] = {
            "status": lambda: node.phase or phases.PENDING,
            "duration": lambda: f"{max(0.0, (node.finished_at or turn.now) - began):.6f}",
            "exitCode": lambda: outputs.exit_code,
            "retries": self._retries,
            "outputs.result": lambda: outputs.result,
            f"resourcesDuration.{CPU}": lambda: self._resources(CPU),
            f"resourcesDuration.{MEMORY}": lambda: self._resources(MEMORY),
        }
        for parameter in outputs.parameters:
            self._known[f"outputs.parameters.{parameter.name}"] = lambda value=parameter.value: value or ""

    def __getitem__(self, name: str) -> str:
        value = self._known[name]()
        if value is None:
            raise KeyError(name)
        return value

    def __contains__(self, name: object) -> bool:
        return name in self._known and self._known[str(name)]() is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def _retries(self) -> str:
        if self._node.type == types.RETRY:
            attempts = sum(not child.is_hook for child in self._turn.children(self._node.id))
            return str(max(0, attempts - 1))
        return str(self._node.index) if self._node.retried else "0"

    def _resources(self, name: str) -> str:
        """Return the sum over the pods below: it costs a look at each of them, for those who ask."""
        found, todo = 0, [self._node]
        while todo:
            node = todo.pop()
            if node.type == types.POD:
                found += taken(node, asked_by(self._turn.template_of(node)), self._turn.now).get(name, 0)
            todo += self._turn.children(node.id)
        return str(found)


def begun(turn: Turn, node: Node, template: CompiledTemplate) -> None:
    """A node has begun: show its realtime gauges."""
    metrics = template.source.metrics
    if metrics is None or node.retried or node.is_fulfilled or not meters.has_clocks(metrics):
        return
    scope = Scope(turn.values, inputs=node.inputs, local=_Variables(turn, node))
    gauges, complaints = meters.clocks(metrics, scope, CLOCKS)
    began = node.started_at if node.started_at is not None else turn.now
    _show(turn, node.id, gauges, began)
    _complain(turn, complaints, node)


def ended(turn: Turn, node: Node) -> None:
    """A node has ended: tell its metrics.

    Of the attempts of a repeated node each is told once: the last one by the Retry node, the others when the next one begins.
    """
    if not node.retried:
        tell(turn, node)


def tell(turn: Turn, node: Node) -> None:
    """Tell the metrics of a node that has ended."""
    template = _template_of(turn, node)
    metrics = template.source.metrics if template is not None else None
    if metrics is None:
        return
    if meters.has_clocks(metrics):
        turn.close(meters.clock_key(node.id))
    scope = Scope(turn.values, inputs=node.inputs, local=_Variables(turn, node))
    samples, complaints = meters.at_end(metrics, scope)
    _emit(turn, node.id, samples)
    _complain(turn, complaints, node)


def _template_of(turn: Turn, node: Node) -> CompiledTemplate | None:
    if node.type in {types.SKIPPED, types.STEP_GROUP, types.TASK_GROUP}:
        return None
    try:
        return turn.template_of(node)
    except Problem:
        return None  # it could not be found, and that is why the node has ended


def workflow_begun(turn: Turn) -> None:
    """The workflow has begun: show its realtime gauges."""
    metrics = turn.program.spec.metrics
    if metrics is not None and meters.has_clocks(metrics):
        gauges, complaints = meters.clocks(metrics, _workflow_scope(turn), WORKFLOW_CLOCKS)
        _show(turn, "", gauges, turn.now)
        _complain(turn, complaints)


def workflow_ended(turn: Turn) -> None:
    """The workflow has ended: tell its metrics."""
    metrics = turn.program.spec.metrics
    if metrics is None:
        return
    if meters.has_clocks(metrics):
        turn.close(meters.clock_key(""))
    samples, complaints = meters.at_end(metrics, _workflow_scope(turn))
    _emit(turn, "", samples)
    _complain(turn, complaints)


def _workflow_scope(turn: Turn) -> Scope:
    run = turn.run
    lasted_s = max(0.0, (run.finished_at or turn.now) - (run.started_at or turn.now))
    local = {
        "status": run.phase,
        "duration": f"{lasted_s:.6f}",
        "workflow.status": run.phase,
        "workflow.duration": f"{lasted_s:.6f}",
    }
    return Scope(turn.values, local=local)


def _show(turn: Turn, node_id: str, gauges: list[Sample], since: float) -> None:
    if gauges:
        turn.emit(ShowClocks(key=meters.clock_key(node_id), gauges=tuple(gauges), since=since))


def _emit(turn: Turn, node_id: str, samples: list[Sample]) -> None:
    if samples:
        effect = EmitMetrics(key=meters.key_of(node_id), samples=tuple(samples))
        turn.emit(effect)
        turn.close(effect.key)


def _complain(turn: Turn, complaints: list[str], node: Node | None = None) -> None:
    """Say what could not be told, in the history and, as Argo, in a condition; nothing fails of it."""
    for complaint in complaints:
        turn.note("MetricsError", complaint, kind="Warning", node_id=node.id if node is not None else "")
    if complaints and turn.run.metrics_error != complaints[-1]:
        turn.run = msgspec.structs.replace(turn.run, metrics_error=complaints[-1])
