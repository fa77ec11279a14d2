# ruff: noqa: E501 - a manifest on one line reads better than one cut in pieces
"""Names and ids.

1. A node's id is the workflow's name for the root, else `<wf>-<32-bit FNV-1a hash of the node's name, decimal>`; a pod's name is the
   workflow's for the root, else `<wf>-<template>-<the same hash>`, its prefix cut to 242 characters.
2. Types: Pod, Container, Steps, StepGroup, DAG, TaskGroup, Retry, Skipped, Suspend, HTTP, Plugin. A display name is the name without its
   boundary's and without `.` or `[n].`; the root's is the workflow's. Attempts are `name(0)` and flagged as retried, hooks `name.hooks.h`
   and flagged as hooked, an exit handler `name.onExit`, the containers of a set `name.ctr`, of type Container, their boundary the pod.
3. `boundaryID` is the Steps or DAG node around, `outboundNodes` the last leaves, `templateName` or `templateRef` and `templateScope` say
   what runs; `progress` is "n/m"; `estimatedDuration` is what a node took in an earlier workflow of the template that succeeded.
4. The workflow's phase is the root's; Skipped and Omitted count as Succeeded. The status has phase, times, progress, message, nodes,
   outputs, conditions (`Completed`) and stored templates; labels tell the phase and whether it is over.
"""

import pytest
from semantics_kit import FAILED, begun, end_of, played, shown, shown_node

from jitflow import machine
from jitflow.machine import names
from jitflow.model import argo
from jitflow.model.runs import PodStarted

pytestmark = pytest.mark.pure

KINDS = """
- {name: retried, retryStrategy: {limit: 1}, container: {image: i}}
- {name: inner, dag: {tasks: [{name: a, template: echo}, {name: loop, template: echo, withItems: [x]}]}}
- {name: pause, suspend: {duration: "1"}}
- {name: call, http: {url: "http://127.0.0.1/"}}
- {name: plug, plugin: {hello: {}}}
- {name: set, containerSet: {containers: [{name: one, image: i}, {name: main, image: i, dependencies: [one]}]}}
"""


@pytest.mark.parametrize(
    ("name", "number"), [("wf[0].a", 3986212215), ("", 2166136261), ("a", 0xE40C292C), ("foobar", 0xBF9CF968)]
)
def test_names_1_the_hash_is_fnv_1a(name: str, number: int) -> None:
    """Names 1: the hash is the 32-bit FNV-1a of the name, in decimal; known values of the algorithm."""
    assert names.fnv1a32(name) == number
    assert names.node_id("wf", name) == f"wf-{number}"


def test_names_1_ids_and_pod_names() -> None:
    """Names 1: the root's id and pod are called like the workflow, the others `<wf>-<hash>` and `<wf>-<template>-<hash>`."""
    run = begun("container: {image: i}")
    assert (run.node("wf").id, run.launch("wf").pod_name) == ("wf", "wf")
    run = begun("steps: [[{name: a, template: echo}]]")
    assert (run.node("wf[0].a").id, run.launch("wf[0].a").pod_name) == ("wf-3986212215", "wf-echo-3986212215")


def test_names_1_a_long_pod_name_is_cut() -> None:
    """Names 1: at most 242 characters stand before the hash, and its dash."""
    name = machine.pod_name("w" * 60, "t" * 300, "x", "w-123")
    assert name == f"{'w' * 60}-{'t' * 181}-123"
    assert len(name) <= 253


def test_names_2_types() -> None:
    """Names 2: each kind of node has its type."""
    run = played(
        """
steps:
- - {name: pod, template: echo}
  - {name: again, template: retried}
  - {name: deep, template: inner}
  - {name: skip, template: echo, when: "false"}
  - {name: wait, template: pause}
  - {name: call, template: call}
  - {name: plug, template: plug}
  - {name: set, template: set}
""",
        extra=KINDS,
    )
    found = {node.name.removeprefix("wf"): node.type for node in shown(run).nodes.values()}
    assert found == {
        "": "Steps", "[0]": "StepGroup", "[0].pod": "Pod", "[0].again": "Retry", "[0].again(0)": "Pod", "[0].deep": "DAG",
        "[0].deep.a": "Pod", "[0].deep.loop": "TaskGroup", "[0].deep.loop(0:x)": "Pod", "[0].skip": "Skipped", "[0].wait": "Suspend",
        "[0].call": "HTTP", "[0].plug": "Plugin", "[0].set": "Pod", "[0].set.one": "Container", "[0].set.main": "Container",
    }  # fmt: skip
    shows = {node.name.removeprefix("wf[0]."): node.display_name for node in shown(run).nodes.values()}
    assert shows["wf"] == "wf"
    assert shows["deep.loop(0:x)"] == "loop(0:x)"
    assert shows["again(0)"] == "again(0)"
    assert shows["deep"] == "deep"
    assert shown_node(run, "wf[0]").display_name == "[0]"


def test_names_2_attempts_and_hooks() -> None:
    """Names 2: attempts `name(0)` are flagged as retried, hooks `name.hooks.h` and `name.onExit` as hooked."""
    run = played(
        "steps: [[{name: a, template: retried, hooks: {exit: {template: echo}, ran: {template: echo, expression: 'true'}}}]]",
        extra=KINDS,
        ends={"wf[0].a(0)": FAILED},
    )
    flags = {node.name: node.node_flag for node in shown(run).nodes.values()}
    retried, hooked = argo.NodeFlag(retried=True), argo.NodeFlag(hooked=True)
    assert flags["wf[0].a(0)"] == flags["wf[0].a(1)"] == retried
    assert flags["wf[0].a.onExit"] == flags["wf[0].a.hooks.ran"] == hooked
    assert flags["wf[0].a"] is None


def test_names_2_flags_of_what_was_made_for_a_task() -> None:
    """Names 2: groups, and tasks that did not run, have an empty flag (`initializeNode` is given `&wfv1.NodeFlag{}`)."""
    run = played(
        "steps: [[{name: d, template: inner}, {name: s, template: echo, when: 'false'}, {name: g, template: set}]]\n",
        extra=KINDS.replace("withItems: [x]}", "withItems: [x]}, {name: never, template: echo, depends: a.Failed}"),
    )
    flags = {node.name.removeprefix("wf"): node.node_flag for node in shown(run).nodes.values()}
    empty = {name for name, flag in flags.items() if flag == argo.NodeFlag()}
    assert empty == {"[0]", "[0].s", "[0].d.loop", "[0].d.never"}
    assert all(flags[name] is None for name in flags.keys() - empty)


def test_names_2_flags_of_hooks_with_attempts() -> None:
    """Names 2: the Retry node of a hook is flagged as its attempts are, hooked and retried; what is below them is not.

    `executeTemplate` sets `Retried` in the flag that it has given to the Retry node.
    """
    extra = KINDS + "- {name: deep, retryStrategy: {limit: 1}, steps: [[{name: x, template: echo}]]}\n"
    run = played(
        "steps: [[{name: a, template: echo, hooks: {exit: {template: retried}, ran: {template: deep, expression: 'true'}}}]]",
        spec="onExit: retried",
        extra=extra,
        ends={"wf.onExit(0)": FAILED},
    )
    flags = {node.name: node.node_flag for node in shown(run).nodes.values()}
    both = argo.NodeFlag(hooked=True, retried=True)
    names_of_both = {name for name, flag in flags.items() if flag == both}
    assert names_of_both == {
        "wf[0].a.onExit", "wf[0].a.onExit(0)", "wf[0].a.hooks.ran", "wf[0].a.hooks.ran(0)", "wf.onExit", "wf.onExit(0)", "wf.onExit(1)",
    }  # fmt: skip
    assert flags["wf[0].a.hooks.ran(0)[0].x"] is None


def test_names_2_the_workflows_exit_handler() -> None:
    """Names 2: the node of `spec.onExit` is `<wf>.onExit`, a hook."""
    run = played("container: {image: i}", spec="onExit: echo")
    assert sorted(run.names()) == ["wf", "wf.onExit"]
    handler = shown_node(run, "wf.onExit")
    assert (handler.display_name, handler.node_flag) == ("wf.onExit", argo.NodeFlag(hooked=True))


def test_names_2_containers_of_a_set() -> None:
    """Names 2: containers of a set are of type Container; their boundary is the pod's node."""
    run = played("steps: [[{name: s, template: set}]]", extra=KINDS)
    one = shown_node(run, "wf[0].s.one")
    assert (one.type, one.boundary_id, one.display_name) == ("Container", run.node("wf[0].s").id, "one")


def test_names_3_boundaries_and_outbound_nodes() -> None:
    """Names 3: the boundary is the Steps or DAG node around; a group's too. Outbound nodes are the last leaves."""
    run = played("steps: [[{name: d, template: inner}]]", extra=KINDS)
    inner = run.node("wf[0].d").id
    assert shown_node(run, "wf").boundary_id is None
    assert shown_node(run, "wf[0]").boundary_id == shown_node(run, "wf[0].d").boundary_id == "wf"
    assert {shown_node(run, f"wf[0].d.{name}").boundary_id for name in ("a", "loop", "loop(0:x)")} == {inner}
    leaves = {run.node("wf[0].d.a").id, run.node("wf[0].d.loop(0:x)").id}
    assert set(shown_node(run, "wf[0].d").outbound_nodes) == set(shown_node(run, "wf").outbound_nodes) == leaves


def test_names_3_what_runs_and_how_far_it_is() -> None:
    """Names 3: `templateName` and `templateScope` name what runs; `progress` counts ended pods of all pods."""
    run = begun("steps: [[{name: a, template: echo}, {name: b, template: echo}]]")
    node = shown_node(run, "wf[0].a")
    assert (node.template_name, node.template_scope, node.template_ref) == ("echo", "local/wf", None)
    group = shown_node(run, "wf[0]")
    assert (group.template_name, group.template_scope, group.template_ref) == (None, "local/wf", None)
    run.send(PodStarted(node_id=run.node("wf[0].a").id))
    run.end("wf[0].a")
    assert (shown(run).progress, shown_node(run, "wf").progress, shown_node(run, "wf[0].a").progress) == ("1/2", "1/2", "1/1")


def test_names_3_what_an_earlier_workflow_took_is_expected() -> None:
    """Names 3: `estimatedDuration` in whole seconds, by the node's name without the workflow's; nothing of what failed."""
    earlier = begun("steps: [[{name: a, template: echo}]]")
    earlier.send(PodStarted(node_id=earlier.node("wf[0].a").id))
    earlier.now += 7.4
    earlier.end("wf[0].a")
    assert shown(earlier).phase == "Succeeded"
    taken = machine.durations(earlier.state)
    assert taken.keys() == {"", "[0]", "[0].a"}
    assert taken[""] == taken["[0]"] == 7
    run = begun("steps: [[{name: a, template: echo}], [{name: new, template: echo}]]")
    run.state = machine.expecting(run.state, taken)
    assert shown(run).estimated_duration == shown_node(run, "wf[0]").estimated_duration == 7
    run.end("wf[0].a")
    assert shown_node(run, "wf[1].new").estimated_duration is None
    assert machine.durations(played("steps: [[{name: a, template: fail}]]").state) == {}


@pytest.mark.parametrize(
    ("main", "phase"),
    [
        ("steps: [[{name: a, template: echo, when: 'false'}]]", "Succeeded"),
        ("dag: {tasks: [{name: a, template: echo}, {name: b, template: echo, depends: a.Failed}]}", "Succeeded"),
        ("steps: [[{name: a, template: fail}]]", "Failed"),
        ("dag: {tasks: [{name: a, template: lost}]}", "Error"),
    ],
)
def test_names_4_the_workflows_phase_is_its_roots(main: str, phase: str) -> None:
    """Names 4: Skipped and Omitted are successes; Failed and Error are the root's."""
    extra = "- {name: lost, container: {image: i}}"
    assert end_of(played(main, extra=extra, ends={"lost": {"exit_code": None}}))[0] == phase


def test_names_4_the_status() -> None:
    """Names 4: phase, times, progress, nodes, conditions; labels for phase and completion."""
    run = begun("container: {image: i}")
    status = shown(run)
    assert (status.phase, status.started_at is not None, status.finished_at, status.progress) == ("Running", True, None, "0/1")
    assert machine.summary(run.state).labels["workflows.argoproj.io/completed"] == "false"
    run.play()
    status = shown(run)
    assert (status.phase, status.finished_at is not None, status.progress) == ("Succeeded", True, "1/1")
    assert argo.Condition(type="Completed", status="True") in status.conditions
    labels = machine.summary(run.state).labels
    assert (labels["workflows.argoproj.io/phase"], labels["workflows.argoproj.io/completed"]) == ("Succeeded", "true")
