# ruff: noqa: E501 - a manifest on one line reads better than one cut in pieces
"""The semantics of daemons.

1. A daemon whose containers are all ready is Running and `daemoned`; who depends on it goes on; `steps.x.ip` and `tasks.x.ip` are its
   address.
2. It ends with the Steps or DAG node around it, Succeeded.
3. One that ends by itself, with code 0 too, is Failed, and repeated if its retry strategy says so.
"""

import pytest
from machine_driver import Run
from semantics_kit import arguments, begun, end_of, received, shown_node

from jitflow.model.runs import PodReady, PodStarted

pytestmark = pytest.mark.pure

SERVER = """
- {name: server, daemon: true, container: {image: i}}
- {name: again, daemon: true, retryStrategy: {limit: 1}, container: {image: i}}
"""
IN_STEPS = "steps: [[{name: d, template: %s}], [{name: a, template: strict, arguments: {parameters: [{name: m, value: '{{steps.d.ip}}'}]}}]]"
IN_DAG = """
dag:
  tasks:
  - {name: d, template: %s}
  - {name: a, template: strict, depends: d.Daemoned, arguments: {parameters: [{name: m, value: '{{tasks.d.ip}}'}]}}
"""
PLACES = pytest.mark.parametrize(("main", "daemon", "client"), [(IN_STEPS, "wf[0].d", "wf[1].a"), (IN_DAG, "wf.d", "wf.a")])


def ready(run: Run, name: str) -> None:
    """Start a daemon's pod and say that it is ready."""
    node_id = run.node(name).id
    run.send(PodStarted(node_id=node_id))
    run.send(PodReady(node_id=node_id, address="127.64.0.9"))


@PLACES
def test_daemons_1_a_ready_daemon_serves(main: str, daemon: str, client: str) -> None:
    """Daemons 1: Running and daemoned; its dependants start and know its address; before that they wait."""
    run = begun(main % "server", extra=SERVER)
    run.send(PodStarted(node_id=run.node(daemon).id))
    assert client not in run.names()
    ready(run, daemon)
    node = shown_node(run, daemon)
    assert (node.phase, node.daemoned, node.pod_ip) == ("Running", True, "127.64.0.9")
    assert received(run, client) == "127.64.0.9"
    assert arguments(run, client) == ["127.64.0.9"]


@PLACES
def test_daemons_2_they_end_with_their_boundary(main: str, daemon: str, client: str) -> None:
    """Daemons 2: when the last other step has ended the daemon is ended, and has succeeded."""
    run = begun(main % "server", extra=SERVER)
    ready(run, daemon)
    run.send(PodStarted(node_id=run.node(client).id))
    run.end(client)
    assert run.killed == [run.node(daemon).id]
    assert (run.phase(daemon), end_of(run)[0]) == ("Succeeded", "Succeeded")
    run.end(daemon, 143, terminated=True)
    assert run.phase(daemon) == "Succeeded"


@PLACES
def test_daemons_2_they_end_with_a_failed_boundary_too(main: str, daemon: str, client: str) -> None:
    """Daemons 2: a failure ends them as well; they have succeeded all the same."""
    run = begun(main % "server", extra=SERVER)
    ready(run, daemon)
    run.send(PodStarted(node_id=run.node(client).id))
    run.end(client, 1)
    assert (run.phase(daemon), end_of(run)[0]) == ("Succeeded", "Failed")


@PLACES
@pytest.mark.parametrize("exit_code", [0, 1])
def test_daemons_3_one_that_ends_by_itself_has_failed(main: str, daemon: str, client: str, exit_code: int) -> None:
    """Daemons 3: whatever its exit code, ready or not."""
    run = begun(main % "server", extra=SERVER)
    run.send(PodStarted(node_id=run.node(daemon).id))
    run.end(daemon, exit_code)
    assert (run.phase(daemon), client in run.names()) == ("Failed", main == IN_DAG)
    assert end_of(run)[0] == "Failed"


@PLACES
def test_daemons_3_it_is_repeated(main: str, daemon: str, client: str) -> None:
    """Daemons 3: a retry strategy starts it again; its dependants wait for the one that is ready."""
    run = begun(main % "again", extra=SERVER)
    run.send(PodStarted(node_id=run.node(f"{daemon}(0)").id))
    run.end(f"{daemon}(0)", 0)
    assert run.phase(f"{daemon}(0)") == "Failed"
    ready(run, f"{daemon}(1)")
    assert received(run, client) == "127.64.0.9"
