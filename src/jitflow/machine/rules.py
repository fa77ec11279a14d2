"""Which module runs which kind of template, and which goes on with which composite node.

A new kind of template is a module with a class like `PodKind`, and a line here.
"""

from collections.abc import Mapping

from jitflow.machine import compiled, daemons, hooks, metering, retries, workflow
from jitflow.machine import node as types
from jitflow.machine.compiled import CompiledTemplate
from jitflow.machine.dags import DagKind
from jitflow.machine.node import Node
from jitflow.machine.pods import PodKind
from jitflow.machine.retries import Retries
from jitflow.machine.steps import StepGroups, StepsKind, TaskGroups
from jitflow.machine.suspends import SuspendKind
from jitflow.machine.tasks import TaskKind
from jitflow.machine.turn import Composite, Kind, Turn


class MachineRules:
    """The machine's rules, as the turn asks for them."""

    kinds: Mapping[str, Kind] = {
        compiled.CONTAINER: PodKind(),
        compiled.SCRIPT: PodKind(),
        compiled.CONTAINER_SET: PodKind(),
        compiled.STEPS: StepsKind(),
        compiled.DAG: DagKind(),
        compiled.SUSPEND: SuspendKind(),
        "http": TaskKind(types.HTTP),
        "plugin": TaskKind(types.PLUGIN),
        "data": TaskKind(types.POD),
        "resource": TaskKind(types.POD),
    }
    composites: Mapping[str, Composite] = {
        types.STEPS: StepsKind(),
        types.STEP_GROUP: StepGroups(),
        types.DAG: DagKind(),
        types.TASK_GROUP: TaskGroups(),
        types.RETRY: Retries(),
    }

    def wrap(self, turn: Turn, node: Node, template: CompiledTemplate) -> bool:
        """Start a node that is repeated on failure, see `Rules.wrap`."""
        return retries.wrap(turn, node, template)

    def hold_back(self, turn: Turn, node: Node) -> bool:
        """Start a node's hooks at its end, see `Rules.hold_back`; of a daemon the owner was told when it was ready."""
        if node.daemoned:
            if node.is_fulfilled:
                daemons.ended(turn, node)
            return node.is_fulfilled
        return hooks.hold_back(turn, node)

    def look(self, turn: Turn, node: Node) -> None:
        """Start a node's hooks, see `Rules.look`."""
        hooks.look(turn, node)

    def begun(self, turn: Turn, node: Node, template: CompiledTemplate) -> None:
        """Tell the metrics of a node that runs, see `Rules.begun`."""
        metering.begun(turn, node, template)

    def ended(self, turn: Turn, node: Node) -> None:
        """Tell the metrics of a node that has ended, see `Rules.ended`."""
        metering.ended(turn, node)

    def begin(self, turn: Turn) -> None:
        """Start the workflow's root, see `Rules.begin`."""
        workflow.begin(turn)

    def end_daemons(self, turn: Turn, boundary: Node) -> None:
        """End the daemons of a boundary, see `Rules.end_daemons`."""
        daemons.end_all(turn, boundary)

    def top_ended(self, turn: Turn) -> None:
        """Go on after the root or the exit handler, see `Rules.top_ended`."""
        workflow.top_ended(turn)


RULES = MachineRules()
