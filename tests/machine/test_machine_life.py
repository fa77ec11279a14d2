# ruff: noqa: E501 - a manifest on one line reads better than one cut in pieces
"""Retries, timeouts, suspension, stopping, exit handlers, limits, saving, retry of a workflow."""

import gc
import json

import pytest
from machine_driver import Run, default_outputs, workflow
from test_machine_steps import ECHO, arguments, templates

from jitflow import machine
from jitflow.machine.pods import TIMED_OUT
from jitflow.model.pods import ContainerEnd, ContainerRole
from jitflow.model.runs import (
    CloseWorkflow,
    KillPod,
    PodRefused,
    PodStarted,
    ResumeRequested,
    RetryRequested,
    ShutdownRequested,
    StartTimer,
    SuspendedNodesSet,
    SuspendRequested,
    TimerFired,
    WorkflowStarted,
)

pytestmark = pytest.mark.pure


def retried(strategy: str) -> str:
    """Return a spec of one pod with a retry strategy."""
    return f"entrypoint: r\ntemplates: [{{name: r, retryStrategy: {{{strategy}}}, container: {{image: busybox, args: ['try {{{{retries}}}}']}}}}]"


def test_a_failed_attempt_is_followed_by_another_until_the_limit() -> None:
    run = Run(workflow(retried("limit: 1")))
    run.begin()
    assert run.names() == ["wf", "wf(0)"]
    assert (run.node("wf").type, run.node("wf(0)").retried) == ("Retry", True)
    assert run.launch("wf(0)").template.container.args == ("try 0",)  # type: ignore[union-attr]
    run.end("wf(0)", 1)
    assert run.launch("wf(1)").template.container.args == ("try 1",)  # type: ignore[union-attr]
    run.end("wf(1)", 2)
    assert (run.phase("wf"), run.node("wf").message) == ("Failed", "No more retries left")
    status = machine.status(run.state, run.now)
    assert status.nodes["wf"].children == (run.node("wf(0)").id, run.node("wf(1)").id)
    assert status.nodes[run.node("wf(0)").id].node_flag.retried  # type: ignore[union-attr]


def test_a_retry_takes_the_outputs_of_the_attempt_that_succeeded() -> None:
    run = Run(workflow(retried("{}".strip("{}") or "limit: 5")))
    run.begin()
    run.end("wf(0)", 1)
    run.end("wf(1)", 0)
    assert (run.phase("wf"), run.node("wf").message) == ("Succeeded", "")
    assert run.node("wf").outputs.exit_code == "0"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("policy", "exit_code", "message", "again"),
    [
        ("OnFailure", 1, "", True),
        ("OnFailure", None, "", False),
        ("OnError", None, "", True),
        ("OnError", 1, "", False),
        ("Always", None, "", True),
        ("OnTransientError", None, "read: connection refused", True),
        ("OnTransientError", None, "no such thing", False),
    ],
)
def test_retry_policies(policy: str, exit_code: int | None, message: str, again: bool) -> None:
    run = Run(workflow(retried(f"limit: 3, retryPolicy: {policy}")))
    run.begin()
    run.end("wf(0)", exit_code, error=message)
    assert ("wf(1)" in run.names()) is again
    if not again:
        assert run.node("wf").message == run.node("wf(0)").message


def test_backoff_waits_longer_each_time_and_then_gives_up() -> None:
    run = Run(workflow(retried("limit: 10, backoff: {duration: '10', factor: '2', cap: 30s, maxDuration: 2m}")))
    run.begin()
    waits = []
    for attempt in range(20):
        decision = run.end(f"wf({attempt})", 1)
        timers = [effect for effect in decision.effects if isinstance(effect, StartTimer)]
        if not timers:
            break
        assert timers[0].key == "backoff/wf"
        waits.append(timers[0].due - run.now)
        assert run.node("wf").message.startswith("Backoff for ")
        run.fire_next()
    assert waits == [10, 20, 30, 30, 30]
    assert run.node("wf").message == "Backoff would exceed max duration limit"


def test_backoff_without_a_limit_does_not_wait() -> None:
    run = Run(workflow(retried("backoff: {duration: 1m}")))
    run.begin()
    run.end("wf(0)", 1)
    assert "wf(1)" in run.names()


def test_the_longest_duration_may_be_over_already() -> None:
    run = Run(workflow(retried("limit: 3, backoff: {duration: 1s, maxDuration: 5s}")))
    run.begin()
    run.now += 60
    run.end("wf(0)", 1)
    assert run.node("wf").message == "Max duration limit exceeded"


@pytest.mark.parametrize("backoff", ["duration: soon", "factor: 2", "duration: '1', factor: two"])
def test_a_backoff_that_cannot_be_read_is_an_error(backoff: str) -> None:
    run = Run(workflow(retried("limit: '{{workflow.name}}', backoff: {" + backoff + "}").replace("'{{workflow.name}}'", "3")))
    run.begin()
    run.end("wf(0)", 1)
    assert run.state.run.phase == "Error"


def test_a_pending_pod_is_given_up_after_its_timeout() -> None:
    run = Run(
        workflow("entrypoint: t\ntemplates: [{name: t, timeout: 30s, activeDeadlineSeconds: 10, container: {image: busybox}}]")
    )
    run.begin()
    assert (run.launch("wf").deadline_s, run.launch("wf").deadline_at) == (10, run.now + 30)
    run.fire_next()
    assert run.killed == ["wf"]
    assert run.node("wf").message == "Pod was active on the node longer than the specified deadline"
    assert run.state.run.phase == "Failed"
    assert run.open_effects() == {"close"}


def test_a_pending_pod_is_given_up_after_its_pending_timeout_and_a_running_one_is_not() -> None:
    text = "entrypoint: t\ntemplates: [{name: t, timeout: 60s, pendingTimeout: 20s, container: {image: busybox}}]"
    run = Run(workflow(text))
    begun = run.begin()
    assert [(effect.key, effect.due - run.now) for effect in begun.effects if isinstance(effect, StartTimer)] == [
        ("timeout/wf", 20)
    ]
    assert run.launch("wf").deadline_at == run.now + 60
    run.send(TimerFired(key="timeout/wf"))
    assert (run.phase("wf"), run.node("wf").message) == ("Failed", TIMED_OUT)
    other = Run(workflow(text))
    other.begin()
    other.send(PodStarted(node_id="wf"))
    other.send(TimerFired(key="timeout/wf"))
    assert other.phase("wf") == "Running"


def test_a_failed_pod_says_what_its_command_left() -> None:
    run = Run(workflow("entrypoint: t\ntemplates: [{name: t, container: {image: busybox}}]"))
    run.begin()
    run.end("wf", 3, message="no disk")
    assert run.node("wf").message == "main: Error (exit code 3): no disk"
    run = Run(workflow("entrypoint: t\ntemplates: [{name: t, container: {image: busybox}, sidecars: [{name: s, image: i}]}]"))
    run.begin()
    ends = tuple(
        ContainerEnd(name=name, role=role, exit_code=code, started_at=1.0, finished_at=2.0, message=f"of {name}")
        for name, role, code in (("main", ContainerRole.MAIN, 0), ("s", ContainerRole.SIDECAR, 2))
    )
    run.end("wf", 0, containers=ends)
    assert run.node("wf").message == "s: Error (exit code 2): of s"


def test_the_timeouts_timer_is_dropped_when_the_pod_runs() -> None:
    run = Run(workflow("entrypoint: t\ntemplates: [{name: t, timeout: 30s, container: {image: busybox}}]"))
    run.begin()
    decision = run.send(PodStarted(node_id="wf"))
    assert decision.effects_done == ("timeout/wf",)
    run.send(TimerFired(key="timeout/wf"))
    assert run.phase("wf") == "Running"


def test_a_deadline_that_cannot_be_read_is_an_error() -> None:
    spec = "entrypoint: t\narguments: {parameters: [{name: x, value: soon}]}\ntemplates: [{name: t, activeDeadlineSeconds: '{{workflow.parameters.x}}', container: {image: busybox}}]"
    run = Run(workflow(spec))
    run.begin()
    assert run.state.run.phase == "Error"


def test_a_refused_pod_is_an_error() -> None:
    run = Run(workflow("entrypoint: echo\ntemplates:" + ECHO))
    run.begin()
    run.send(PodRefused(node_id="wf", message="no such object"))
    assert (run.state.run.phase, run.state.run.message) == ("Error", "no such object")


TWO = "- {name: main, steps: [[{name: a, template: echo}, {name: b, template: echo}], [{name: c, template: echo}]]}"


def test_the_workflows_deadline_ends_its_pods() -> None:
    run = Run(workflow(templates(TWO) + "\nonExit: echo\nactiveDeadlineSeconds: 60"))
    run.begin()
    run.send(PodStarted(node_id=run.node("wf[0].a").id))
    run.fire_next()
    assert len(run.killed) == 2
    assert run.node("wf[0].b").message == "Step exceeded its deadline"
    assert run.phase("wf[0].a") == "Running"
    run.end("wf[0].a", 143, terminated=True)
    assert run.node("wf[0].a").message == "Step exceeded its deadline"
    assert run.phase("wf") == "Failed"
    run.end("wf.onExit")
    assert run.state.run.phase == "Failed"


@pytest.mark.parametrize("strategy", ["Stop", "Terminate"])
def test_stop_runs_the_exit_handler_and_terminate_does_not(strategy: str) -> None:
    run = Run(workflow(templates(TWO) + "\nonExit: echo"))
    run.begin()
    run.send(PodStarted(node_id=run.node("wf[0].a").id))
    decision = run.send(ShutdownRequested(strategy=strategy))
    assert [type(effect) for effect in decision.effects] == [KillPod, KillPod]
    assert run.node("wf[0].b").message == f"Stopped with strategy '{strategy}'"
    assert not run.send(ShutdownRequested(strategy=strategy)).effects
    run.end("wf[0].a", 143, terminated=True)
    assert run.node("wf[0].a").message == f"workflow shutdown with strategy:  {strategy}"
    if strategy == "Stop":
        run.end("wf.onExit")
    assert ("wf.onExit" in run.names()) is (strategy == "Stop")
    assert (run.state.run.phase, run.state.run.message) == ("Failed", f"Stopped with strategy '{strategy}'")
    assert machine.workflow_document(run.state, run.now).spec.shutdown == strategy


def test_a_pod_that_ends_well_while_it_is_stopped_has_succeeded() -> None:
    run = Run(workflow(templates(TWO)))
    run.begin()
    for name in ("wf[0].a", "wf[0].b"):
        run.send(PodStarted(node_id=run.node(name).id))
    run.send(ShutdownRequested(strategy="Stop"))
    run.end("wf[0].a")
    run.end("wf[0].b")
    assert run.phase("wf[0]") == "Succeeded"
    assert run.node("wf").message == "Stopped with strategy 'Stop'"
    assert "wf[1]" not in run.names()


def test_a_stop_forgets_what_waits_and_ends_pauses_and_backoffs() -> None:
    spec = templates(
        """
- name: main
  parallelism: 1
  dag:
    tasks:
    - {name: p, template: pause}
    - {name: r, template: again}
    - {name: a, template: echo}
    - {name: l, template: echo, withItems: [x, y]}
    - {name: after, template: echo, depends: p}
""",
        extra="""
- {name: pause, suspend: {}}
- {name: again, retryStrategy: {limit: 2, backoff: {duration: 1h}}, container: {image: busybox}}
""",
    )
    run = Run(workflow(spec))
    run.begin()
    run.end("wf.r(0)", 1)
    live = run.live()
    assert len(live) == 1
    run.send(ShutdownRequested(strategy="Stop", message="no longer needed"))
    assert run.state.run.phase == "Failed"
    assert run.node("wf.p").message == run.node("wf.r").message == "no longer needed"
    assert not any(node.is_waiting for node in run.state.nodes.values())
    assert run.open_effects() == {"close"}


def test_stop_before_anything_could_start() -> None:
    run = Run(workflow("suspend: true\n" + templates(TWO)))
    run.begin()
    assert run.names() == []
    assert machine.status(run.state, run.now).phase == "Running"
    run.send(ShutdownRequested(strategy="Stop"))
    assert (run.state.run.phase, run.state.run.message) == ("Failed", "Stopped with strategy 'Stop'")


def test_parallelism_of_the_workflow_is_kept() -> None:
    spec = templates("- {name: main, steps: [[{name: a, template: echo, withSequence: {count: '5'}}]]}") + "\nparallelism: 2"
    run = Run(workflow(spec))
    run.begin()
    assert [node.name for node in run.live()].__len__() == 2
    order = []
    while run.live():
        node = min(run.live(), key=lambda node: node.index)
        order.append(node.index)
        run.end(node.name)
        assert len(run.live()) <= 2
    assert order == [0, 1, 2, 3, 4]
    assert run.state.run.phase == "Succeeded"


def test_parallelism_of_a_template_counts_its_own_children() -> None:
    spec = templates(
        "- {name: main, parallelism: 1, dag: {tasks: [{name: a, template: two}, {name: b, template: two}]}}",
        extra="\n- {name: two, steps: [[{name: p, template: echo}, {name: q, template: echo}]]}",
    )
    run = Run(workflow(spec))
    run.begin()
    assert run.names() == ["wf", "wf.a", "wf.a[0]", "wf.a[0].p", "wf.a[0].q"]
    run.play()
    assert run.state.run.phase == "Succeeded"


def test_fail_fast_of_a_template_drops_what_waits() -> None:
    spec = templates("- {name: main, parallelism: 1, failFast: true, steps: [[{name: a, template: echo, withItems: [x, y, z]}]]}")
    run = Run(workflow(spec))
    run.begin()
    decision = run.end("wf[0].a(0:x)", 1)
    assert len(decision.nodes_removed) == 2
    assert run.state.run.phase == "Failed"


def test_suspension_of_the_workflow_starts_nothing_new() -> None:
    run = Run(workflow(templates(TWO)))
    run.begin()
    run.send(SuspendRequested())
    assert machine.workflow_document(run.state, run.now).spec.suspend
    run.end("wf[0].a")
    run.end("wf[0].b")
    assert "wf[1].c" not in run.names()
    run.send(ResumeRequested())
    assert "wf[1].c" in run.names()
    run.play()
    assert run.state.run.phase == "Succeeded"


PAUSE = """
entrypoint: main
templates:
- name: main
  steps:
  - - {name: ask, template: ask, arguments: {parameters: [{name: who, value: me}]}}
    - {name: wait, template: wait}
  - - {name: show, template: echo, arguments: {parameters: [{name: x, value: "{{steps.ask.outputs.parameters.answer}}"}]}}
- name: ask
  inputs: {parameters: [{name: who}]}
  suspend: {}
  outputs: {parameters: [{name: answer, valueFrom: {supplied: {}}}, {name: other, valueFrom: {supplied: {}, default: "7"}}]}
- name: wait
  suspend: {duration: 20}
"""


def test_a_pause_waits_for_its_outputs() -> None:
    run = Run(workflow(PAUSE + ECHO))
    run.begin()
    assert run.node("wf[0].ask").type == "Suspend"
    assert [(e.key, e.due - run.now) for e in run.effects.values() if isinstance(e, StartTimer)] == [
        (f"suspend/{run.node('wf[0].wait').id}", 20)
    ]
    assert "has not been set" in machine.refusal(run.state, ResumeRequested(selector="displayName=ask"))
    run.fire_next()
    assert run.phase("wf[0].wait") == "Succeeded"
    event = SuspendedNodesSet(selector="inputs.parameters.who.value=me", outputs={"answer": "yes"}, message="by hand")
    assert machine.refusal(run.state, event) == ""
    run.send(event)
    assert run.node("wf[0].ask").message == "by hand"
    assert machine.refusal(run.state, ResumeRequested()) == ""
    run.send(ResumeRequested(message="go on"))
    assert arguments(run, "wf[1].show")[0].startswith("yes ")
    assert [p.value for p in run.node("wf[0].ask").outputs.parameters] == ["yes", "7"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("event", "phase", "message"),
    [
        (
            ResumeRequested(selector="templateName=ask"),
            "Failed",
            "raw output parameter 'answer' has not been set and does not have a default value",
        ),
        (ShutdownRequested(strategy="Stop", selector="displayName==ask", message="declined"), "Failed", "declined"),
        (SuspendedNodesSet(selector="name=wf[0].ask", phase="Error", message="bad"), "Error", "bad"),
        (
            SuspendedNodesSet(selector="phase!=Succeeded,displayName=ask", phase="Succeeded", outputs={"answer": "1"}),
            "Succeeded",
            "",
        ),
    ],
)
def test_how_a_pause_ends(event: ResumeRequested, phase: str, message: str) -> None:
    run = Run(workflow(PAUSE + ECHO))
    run.begin()
    run.state = machine.decide(run.state, event, run.now).state if isinstance(event, ResumeRequested) else run.send(event).state
    if isinstance(event, ResumeRequested):
        assert machine.refusal(run.state, event)
        return
    assert (run.phase("wf[0].ask"), run.node("wf[0].ask").message) == (phase, message)


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (ResumeRequested(selector="displayName=nobody"), "no suspend nodes matching"),
        (ResumeRequested(selector="colour=red"), "invalid node field selector"),
        (SuspendedNodesSet(selector=""), "use a node field selector"),
        (SuspendedNodesSet(selector="id=x"), "no suspend nodes matching"),
        (ShutdownRequested(strategy="Explode"), "is no shutdown strategy"),
        (RetryRequested(), "Cannot retry a workflow in phase Running"),
        (RetryRequested(parameters=("x",)), "expected parameter of the form"),
    ],
)
def test_requests_that_make_no_sense_are_refused(event: RetryRequested, text: str) -> None:
    run = Run(workflow(PAUSE + ECHO))
    run.begin()
    assert text in machine.refusal(run.state, event)
    decision = run.send(event)
    assert (decision.nodes, decision.effects, decision.header_changed) == ((), (), False)


def test_finished_workflows_take_no_requests() -> None:
    run = Run(workflow("entrypoint: echo\ntemplates:" + ECHO)).play()
    assert machine.refusal(run.state, ShutdownRequested(strategy="Stop")) == "cannot shutdown a completed workflow"
    assert machine.refusal(run.state, SuspendRequested()) == "cannot suspend completed workflows"
    assert machine.refusal(run.state, RetryRequested()).startswith("To retry a succeeded workflow")
    assert machine.refusal(run.state, TimerFired(key="x")) == ""


def test_a_bad_suspend_duration_is_an_error() -> None:
    run = Run(
        workflow(
            "entrypoint: w\narguments: {parameters: [{name: x, value: soon}]}\ntemplates: [{name: w, suspend: {duration: '{{workflow.parameters.x}}'}}]"
        )
    )
    run.begin()
    assert "unable to parse suspend duration" in run.state.run.message


def test_the_exit_handler_sees_how_the_workflow_ended() -> None:
    spec = (
        templates("- {name: main, steps: [[{name: a, template: echo}]]}")
        + """
- name: bye
  container: {image: busybox, args: ["{{workflow.status}}", "{{workflow.failures}}", "{{workflow.duration}}"]}
onExit: bye
"""
    )
    run = Run(workflow(spec))
    run.begin()
    run.now += 5
    run.end("wf[0].a", 1)
    status, failures, duration = arguments(run, "wf.onExit")
    assert (status, duration) == ("Failed", "5.000000")
    assert '"displayName":"a"' in json.loads(failures)
    run.end("wf.onExit", 1)
    assert run.state.run.phase == "Failed"


def test_a_failed_exit_handler_fails_a_good_workflow() -> None:
    run = Run(workflow("entrypoint: echo\nonExit: echo\ntemplates:" + ECHO))
    run.begin()
    run.end("wf")
    run.end("wf.onExit", 1)
    assert (run.state.run.phase, run.state.run.message) == ("Failed", "main: Error (exit code 1)")


def test_an_entrypoint_that_cannot_run_is_an_error() -> None:
    spec = "entrypoint: t\nonExit: t\ntemplates: [{name: t, inputs: {parameters: [{name: x}]}, container: {image: busybox}}]"
    run = Run(workflow(spec))
    run.begin()
    assert run.node("wf").message == "error in entry template execution: inputs.parameters.x was not supplied"
    assert run.names() == ["wf"]  # as in Argo, the exit handler is for what has run


def test_an_exit_handler_that_cannot_run_is_an_error_of_the_workflow() -> None:
    template = "{name: t, inputs: {parameters: [{name: x}]}, container: {image: busybox}}"
    run = Run(workflow(f"entrypoint: u\nonExit: t\ntemplates: [{{name: u, container: {{image: busybox}}}}, {template}]"))
    run.play()
    assert run.state.run.phase == "Error"
    assert run.node("wf.onExit").message.startswith("error in exit template execution")
    assert run.state.run.phase == "Error"


def test_a_kind_that_cannot_run_here_and_a_missing_template_are_errors() -> None:
    for name, text in (("h", "is of a kind that cannot run here: none"), ("nobody", "template nobody not found")):
        run = Run(workflow(f"entrypoint: {name}\ntemplates: [{{name: h}}]"))
        run.begin()
        assert text in run.state.run.message
    run = Run(workflow("entrypoint: m\ntemplates: [{name: m, steps: [[{name: a, template: nobody}]]}]"))
    run.begin()
    assert run.node("wf[0].a").message == "template nobody not found"


DATA = """
- name: make
  container: {image: busybox}
  outputs: {artifacts: [{name: out, path: /tmp/out}]}
- name: use
  inputs: {artifacts: [{name: in, path: /in}]}
  container: {image: busybox}
"""


def test_the_workflow_ends_after_its_outputs_are_saved() -> None:
    run = Run(workflow("entrypoint: make\ntemplates:" + DATA))
    run.begin()
    run.end("wf", **default_outputs(run.launch("wf")))
    assert (run.phase("wf"), run.node("wf").held) == ("Running", "Succeeded")
    assert machine.is_ended(run.state, "wf")
    assert machine.forecast(run.state) == ()
    assert "wf" in run.effects
    run.save("wf")
    assert run.state.run.phase == "Succeeded"
    assert list(run.effects) == ["close"]
    assert isinstance(run.effects["close"], CloseWorkflow)
    assert not run.save("wf").nodes


def test_a_root_whose_outputs_cannot_be_saved_is_an_error() -> None:
    run = Run(workflow("entrypoint: make\ntemplates:" + DATA))
    run.begin()
    run.end("wf", **default_outputs(run.launch("wf")))
    run.save("wf", error="far store is full")
    assert (run.state.run.phase, run.state.run.message) == ("Error", "far store is full")


def steps_of_data(main: str) -> Run:
    """Return a started run whose first step has ended and is not saved."""
    run = Run(workflow("entrypoint: main\ntemplates:" + DATA + main))
    run.begin()
    name = next(node.name for node in run.live())
    run.end(name, **default_outputs(run.launch(name)))
    return run


def test_an_output_that_cannot_be_saved_fails_the_workflow_at_the_next_step() -> None:
    use = "{name: use, template: use, arguments: {artifacts: [{name: in, from: '{{steps.make.outputs.artifacts.out}}'}]}}"
    run = steps_of_data(f"- {{name: main, steps: [[{{name: make, template: make}}], [{use}], [{{name: last, template: make}}]]}}")
    assert run.phase("wf[1].use") == "Pending"
    run.save("wf[0].make", error="far store is full")
    assert (run.phase("wf[0].make"), run.phase("wf[0]"), run.phase("wf")) == ("Error", "Failed", "Running")
    run.end("wf[1].use")
    assert "wf[2]" not in run.names()
    assert run.state.run.message == f"child '{run.node('wf[0].make').id}' failed"


def test_an_output_that_cannot_be_saved_fails_an_open_group_normally() -> None:
    run = steps_of_data("- {name: main, steps: [[{name: make, template: make}, {name: other, template: make}]]}")
    run.save("wf[0].make", error="full")
    run.end("wf[0].other", 1)
    assert run.node("wf[0]").message == f"child '{run.node('wf[0].make').id}' failed"
    forgiven = steps_of_data("- {name: main, steps: [[{name: make, template: make, continueOn: {error: true}}]]}")
    forgiven.save("wf[0].make", error="full")
    assert forgiven.state.run.phase == "Succeeded"


def test_an_output_that_cannot_be_saved_omits_tasks_that_have_not_started() -> None:
    tasks = "[{name: a, template: make}, {name: b, template: make}, {name: c, template: make, depends: a && b}]"
    run = steps_of_data(f"- {{name: main, dag: {{failFast: false, tasks: {tasks}}}}}")
    run.save("wf.a", error="full")
    run.end("wf.b", 1)
    assert run.phase("wf.c") == "Omitted"
    assert run.state.run.phase == "Error"


def test_an_output_that_is_lost_is_handed_to_nobody_any_more() -> None:
    use = "{name: use, template: use, arguments: {artifacts: [{name: in, from: '{{steps.make.outputs.artifacts.out}}'}]}}"
    make = "{name: make, template: make, continueOn: {error: true}}"
    phases: list[str] = []
    for lost in (False, True):
        idle = "- {name: idle, container: {image: busybox}}\n"
        run = steps_of_data(idle + f"- {{name: main, steps: [[{make}], [{{name: other, template: idle}}], [{use}]]}}")
        run.save("wf[0].make", error="its machine is gone", lost=lost)
        run.end("wf[1].other")
        phases.append(run.phase("wf[2].use"))
    assert phases == ["Pending", "Error"]
    assert "make" in run.node("wf[2].use").message


def test_an_output_that_cannot_be_saved_goes_up_through_ended_loops_and_attempts() -> None:
    again = (
        "- {name: again, retryStrategy: {limit: 1}, container: {image: busybox}, outputs: {artifacts: [{name: out, path: /o}]}}\n"
    )
    tasks = "[{name: a, template: again, withItems: [x]}, {name: b, template: make, depends: a}]"
    run = steps_of_data(again + f"- {{name: main, dag: {{tasks: {tasks}}}}}")
    run.save("wf.a(0:x)(0)", error="full")
    assert [run.phase(name) for name in ("wf.a(0:x)(0)", "wf.a(0:x)", "wf.a")] == ["Error", "Error", "Error"]
    run.end("wf.b", 1)
    assert run.state.run.phase == "Failed"


def test_a_failed_workflow_runs_again_from_where_it_failed() -> None:
    run = Run(workflow(templates(TWO) + "\nonExit: echo"))
    run.play(lambda node, _: {"exit_code": 1} if node.name == "wf[0].b" else {})
    assert run.state.run.phase == "Failed"
    kept, failed = run.node("wf[0].a"), run.node("wf[0].b")
    run.launched.clear()
    decision = run.send(RetryRequested())
    assert failed.id not in decision.nodes_removed, "it runs again under the same id"
    assert run.launched == [failed.id]
    assert run.node("wf[0].a") == kept
    assert (run.state.run.phase, run.state.run.finished_at) == ("Running", None)
    run.play()
    assert run.state.run.phase == "Succeeded"


def test_a_retry_with_other_parameters_expands_loops_again() -> None:
    spec = (
        templates("- {name: main, steps: [[{name: a, template: echo, withParam: '{{workflow.parameters.list}}'}]]}")
        + "\narguments: {parameters: [{name: list, value: '[1,2]'}]}"
    )
    run = Run(workflow(spec))
    run.play(lambda node, _: {"exit_code": 1} if node.index == 1 else {})
    run.send(RetryRequested(parameters=("list=[7]", "more=x")))
    assert [node.name for node in run.live()] == ["wf[0].a(0:7)"]
    run.play()
    assert run.state.run.phase == "Succeeded"
    assert run.state.workflow.spec.arguments.parameters[1].value == "x"  # type: ignore[union-attr]


def test_a_successful_workflow_runs_again_from_a_chosen_node() -> None:
    run = Run(workflow(templates(TWO))).play()
    event = RetryRequested(restart_successful=True, selector="displayName=b")
    assert machine.refusal(run.state, event) == ""
    run.launched.clear()
    run.send(event)
    assert run.launched == [run.node("wf[0].b").id]
    run.play()
    assert run.launched[1:] == [run.node("wf[1].c").id]


def test_a_single_pod_and_a_dag_run_again() -> None:
    run = Run(workflow("entrypoint: echo\ntemplates:" + ECHO))
    run.play(lambda *_: {"exit_code": 1})
    run.send(RetryRequested())
    run.play()
    assert run.state.run.phase == "Succeeded"
    tasks = "[{name: a, template: echo}, {name: b, template: echo, depends: a}, {name: c, template: echo, depends: b}]"
    run = Run(workflow(templates(f"- {{name: main, dag: {{tasks: {tasks}}}}}")))
    run.play(lambda node, _: {"exit_code": 1} if node.name == "wf.b" else {})
    run.launched.clear()
    run.send(RetryRequested())
    run.play()
    assert run.launched == [run.node("wf.b").id, run.node("wf.c").id]
    assert run.state.run.phase == "Succeeded"


def test_a_decision_leaves_no_work_for_the_cyclic_garbage_collector():
    events = (
        lambda state: WorkflowStarted(),
        lambda state: PodStarted(node_id=state.root_id),
        lambda state: ShutdownRequested(strategy="Stop"),
    )
    begun = state = machine.new_state(workflow("entrypoint: echo\ntemplates:" + ECHO))
    for make in events:  # the first time templates are compiled
        state = machine.decide(state, make(state), 1.0).state
    gc.collect()
    gc.disable()
    try:
        state = begun
        for make in events:
            state = machine.decide(state, make(state), 1.0).state
        assert gc.collect() == 0
    finally:
        gc.enable()
