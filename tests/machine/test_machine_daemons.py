"""Daemons: ready ones let others go on, and end with the steps or DAG that they belong to."""

import pytest
from machine_driver import Run, workflow

from jitflow import machine
from jitflow.model.runs import PodReady, PodStarted, RetryRequested, ShutdownRequested

pytestmark = pytest.mark.pure

SERVER = """
  - name: server
    daemon: true
    container: {image: nginx}
  - name: client
    inputs: {parameters: [{name: ip}]}
    container: {image: curl, args: ["{{inputs.parameters.ip}}"]}
"""

DAG = (
    """
entrypoint: main
templates:
  - name: main
    dag:
      tasks:
        - {name: server, template: server}
        - name: client
          depends: server
          template: client
          arguments: {parameters: [{name: ip, value: "{{tasks.server.ip}}"}]}
"""
    + SERVER
)

STEPS = (
    """
entrypoint: main
templates:
  - name: main
    steps:
      - - {name: server, template: server}
      - - name: client
          template: client
          arguments: {parameters: [{name: ip, value: "{{steps.server.ip}}"}]}
"""
    + SERVER
)


def started(text: str, server: str) -> Run:
    """Return a run whose daemon is ready."""
    run = Run(workflow(text))
    run.begin()
    run.send(PodStarted(node_id=run.node(server).id))
    run.send(PodReady(node_id=run.node(server).id, address="127.64.0.1"))
    return run


@pytest.mark.parametrize(("text", "prefix"), [(DAG, "wf."), (STEPS, "wf[0].")])
def test_a_ready_daemon_lets_others_go_on_and_ends_with_its_boundary(text: str, prefix: str) -> None:
    """SEMANTICS Daemons: a ready daemon fulfils dependencies as Daemoned, and ends Succeeded when its boundary ends."""
    run = started(text, f"{prefix}server")
    client = "wf.client" if text is DAG else "wf[1].client"
    assert run.launch(client).template.container is not None
    assert run.launch(client).template.container.args == ("127.64.0.1",)
    shown = machine.workflow_document(run.state, run.now).status
    assert shown is not None
    status = shown.nodes[run.node(f"{prefix}server").id]
    assert (status.phase, status.daemoned, status.pod_ip) == ("Running", True, "127.64.0.1")
    run.send(PodStarted(node_id=run.node(client).id))
    run.end(client)
    assert run.phase("wf") == run.phase(f"{prefix}server") == "Succeeded"
    assert run.killed == [run.node(f"{prefix}server").id]
    assert run.state.run.phase == "Succeeded"
    run.end(f"{prefix}server", 143, terminated=True)
    assert run.phase(f"{prefix}server") == "Succeeded"


def test_nothing_goes_on_before_the_daemon_is_ready() -> None:
    run = Run(workflow(DAG))
    run.begin()
    run.send(PodStarted(node_id=run.node("wf.server").id))
    assert run.names() == ["wf", "wf.server"]


@pytest.mark.parametrize("exit_code", [0, 1])
def test_a_daemon_that_ends_by_itself_has_failed(exit_code: int) -> None:
    """SEMANTICS Daemons: a daemon that exits by itself (even 0) is Failed."""
    run = started(DAG, "wf.server")
    run.end("wf.server", exit_code)
    assert run.phase("wf.server") == "Failed"
    run.end("wf.client")
    assert run.state.run.phase == "Succeeded", "the target has succeeded"
    alone = started(DAG.replace("          depends: server\n", "").replace("{{tasks.server.ip}}", "x"), "wf.server")
    alone.end("wf.server", exit_code)
    alone.end("wf.client")
    assert alone.state.run.phase == "Failed", "the daemon is a target itself"


def test_a_failed_daemon_is_started_again() -> None:
    """SEMANTICS Daemons: … and is retried if retryStrategy allows; the address is that of the last attempt."""
    run = Run(workflow(DAG.replace("daemon: true", 'daemon: true\n    retryStrategy: {limit: "2"}')))
    run.begin()
    run.send(PodReady(node_id=run.node("wf.server(0)").id, address="127.64.0.1"))
    assert run.node("wf.server").ip == "127.64.0.1"
    run.end("wf.server(0)", 1)
    assert run.phase("wf.server(1)") == "Pending"
    run.send(PodReady(node_id=run.node("wf.server(1)").id, address="127.64.0.2"))
    assert run.node("wf.server").ip == "127.64.0.2"
    run.end("wf.client")
    assert run.state.run.phase == "Succeeded"
    assert run.phase("wf.server") == run.phase("wf.server(1)") == "Succeeded"


def test_a_daemon_alone_ends_when_it_is_ready() -> None:
    run = started("entrypoint: server\ntemplates:\n" + SERVER, "wf")
    assert run.state.run.phase == "Succeeded"
    assert run.killed == ["wf"]


def test_a_stop_ends_daemons_too() -> None:
    run = started(DAG, "wf.server")
    run.send(ShutdownRequested(strategy="Stop"))
    run.end("wf.client", 143, terminated=True)
    run.end("wf.server", 143, terminated=True)
    assert run.state.run.phase == "Failed"


def test_a_retried_workflow_starts_its_daemon_again() -> None:
    run = started(DAG, "wf.server")
    run.end("wf.client", 1)
    assert run.state.run.phase == "Failed"
    run.end("wf.server", 143, terminated=True)
    run.send(RetryRequested())
    assert run.phase("wf.server") == "Pending"
    assert "wf.client" not in run.names()
    run.send(PodReady(node_id=run.node("wf.server").id, address="127.64.0.9"))
    run.end("wf.client")
    assert run.state.run.phase == "Succeeded"
