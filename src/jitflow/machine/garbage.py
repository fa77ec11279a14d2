"""Artifact garbage collection: which artifacts of a finished workflow are deleted, when, and what is told of it."""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from jitflow.machine import archives, locations
from jitflow.machine import node as types
from jitflow.machine.ledger import Ledger
from jitflow.machine.names import fnv1a32
from jitflow.machine.node import Node, changed
from jitflow.machine.program import Program
from jitflow.machine.state import Run, State
from jitflow.model import argo
from jitflow.model.runs import ArtifactsDeleted, DeleteArtifacts, DeletionRequested, Garbage

COMPLETION, DELETION = "OnWorkflowCompletion", "OnWorkflowDeletion"
FINALIZER = "workflows.argoproj.io/artifact-gc"
_SHORT = {COMPLETION: "wfcomp", DELETION: "wfdel"}
_UNDELETABLE = frozenset({"", "raw", "git"})
_MAX_MESSAGES = 5

_replace = msgspec.structs.replace


_NOT_SPECIFIED: Final = argo.ArtGCStatus(not_specified=True)


def strategy_of(spec: argo.WorkflowSpec, artifact: argo.Artifact) -> str:
    """Return when an artifact is deleted: what it says itself, else what the workflow says; empty: nobody says."""
    for gc in (artifact.artifact_gc, spec.artifact_gc):
        if gc is not None and gc.strategy:
            return gc.strategy
    return ""


def is_specified(program: Program, run: Run) -> bool:
    """Return whether the workflow may have artifacts to delete at all."""
    spec = program.spec
    if run.stored or spec.artifact_gc is not None:
        return _is_specified(program, run)
    if program.common.gives_up is None:
        program.common.gives_up = _is_specified(program, run)
    return program.common.gives_up


def _is_specified(program: Program, run: Run) -> bool:
    spec = program.spec
    for template in (*spec.templates, *run.stored.values()):
        outputs = template.outputs.artifacts if template.outputs is not None else ()
        if any(strategy_of(spec, artifact) in _SHORT for artifact in outputs):
            return True
        if spec.artifact_gc is not None and spec.artifact_gc.strategy in _SHORT and _gives_logs(program, run, template):
            return True
    return False


def _gives_logs(program: Program, run: Run, template: argo.Template) -> bool:
    is_pod = template.container is not None or template.script is not None or template.container_set is not None
    return is_pod and archives.archives(program, run, template)


def _remaining(spec: argo.WorkflowSpec, nodes: Iterable[Node], strategies: Iterable[str]) -> Iterator[Garbage]:
    """Yield what is to be deleted and is not yet. What a memoized node took over belongs to others."""
    wanted = frozenset(strategies)
    for node in nodes:
        if node.type != types.POD or node.outputs is None or (node.memo is not None and node.memo[2]):
            continue
        for artifact in node.outputs.artifacts:
            deletable = not artifact.deleted and locations.store_of(artifact) not in _UNDELETABLE
            if deletable and strategy_of(spec, artifact) in wanted:
                yield Garbage(node_id=node.id, artifact=artifact)


def holds_back(state: State) -> bool:
    """Return whether the workflow is not to be deleted yet: Argo's finalizer is there."""
    run, gc = state.run, state.program.spec.artifact_gc
    if not is_specified(state.program, state.run):
        return False
    if run.finished_at is None or run.gc_open:
        return True
    if gc is not None and gc.force_finalizer_removal and run.deleting is not None:
        return False
    return next(_remaining(state.program.spec, state.nodes.values(), _SHORT), None) is not None


def let_go(state: State) -> State:
    """Return a workflow of which only the archive knows: nothing of it is still to be deleted."""
    return _replace(state, run=_replace(state.run, deleting=None, gc_open=()))


def take(turn: Ledger, event: DeletionRequested | ArtifactsDeleted) -> None:
    """Go on when a deletion is asked for, or artifacts are gone."""
    if isinstance(event, ArtifactsDeleted):
        deleted(turn, event)
    else:
        deletion_asked(turn)


def completed(turn: Ledger) -> None:
    """The workflow has ended: delete what its strategy gives up then."""
    if is_specified(turn.program, turn.run):
        _collect(turn, COMPLETION)


def deletion_asked(turn: Ledger) -> None:
    """Somebody wants the workflow deleted: delete all that is given up, what failed before included."""
    if turn.run.finished_at is None:
        return
    turn.run = _replace(turn.run, deleting=turn.now, gc_error="")
    if is_specified(turn.program, turn.run):
        for strategy in _SHORT:
            if strategy not in turn.run.gc_open:
                _collect(turn, strategy)


def _collect(turn: Ledger, strategy: str) -> None:
    found = tuple(_remaining(turn.program.spec, turn.in_order(), (strategy,)))
    run = turn.run
    processed = tuple(dict.fromkeys((*run.gc_processed, strategy)))
    turn.run = _replace(run, gc_processed=processed, gc_open=(*run.gc_open, strategy) if found else run.gc_open)
    if found:
        turn.emit(
            DeleteArtifacts(
                key=key_of(strategy),
                strategy=strategy,
                garbage=found,
                namespace=turn.program.metadata.namespace or "",
                repository=None if run.repository.default else run.store,
            )
        )


def key_of(strategy: str) -> str:
    """Return the key of the effect that deletes what a strategy gives up."""
    return f"artifact-gc/{strategy}"


def deleted(turn: Ledger, event: ArtifactsDeleted) -> None:
    """Artifacts are gone, or could not be deleted."""
    if event.strategy not in turn.run.gc_open:
        return  # told twice, after a restart
    gone: dict[str, set[str]] = {}
    errors: list[str] = []
    for one in event.results:
        if one.error:
            errors.append(one.error)
        else:
            gone.setdefault(one.node_id, set()).add(one.name)
    for node_id, names in gone.items():
        node = turn.find(node_id)
        if node is not None and node.outputs is not None:
            artifacts = tuple(_replace(a, deleted=True) if a.name in names else a for a in node.outputs.artifacts)
            turn.put(changed(node, outputs=_replace(node.outputs, artifacts=artifacts)))
    run = turn.run
    turn.run = _replace(
        run,
        gc_open=tuple(strategy for strategy in run.gc_open if strategy != event.strategy),
        gc_recouped=tuple(dict.fromkeys((*run.gc_recouped, event.strategy))),
        gc_error="; ".join(dict.fromkeys([run.gc_error, *errors][: _MAX_MESSAGES + 1])).removeprefix("; "),
    )
    turn.close(key_of(event.strategy))
    if errors:
        message = f"Artifact Garbage Collection failed for strategy {event.strategy}, err:{errors[0]}"
        turn.note("ArtifactGCFailed", message, kind="Warning")


def status(state: State) -> argo.ArtGCStatus | None:
    """Return `status.artifactGCStatus`; nothing before the workflow has begun.

    One pod stands for all of a strategy's deletions.
    """
    if not state.run.phase:
        return None
    if not is_specified(state.program, state.run):
        return _NOT_SPECIFIED
    run, name = state.run, state.program.name
    return argo.ArtGCStatus(
        strategies_processed=dict.fromkeys(run.gc_processed, True),
        pods_recouped={f"{name}-artgc-{_SHORT[one]}-{fnv1a32('')}": True for one in run.gc_recouped},
    )


def conditions(run: Run) -> tuple[argo.Condition, ...]:
    """Return the condition that tells why artifacts could not be deleted."""
    return (argo.Condition(type="ArtifactGCError", status="True", message=run.gc_error),) if run.gc_error else ()


def finalizers(state: State, own: tuple[str, ...]) -> tuple[str, ...]:
    """Return the workflow's finalizers."""
    others = tuple(name for name in own if name != FINALIZER) if own else own
    return (*others, FINALIZER) if state.run.phase and holds_back(state) else others
