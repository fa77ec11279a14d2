"""Questions about the place of a node in its template, answered from the manifest and the node alone."""

from typing import Protocol

from jitflow.machine import node as types
from jitflow.machine import phases
from jitflow.machine.compiled import CompiledTemplate, Plan, Task
from jitflow.machine.node import Node
from jitflow.machine.program import Program
from jitflow.model import argo


class Nodes(Protocol):
    """Nodes by id, frozen or under change."""

    def __getitem__(self, node_id: str, /) -> Node:
        """Return a node."""
        ...


def dag_plan(program: Program, node: Node) -> Plan:
    """Return which tasks a DAG node runs.

    Raises:
        Problem: its target names no task.
    """
    return plan_for(program, program.template(node.template), node.inputs)


def plan_for(program: Program, template: CompiledTemplate, inputs: argo.Inputs | None) -> Plan:
    """Return which tasks a DAG runs for given inputs, see `dag_plan`."""
    if not template.target.names:
        return template.plan(template.target.source)
    parameters = inputs.parameters if inputs else ()
    values = {f"inputs.parameters.{p.name}": p.value or "" for p in parameters} | program.constants
    return template.plan(template.target.render(values.get))


def fails_fast(template: CompiledTemplate) -> bool:
    """Return whether a DAG starts nothing new after a target has failed."""
    return template.source.dag is None or template.source.dag.fail_fast is not False


def dooms(tasks: tuple[Task, ...], plan: Plan, child: Node) -> bool:
    """Return whether an ended task makes its DAG fail."""
    failed = child.task in plan.target_set and child.branch in phases.UNSUCCESSFUL
    return failed and child.branch not in tasks[child.task].forgives


def counts_as_bad(program: Program, nodes: Nodes, group: Node, child: Node) -> bool:
    """Return whether an ended child makes its group fail."""
    if not child.is_unsuccessful:
        return False
    if group.type in {types.TASK_GROUP, types.STEPS}:
        return True
    if group.type == types.STEP_GROUP and child.could_not_start:  # `continueOn` is about steps that have run
        return True
    return child.phase not in task_of(program, nodes, child).forgives


def task_of(program: Program, nodes: Nodes, node: Node) -> Task:
    """Return the task that a node runs; the node must not be the root or the exit handler."""
    return program.template(nodes[node.boundary].template).tasks[node.task]


def forgiven(template: CompiledTemplate, task: Task) -> dict[str, tuple[str, ...]]:
    """Return, for the tasks before this one that have `continueOn`, the results that a bare name in `depends` accepts besides."""
    found: dict[str, tuple[str, ...]] = {}
    for one in (template.tasks[index] for index in task.dependencies):
        if one.forgives:
            found[one.name] = tuple("Errored" if phase == phases.ERROR else phase for phase in one.forgives)
    return found
