"""A finished workflow runs again from where it failed; and which requests a workflow cannot take."""

from collections.abc import Mapping

import msgspec

from jitflow.machine import node as types
from jitflow.machine import phases, selectors, suspends
from jitflow.machine.edges import Edges
from jitflow.machine.node import Node, changed
from jitflow.machine.pods import kill_key
from jitflow.machine.program import Program
from jitflow.machine.state import COMPOSITES, Run, State, recount
from jitflow.machine.turn import Turn
from jitflow.machine.workflow import CLOSE_KEY, STRATEGIES, postpone
from jitflow.model import argo
from jitflow.model.runs import (
    Event,
    LabelsSet,
    ResumeRequested,
    RetryRequested,
    ShutdownRequested,
    SuspendedNodesSet,
    SuspendRequested,
)

_replace = msgspec.structs.replace


def refusal(state: State, event: Event) -> str:
    """Return why a workflow cannot take a request, empty when it can. Other events are never refused."""
    finished = state.run.finished_at is not None
    try:
        match event:
            case RetryRequested():
                return _retry_refusal(state, event)
            case ShutdownRequested():
                if event.strategy not in STRATEGIES:
                    return f"'{event.strategy}' is no shutdown strategy: use Stop or Terminate"
                if finished:
                    return "cannot shutdown a completed workflow"
                return _none_matches(event.selector) if event.selector and not _matching(state, event.selector) else ""
            case LabelsSet():
                return "cannot patch completed workflows" if finished else ""
            case SuspendRequested():
                return "cannot suspend completed workflows" if finished else ""
            case ResumeRequested():
                return _resume_refusal(state, event)
            case SuspendedNodesSet():
                return _set_refusal(state, event)
            case _:
                return ""
    except ValueError as error:
        return str(error)


def _resume_refusal(state: State, event: ResumeRequested) -> str:
    matching = _matching(state, event.selector)
    if event.selector and not matching:
        return _none_matches(event.selector)
    for node in matching:
        unset = suspends.unset_output(node)
        if unset:
            return f"raw output parameter '{unset}' has not been set and does not have a default value"
    return ""


def _set_refusal(state: State, event: SuspendedNodesSet) -> str:
    if not event.selector:
        return "'set' currently only targets suspend nodes, use a node field selector to target them"
    if event.phase and event.phase not in phases.COMPLETED:
        return f"{event.phase} is an invalid phase to set to"
    matching = _matching(state, event.selector)
    if not matching:
        return _none_matches(event.selector)
    return next((refused for node in matching if (refused := suspends.supply_refusal(node, event.outputs))), "")


def _none_matches(selector: str) -> str:
    return f"currently, set only targets suspend nodes: no suspend nodes matching nodeFieldSelector: {selector}"


def _matching(state: State, selector: str) -> list[Node]:
    chosen = selectors.parse(selector)
    return [
        node
        for node in state.nodes.values()
        if node.type == types.SUSPEND
        and node.phase == phases.RUNNING
        and selectors.matches(state.program, state.nodes, chosen, node)
    ]


def _retry_refusal(state: State, event: RetryRequested) -> str:
    selectors.parse(event.selector)
    for parameter in event.parameters:
        if "=" not in parameter:
            return f"expected parameter of the form: NAME=VALUE. Received: {parameter}"
    phase = state.run.phase
    if state.run.finished_at is None:
        return f"Cannot retry a workflow in phase {phase or 'Pending'}"
    if state.run.gc_open or state.run.deleting is not None:
        return "Cannot retry a workflow whose artifacts are being deleted"
    if phase == phases.SUCCEEDED and not (event.restart_successful and event.selector):
        return "To retry a succeeded workflow, set the options restartSuccessful and nodeFieldSelector"
    return ""


def retry(turn: Turn, event: RetryRequested) -> None:
    """Delete what failed and what came after it, reset what encloses it, and go on from there.

    Looks at the failed part of the workflow and counts everything anew: it is a person's rare request.
    """
    nodes = dict(turn.all_nodes())
    program = _with_parameters(turn.program, event.parameters, turn.run.stored)
    chosen = selectors.parse(event.selector) if event.restart_successful and event.selector else ()
    plan = _Reset(turn, nodes, chosen, expand_again=bool(event.parameters))
    plan.run()
    run = _anew(turn.run)
    for node_id in plan.deleted:
        if nodes[node_id].killed and nodes[node_id].type == types.POD:
            turn.close(kill_key(node_id))
    state = recount(program, run, (node for node in nodes.values() if node.id not in plan.deleted))
    turn.rebase(state, removed=plan.deleted, changed=plan.reset)
    turn.close(CLOSE_KEY)  # of its end, which a restart would perform again
    turn.note("WorkflowRetried", "Workflow runs again from its failed nodes")
    if event.postponed:
        postpone(turn, event.postponed)
    else:
        turn.begin()


def _anew(run: Run) -> Run:
    """Return a run that has not begun; what was settled when the workflow was created stays."""
    run = _replace(run, phase="", message="", started_at=None, finished_at=None, labels={}, locking="", locks=())
    run = _replace(run, gc_processed=(), gc_recouped=(), gc_error="")
    return _replace(run, suspended=False, shutdown="", shutdown_message="", expired=False, metrics_error="")


def to_repeat(turn: Turn, nodes: dict[str, Node]) -> tuple[set[str], set[str]]:
    """Return the ids of the nodes that a new workflow does without, for each pod that failed, and of those it goes on with.

    The latter are reset in `nodes`.
    """
    plan = _Reset(turn, nodes, (), expand_again=False)
    plan.run(deep=True)
    return set(plan.deleted), set(plan.reset)


def _with_parameters(program: Program, overrides: tuple[str, ...], stored: Mapping[str, argo.Template]) -> Program:
    if not overrides:
        return program
    values = dict(text.split("=", 1) for text in overrides)
    workflow = program.workflow
    arguments = program.spec.arguments or argo.Arguments()
    parameters = tuple(_replace(p, value=values.pop(p.name)) if p.name in values else p for p in arguments.parameters)
    parameters += tuple(argo.Parameter(name=name, value=value) for name, value in values.items())
    arguments = _replace(arguments, parameters=parameters)
    own = _replace(workflow.spec, arguments=arguments)
    spec = _replace(program.spec, arguments=arguments) if program.own_spec is not None else None
    return Program(_replace(workflow, spec=own), spec=spec, stored=stored)


class _Reset:
    """Finds the nodes to delete and to reset, from the root down."""

    def __init__(self, turn: Turn, nodes: dict[str, Node], chosen: tuple[selectors.Term, ...], *, expand_again: bool) -> None:
        self._turn = turn
        self._nodes = nodes
        self._chosen = chosen
        self._expand_again = expand_again
        self._edges = Edges(turn.state)
        self._succeeded: dict[str, bool] = {}
        self._passed_by = 0
        """Failures that were left alone so far."""
        self.deleted: list[str] = []
        self.reset: list[str] = []

    def run(self, *, deep: bool = False) -> None:
        """Go down from the root; drop the exit handler. `deep`: failures that something succeeded after count too."""
        name = self._turn.program.name
        for node in list(self._nodes.values()):
            if not node.owner and node.id != name and (not node.hook or not node.is_fulfilled or node.is_unsuccessful):
                self._delete(node)
        if name in self._nodes:
            root = self._nodes[name]
            again = self._visit(root, deep=deep)
            if not again and root.is_unsuccessful:
                self._visit(root, deep=True)
        gone = set(self.deleted)
        self.reset = [node_id for node_id in self.reset if node_id not in gone]

    def _children(self, node: Node) -> list[Node]:
        return [child for child in self._turn.children(node.id) if not child.is_hook]

    def _visit(self, node: Node, *, deep: bool) -> bool:
        """Delete or reset a node if it must run again; return whether it must."""
        if node.daemoned:  # what runs again needs it again
            needed = self._nodes[node.boundary].is_unsuccessful
            if needed:
                self._delete(node)
            return needed
        is_leaf = node.type not in COMPOSITES or (node.type == types.RETRY and self._repeats_pods(node))
        failed = is_leaf and node.is_unsuccessful and (deep or not self._succeeded_after(node))
        if failed or self._is_chosen(node):
            self._delete(node)
            return True
        if is_leaf:
            self._passed_by += node.is_unsuccessful
            return False
        if not self._visit_children(node, deep=deep):
            return False
        self.reset.append(node.id)
        for child in self._turn.children(node.id):
            if child.is_hook:
                self._delete(child)
        self._nodes[node.id] = changed(
            node,
            hooking=False,
            phase=phases.RUNNING,
            message="",
            finished_at=None,
            outputs=None,
            branch="",
            killed="",
            held="",
            due=None,
        )
        return True

    def _visit_children(self, node: Node, *, deep: bool) -> bool:
        children = self._children(node)
        if node.type == types.RETRY:
            children = children[-1:]
        visited: set[int] = set()
        passed_by = self._passed_by
        for child in children:
            if self._visit(child, deep=deep):
                visited.add(child.task if node.type == types.DAG else child.index)
        if not visited and (not node.is_unsuccessful or self._passed_by > passed_by):
            return False  # it has failed, if it has, for what stays as it is
        self._clear(node, children, visited)
        return True

    def _clear(self, node: Node, children: list[Node], again: set[int]) -> None:
        """Delete what follows those children of a node that run again."""
        if self._expand_again and node.type in {types.TASK_GROUP, types.STEP_GROUP}:
            for child in children:
                self._delete(child)
        elif node.type == types.STEPS and again:
            first = min(again)
            for child in children:
                if child.index > first:
                    self._delete(child)
        elif node.type == types.DAG:
            self._delete_after(node, children, again)

    def _delete_after(self, node: Node, children: list[Node], again: set[int]) -> None:
        """Delete the tasks after those that run again, and those that were omitted."""
        tasks = self._turn.template_of(node).tasks
        after: set[int] = set()
        todo = list(again)
        while todo:
            for index in tasks[todo.pop()].dependents:
                if index not in after:
                    after.add(index)
                    todo.append(index)
        for child in children:
            if child.task in after or child.phase == phases.OMITTED:
                self._delete(child)

    def _succeeded_after(self, node: Node) -> bool:
        """Return whether anything that followed a node has succeeded: its failure was forgiven, and what came of it stays."""
        seen: set[str] = set()
        todo = list(self._edges.children(node))
        while todo:
            found = self._nodes[todo.pop()]
            if found.id in seen or found.hook:
                continue
            seen.add(found.id)
            if found.phase == phases.SUCCEEDED or self._succeeded.get(found.id):
                self._succeeded[node.id] = True
                return True
            if found.id not in self._succeeded:
                todo += self._edges.children(found)
        self._succeeded.update(dict.fromkeys((node.id, *seen), False))
        return False

    def _is_chosen(self, node: Node) -> bool:
        return bool(self._chosen) and selectors.matches(self._turn.program, self._turn.nodes, self._chosen, node)

    def _repeats_pods(self, node: Node) -> bool:
        return not any(child.type in COMPOSITES for child in self._children(node))

    def _delete(self, node: Node) -> None:
        todo = [node]
        while todo:
            gone = todo.pop()
            self.deleted.append(gone.id)
            todo += self._turn.children(gone.id)
