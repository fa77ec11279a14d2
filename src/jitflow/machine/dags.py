"""DAG templates: tasks that start when the tasks they depend on have ended as they must."""

from collections.abc import Iterator

from jitflow.machine import arguments, phases
from jitflow.machine import node as types
from jitflow.machine.compiled import CompiledTemplate, Plan, Task
from jitflow.machine.graph import dag_plan, dooms, fails_fast, forgiven
from jitflow.machine.node import Node, changed
from jitflow.machine.problems import Problem
from jitflow.machine.schedule import schedule
from jitflow.machine.turn import FAIL_FAST, Turn
from jitflow.machine.values import item_nodes

OMITTED = "omitted: depends condition not met"


class DagKind:
    """Templates with `dag`, and the DAG node."""

    node_type = types.DAG

    def start(self, turn: Turn, node: Node, template: CompiledTemplate) -> None:
        """Add the node as Running; its first tasks follow."""
        plan = dag_plan(turn.program, node)
        node = turn.add(changed(node, phase=phases.RUNNING, started_at=turn.now))
        turn.set_frame(node.id, left=len(plan.needed))
        turn.open_later(node)

    def open(self, turn: Turn, node: Node) -> None:
        """Start every task that has no node and whose dependencies have ended."""
        tasks = turn.template_of(node).tasks
        plan = dag_plan(turn.program, node)
        if turn.frame(node.id).left == len(plan.needed):
            ready = plan.roots
        else:
            ready = tuple(index for index in sorted(plan.needed) if _is_ready(turn, node, tasks[index]))
        for index in ready:
            _consider(turn, node, tasks[index])

    def child_ended(self, turn: Turn, node: Node, child: Node) -> None:
        """Work out the branch's phase, then start or omit what has waited for the task."""
        template = turn.template_of(node)
        plan = dag_plan(turn.program, node)
        child = turn.put(changed(child, branch=_branch(turn, node, template.tasks[child.task], child)))
        self._doom(turn, node, plan, template, child)
        for index in template.tasks[child.task].dependents:
            # After a retry, a task may be there already whose dependencies run again.
            if index not in plan.needed or turn.child(node.id, (index, -1)) is not None:
                continue
            key = (node.id, index)
            left = turn.waits.get(key, len(template.tasks[index].dependencies)) - 1
            if left > 0:
                turn.waits[key] = left
                continue
            turn.waits.pop(key, None)
            _consider(turn, node, template.tasks[index])

    def _doom(self, turn: Turn, node: Node, plan: Plan, template: CompiledTemplate, child: Node) -> None:
        if fails_fast(template) and not turn.frame(node.id).doomed and dooms(template.tasks, plan, child):
            turn.set_frame(node.id, doomed=True)
            turn.drop_waiting(node.id)

    def settle(self, turn: Turn, node: Node) -> None:
        """End when no task runs and none can start any more."""
        frame = turn.frame(node.id)
        if node.is_fulfilled or node.held or frame.open:
            return
        reason = turn.halted(exit_handler=node.exit_handler) or (FAIL_FAST if turn.refuses(node) else "")
        if frame.left and not frame.doomed and not reason:
            return
        template, plan = turn.template_of(node), dag_plan(turn.program, node)
        phase = _phase(turn, node, plan, template)
        if frame.left:
            for index in plan.needed:
                turn.waits.pop((node.id, index), None)
        if phase:
            turn.finish(node, phase, FAIL_FAST if reason == FAIL_FAST else "")
        elif frame.left:
            turn.finish(node, phases.FAILED, reason)
        else:
            self._succeed(turn, node, template)

    def _succeed(self, turn: Turn, node: Node, template: CompiledTemplate) -> None:
        try:
            outputs = arguments.boundary_outputs(template, turn.task_scope(node))
        except Problem as problem:
            turn.break_off(node, problem)
            return
        turn.finish(node, phases.SUCCEEDED, "", outputs)

    def child_failed_late(self, turn: Turn, node: Node, child: Node) -> None:
        """An ended task or a ready daemon fails after all: what has not started yet sees it."""
        template, plan = turn.template_of(node), dag_plan(turn.program, node)
        self._doom(turn, node, plan, template, child)


def _is_ready(turn: Turn, node: Node, task: Task) -> bool:
    if turn.child(node.id, (task.index, -1)) is not None:
        return False
    ended = [turn.child(node.id, (dependency, -1)) for dependency in task.dependencies]
    # A branch is known once the end has been taken note of; one that has not been will start what follows by itself.
    return all(child is not None and child.branch for child in ended)


def _consider(turn: Turn, node: Node, task: Task) -> None:
    """Start or omit a task whose dependencies have all ended."""
    if turn.frame(node.id).doomed:
        return
    if task.depends is not None and not _allowed(turn, node, task):
        reason = turn.halted(exit_handler=node.exit_handler)
        if not reason:
            draft = turn.draft(f"{node.name}.{turn.task_name(node, task)}", owner=node, boundary=node, task=task)
            turn.did_not_run(draft, phases.OMITTED, OMITTED)
        return
    if not turn.halted(exit_handler=node.exit_handler):
        schedule(turn, node, node, task)


def _allowed(turn: Turn, node: Node, task: Task) -> bool:
    template = turn.template_of(node)

    def has(name: str, result: str) -> bool:
        index = template.index_of(name)
        child = turn.child(node.id, (index, -1)) if index is not None else None
        return child is not None and _result(turn, child, result)

    return task.depends is None or task.depends.evaluate(has, forgiven(template, task))


_RESULTS = {
    "Succeeded": phases.SUCCEEDED,
    "Failed": phases.FAILED,
    "Errored": phases.ERROR,
    "Skipped": phases.SKIPPED,
    "Omitted": phases.OMITTED,
}


def _result(turn: Turn, child: Node, result: str) -> bool:
    """Return whether a task has one of the results that `depends` asks for."""
    if result in _RESULTS:
        return child.phase == _RESULTS[result]
    if result == "Daemoned":
        return child.is_daemon
    if child.type != types.TASK_GROUP:
        return False
    items = item_nodes(turn, child.id, child.task)
    if result == "AnySucceeded":
        return any(item.phase == phases.SUCCEEDED for item in items)
    return all(item.phase == phases.FAILED for item in items)


def _branch(turn: Turn, node: Node, task: Task, child: Node) -> str:
    """Return a task's phase as its branch sees it: one that did not run hands on the worst of those before it."""
    if child.is_daemon:
        return phases.SUCCEEDED
    if child.phase in phases.COMPLETED:
        return child.phase
    branch = phases.SUCCEEDED
    for dependency in task.dependencies:
        before = turn.child(node.id, (dependency, -1))
        if before is not None and before.branch not in turn.task_of(before).forgives:
            branch = phases.worse(branch, before.branch)
    return branch


def _phase(turn: Turn, node: Node, plan: Plan, template: CompiledTemplate) -> str:
    """Return the phase that fails the DAG, empty when none does: of a target's branch, or of a task that failed after all."""
    result = ""
    for index in plan.targets:
        child = turn.child(node.id, (index, -1))
        if child is not None and dooms(template.tasks, plan, child):
            result = child.branch
            if fails_fast(template):
                break
    return result or next((child.branch for child in _belied(turn, node, plan, template)), "")


def _belied(turn: Turn, node: Node, plan: Plan, template: CompiledTemplate) -> Iterator[Node]:
    """Yield the tasks that others followed which would not have, had it been known how these end: their outputs were lost later.

    In Argo a task has not ended before its outputs are saved. Daemons may fail when they have served.
    """
    for index in sorted(plan.needed):
        task, child = template.tasks[index], turn.child(node.id, (index, -1))
        if child is None or child.branch not in phases.UNSUCCESSFUL or child.branch in task.forgives:
            continue
        after = [template.tasks[dependent] for dependent in task.dependents if _has_run(turn, node, dependent)]
        if any(not _allowed(turn, node, one) for one in after) and not turn.template_of(child).source.daemon:
            yield child


def _has_run(turn: Turn, node: Node, index: int) -> bool:
    child = turn.child(node.id, (index, -1))
    return child is not None and child.phase != phases.OMITTED
