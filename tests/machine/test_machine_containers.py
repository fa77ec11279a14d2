"""Pods of several containers: what their ends mean for the node, and what the status shows of a container set."""

import pytest
from machine_driver import T0, Run, workflow

from jitflow import machine
from jitflow.model.pods import ContainerEnd, ContainerRole

pytestmark = pytest.mark.pure

SET = """
entrypoint: main
templates:
- name: main
  containerSet:
    containers:
    - {name: a, image: busybox, command: [sh]}
    - {name: b, image: busybox, command: [sh], dependencies: [a]}
"""
SIDECAR = """
entrypoint: main
templates:
- name: main
  container: {image: busybox, command: [sh]}
  sidecars: [{name: side, image: busybox, command: [sh]}]
"""
MISSING = "error in entry template execution: volume 'v' not found in workflow spec"
MAIN, BESIDE = ContainerRole.MAIN, ContainerRole.SIDECAR


def one(name: str, exit_code: int | None, role: ContainerRole = MAIN) -> ContainerEnd:
    return ContainerEnd(name=name, role=role, exit_code=exit_code, started_at=T0, finished_at=T0 + 1)


@pytest.mark.parametrize(
    ("exit_code", "phase", "message"),
    [
        (0, "Succeeded", ""),
        (137, "Succeeded", ""),
        (143, "Succeeded", ""),
        (None, "Succeeded", ""),
        (3, "Failed", "side: Error (exit code 3)"),
    ],
)
def test_a_sidecars_end_counts_unless_it_was_told_to_end(exit_code: int | None, phase: str, message: str) -> None:
    """SEMANTICS Scripts, containers, exit: sidecar non-zero counts except 137/143."""
    run = Run(workflow(SIDECAR))
    run.begin()
    run.end("wf", 0, containers=(one("main", 0), one("side", exit_code, BESIDE)))
    node = run.node("wf")
    assert (node.phase, node.message) == (phase, message)


def test_main_wins_over_its_sidecars() -> None:
    """SEMANTICS Scripts, containers, exit: main non-zero is Failed `main: Error (exit code N)`."""
    run = Run(workflow(SIDECAR))
    run.begin()
    run.end("wf", 2, containers=(one("main", 2), one("side", 3, BESIDE)))
    assert (run.node("wf").phase, run.node("wf").message) == ("Failed", "main: Error (exit code 2)")


def test_an_init_container_that_failed_is_an_error() -> None:
    """SEMANTICS Scripts, containers, exit: init container error is an Error."""
    run = Run(workflow(SIDECAR))
    run.begin()
    run.end("wf", None, error="first: Error (exit code 1)")
    assert (run.node("wf").phase, run.node("wf").message) == ("Error", "first: Error (exit code 1)")


def test_the_containers_of_a_set_are_shown_below_their_pod() -> None:
    run = Run(workflow(SET))
    run.begin()
    nodes = {node.name: node for node in machine.status(run.state, run.now).nodes.values()}
    assert sorted(nodes) == ["wf", "wf.a", "wf.b"]
    assert (nodes["wf"].type, nodes["wf.a"].type, nodes["wf.a"].boundary_id) == ("Pod", "Container", "wf")
    assert nodes["wf"].children == (nodes["wf.a"].id,)
    assert nodes["wf.a"].children == (nodes["wf.b"].id,)
    assert nodes["wf.b"].phase == "Pending"
    run.end("wf", 5, containers=(one("a", 5), one("b", 5)))
    nodes = {node.name: node for node in machine.status(run.state, run.now).nodes.values()}
    assert (nodes["wf"].phase, nodes["wf"].message) == ("Failed", "a: Error (exit code 5)")
    assert [(nodes[name].phase, nodes[name].message) for name in ("wf.a", "wf.b")] == [("Failed", "Error (exit code 5)")] * 2


def test_a_set_that_succeeds_shows_each_container_as_succeeded() -> None:
    run = Run(workflow(SET))
    run.begin()
    run.end("wf", 0, containers=(one("a", 0), one("b", 0)))
    found = machine.status(run.state, run.now).nodes.values()
    assert {node.name: node.phase for node in found} == dict.fromkeys(("wf", "wf.a", "wf.b"), "Succeeded")
    assert next(node for node in found if node.name == "wf.a").started_at == "2023-11-14T22:13:20Z"


def test_a_mount_of_a_sidecar_needs_its_volume() -> None:
    text = SIDECAR.replace("command: [sh]}]", "command: [sh], volumeMounts: [{name: v, mountPath: /v}]}]")
    run = Run(workflow(text))
    run.begin()
    assert (run.node("wf").phase, run.node("wf").message) == ("Error", MISSING)
