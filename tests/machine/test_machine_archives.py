"""Archived logs: which pods give them, where they lie, and that they are outputs of failed nodes too."""

import pytest
from tests.machine.machine_driver import Run, workflow

from jitflow.model import argo
from jitflow.model.pods import CollectedArtifact
from jitflow.model.runs import PodReady, PodStarted, RetryRequested

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


SERVED = """
entrypoint: main
archiveLogs: true
templates:
- name: main
  steps: [[{name: d, template: server}], [{name: c, template: client}]]
- name: server
  daemon: true
  MORE
  container: {image: i, command: [c]}
- {name: client, archiveLocation: {archiveLogs: false}, container: {image: i, command: [c]}}
"""


def served(text: str = SERVED, daemon: str = "wf[0].d") -> Run:
    """Return a run whose daemon is needed no more; its pod has not ended yet."""
    run = Run(workflow(text.replace("  MORE\n", "")))
    run.begin()
    run.send(PodStarted(node_id=run.node(daemon).id))
    run.send(PodReady(node_id=run.node(daemon).id, address="127.64.0.1"))
    if "client" in text:
        run.end("wf[1].c")
    return run


def test_the_log_of_a_daemon_is_taken_when_its_pod_has_ended():
    """SEMANTICS Daemons: Succeeded with its boundary; as in Argo the workflow ends when the log is far away."""
    run = served()
    daemon = run.node("wf[0].d")
    assert (daemon.phase, run.killed, run.state.run.phase) == ("Succeeded", [daemon.id], "Running")
    assert daemon.id in run.effects, "a restart must not lose what it is to save"
    for _ in range(2):  # an end may be told again
        run.end("wf[0].d", 143, terminated=True, artifacts=(TAKEN,))
        assert logs_of(run, "wf[0].d") == {"main-logs": f"wf/wf-server-{daemon.id.removeprefix('wf-')}/main.log"}
        assert (run.state.run.phase, run.phase("wf[0].d")) == ("Running", "Succeeded")
    run.save("wf[0].d")
    assert (run.state.run.phase, run.phase("wf")) == ("Succeeded", "Succeeded")
    assert not {daemon.id, f"kill/{daemon.id}"} & run.open_effects()


def test_a_daemon_without_a_log_holds_nothing_back():
    run = served(SERVED.replace("archiveLogs: true\n", ""))
    assert run.state.run.phase == "Succeeded"
    run = served()
    run.end("wf[0].d", 143, terminated=True)
    assert (run.state.run.phase, logs_of(run, "wf[0].d")) == ("Succeeded", {}), "it had none after all"


def test_a_daemons_log_that_cannot_be_saved_fails_nothing():
    run = served()
    run.end("wf[0].d", 143, terminated=True, artifacts=(TAKEN,))
    decision = run.save("wf[0].d", error="no such bucket")
    assert run.state.run.phase == "Succeeded"
    assert any("no such bucket" in note.message for note in decision.notes)


def test_a_daemon_that_nothing_encloses_gives_its_log_too():
    run = served("entrypoint: main\narchiveLogs: true\ntemplates: [{name: main, daemon: true, container: {image: i}}]", "wf")
    assert (run.killed, run.state.run.phase) == (["wf"], "Running")
    run.end("wf", 143, terminated=True, artifacts=(TAKEN,))
    run.save("wf")
    assert (run.state.run.phase, logs_of(run)) == ("Succeeded", {"main-logs": "wf/wf/main.log"})


def test_outputs_of_a_daemon_are_taken_when_its_pod_has_ended():
    """As in Argo, whose wait container saves outputs when it is told to end."""
    artifacts = "[{name: gone, path: /g}, {name: a, path: /a, s3: {key: k}}]"
    outputs = f"outputs: {{parameters: [{{name: p, valueFrom: {{path: /p}}}}], artifacts: {artifacts}}}"
    run = served(SERVED.replace("archiveLogs: true\n", "").replace("MORE", outputs))
    kept = CollectedArtifact(name="a", source="/p/outputs/a", size_bytes=3)
    run.end("wf[0].d", 143, terminated=True, artifacts=(kept,), parameters={"p": "v"})
    run.save("wf[0].d")
    assert run.state.run.phase == "Succeeded"
    found = run.node("wf[0].d").outputs
    assert found is not None
    assert ([one.value for one in found.parameters], logs_of(run, "wf[0].d"), found.exit_code) == (["v"], {"a": "k"}, None)
