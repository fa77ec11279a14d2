"""Artifact garbage collection: which artifacts go when, what holds the workflow back, what is told of failures."""

import pytest
from tests.machine.machine_driver import Run, workflow

from jitflow import machine
from jitflow.machine.garbage import FINALIZER
from jitflow.model import argo
from jitflow.model.pods import CollectedArtifact
from jitflow.model.runs import ArtifactFate, ArtifactsDeleted, DeleteArtifacts, DeletionRequested, RetryRequested

pytestmark = pytest.mark.pure

COMPLETION, DELETION = "OnWorkflowCompletion", "OnWorkflowDeletion"
THREE = """
entrypoint: main
artifactGC: {strategy: OnWorkflowDeletion}
templates:
- name: main
  container: {image: i, command: [c]}
  outputs:
    artifacts:
    - {name: early, path: /a, artifactGC: {strategy: OnWorkflowCompletion}}
    - {name: late, path: /b}
    - {name: kept, path: /c, artifactGC: {strategy: Never}}
"""


def ended(text: str = THREE, exit_code: int = 0) -> Run:
    """Return a workflow of one pod that has ended with all its outputs saved."""
    run = Run(workflow(text))
    run.begin()
    names = [artifact.name for artifact in run.workflow.spec.templates[0].outputs.artifacts]  # type: ignore[union-attr]
    run.end("wf", exit_code, artifacts=tuple(CollectedArtifact(name=name, source=f"/{name}", size_bytes=1) for name in names))
    run.save("wf")
    return run


def to_delete(run: Run, strategy: str) -> list[str]:
    """Return the names of the artifacts that are to be deleted now."""
    effect = run.effects.get(f"artifact-gc/{strategy}")
    return [one.artifact.name for one in effect.garbage] if isinstance(effect, DeleteArtifacts) else []


def tell(run: Run, strategy: str, **errors: str) -> None:
    """Say that what was to be deleted is gone, but for those with an error."""
    fates = (ArtifactFate(node_id="wf", name=name, error=errors.get(name, "")) for name in to_delete(run, strategy))
    run.send(ArtifactsDeleted(strategy=strategy, results=tuple(fates)))


def shown(run: Run) -> argo.Workflow:
    return machine.workflow_document(run.state, run.now)


def deleted(run: Run) -> list[str]:
    outputs = shown(run).status.nodes["wf"].outputs  # type: ignore[union-attr]
    return [artifact.name for artifact in outputs.artifacts if artifact.deleted]  # type: ignore[union-attr]


def finalizers(run: Run) -> tuple[str, ...]:
    return shown(run).metadata.finalizers  # type: ignore[union-attr]


def test_each_artifact_goes_when_its_strategy_says():
    run = ended()
    assert to_delete(run, COMPLETION) == ["early"]
    assert to_delete(run, DELETION) == []
    assert finalizers(run) == (FINALIZER,)
    tell(run, COMPLETION)
    assert deleted(run) == ["early"]
    assert finalizers(run) == (FINALIZER,), "what goes at deletion is still there"
    run.send(DeletionRequested())
    assert shown(run).metadata.deletion_timestamp  # type: ignore[union-attr]
    assert (to_delete(run, COMPLETION), to_delete(run, DELETION)) == ([], ["late"])
    tell(run, DELETION)
    assert deleted(run) == ["early", "late"]
    assert finalizers(run) == ()
    assert not machine.holds_back(run.state)
    status = shown(run).status.artifact_gc_status  # type: ignore[union-attr]
    assert status.strategies_processed == {COMPLETION: True, DELETION: True}
    assert status.pods_recouped == {"wf-artgc-wfcomp-2166136261": True, "wf-artgc-wfdel-2166136261": True}


def test_artifacts_of_failed_workflows_go_too():
    assert to_delete(ended(exit_code=1), COMPLETION) == ["early"]


def test_a_failure_is_told_and_tried_again_when_the_workflow_is_deleted():
    run = ended()
    tell(run, COMPLETION, early="far:x: no right")
    condition = next(one for one in shown(run).status.conditions if one.type == "ArtifactGCError")  # type: ignore[union-attr]
    assert condition.message == "far:x: no right"
    assert machine.holds_back(run.state)
    run.send(DeletionRequested())
    assert to_delete(run, COMPLETION) == ["early"]
    tell(run, COMPLETION)
    tell(run, DELETION)
    assert not machine.holds_back(run.state)
    assert not [one for one in shown(run).status.conditions if one.type == "ArtifactGCError"]  # type: ignore[union-attr]


def test_the_finalizer_can_be_given_up_for_good():
    run = ended(THREE.replace("artifactGC: {strategy: OnW", "artifactGC: {forceFinalizerRemoval: true, strategy: OnW", 1))
    tell(run, COMPLETION)
    assert machine.holds_back(run.state)
    run.send(DeletionRequested())
    assert machine.holds_back(run.state), "it is tried first"
    tell(run, DELETION, late="far:y: no right")
    assert not machine.holds_back(run.state)


def test_without_a_strategy_nothing_is_deleted_and_the_status_says_so():
    text = THREE.replace("artifactGC: {strategy: OnWorkflowDeletion}\n", "").replace(
        ", artifactGC: {strategy: OnWorkflowCompletion}", ""
    )
    run = ended(text)
    assert to_delete(run, COMPLETION) == []
    assert finalizers(run) == ()
    assert shown(run).status.artifact_gc_status == argo.ArtGCStatus(not_specified=True)  # type: ignore[union-attr]


def test_an_outcome_that_is_told_twice_changes_nothing():
    run = ended()
    fate = ArtifactFate(node_id="wf", name="early")
    run.send(ArtifactsDeleted(strategy=COMPLETION, results=(fate,)))
    before = run.state
    run.send(ArtifactsDeleted(strategy=COMPLETION, results=(ArtifactFate(node_id="wf", name="early", error="late news"),)))
    assert run.state.run == before.run


def test_a_workflow_is_not_retried_while_its_artifacts_are_deleted():
    run = ended(exit_code=1)
    assert "being deleted" in machine.refusal(run.state, RetryRequested())
    tell(run, COMPLETION, early="far:x: no right")
    assert machine.refusal(run.state, RetryRequested()) == ""
    run.send(RetryRequested())
    run.end("wf", artifacts=(CollectedArtifact(name="early", source="/early", size_bytes=1),))
    run.save("wf")
    assert to_delete(run, COMPLETION) == ["early"], "what the retry made goes too"
    assert run.state.run.gc_error == ""


def test_archived_logs_go_with_the_workflows_strategy():
    run = Run(workflow(THREE.replace("entrypoint: main", "entrypoint: main\narchiveLogs: true")))
    run.begin()
    run.end("wf", 1, artifacts=(CollectedArtifact(name="main-logs", source="/l", size_bytes=1),))
    run.save("wf")
    run.send(DeletionRequested())
    assert to_delete(run, DELETION) == ["main-logs"]
