"""The workflow as a whole: its root, its exit handler, its end; stop, terminate, suspend, resume, deadline."""

import msgspec

from jitflow.expr import tags
from jitflow.machine import garbage, hooks, locks, metering, names, phases, pods, relocks, retries, selectors, suspends, tasks
from jitflow.machine import node as types
from jitflow.machine import templates as keys
from jitflow.machine.expressions import value_of
from jitflow.machine.node import Node
from jitflow.machine.problems import Problem
from jitflow.machine.program import Program
from jitflow.machine.retries import Retries
from jitflow.machine.scope import Scope
from jitflow.machine.state import Run
from jitflow.machine.turn import BROKEN_ENTRY, EXIT_ERROR, Turn
from jitflow.model.runs import (
    CloseWorkflow,
    DropClaims,
    LocksAwaited,
    LocksRefused,
    LocksTaken,
    MakeClaims,
    ResumeRequested,
    ShutdownRequested,
    StartTimer,
    SuspendedNodesSet,
)

DEADLINE_KEY = "deadline"
CLOSE_KEY = "close"
CLAIMS_KEY = "claims"
DROP_KEY = "drop-claims"
TERMINATE = "Terminate"
NO_LOCK = "Failed to acquire the synchronization lock. "
FAILING = ("invalid spec: ", NO_LOCK)
"""How messages begin of workflows that fail before they begin; all else that keeps one from beginning is an Error."""
STRATEGIES = frozenset({"Stop", TERMINATE})

_replace = msgspec.structs.replace


def postpone(turn: Turn, message: str) -> None:
    """Begin later: too many workflows run already."""
    if not turn.run.phase and not turn.run.postponed:
        turn.run = _replace(turn.run, postponed=True, message=message)


def begin(turn: Turn) -> None:
    """Start the root node. A workflow that has begun is left alone."""
    if turn.run.phase:
        return
    if turn.run.postponed:
        turn.run = _replace(turn.run, postponed=False, message="")
    if turn.run.locking != locks.HELD and not turn.run.invalid and _waits_for_locks(turn):
        return
    turn.run = _replace(turn.run, phase=phases.RUNNING, started_at=turn.now, message="")
    turn.note("WorkflowRunning", "Workflow Running")
    if not _labelled(turn):
        return
    metering.workflow_begun(turn)
    if turn.run.invalid:
        _end(turn, phases.FAILED if turn.run.invalid.startswith(FAILING) else phases.ERROR, turn.run.invalid)
        return
    if turn.program.claims:
        turn.emit(MakeClaims(key=CLAIMS_KEY, namespace=turn.program.metadata.namespace or "", claims=turn.program.claims))
    spec = turn.program.spec
    if spec.active_deadline_seconds is not None:
        turn.emit(StartTimer(key=DEADLINE_KEY, due=turn.now + spec.active_deadline_seconds))
    if turn.find(turn.program.name) is None:
        _start_root(turn)
    else:
        _take_up(turn)
    hooks.look_at_workflow(turn)


def _start_root(turn: Turn) -> None:
    """Start the root; one that was stopped while it waited to begin fails, and goes on with its exit handler."""
    root = _top(turn, turn.program.name, turn.program.spec.entrypoint or "", exit_handler=False)
    if turn.run.shutdown:
        turn.fail_unstarted(root)
    else:
        turn.start(root)


def _take_up(turn: Turn) -> None:
    """Begin with the nodes of an earlier workflow, or of an earlier run of this one: what is open goes on."""
    nodes = turn.in_order()
    if turn.run.taken_over:
        turn.run = _replace(turn.run, taken_over=False)
        for node in nodes:
            turn.put(node)
    relocks.go_on(turn, nodes)
    turn.rules.top_ended(turn)


def _waits_for_locks(turn: Turn) -> bool:
    """Ask for the workflow's own locks; False when it needs none."""
    sync = turn.program.spec.synchronization
    if sync is None or turn.run.locking:
        return bool(turn.run.locking)
    try:
        wanted = locks.wanted(tags.compile_struct(sync), Scope(turn.values), turn.program.metadata.namespace or "")
    except Problem as problem:
        turn.run = _replace(turn.run, invalid=str(problem))
        return False
    if wanted:
        turn.run = _replace(turn.run, locking=locks.WANTED, locks=tuple(lock.name for lock in wanted))
        turn.ask_for_locks("", wanted)
    return bool(wanted)


def locks_event(turn: Turn, event: LocksTaken | LocksAwaited | LocksRefused) -> None:
    """Go on with the workflow's own locks, or tell why it waits."""
    if turn.run.locking != locks.WANTED or turn.run.phase:
        return
    match event:
        case LocksTaken():
            turn.run = _replace(turn.run, locking=locks.HELD, message="")
            begin(turn)
        case LocksAwaited():
            if turn.run.message != event.message:
                turn.run = _replace(turn.run, message=event.message)
        case LocksRefused():
            turn.close(locks.key_of(""))
            turn.run = _replace(turn.run, locking="", invalid=f"{NO_LOCK}{event.message}")
            begin(turn)


def _labelled(turn: Turn) -> bool:
    """Give the workflow the labels that are worked out when it begins; False (and it has ended in Error) if that fails."""
    more = turn.program.spec.workflow_metadata
    if more is None or not more.labels_from:
        return True
    labels: dict[str, str] = {}
    for key, source in more.labels_from.items():
        try:
            value = value_of(source.expression, Scope(turn.values))
        except Problem as problem:
            _end(turn, phases.ERROR, f"Failed to evaluate label {key!r}: {problem}")
            return False
        if not isinstance(value, str):
            _end(
                turn,
                phases.ERROR,
                f"failed to evaluate label {key!r} expression {source.expression!r}: its value must be a string",
            )
            return False
        labels[key] = value
    turn.run = _replace(turn.run, labels=labels)
    return True


def _top(turn: Turn, name: str, template: str, *, exit_handler: bool) -> Node:
    return Node(
        id=names.node_id(turn.program.name, name),
        name=name,
        display_name=name,
        template=template,
        scope=keys.scope_of("", turn.program.scope_name),
        exit_handler=exit_handler,
    )


def top_ended(turn: Turn) -> None:
    """Go on when the root, the exit handler or the saving of an output has ended."""
    root = turn.find(turn.program.name)
    if turn.saving or turn.run.finished_at is not None or root is None:
        return
    if root.held:
        turn.finish(root, root.held, root.message, root.outputs)
        return
    if not root.is_fulfilled:
        return
    if root.message.startswith(BROKEN_ENTRY):  # as in Argo, nothing else runs then
        _close(turn, root, None)
        return
    exit_hook = turn.program.hooks.get("exit")
    name, template = exit_name(turn.program.name), exit_hook.template if exit_hook is not None else ""
    handler = turn.find(names.node_id(turn.program.name, name))
    if hooks.look_at_workflow(turn):
        return
    if template and handler is None and turn.run.shutdown != TERMINATE:
        turn.start(_top(turn, name, template, exit_handler=True))
    elif handler is None or handler.is_fulfilled:
        _close(turn, root, handler)


def exit_name(workflow: str) -> str:
    """Return the name of the exit handler's node."""
    return f"{workflow}.onExit"


def _close(turn: Turn, root: Node, handler: Node | None) -> None:
    phase, message = root.phase, root.message
    if phase in {phases.SKIPPED, phases.OMITTED}:
        phase = phases.SUCCEEDED
    if turn.run.shutdown and phase in phases.UNSUCCESSFUL:
        message = turn.halted(exit_handler=False)
    broken = handler is not None and handler.message.startswith(EXIT_ERROR)
    if handler is not None and handler.is_unsuccessful and (phase == phases.SUCCEEDED or broken):
        phase, message = handler.phase, handler.message
    _end(turn, phase, message)


def _end(turn: Turn, phase: str, message: str) -> None:
    turn.run = _replace(turn.run, phase=phase, message=message, finished_at=turn.now, started_at=turn.run.started_at or turn.now)
    if turn.run.locking:
        turn.close(locks.key_of(""))
        turn.run = _replace(turn.run, locking="", locks=())
    metering.workflow_ended(turn)
    turn.close(DEADLINE_KEY)
    if turn.run.plugins:
        turn.close(tasks.PLUGINS_KEY)
        turn.run = _replace(turn.run, plugins=False)
    if turn.program.claims:
        _drop_claims(turn)
    garbage.completed(turn)
    turn.emit(CloseWorkflow(key=CLOSE_KEY))
    good = phase == phases.SUCCEEDED
    text = "Workflow completed" if good else message or f"Workflow {phase}"
    turn.note(f"Workflow{phase}", text, kind="Normal" if good else "Warning")


def has_claims(program: Program, run: Run) -> bool:
    """Return whether the workflow's volume claims are there: from its beginning until they are given up."""
    return bool(run.phase) and not run.invalid and not _gives_up_claims(program, run)


def _gives_up_claims(program: Program, run: Run) -> bool:
    """Return whether `volumeClaimGC` lets the claims go now: after success, or after any end.

    Argo takes a strategy that it does not know, and then keeps the claims as long as the workflow.
    """
    gc = program.spec.volume_claim_gc
    strategy = (gc.strategy if gc is not None else None) or "OnWorkflowSuccess"
    if strategy == "OnWorkflowCompletion":
        return run.finished_at is not None
    return strategy == "OnWorkflowSuccess" and run.phase == phases.SUCCEEDED


def _drop_claims(turn: Turn) -> None:
    turn.close(CLAIMS_KEY)
    if _gives_up_claims(turn.program, turn.run):
        names = tuple((claim.metadata and claim.metadata.name) or "" for claim in turn.program.claims)
        turn.emit(DropClaims(key=DROP_KEY, namespace=turn.program.metadata.namespace or "", names=names))
        turn.close(DROP_KEY)


def shut_down(turn: Turn, event: ShutdownRequested) -> None:
    """Stop or terminate; with a selector only the suspended nodes that match fail."""
    if turn.run.finished_at is not None:
        return
    if event.selector:
        for node in _suspended(turn, event.selector):
            suspends.fail(turn, node, event.message or f"Stopped with strategy '{event.strategy}'")
        return
    if turn.run.shutdown in {event.strategy, TERMINATE}:
        return
    turn.run = _replace(turn.run, shutdown=event.strategy, shutdown_message=event.message)
    if not turn.run.phase and (turn.run.locking == locks.WANTED or turn.run.postponed):
        if turn.find(turn.program.name) is None:
            # As in Argo, one that is stopped waits on: its exit handler runs when it has its locks.
            if event.strategy == TERMINATE:
                _end(turn, phases.FAILED, turn.halted(exit_handler=False))
            return
        # It was to run again: its nodes are open and end as those of a workflow that runs.
        turn.close(locks.key_of(""))
        turn.run = _replace(turn.run, phase=phases.RUNNING, started_at=turn.now, locking="", locks=(), postponed=False)
        _take_up(turn)
    _halt(turn)


def deadline_passed(turn: Turn) -> None:
    """The workflow's `activeDeadlineSeconds` are over."""
    if turn.run.finished_at is None and not turn.run.expired:
        turn.run = _replace(turn.run, expired=True)
        _halt(turn)


def _halt(turn: Turn) -> None:
    """End what runs and forget what waits. Looks at every node: it happens at most three times in a workflow's life."""
    if turn.run.phase and turn.find(turn.program.name) is None:
        begin(turn)
    for node in turn.in_order():
        reason = turn.halted(exit_handler=node.exit_handler)
        if not reason or node.is_fulfilled or node.id not in turn.nodes:
            continue
        if node.is_waiting or relocks.is_waiting(node):
            _drop(turn, node, reason)
        elif tasks.is_task(turn, node):
            if not node.held:
                tasks.end(turn, node, phases.FAILED, reason if node.phase == phases.PENDING else turn.ending())
        elif node.type == types.POD:
            pods.kill(turn, node, reason, turn.ending())
        elif node.type == types.SUSPEND:
            suspends.fail(turn, node, reason)
        elif node.type == types.RETRY and node.due is not None:
            Retries().give_up(turn, node, reason)


def _drop(turn: Turn, node: Node, reason: str) -> None:
    if not node.is_waiting:
        relocks.give_up(turn, node)
    elif node.locking:
        turn.locks_given_up(node, reason)
    elif node.owner:
        turn.discard(node)
    else:
        turn.finish(turn.add(_replace(node, type=types.SKIPPED, phase=phases.RUNNING)), phases.FAILED, reason)


def suspend(turn: Turn) -> None:
    """Start nothing new."""
    if turn.run.finished_at is None and not turn.run.suspended:
        turn.run = _replace(turn.run, suspended=True)
        turn.note("WorkflowSuspended", "Workflow suspended")


def resume(turn: Turn, event: ResumeRequested) -> None:
    """Go on: all suspended nodes, or those that a selector names."""
    if not event.selector and turn.run.suspended:
        turn.run = _replace(turn.run, suspended=False)
        turn.note("WorkflowResumed", "Workflow resumed")
        turn.free_all()
    for node in _suspended(turn, event.selector):
        suspends.end(turn, node, event.message)


def set_nodes(turn: Turn, event: SuspendedNodesSet) -> None:
    """Supply outputs to suspended nodes and, if a phase is given, end them."""
    for node in _suspended(turn, event.selector):
        suspends.supply(turn, node, event.outputs, event.message)
        changed = turn.nodes[node.id]
        if event.phase in phases.UNSUCCESSFUL:
            suspends.fail(turn, changed, event.message, event.phase)
        elif event.phase == phases.SUCCEEDED:
            suspends.end(turn, changed, event.message)


def _suspended(turn: Turn, selector: str) -> list[Node]:
    chosen = selectors.parse(selector)
    return [
        node
        for node in turn.in_order()
        if node.type == types.SUSPEND
        and node.phase == phases.RUNNING
        and selectors.matches(turn.program, turn.nodes, chosen, node)
    ]


def timer_fired(turn: Turn, key: str) -> None:
    """A timer is due: whatever it was for, if that still waits."""
    turn.close(key)
    if key == DEADLINE_KEY:
        deadline_passed(turn)
        return
    what, _, node_id = key.partition("/")
    node = turn.find(node_id)
    if node is None or node.is_fulfilled:
        return
    if key == suspends.timer_key(node_id) and node.type == types.SUSPEND and node.due is not None:
        suspends.end(turn, node)
    elif key == retries.timer_key(node_id) and node.type == types.RETRY and node.due is not None:
        Retries().backoff_over(turn, node)
    elif what == "task" and node.due is not None and not node.held:
        tasks.timed_out(turn, node)
    elif what == "timeout" and node.phase == phases.PENDING and node.timeout is not None:
        pods.gave_up(turn, node)
