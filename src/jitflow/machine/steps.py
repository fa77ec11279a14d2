"""Steps templates: groups one after the other, the steps of a group side by side."""

from jitflow.machine import arguments, phases
from jitflow.machine import node as types
from jitflow.machine import templates as keys
from jitflow.machine.compiled import CompiledTemplate
from jitflow.machine.node import Node, changed
from jitflow.machine.problems import Problem
from jitflow.machine.schedule import schedule
from jitflow.machine.turn import FAIL_FAST, TOO_DEEP, Turn
from jitflow.machine.values import check_results, item_nodes


class StepsKind:
    """Templates with `steps`, and the Steps node."""

    node_type = types.STEPS

    def start(self, turn: Turn, node: Node, template: CompiledTemplate) -> None:
        """Add the node as Running; its first group follows."""
        turn.open_later(turn.add(changed(node, phase=phases.RUNNING, started_at=turn.now)))

    def open(self, turn: Turn, node: Node) -> None:
        """Start the next group, or end."""
        if not turn.frame(node.id).open:
            number = 0
            while turn.child(node.id, (-1, number)) is not None:
                number += 1
            self._go_on(turn, node, number)

    def child_ended(self, turn: Turn, node: Node, child: Node) -> None:
        """A group ended: fail with it, or go on to the next."""
        turn.mark_bad(node, child)
        bad = turn.frame(node.id).bad
        failed = turn.child(node.id, bad) if bad is not None else None
        if failed is not None:
            turn.finish(node, phases.FAILED, FAIL_FAST if turn.refuses(node) else failed.message)
        else:
            self._go_on(turn, node, child.index + 1)

    def _go_on(self, turn: Turn, node: Node, number: int) -> None:
        template = turn.template_of(node)
        try:
            self._check_loops(turn, node, template, number - 1)
        except Problem as problem:
            turn.break_off(node, problem)
            return
        if number < len(template.groups):
            stopped = turn.halted(exit_handler=node.exit_handler) or (FAIL_FAST if turn.refuses(node) else "")
            if stopped:
                turn.finish(node, phases.FAILED, stopped)
            else:
                turn.open_later(self._add_group(turn, node, number))
            return
        try:
            outputs = arguments.boundary_outputs(template, turn.task_scope(node))
        except Problem as problem:
            turn.break_off(node, problem)
            return
        turn.finish(node, phases.SUCCEEDED, "", outputs)

    def _check_loops(self, turn: Turn, node: Node, template: CompiledTemplate, number: int) -> None:
        """Check that the results of an ended group's loops make a list, if somebody reads them.

        Raises:
            Problem: one is no JSON.
        """
        group = turn.child(node.id, (-1, number)) if number >= 0 else None
        for index in template.groups[number] if group is not None else ():
            task = template.tasks[index]
            if group is not None and task.loops and template.is_captured(task):
                check_results(item_nodes(turn, group.id, index), f"steps.{task.name}.outputs.result")

    def _add_group(self, turn: Turn, node: Node, number: int) -> Node:
        name = f"{node.name}[{number}]"
        group = Node(
            id=turn.new_id(name),
            name=name,
            display_name=f"[{number}]",
            type=types.STEP_GROUP,
            phase=phases.RUNNING,
            template=node.template,
            scope=keys.scope_of(node.template, turn.program.scope_name),
            boundary=node.id,
            owner=node.id,
            index=number,
            started_at=turn.now,
            depth=node.depth,
            exit_handler=node.exit_handler,
        )
        return turn.add(group)

    def settle(self, turn: Turn, node: Node) -> None:
        """Nothing: the node goes on with the ends of its groups."""

    def child_failed_late(self, turn: Turn, node: Node, child: Node) -> None:
        """An output of an ended group cannot be saved: no further group starts, the running one goes on."""
        turn.mark_bad(node, child)


class StepGroups:
    """StepGroup nodes."""

    def open(self, turn: Turn, node: Node) -> None:
        """Start the steps of the group that have no node yet."""
        boundary = turn.nodes[node.boundary]
        template = turn.template_of(boundary)
        for index in template.groups[node.index]:
            task = template.tasks[index]
            if turn.child(node.id, (index, -1)) is None:
                schedule(turn, node, boundary, task)

    def child_ended(self, turn: Turn, node: Node, child: Node) -> None:
        """Remember the first step that failed."""
        turn.mark_bad(node, child)

    def settle(self, turn: Turn, node: Node) -> None:
        """End when all steps have."""
        frame = turn.frame(node.id)
        if node.is_fulfilled or frame.open:
            return
        child = turn.child(node.id, frame.bad) if frame.bad is not None else None
        if child is not None and child.could_not_start and child.message != TOO_DEEP:
            message = f"step group deemed errored due to child {child.name} error: {child.message}"
            turn.finish(node, phases.ERROR, message)
        elif child is not None:
            turn.finish(node, phases.FAILED, f"child '{child.id}' failed")
        elif node.killed:
            turn.finish(node, phases.FAILED, node.killed)
        else:
            turn.finish(node, phases.SUCCEEDED)

    def child_failed_late(self, turn: Turn, node: Node, child: Node) -> None:
        """An ended step fails after all."""
        turn.mark_bad(node, child)


class TaskGroups:
    """TaskGroup nodes: the loop of a DAG's task."""

    def open(self, turn: Turn, node: Node) -> None:
        """Start the items that have no node yet."""
        boundary = turn.nodes[node.boundary]
        schedule(turn, boundary, boundary, turn.task_of(node))

    def child_ended(self, turn: Turn, node: Node, child: Node) -> None:
        """Remember the last item that failed."""
        turn.mark_bad(node, child)

    def settle(self, turn: Turn, node: Node) -> None:
        """End when all items have, in the phase of the last one that failed."""
        frame = turn.frame(node.id)
        if node.is_fulfilled or frame.open:
            return
        child = turn.child(node.id, frame.bad) if frame.bad is not None else None
        if child is not None:
            turn.finish(node, child.phase)
        elif node.killed:
            turn.finish(node, phases.FAILED, node.killed)
        else:
            turn.finish(node, phases.SUCCEEDED)

    def child_failed_late(self, turn: Turn, node: Node, child: Node) -> None:
        """An ended item fails after all."""
        turn.mark_bad(node, child)
