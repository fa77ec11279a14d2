"""A failed workflow submitted anew with memoization."""

import pytest
from machine_driver import Run, workflow

from jitflow import machine
from jitflow.model.objects import NO_OBJECTS

pytestmark = pytest.mark.pure

TEMPLATES = """
  - name: ok
    container: {image: i}
    outputs: {parameters: [{name: p, valueFrom: {path: /p}}]}
  - name: bad
    container: {image: i}
"""
DAG = (
    """
entrypoint: main
templates:
  - name: main
    dag:
      tasks:
        - {name: A, template: ok}
        - {name: B, template: bad, depends: A}
        - {name: C, template: ok, depends: B}
        - {name: D, template: ok, depends: C}
"""
    + TEMPLATES
)
STEPS = (
    """
entrypoint: main
onExit: ok
templates:
  - name: main
    steps:
      - - {name: one, template: ok, withItems: [x, y]}
      - - {name: two, template: ok}
        - {name: three, template: bad}
      - - {name: four, template: ok}
"""
    + TEMPLATES
)


def failed(text: str) -> Run:
    """Return a run whose template `bad` has failed."""
    return Run(workflow(text)).play(lambda _, launch: {"exit_code": 1} if launch.template.name == "bad" else {})


def again(text: str, old: Run) -> Run:
    """Return the run of the new workflow, not begun."""
    run = Run(workflow(text, name="again"))
    run.state = machine.resubmitted(run.workflow, old.state, now=old.now, objects=NO_OBJECTS)
    run.seen = {node.id: node.phase for node in run.state.nodes.values()}
    return run


def test_pods_that_succeeded_are_skipped_with_their_outputs_and_the_rest_runs_again() -> None:
    """SEMANTICS Retry / resubmit: memoized: pods that did not fail become type+phase Skipped `original pod: <old id>`."""
    old = failed(DAG)
    run = again(DAG, old)
    run.begin()
    kept = run.node("again.A")
    assert (kept.type, kept.phase, kept.message) == ("Skipped", "Skipped", f"original pod: {old.node('wf.A').id}")
    assert kept.id == machine.node_id("again", "again.A")
    assert kept.outputs == old.node("wf.A").outputs
    run.end("again.B", 1)
    assert run.state.run.phase == "Failed"
    assert {name: run.phase(name) for name in run.names()} == {
        "again": "Failed", "again.A": "Skipped", "again.B": "Failed", "again.C": "Omitted", "again.D": "Omitted",
    }  # fmt: skip


def test_steps_go_on_after_what_succeeded() -> None:
    old = failed(STEPS)
    assert "wf.onExit" in old.names()
    run = again(STEPS, old)
    assert "again.onExit" not in run.names()
    run.play()
    assert run.state.run.phase == "Succeeded"
    launched = {node.name for node in run.state.nodes.values() if node.type == "Pod"}
    assert launched == {"again[1].three", "again[2].four", "again.onExit"}
    assert run.phase("again[0].one(0:x)") == "Skipped"


def test_the_state_can_be_restored_from_what_is_stored() -> None:
    run = again(STEPS, failed(STEPS))
    decision = run.begin()
    rows = [machine.encode_node(node) for node in decision.nodes]
    restored = machine.restore(machine.encode_header(run.state), rows)
    assert dict(restored.nodes) == dict(run.state.nodes)


def test_only_what_failed_can_be_taken_up() -> None:
    """SEMANTICS Retry / resubmit: memoized (only Failed/Error, else 400)."""
    done = Run(workflow(DAG)).play()
    assert "must be Failed/Error" in machine.memoization_refusal(done.state)
    assert machine.memoization_refusal(failed(DAG).state) == ""
