"""Archived logs: which pods give them, where they lie, and that they are outputs of failed nodes too."""

import pytest
from tests.machine.machine_driver import Run, workflow

from jitflow.model import argo
from jitflow.model.pods import CollectedArtifact
from jitflow.model.runs import RetryRequested

pytestmark = pytest.mark.pure

ONE = """
entrypoint: main
archiveLogs: true
templates:
- name: main
  container: {image: i, command: [c]}
"""


TAKEN = CollectedArtifact(name="main-logs", source="/p/outputs/main-logs", size_bytes=3)


def logs_of(run: Run, name: str = "wf") -> dict[str, str]:
    """Return the names and keys of a node's artifacts."""
    outputs = run.node(name).outputs or argo.Outputs()
    return {artifact.name: (artifact.s3 and artifact.s3.key) or "" for artifact in outputs.artifacts}


def test_the_log_of_a_pod_is_an_artifact_at_the_place_that_argo_gives_it():
    run = Run(workflow(ONE))
    run.begin()
    (log,) = run.launch("wf").logs
    assert (log.name, log.s3 and log.s3.key) == ("main-logs", "wf/wf/main.log")
    assert log.archive is None
    run.end("wf", artifacts=(TAKEN,))
    assert logs_of(run) == {"main-logs": "wf/wf/main.log"}
    assert run.state.run.phase == "Running", "the log is not far away yet"
    run.save("wf")
    assert run.state.run.phase == "Succeeded"


def test_a_failed_node_keeps_its_log():
    run = Run(workflow(ONE))
    run.begin()
    run.end("wf", 1, artifacts=(TAKEN,))
    run.save("wf")
    assert run.phase("wf") == "Failed"
    assert logs_of(run) == {"main-logs": "wf/wf/main.log"}


def test_a_pod_without_a_log_is_no_error():
    run = Run(workflow(ONE))
    run.begin()
    run.end("wf")
    assert run.state.run.phase == "Succeeded"
    assert logs_of(run) == {}


@pytest.mark.parametrize(
    ("server", "own", "expected"),
    [(False, None, True), (False, True, True), (False, False, False), (True, False, True)],
)
def test_the_server_goes_before_the_template_and_the_template_before_the_workflow(server: bool, own: bool | None, expected: bool):
    source = workflow(ONE)
    location = argo.ArtifactLocation(archive_logs=own)
    template = argo.Template(name="main", container=source.spec.templates[0].container, archive_location=location)
    spec = argo.WorkflowSpec(entrypoint="main", archive_logs=True, templates=(template,))
    run = Run(argo.Workflow(metadata=source.metadata, spec=spec), archive_logs=server)
    run.begin()
    assert bool(run.launch("wf").logs) is expected


def test_each_container_of_a_set_gives_its_log_and_names_that_are_taken_stay():
    run = Run(
        workflow("""
entrypoint: main
archiveLogs: true
templates:
- name: main
  containerSet: {containers: [{name: main, image: i, command: [c]}, {name: b, image: i, command: [c]}]}
  outputs: {artifacts: [{name: b-logs, path: /x}]}
""")
    )
    run.begin()
    assert [log.name for log in run.launch("wf").logs] == ["main-logs"]


def test_a_retry_archives_logs_as_before():
    run = Run(workflow(ONE.replace("archiveLogs: true", "archiveLogs: false")), archive_logs=True)
    run.begin()
    run.end("wf", 1)
    run.send(RetryRequested())
    assert run.launch("wf").logs
