# ruff: noqa: E501 - a manifest on one line reads better than one cut in pieces
"""The semantics of suspend templates, of suspending a workflow, of stopping and of deadlines.

1. A suspend template's node has the type Suspend and is Running; `duration` (`20`, `20s`, `2m`) ends it. Outputs with
   `valueFrom.supplied` take their default if nobody supplied a value; without one the node fails when its time is over, and a
   person's resume is refused.
2. A resume without a selector lets the workflow and all suspended nodes go on; with one only those that match all its terms
   (`displayName`, `name`, `id`, `templateName`, `phase`, `templateRef.name`, `templateRef.template`, `inputs.parameters.X.value`, with
   `=`, `==`, `!=`). Setting needs a selector. Resume, stop and set take a message. Each output may be supplied once.
3. A suspended workflow starts no node; its pods run on; its phase stays.
4. Stop ends pods, fails what is pending or suspended with `Stopped with strategy 'Stop'`, and runs exit handlers; terminate runs none.
   A pod says `workflow shutdown with strategy:  Stop`; the workflow ends Failed with `Stopped with strategy 'Stop'`.
5. The workflow's `activeDeadlineSeconds` fail its pods with `Step exceeded its deadline`; a template's timeout fails its pod, and one
   that is still pending then too.
"""

import pytest
from machine_driver import Run
from semantics_kit import begun, end_of, manifest, output, phases, played, received, refused, shown, shown_node

from jitflow import machine
from jitflow.model import argo
from jitflow.model.objects import Objects
from jitflow.model.runs import (
    PodStarted,
    ResumeRequested,
    RetryRequested,
    ShutdownRequested,
    StartTimer,
    SuspendedNodesSet,
    SuspendRequested,
)

pytestmark = pytest.mark.pure

ASK = """
- name: ask
  inputs: {parameters: [{name: who, default: anybody}]}
  suspend: {}
  outputs: {parameters: [{name: p, valueFrom: {supplied: {}}}]}
- {name: ask-default, suspend: {}, outputs: {parameters: [{name: p, valueFrom: {supplied: {}, default: none said}}]}}
- {name: timed, suspend: {duration: '10'}, outputs: {parameters: [{name: p, valueFrom: {supplied: {}}}]}}
- {name: timed-default, suspend: {duration: '10'}, outputs: {parameters: [{name: p, globalName: g, valueFrom: {supplied: {}, default: too late}}]}}
- {name: wait, suspend: {}}
"""


def paused(template: str, more: str = "") -> Run:
    """Return a run that waits in the node `wf[0].a`; the next step says what it supplied."""
    tell = "arguments: {parameters: [{name: m, value: '{{steps.a.outputs.parameters.p}}'}]}"
    after = "" if template == "wait" else f", [{{name: b, template: echo, {tell}}}]"
    return begun(f"steps: [[{{name: a, template: {template}{more}}}]{after}]", extra=ASK)


@pytest.mark.parametrize(
    ("duration", "seconds"), [("20", 20), ("20s", 20), ("2m", 120), ("'{{workflow.parameters.d}}'", 90), ("1m30s", 90)]
)
def test_suspend_1_duration(duration: str, seconds: float) -> None:
    """Suspend 1: the node is Running and has the type Suspend until its time is over."""
    run = begun(f"suspend: {{duration: {duration}}}", spec="arguments: {parameters: [{name: d, value: '90'}]}")
    assert (run.node("wf").type, run.phase("wf"), run.state.run.phase) == ("Suspend", "Running", "Running")
    assert [effect.due - run.now for effect in run.effects.values() if isinstance(effect, StartTimer)] == [seconds]
    run.fire_next()
    assert end_of(run) == ("Succeeded", "")


def test_suspend_1_for_ever() -> None:
    """Suspend 1: without a duration it waits for a person."""
    run = paused("wait")
    assert not run.fire_next()
    run.send(ResumeRequested())
    assert end_of(run) == ("Succeeded", "")


def test_suspend_1_defaults() -> None:
    """Suspend 1: an output that nobody supplied has its default, after a resume as after a timeout; it may have a global name."""
    run = paused("ask-default")
    run.send(ResumeRequested())
    assert received(run, "wf[1].b") == "none said"
    run = paused("timed-default")
    run.fire_next()
    assert received(run, "wf[1].b") == "too late"
    outputs = shown(run).outputs
    assert outputs is not None
    assert [(p.name, p.value) for p in outputs.parameters] == [("g", "too late")]


def test_suspend_1_no_default() -> None:
    """Suspend 1: without a default the node fails when its time is over, and a resume is refused."""
    message = "raw output parameter 'p' has not been set and does not have a default value"
    run = paused("timed")
    run.fire_next()
    assert (run.phase("wf[0].a"), run.node("wf[0].a").message, end_of(run)[0]) == ("Failed", message, "Failed")
    run = paused("ask")
    assert machine.refusal(run.state, ResumeRequested()) == message
    run.send(ResumeRequested())
    assert run.phase("wf[0].a") == "Running"


def test_suspend_1_unreadable_duration() -> None:
    """Suspend 1: a duration that cannot be read is an Error of the node."""
    run = begun("suspend: {duration: '{{workflow.parameters.d}}'}", spec="arguments: {parameters: [{name: d, value: soon}]}")
    assert end_of(run)[0] == "Error"


def test_suspend_1_inputs_of_the_same_name() -> None:
    """Suspend 1: what is to be supplied may be an input as well, whose value stands until somebody says other."""
    extra = "- {name: form, inputs: {parameters: [{name: p, default: 'yes', enum: ['yes', 'no']}]}, suspend: {}, outputs: {parameters: [{name: p, valueFrom: {supplied: {}}}]}}"
    body = "steps: [[{name: a, template: form}], [{name: b, template: echo, arguments: {parameters: [{name: m, value: '{{steps.a.outputs.parameters.p}}'}]}}]]"
    run = begun(body, extra=extra)
    run.send(SuspendedNodesSet(selector="displayName=a", outputs={"p": "no"}))
    run.send(ResumeRequested())
    assert received(run, "wf[1].b") == "no"


PAIR = "steps: [[{name: a, template: ask, arguments: {parameters: [{name: who, value: me}]}}, {name: b, template: ask, arguments: {parameters: [{name: who, value: you}]}}, {name: c, template: wait}]]"


@pytest.mark.parametrize(
    ("selector", "chosen"),
    [
        ("displayName=a", "a"),
        ("displayName==a", "a"),
        ("name=wf[0].b", "b"),
        ("templateName=ask", "ab"),
        ("templateName!=ask", "c"),
        ("inputs.parameters.who.value=you", "b"),
        ("templateName=ask,inputs.parameters.who.value!=you", "a"),
        ("phase=Running", "abc"),
        ("phase=Running, displayName=c", "c"),
    ],
)
def test_suspend_2_selectors(selector: str, chosen: str) -> None:
    """Suspend 2: a selector's terms must all fit."""
    run = begun(PAIR, extra=ASK)
    run.send(SuspendedNodesSet(selector=selector, phase="Failed", message="no"))
    assert "".join(name for name in "abc" if run.phase(f"wf[0].{name}") == "Failed") == chosen


def test_suspend_2_selector_by_id_and_reference() -> None:
    """Suspend 2: a node may be chosen by its id, or by the object that its template comes from."""
    run = begun(PAIR, extra=ASK)
    run.send(ShutdownRequested(strategy="Stop", selector=f"id={run.node('wf[0].c').id}", message="not now"))
    assert (run.phase("wf[0].c"), run.node("wf[0].c").message) == ("Failed", "not now")

    class Library(Objects):
        def find(self, kind: type, namespace: str, name: str) -> object:  # type: ignore[override]
            del kind, namespace
            if name != "lib":
                return None
            return argo.WorkflowTemplate(
                spec=argo.WorkflowSpec(templates=(argo.Template(name="hold", suspend=argo.SuspendTemplate()),))
            )

    source = manifest("steps: [[{name: a, templateRef: {name: lib, template: hold}}, {name: b, template: wait}]]", extra=ASK)
    run = Run(source, objects=Library())  # type: ignore[abstract]
    run.begin()
    for selector in ("templateRef.name=lib", "templateRef.template=hold"):
        assert machine.refusal(run.state, ResumeRequested(selector=selector)) == ""
    run.send(ResumeRequested(selector="templateRef.name=lib,templateRef.template=hold", message="go"))
    assert (run.phase("wf[0].a"), run.node("wf[0].a").message, run.phase("wf[0].b")) == ("Succeeded", "go", "Running")


def test_suspend_2_resume_all() -> None:
    """Suspend 2: without a selector the workflow and all suspended nodes go on, each with the message."""
    run = begun("steps: [[{name: a, template: wait}, {name: b, template: wait}], [{name: c, template: echo}]]", extra=ASK)
    run.send(SuspendRequested())
    run.send(ResumeRequested(message="well done"))
    assert [run.node(f"wf[0].{name}").message for name in "ab"] == ["well done"] * 2
    assert (run.state.run.suspended, run.phase("wf[1].c")) == (False, "Pending")


def test_suspend_2_set() -> None:
    """Suspend 2: values are supplied while the node waits; it goes on with a resume, or with the phase that is set."""
    run = paused("ask")
    run.send(SuspendedNodesSet(selector="displayName=a", outputs={"p": "yes"}, message="by me"))
    assert (run.phase("wf[0].a"), output(run, "wf[0].a"), run.node("wf[0].a").message) == ("Running", "yes", "by me")
    assert shown_node(run, "wf[0].a").outputs is not None
    run.send(ResumeRequested(selector="displayName=a"))
    assert received(run, "wf[1].b") == "yes"
    run = paused("ask")
    run.send(SuspendedNodesSet(selector="displayName=a", outputs={"p": "no"}, phase="Succeeded"))
    assert received(run, "wf[1].b") == "no"
    run = paused("ask")
    run.send(SuspendedNodesSet(selector="displayName=a", phase="Error", message="broken"))
    assert (run.phase("wf[0].a"), run.node("wf[0].a").message) == ("Error", "broken")


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (
            SuspendedNodesSet(selector="", outputs={"p": "1"}),
            "'set' currently only targets suspend nodes, use a node field selector to target them",
        ),
        (
            SuspendedNodesSet(selector="displayName=x"),
            "currently, set only targets suspend nodes: no suspend nodes matching nodeFieldSelector: displayName=x",
        ),
        (
            ResumeRequested(selector="displayName=x"),
            "currently, set only targets suspend nodes: no suspend nodes matching nodeFieldSelector: displayName=x",
        ),
        (
            ShutdownRequested(strategy="Stop", selector="name=x"),
            "currently, set only targets suspend nodes: no suspend nodes matching nodeFieldSelector: name=x",
        ),
        (SuspendedNodesSet(selector="displayName=a", outputs={"q": "1"}), "node is not expecting output parameter 'q'"),
        (SuspendedNodesSet(selector="displayName=a", phase="Running"), "Running is an invalid phase to set to"),
        (ResumeRequested(selector="color=red"), "invalid node field selector 'color=red'"),
    ],
)
def test_suspend_2_refusals(event: ResumeRequested, message: str) -> None:
    """Suspend 2: what cannot be done is refused, and changes nothing."""
    run = paused("ask")
    before = run.state
    assert machine.refusal(run.state, event).startswith(message)
    run.send(event)
    assert dict(run.state.nodes) == dict(before.nodes)


def test_suspend_2_supplied_once() -> None:
    """Suspend 2: a value that was supplied stays; a node that awaits none takes none."""
    run = paused("ask")
    event = SuspendedNodesSet(selector="displayName=a", outputs={"p": "1"})
    run.send(event)
    assert (
        machine.refusal(run.state, event)
        == "cannot set output parameter 'p' because it does not use valueFrom.raw or it was already set"
    )
    run = paused("wait")
    assert machine.refusal(run.state, event) == "cannot set output parameters because node is not expecting any raw parameters"


def test_suspend_3_a_suspended_workflow() -> None:
    """Suspend 3: nothing begins, pods run on, the phase stays Running."""
    run = begun("steps: [[{name: a, template: echo}, {name: b, template: fail}], [{name: c, template: echo}]]")
    run.send(PodStarted(node_id=run.node("wf[0].a").id))
    run.send(SuspendRequested())
    run.end("wf[0].a")
    assert (run.phase("wf[0].a"), run.state.run.phase, run.killed) == ("Succeeded", "Running", [])
    run.end("wf[0].b")
    assert "wf[1].c" not in phases(run)
    run.send(ResumeRequested())
    assert run.phase("wf[1].c") == "Pending"


def test_suspend_3_from_the_beginning() -> None:
    """Suspend 3: a workflow that is created suspended begins with a resume."""
    run = begun("container: {image: busybox}", spec="suspend: true")
    assert (run.launched, run.state.run.phase) == ([], "Running")
    run.send(ResumeRequested())
    run.play()
    assert end_of(run) == ("Succeeded", "")


def test_suspend_4_stop() -> None:
    """Suspend 4: running pods end, pending and suspended nodes fail, exit handlers run."""
    body = (
        "steps: [[{name: a, template: echo}, {name: b, template: echo}, {name: c, template: wait}, {name: d, template: timed}]]"
    )
    run = begun(body, extra=ASK, spec="onExit: echo")
    run.send(PodStarted(node_id=run.node("wf[0].a").id))
    run.send(ShutdownRequested(strategy="Stop"))
    stopped = ("Failed", "Stopped with strategy 'Stop'")
    assert [(run.phase(f"wf[0].{name}"), run.node(f"wf[0].{name}").message) for name in "bcd"] == [stopped] * 3
    assert run.phase("wf[0].a") == "Running"
    run.end("wf[0].a", 143, terminated=True)
    assert run.node("wf[0].a").message == "workflow shutdown with strategy:  Stop"
    assert run.phase("wf.onExit") == "Pending"
    run.end("wf.onExit")
    assert end_of(run) == stopped
    assert not run.open_effects() - {"close"}


def test_suspend_4_terminate() -> None:
    """Suspend 4: terminate ends everything and runs no exit handler, after a stop too."""
    run = begun("steps: [[{name: a, template: echo, onExit: echo}]]", spec="onExit: echo")
    run.send(PodStarted(node_id=run.node("wf[0].a").id))
    run.send(ShutdownRequested(strategy="Stop"))
    run.send(ShutdownRequested(strategy="Terminate"))
    run.end("wf[0].a", 137, terminated=True)
    assert run.names() == ["wf", "wf[0]", "wf[0].a"]
    assert end_of(run) == ("Failed", "Stopped with strategy 'Terminate'")


def test_suspend_4_what_had_ended_well() -> None:
    """Suspend 4: a workflow whose pods all end well in spite of a stop has succeeded."""
    run = begun("steps: [[{name: a, template: echo}]]")
    run.send(PodStarted(node_id=run.node("wf[0].a").id))
    run.send(ShutdownRequested(strategy="Stop"))
    run.end("wf[0].a", 0)
    assert end_of(run) == ("Succeeded", "")


def test_suspend_4_nothing_new_after_a_stop() -> None:
    """Suspend 4: later steps do not begin, loops and DAGs stop too, and forgiving a failure changes nothing of that."""
    body = "dag: {tasks: [{name: a, template: echo, continueOn: {failed: true}}, {name: b, template: echo, dependencies: [a]}, {name: c, template: echo, withItems: [1, 2]}]}"
    run = begun(body, spec="parallelism: 1")
    run.send(PodStarted(node_id=run.node("wf.a").id))
    run.send(ShutdownRequested(strategy="Stop"))
    run.end("wf.a", 143, terminated=True)
    assert "wf.b" not in run.names()
    assert end_of(run)[0] == "Failed"


def test_suspend_4_finished_workflows() -> None:
    """Suspend 4: what has ended cannot be stopped, suspended or resumed."""
    run = played("container: {image: busybox}")
    assert machine.refusal(run.state, ShutdownRequested(strategy="Stop")) == "cannot shutdown a completed workflow"
    assert machine.refusal(run.state, SuspendRequested()) == "cannot suspend completed workflows"


def test_suspend_5_deadline_of_the_workflow() -> None:
    """Suspend 5: pods that run or wait fail with `Step exceeded its deadline`, suspended nodes too; nothing else begins."""
    body = (
        "steps: [[{name: a, template: echo}, {name: b, template: echo}, {name: c, template: wait}], [{name: d, template: echo}]]"
    )
    run = begun(body, extra=ASK, spec="activeDeadlineSeconds: 30")
    run.send(PodStarted(node_id=run.node("wf[0].a").id))
    run.now += 29
    assert run.fire_next()
    run.end("wf[0].a", 143, terminated=True)
    for name in "abc":
        assert (run.phase(f"wf[0].{name}"), run.node(f"wf[0].{name}").message) == ("Failed", "Step exceeded its deadline")
    assert "wf[1]" not in run.names()
    assert end_of(run)[0] == "Failed"


def test_suspend_5_deadline_and_retries() -> None:
    """Suspend 5: after the deadline there is no other attempt; the Retry node says when it was."""
    run = begun("retryStrategy: {limit: 3}\ncontainer: {image: busybox}", spec="activeDeadlineSeconds: 30")
    run.send(PodStarted(node_id=run.node("wf(0)").id))
    run.fire_next()
    run.end("wf(0)", 143, terminated=True)
    assert (run.names(), run.node("wf(0)").message) == (["wf", "wf(0)"], "Step exceeded its deadline")
    assert end_of(run) == ("Failed", "retry exceeded workflow deadline 2023-11-14 22:13:50 +0000 UTC")


def test_suspend_5_timeout_of_a_template() -> None:
    """Suspend 5: a pod that runs past its template's timeout fails, one that is still pending then too."""
    message = "Pod was active on the node longer than the specified deadline"
    run = begun("timeout: 30s\ncontainer: {image: busybox}")
    assert run.launch("wf").deadline_at == run.now + 30
    run.fire_next()
    assert end_of(run) == ("Failed", message)
    run = begun("activeDeadlineSeconds: 20\ncontainer: {image: busybox}")
    assert run.launch("wf").deadline_s == 20
    run.send(PodStarted(node_id=run.node("wf").id))
    run.end("wf", 143, timed_out=True)
    assert end_of(run) == ("Failed", message)


def test_suspend_5_pending_timeout() -> None:
    """Suspend 5: `pendingTimeout` limits only how long a pod may wait to start."""
    run = begun("timeout: 1h\npendingTimeout: 30s\ncontainer: {image: busybox}")
    assert run.launch("wf").deadline_at == run.now + 3600
    run.now += 20
    run.send(PodStarted(node_id=run.node("wf").id))
    run.now += 20
    assert not run.fire_next()
    run.end("wf")
    assert end_of(run)[0] == "Succeeded"
    run = begun("pendingTimeout: 30s\ncontainer: {image: busybox}")
    run.fire_next()
    assert end_of(run)[0] == "Failed"
    assert "doesn't support pendingTimeout" in refused("pendingTimeout: 30s\nsteps: [[{name: a, template: echo}]]")


def test_suspend_5_a_retry_of_the_workflow_asks_again() -> None:
    """Suspend 5: a workflow that was stopped while it waited waits again when it is retried."""
    run = paused("ask")
    run.send(SuspendedNodesSet(selector="displayName=a", outputs={"p": "1"}))
    run.send(ShutdownRequested(strategy="Stop"))
    assert end_of(run)[0] == "Failed"
    run.send(RetryRequested())
    assert (run.phase("wf[0].a"), output(run, "wf[0].a"), run.state.run.shutdown) == ("Running", None, "")
