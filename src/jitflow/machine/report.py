"""The workflow as Argo shows it: its status with all nodes, its document, a summary for lists."""

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct

from jitflow.machine import called, estimates, garbage, leavings, locks, names, phases, resources, shares, times
from jitflow.machine import node as types
from jitflow.machine.edges import Edges
from jitflow.machine.node import Node
from jitflow.machine.state import State
from jitflow.machine.titles import title
from jitflow.machine.workflow import has_claims
from jitflow.model import argo
from jitflow.model.runs import Note

PHASE_LABEL = "workflows.argoproj.io/phase"
COMPLETED_LABEL = "workflows.argoproj.io/completed"

_replace = msgspec.structs.replace


class Summary(Struct, frozen=True, kw_only=True):
    """What lists show of a workflow. Times in seconds since the epoch."""

    phase: str
    message: str
    started_at: float | None
    finished_at: float | None
    progress: str
    labels: dict[str, str]


def summary(state: State) -> Summary:
    """Return what lists show; costs the same however many nodes there are."""
    run = state.run
    return Summary(
        phase=run.phase or phases.PENDING,
        message=run.message,
        started_at=run.started_at,
        finished_at=run.finished_at,
        progress=state.progress,
        labels=_labels(state),
    )


def is_ended(state: State, node_id: str) -> bool:
    """Return whether a node has ended (its outputs may still be on their way), or is not there."""
    node = state.nodes.get(node_id)
    return node is None or node.is_fulfilled or bool(node.held)


def awaits_end(state: State, node_id: str) -> bool:
    """Return whether a node has ended, and takes what its pod leaves behind when that has ended too."""
    node = state.nodes.get(node_id)
    return node is not None and node.type == types.POD and leavings.awaits_end(state.program, node)


def is_good(state: State, node_id: str) -> bool:
    """Return whether a node has succeeded."""
    node = state.nodes.get(node_id)
    return node is not None and (node.held or node.phase) == phases.SUCCEEDED


def history(state: State, noted: Iterable[Note]) -> list[Note]:
    """Return a run's history, oldest first: notes, and the nodes' beginnings and ends, which are not stored twice."""
    notes = list(noted)
    told = {(note.node_id, note.reason) for note in notes}
    for node in state.nodes.values():
        if node.is_waiting or node.started_at is None or node.type == types.SKIPPED:
            continue
        notes.append(Note(at=node.started_at, reason="WorkflowNodeRunning", message=f"Running node {node.name}", node_id=node.id))
        reason = f"WorkflowNode{node.phase}"
        if node.finished_at is not None and (node.id, reason) not in told:
            notes.append(Note(at=node.finished_at, reason=reason, message=f"{node.phase} node {node.name}", node_id=node.id))
    order = {"WorkflowRunning": 0, "WorkflowNodeRunning": 1}
    notes.sort(key=lambda note: (note.at, order.get(note.reason, 2 if note.node_id else 3)))
    return notes


def holds_locks(state: State, node_id: str) -> bool:
    """Return whether a node (the workflow for an empty id) has the locks that it asked for."""
    if not node_id:
        return state.run.locking == locks.HELD
    node = state.nodes.get(node_id)
    return node is not None and node.locking == locks.HELD


class _Facts(Struct, frozen=True, kw_only=True):
    """What the nodes' statuses share: sums over those below each, and the machine's name."""

    progress: Mapping[str, str]
    resources: Mapping[str, dict[str, int]]
    host: str


class _Nodes(Struct, frozen=True, kw_only=True):
    """What the workflow's status tells of nodes: each one's status, what all have taken, templates of others, locks."""

    statuses: dict[str, argo.NodeStatus] = {}
    resources: dict[str, int] = {}
    stored: dict[str, argo.Template] = {}
    holders: list[tuple[str, str, tuple[str, ...]]] = []


def status(state: State, now: float, host: str = "") -> argo.WorkflowStatus:
    """Return the workflow's status as Argo writes it. Costs as much as there are nodes and edges.

    Args:
        state: the workflow.
        now: seconds since the epoch.
        host: the name of the machine on which pods run.
    """
    run, program = state.run, state.program
    found = _nodes(state, now, host) if run.stored or run.locking or _shows_nodes(state) else _Nodes()
    return argo.WorkflowStatus(
        phase=run.phase or phases.PENDING,
        started_at=times.rfc3339(run.started_at) or None,
        finished_at=None if run.finished_at is None else times.rfc3339(run.finished_at),
        progress=state.progress,
        estimated_duration=estimates.of(state, program.name) if run.estimates else None,
        message=run.message or None,
        conditions=_conditions(state),
        outputs=run.outputs,
        persistent_volume_claims=program.claimed if program.spec.volume_claim_templates and has_claims(program, run) else (),
        artifact_gc_status=garbage.status(state),
        artifact_repository_ref=run.repository,
        synchronization=locks.status(found.holders) if found.holders else None,
        stored_templates=found.stored,
        stored_workflow_template_spec=program.own_spec if program.workflow.spec.workflow_template_ref else None,
        resources_duration=found.resources,
        nodes=found.statuses,
    )


def _shows_nodes(state: State) -> bool:
    """Return whether the status has nodes, as far as that is known at once: a new workflow may have one that waits."""
    nodes = state.nodes
    if len(nodes) > 1:
        return True
    for node in nodes.values():  # noqa: SIM110 - a generator takes longer than what it would go through
        if node.is_shown:
            return True
    return False


def _nodes(state: State, now: float, host: str) -> _Nodes:
    edges = Edges(state)
    facts = _Facts(progress=_progress(state.nodes), resources=resources.by_node(state, now), host=host)
    return _Nodes(
        statuses={one.id: one for node in edges.nodes for one in _statuses(state, node, edges, facts)},
        resources=facts.resources.get("", {}),
        stored=called.stored(state, edges.nodes),
        holders=_holders(state),
    )


def node_views(state: State, ids: Iterable[str], host: str = "") -> list[argo.NodeStatus]:
    """Return what the statuses of some nodes say of these nodes alone: no arrows to others, no sums over what lies below.

    Costs as much as there are ids; nodes that are not there, or not shown, are left out.
    """
    facts = _Facts(progress={}, resources={}, host=host)
    found = (state.nodes.get(node_id) for node_id in ids)
    views: list[argo.NodeStatus] = []
    for node in found:
        if node is not None and node.is_shown:
            done, total = shares.own(node)
            progress = f"{done}/{total}" if total else None
            views.append(_replace(_own_status(state, node, facts), display_name=title(state.program, node), progress=progress))
    return views


def workflow_document(state: State, now: float, host: str = "") -> argo.Workflow:
    """Return the manifest with its status, the labels that tell its phase, and how it is stopped or suspended."""
    workflow, run = state.workflow, state.run
    own = state.program.metadata
    metadata = _replace(
        own,
        labels=_labels(state),
        annotations=_patched(own.annotations, run.patched_annotations),
        finalizers=garbage.finalizers(state, own.finalizers),
        deletion_timestamp=None if run.deleting is None else times.rfc3339(run.deleting),
    )
    spec = workflow.spec
    if run.suspended != bool(spec.suspend):
        spec = _replace(spec, suspend=True if run.suspended else None)
    if run.shutdown:
        spec = _replace(spec, shutdown=run.shutdown)
    return _replace(workflow, metadata=metadata, spec=spec, status=status(state, now, host))


def _lock_status(node: Node) -> argo.NodeSynchronizationStatus | None:
    return argo.NodeSynchronizationStatus(waiting=node.locks[0]) if node.locking == locks.WANTED and node.locks else None


def _memo_status(node: Node) -> argo.MemoizationStatus | None:
    return None if node.memo is None else argo.MemoizationStatus(cache_name=node.memo[0], key=node.memo[1], hit=node.memo[2])


def _holders(state: State) -> list[tuple[str, str, tuple[str, ...]]]:
    """Return who holds or wants which locks: the workflow, and nodes that have not ended."""
    whole = f"{state.program.metadata.namespace or 'default'}/{state.program.name}"
    found = [(whole, state.run.locking, state.run.locks)] if state.run.locking else []
    if not any(template.synchronization for template in state.program.spec.templates) and not state.run.stored:
        return found
    nodes = state.nodes.values()
    return found + [(f"{whole}/{node.id}", node.locking, node.locks) for node in nodes if node.locking and not node.is_fulfilled]


def _labels(state: State) -> dict[str, str]:
    run = state.run
    labels = {**state.program.metadata.labels, **run.labels}
    if run.patched_labels:
        labels = _patched(labels, run.patched_labels)
    labels[PHASE_LABEL] = run.phase or phases.PENDING
    labels[COMPLETED_LABEL] = "true" if run.finished_at is not None else "false"
    return labels


def _patched(own: Mapping[str, str], patch: Mapping[str, str | None]) -> dict[str, str]:
    return {key: value for key, value in {**own, **patch}.items() if value is not None} if patch else dict(own)


_IDLE = (argo.Condition(type="PodRunning", status="False"),)
_BUSY = (argo.Condition(type="PodRunning", status="True"),)
_COMPLETED = (*_IDLE, argo.Condition(type="Completed", status="True"))


def _conditions(state: State) -> tuple[argo.Condition, ...]:
    run = state.run
    if not run.phase:
        return ()
    going_on = _BUSY if state.counts.active_pods > 0 else _IDLE
    own = going_on if run.finished_at is None else _COMPLETED
    if not (run.metrics_error or run.gc_error):
        return own
    error = run.metrics_error
    more = (argo.Condition(type="MetricsError", status="True", message=error),) if error else ()
    return (*own, *more, *garbage.conditions(run))


def _progress(nodes: Mapping[str, Node]) -> dict[str, str]:
    """Return what is done of what is to be done: of each node that works itself, and below each other one."""
    sums: dict[str, tuple[int, int]] = {}
    for node in nodes.values():
        done, total = shares.of(node)
        if not total:
            continue
        sums[node.id] = shares.own(node)
        owner = node.owner
        while owner:
            before = sums.get(owner, (0, 0))
            sums[owner] = (before[0] + done, before[1] + total)
            owner = nodes[owner].owner
    return {node_id: f"{done}/{total}" for node_id, (done, total) in sums.items()}


def _statuses(state: State, node: Node, edges: Edges, facts: _Facts) -> list[argo.NodeStatus]:
    """Return the status of a node, and of the containers of one that is a container set."""
    expected = estimates.of(state, node.name)
    own = _replace(_node_status(state, node, edges, facts), display_name=title(state.program, node), estimated_duration=expected)
    group = state.program.template(node.template).source.container_set if node.type == types.POD else None
    if group is None:
        return [own]
    ends = {name: (code, start, end) for name, code, start, end in node.containers}
    ids = {one.name: names.node_id(state.program.name, f"{node.name}.{one.name}") for one in group.containers}
    below: dict[str, list[str]] = {}
    for one in group.containers:
        for parent in one.dependencies or ("",):
            below.setdefault(parent, []).append(ids[one.name])
    found = [_replace(own, children=(*below.get("", ()), *own.children))]
    for one in group.containers:
        phase, message = own.phase, None
        code, start, end = ends.get(one.name, (None, node.started_at, node.finished_at))
        if one.name in ends and code is not None:
            phase = phases.FAILED if code else phases.SUCCEEDED
            message = f"Error (exit code {code})" if code else None
        found.append(
            argo.NodeStatus(
                id=ids[one.name],
                name=f"{node.name}.{one.name}",
                display_name=one.name,
                type=types.CONTAINER,
                phase=phase,
                message=message,
                template_name=own.template_name,
                template_ref=own.template_ref,
                node_flag=own.node_flag,
                template_scope=own.template_scope,
                boundary_id=node.id,
                children=tuple(below.get(one.name, ())),
                progress="1/1" if phase == phases.SUCCEEDED else "0/1",
                started_at=times.rfc3339(start) or None,
                finished_at=times.rfc3339(end) or None,
            )
        )
    return found


def _host(node: Node, facts: _Facts) -> str | None:
    """Return where a pod runs, when it has begun."""
    return facts.host or None if node.type == types.POD and node.phase not in {phases.PENDING, phases.WAITING} else None


def _node_status(state: State, node: Node, edges: Edges, facts: _Facts) -> argo.NodeStatus:
    outbound = edges.outbound(node) if node.type in {types.STEPS, types.DAG} and node.is_fulfilled else ()
    return _replace(_own_status(state, node, facts), children=edges.children(node), outbound_nodes=outbound)


def _own_status(state: State, node: Node, facts: _Facts) -> argo.NodeStatus:
    return argo.NodeStatus(
        id=node.id,
        name=node.name,
        display_name=node.display_name,
        type=node.type,
        phase=phases.PENDING if node.is_waiting else node.phase,
        message=node.message or None,
        synchronization_status=_lock_status(node),
        memoization_status=_memo_status(node),
        template_name=called.name_of(state.program, state.nodes, node),
        template_ref=called.reference_of(state.program, state.nodes, node),
        template_scope=node.scope or None,
        boundary_id=node.boundary or None,
        started_at=times.rfc3339(node.started_at) or None,
        finished_at=times.rfc3339(node.finished_at) or None,
        inputs=node.inputs,
        outputs=node.outputs if node.is_fulfilled or node.type == types.SUSPEND else None,
        node_flag=called.flag_of(node),
        daemoned=True if node.is_daemon else None,
        pod_ip=node.ip or None,
        progress=facts.progress.get(node.id) or None,
        host_node_name=_host(node, facts),
        resources_duration=facts.resources.get(node.id, {}) if node.is_fulfilled else {},
    )
