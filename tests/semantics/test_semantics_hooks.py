# ruff: noqa: E501 - a manifest on one line reads better than one cut in pieces
"""The semantics of exit handlers and hooks.

1. The workflow's exit handler (node `<workflow>.onExit`) begins when the root has ended. It sees `workflow.status`, `workflow.failures`
   (a JSON list as a quoted text) and `workflow.duration` in seconds. One that fails turns Succeeded into Failed or Error. The
   workflow's deadline does not hold it; it runs after Stop, not after Terminate.
2. A hook called `exit` needs no expression, others have one. Once it is true the hook's node is made, once. A step or task is complete,
   for those after it, when its hooks are. The arguments of an exit hook see the node's outputs, those of the last attempt. `onExit` of
   a step or task is the old form. An exit handler that is given no arguments gets the workflow's.
"""

import json

import pytest
from machine_driver import Run
from semantics_kit import FAILED, arguments, begun, end_of, phases, played, received, shown_node

from jitflow.model.pods import CollectedArtifact
from jitflow.model.runs import PodStarted, RetryRequested, ShutdownRequested

pytestmark = pytest.mark.pure

BYE = """- {name: bye, container: {image: busybox, args: ["{{workflow.status}}", "{{workflow.failures}}", "{{workflow.duration}}", "{{=workflow.status}}"]}}"""
ONE = "steps: [[{name: a, template: echo}]]"


def started(run: Run, name: str) -> None:
    """Say that a node's pod runs."""
    run.send(PodStarted(node_id=run.node(name).id))


def test_hooks_1_begins_when_the_root_has_ended() -> None:
    """Hooks 1: the exit handler's node is `<workflow>.onExit`; it begins when the root has ended, and the workflow with it ends."""
    run = begun(ONE, spec="onExit: echo")
    assert "wf.onExit" not in run.names()
    run.end("wf[0].a")
    assert (run.phase("wf"), run.phase("wf.onExit"), run.state.run.phase) == ("Succeeded", "Pending", "Running")
    run.end("wf.onExit")
    shown = shown_node(run, "wf.onExit")
    assert (end_of(run), shown.display_name, shown.boundary_id) == (("Succeeded", ""), "wf.onExit", None)


def test_hooks_1_what_it_sees() -> None:
    """Hooks 1: status, failures (a quoted JSON list of those that failed) and the seconds that the workflow took."""
    run = begun(ONE, spec="onExit: bye", extra=BYE)
    run.now += 90
    run.end("wf[0].a", 1)
    status, failures, duration, expressed = arguments(run, "wf.onExit")
    assert (status, duration, expressed) == ("Failed", "90.000000", "Failed")
    found = json.loads(json.loads(failures))
    assert {entry["displayName"] for entry in found} == {"wf", "[0]", "a"}
    step = next(entry for entry in found if entry["displayName"] == "a")
    assert list(step) == ["displayName", "message", "templateName", "phase", "podName", "finishedAt"]
    assert (step["templateName"], step["phase"], step["message"]) == ("echo", "Failed", "main: Error (exit code 1)")
    assert {entry["displayName"]: entry["templateName"] for entry in found} == {"wf": "main", "[0]": "", "a": "echo"}


def test_hooks_1_nothing_failed() -> None:
    """Hooks 1: where nothing has failed the list is null, a text as well."""
    run = begun(ONE, spec="onExit: bye", extra=BYE)
    run.end("wf[0].a")
    assert arguments(run, "wf.onExit")[:2] == ["Succeeded", '"null"']


def test_hooks_1_when_by_status() -> None:
    """Hooks 1: the steps of an exit handler choose by `workflow.status`."""
    handler = "- {name: h, steps: [[{name: good, template: echo, when: '{{workflow.status}} == Succeeded'}, {name: bad, template: echo, when: '{{workflow.status}} != Succeeded'}]]}"
    run = played("container: {image: busybox}", spec="onExit: h", extra=handler, ends={"wf": FAILED})
    assert (run.phase("wf.onExit[0].good"), run.phase("wf.onExit[0].bad")) == ("Skipped", "Succeeded")
    assert end_of(run) == ("Failed", "main: Error (exit code 1)")


@pytest.mark.parametrize(
    ("root", "handler", "expected"),
    [
        ({}, FAILED, ("Failed", "main: Error (exit code 1)")),
        ({}, {"exit_code": None, "error": "lost"}, ("Error", "lost")),
        ({"exit_code": 3}, FAILED, ("Failed", "main: Error (exit code 3)")),
        ({"exit_code": 3}, {}, ("Failed", "main: Error (exit code 3)")),
        ({"exit_code": None, "error": "gone"}, FAILED, ("Error", "gone")),
        ({}, {}, ("Succeeded", "")),
    ],
)
def test_hooks_1_phase(root: dict[str, object], handler: dict[str, object], expected: tuple[str, str]) -> None:
    """Hooks 1: a failing exit handler turns Succeeded into Failed or Error, and nothing else."""
    run = played("container: {image: busybox}", spec="onExit: echo", ends={"wf": root, "wf.onExit": handler})
    assert end_of(run) == expected


def test_hooks_1_not_subject_to_the_deadline() -> None:
    """Hooks 1: the workflow's deadline ends its pods, and not those of its exit handler."""
    run = begun(ONE, spec="onExit: echo\nactiveDeadlineSeconds: 10")
    started(run, "wf[0].a")
    run.fire_next()
    run.end("wf[0].a", 143, terminated=True)
    assert (run.phase("wf"), run.phase("wf.onExit")) == ("Failed", "Pending")
    run.now += 100
    run.end("wf.onExit")
    assert end_of(run)[0] == "Failed"


@pytest.mark.parametrize(("strategy", "runs"), [("Stop", True), ("Terminate", False)])
def test_hooks_1_stop_and_terminate(strategy: str, runs: bool) -> None:
    """Hooks 1: exit handlers of the workflow and of steps run after Stop, not after Terminate."""
    run = begun("steps: [[{name: a, template: echo, onExit: echo}]]", spec="onExit: echo")
    started(run, "wf[0].a")
    run.send(ShutdownRequested(strategy=strategy))
    run.play(lambda node, launch: {} if "onExit" in node.name else {"exit_code": 143, "terminated": True})
    assert ("wf.onExit" in run.names(), "wf[0].a.onExit" in run.names()) == (runs, runs)
    assert end_of(run) == ("Failed", f"Stopped with strategy '{strategy}'")


def test_hooks_1_stop_while_it_runs() -> None:
    """Hooks 1: a stop leaves a running exit handler alone, terminating ends it."""
    run = begun("container: {image: busybox}", spec="onExit: echo")
    run.end("wf")
    started(run, "wf.onExit")
    run.send(ShutdownRequested(strategy="Stop"))
    assert run.killed == []
    run.send(ShutdownRequested(strategy="Terminate"))
    assert run.killed == [run.node("wf.onExit").id]
    run.end("wf.onExit", 143, terminated=True)
    assert end_of(run)[0] == "Failed"


def test_hooks_1_steps_dags_and_retries() -> None:
    """Hooks 1: an exit handler may be steps, loop, retry and use inputs with defaults."""
    extra = "- {name: h, retryStrategy: {limit: 1}, steps: [[{name: s, template: echo, withItems: [one, two], arguments: {parameters: [{name: m, value: '{{item}} {{workflow.status}}'}]}}]]}"
    run = played("container: {image: busybox}", spec="onExit: h", extra=extra, ends={"wf.onExit(0)[0].s(1:two)": FAILED})
    assert run.node("wf.onExit").type == "Retry"
    assert received(run, "wf.onExit(1)[0].s(0:one)") == "one Succeeded"
    assert end_of(run) == ("Succeeded", "")


def test_hooks_1_cannot_run() -> None:
    """Hooks 1: an exit handler that cannot even begin is an Error of the workflow, whatever its root came to."""
    spec, extra = (
        "onExit: h\narguments: {parameters: [{name: p, valueFrom: {configMapKeyRef: {name: c, key: k}, default: d}}]}",
        "",
    )
    extra = "- {name: h, inputs: {parameters: [{name: q, valueFrom: {configMapKeyRef: {name: none, key: k}}}]}, container: {image: busybox}}"
    run = played("container: {image: busybox}", spec=spec, extra=extra, ends={"wf": FAILED})
    assert end_of(run)[0] == "Error"
    assert end_of(run)[1].startswith("error in exit template execution : ")


def test_hooks_1_global_outputs() -> None:
    """Hooks 1: an exit handler reads the workflow's global outputs, parameters and artifacts."""
    extra = """
- {name: g, container: {image: busybox}, outputs: {parameters: [{name: p, globalName: gp, valueFrom: {path: /p}}], artifacts: [{name: x, globalName: ga, path: /x, s3: {endpoint: e, bucket: b, key: k}}]}}
- {name: h, inputs: {parameters: [{name: m}], artifacts: [{name: in, path: /in}]}, container: {image: busybox}}
"""
    hook = "hooks: {exit: {template: h, arguments: {parameters: [{name: m, value: '{{workflow.outputs.parameters.gp}}'}], artifacts: [{name: in, from: '{{workflow.outputs.artifacts.ga}}'}]}}}"
    run = begun("steps: [[{name: a, template: g}]]", spec=hook, extra=extra)
    run.end("wf[0].a", parameters={"p": "v"}, artifacts=(CollectedArtifact(name="x", source="/x", size_bytes=1),))
    run.save("wf[0].a")
    assert received(run, "wf.onExit") == "v"
    inputs = run.node("wf.onExit").inputs
    assert inputs is not None
    assert inputs.artifacts[0].s3 is not None
    assert inputs.artifacts[0].s3.key == "k"


def test_hooks_1_global_outputs_of_the_entrypoint() -> None:
    """Hooks 1: what the entrypoint itself gives out globally is known to the exit handler."""
    body = "steps: [[{name: a, template: write}]]\noutputs: {parameters: [{name: all, globalName: all, valueFrom: {parameter: '{{steps.a.outputs.parameters.p}}'}}]}"
    extra = "- {name: h, container: {image: busybox, args: ['{{workflow.outputs.parameters.all}}']}}"
    run = begun(body, spec="onExit: h", extra=extra)
    run.end("wf[0].a", parameters={"p": "v"})
    assert arguments(run, "wf.onExit") == ["v"]


def test_hooks_2_workflow_hooks() -> None:
    """Hooks 2: a hook of the workflow begins when its expression is true, once; the workflow ends when its hooks have."""
    spec = 'hooks: {running: {expression: workflow.status == "Running", template: echo}, good: {expression: workflow.status == "Succeeded", template: echo}, bad: {expression: workflow.status == "Failed", template: echo}, exit: {template: echo}}'
    run = begun("container: {image: busybox}", spec=spec)
    assert run.names() == ["wf"]
    started(run, "wf")
    assert run.names() == ["wf", "wf.hooks.running"]
    run.end("wf")
    assert run.names() == ["wf", "wf.hooks.good", "wf.hooks.running"]
    run.end("wf.hooks.good")
    assert "wf.onExit" not in run.names(), "it begins when all hooks have ended"
    assert run.state.run.phase == "Running"
    run.end("wf.hooks.running", 1)
    run.end("wf.onExit")
    assert end_of(run) == ("Succeeded", "")
    flag = shown_node(run, "wf.hooks.running").node_flag
    assert flag is not None
    assert flag.hooked


@pytest.mark.parametrize(("kind", "a", "b"), [("steps", "wf[0].a", "wf[1].b"), ("dag", "wf.a", "wf.b")])
def test_hooks_2_complete_with_its_hooks(kind: str, a: str, b: str) -> None:
    """Hooks 2: those after a step or task go on when its hooks have ended too, however they end."""
    prefix = "tasks" if kind == "dag" else "steps"
    hooks = f'hooks: {{exit: {{template: echo}}, running: {{template: echo, expression: \'{prefix}["a"].status == "Running"\'}}, failed: {{template: echo, expression: {prefix}.a.status == "Failed"}}}}'
    body = f"dag: {{tasks: [{{name: a, template: echo, {hooks}}}, {{name: b, template: echo, depends: a}}]}}"
    if kind == "steps":
        body = f"steps: [[{{name: a, template: echo, {hooks}}}], [{{name: b, template: echo}}]]"
    run = begun(body)
    assert f"{a}.hooks.running" not in run.names()
    started(run, a)
    assert run.phase(f"{a}.hooks.running") == "Pending"
    run.end(a)
    assert f"{a}.hooks.failed" not in run.names()
    assert f"{a}.onExit" not in run.names(), "it begins when the other hooks have ended"
    run.end(f"{a}.hooks.running", 1)
    assert b not in run.names()
    run.end(f"{a}.onExit", 1)
    assert run.phase(b) == "Pending"
    run.end(b)
    assert end_of(run) == ("Succeeded", "")


def test_hooks_2_once() -> None:
    """Hooks 2: a hook whose expression stays true is run once."""
    run = begun("steps: [[{name: a, template: echo, hooks: {h: {template: echo, expression: 'true'}}}]]")
    started(run, "wf[0].a")
    run.end("wf[0].a.hooks.h")
    run.end("wf[0].a")
    assert [name for name in run.names() if "hooks" in name] == ["wf[0].a.hooks.h"]
    assert end_of(run)[0] == "Succeeded"


GIVES = "- {name: gives, retryStrategy: {limit: 2}, container: {image: busybox}, outputs: {parameters: [{name: p, valueFrom: {path: /p}}], artifacts: [{name: x, path: /x, s3: {endpoint: e, bucket: b, key: 'k{{retries}}'}}]}}\n- {name: takes, inputs: {parameters: [{name: m}, {name: s}], artifacts: [{name: in, path: /in}]}, container: {image: busybox}}"


@pytest.mark.parametrize(("kind", "a"), [("steps", "wf[0].a"), ("dag", "wf.a")])
def test_hooks_2_arguments_of_the_last_attempt(kind: str, a: str) -> None:
    """Hooks 2: the arguments of an exit hook see the outputs of the last attempt: parameters, artifacts, status."""
    tag = "{{" + ("tasks" if kind == "dag" else "steps") + ".a."
    hook = f"hooks: {{exit: {{template: takes, arguments: {{parameters: [{{name: m, value: '{tag}outputs.parameters.p}}}}'}}, {{name: s, value: '{tag}status}}}}'}}], artifacts: [{{name: in, from: '{tag}outputs.artifacts.x}}}}'}}]}}}}}}"
    task = f"{{name: a, template: gives, {hook}}}"
    run = begun(f"dag: {{tasks: [{task}]}}" if kind == "dag" else f"steps: [[{task}]]", extra=GIVES)
    run.end(f"{a}(0)", 1, parameters={"p": "first"})
    run.end(f"{a}(1)", parameters={"p": "second"}, artifacts=(CollectedArtifact(name="x", source="/x", size_bytes=1),))
    run.save(f"{a}(1)")
    assert (received(run, f"{a}.onExit"), received(run, f"{a}.onExit", "s")) == ("second", "Succeeded")
    inputs = run.node(f"{a}.onExit").inputs
    assert inputs is not None
    assert inputs.artifacts[0].s3 is not None
    assert inputs.artifacts[0].s3.key == "k1"


def test_hooks_2_missing_output() -> None:
    """Hooks 2: where a failed step left nothing behind, its exit handler's node is there, in Error, and the step is complete."""
    extra = "- {name: w, container: {image: busybox}, outputs: {parameters: [{name: p, valueFrom: {path: /p}}]}}"
    hook = "hooks: {exit: {template: strict, arguments: {parameters: [{name: m, value: '{{steps.a.outputs.parameters.p}}'}]}}}"
    run = played(
        f"steps: [[{{name: a, template: w, {hook}}}]]", extra=extra, ends={"wf[0].a": {"exit_code": 1, "parameters": {}}}
    )
    assert (end_of(run)[0], run.phase("wf[0].a"), run.phase("wf[0].a.onExit")) == ("Failed", "Failed", "Error")


def test_hooks_2_each_item_has_its_own() -> None:
    """Hooks 2: in a loop each item has its exit handler, which sees the item's own status."""
    hook = "hooks: {exit: {template: echo, arguments: {parameters: [{name: m, value: '{{steps.a.status}} {{item}}'}]}}}"
    run = played(f"steps: [[{{name: a, template: echo, withItems: [one, two], {hook}}}]]", ends={"wf[0].a(1:two)": FAILED})
    assert (received(run, "wf[0].a(0:one).onExit"), received(run, "wf[0].a(1:two).onExit")) == ("Succeeded one", "Failed two")
    assert end_of(run)[0] == "Failed"


def test_hooks_2_of_a_loop_in_a_dag() -> None:
    """Hooks 2: of a DAG's loop each item has its exit handler, and the loop as a whole the other hooks."""
    hooks = "hooks: {exit: {template: echo}, run: {template: echo, expression: tasks.a.status == 'Running'}, bad: {template: echo, expression: tasks.a.status == 'Failed'}}"
    run = begun(
        f"dag: {{tasks: [{{name: a, template: echo, withItems: [one, two], {hooks}}}, {{name: b, template: echo, depends: a || a.Failed}}]}}"
    )
    assert [name for name in run.names() if "." in name.removeprefix("wf.")] == ["wf.a.hooks.run"]
    run.end("wf.a(0:one)")
    run.end("wf.a(1:two)", 1)
    assert "wf.a.hooks.bad" not in run.names(), "the items have exit handlers"
    run.end("wf.a(0:one).onExit")
    run.end("wf.a(1:two).onExit")
    assert (run.phase("wf.a"), run.phase("wf.a.hooks.bad")) == ("Failed", "Pending")
    run.end("wf.a.hooks.bad")
    assert "wf.b" not in run.names()
    run.end("wf.a.hooks.run")
    assert run.phase("wf.b") == "Pending"
    run.play()
    assert run.names().count("wf.a.onExit") == 0


def test_hooks_2_not_for_what_did_not_run() -> None:
    """Hooks 2: what was skipped or omitted has no exit handler."""
    run = played("steps: [[{name: a, template: echo, when: 'false', onExit: echo}]]")
    assert run.names() == ["wf", "wf[0]", "wf[0].a"]
    run = played("dag: {tasks: [{name: a, template: fail}, {name: b, template: echo, depends: a, onExit: echo}]}")
    assert (run.phase("wf.b"), "wf.b.onExit" in run.names()) == ("Omitted", False)


def test_hooks_2_the_old_form() -> None:
    """Hooks 2: `onExit` of a step is its hook `exit`; where both are said, `onExit` counts."""
    run = played("steps: [[{name: a, template: echo, onExit: number, hooks: {exit: {template: echo}}}]]")
    assert run.node("wf[0].a.onExit").template == "number"
    run = played("container: {image: busybox}", spec="onExit: number\nhooks: {exit: {template: echo}}")
    assert run.node("wf.onExit").template == "number"


@pytest.mark.parametrize("where", ["wf.onExit", "wf[0].a.onExit"])
def test_hooks_2_the_workflows_arguments(where: str) -> None:
    """Hooks 2: an exit handler that is given nothing gets the workflow's arguments; one that is given some gets only those."""
    spec = "arguments: {parameters: [{name: m, value: of the workflow}]}\n"
    whole = where == "wf.onExit"
    run = played(
        f"steps: [[{{name: a, template: echo{'' if whole else ', onExit: strict'}}}]]",
        spec=spec + ("onExit: strict" if whole else ""),
    )
    assert received(run, where) == "of the workflow"
    hook = "hooks: {exit: {template: strict, arguments: {parameters: [{name: m, value: own}]}}}"
    run = played(f"steps: [[{{name: a, template: echo{'' if whole else ', ' + hook}}}]]", spec=spec + (hook if whole else ""))
    assert received(run, where) == "own"


def test_hooks_2_exit_with_an_expression() -> None:
    """Hooks 2: the exit hook of a step may have an expression; where it is false there is no exit handler."""
    for status, there in (("Succeeded", True), ("Failed", False)):
        hook = f"hooks: {{exit: {{template: echo, expression: steps.a.status == '{status}'}}}}"
        run = played(f"steps: [[{{name: a, template: echo, {hook}}}]]")
        assert ("wf[0].a.onExit" in run.names()) is there


def test_hooks_2_after_a_stop() -> None:
    """Hooks 2: hooks that are no exit handlers end with a stop, and those that begin after it fail at once."""
    hooks = "hooks: {run: {template: echo, expression: steps.a.status == 'Running'}, bad: {template: echo, expression: steps.a.status == 'Failed'}}"
    run = begun(f"steps: [[{{name: a, template: echo, {hooks}}}]]")
    started(run, "wf[0].a")
    started(run, "wf[0].a.hooks.run")
    run.send(ShutdownRequested(strategy="Stop"))
    assert sorted(run.killed) == sorted([run.node("wf[0].a").id, run.node("wf[0].a.hooks.run").id])
    run.end("wf[0].a", 143, terminated=True)
    assert (run.phase("wf[0].a.hooks.bad"), run.node("wf[0].a.hooks.bad").message) == (
        "Failed",
        "workflow shutdown with strategy: Stop",
    )
    run.end("wf[0].a.hooks.run", 143, terminated=True)
    assert end_of(run) == ("Failed", "Stopped with strategy 'Stop'")


def test_hooks_2_template_by_reference_needs_no_template() -> None:
    """Hooks 2: a hook may take its template by reference or run steps of its own."""
    extra = "- {name: h, steps: [[{name: s, template: echo}], [{name: t, template: fail}]]}"
    run = played("steps: [[{name: a, template: echo, hooks: {exit: {template: h}}}], [{name: b, template: echo}]]", extra=extra)
    assert phases(run)["wf[0].a.onExit"] == "Failed"
    assert (run.phase("wf[0].a.onExit[1].t"), run.phase("wf[1].b"), end_of(run)[0]) == ("Failed", "Succeeded", "Succeeded")


def test_hooks_2_after_a_retry_of_the_workflow() -> None:
    """Hooks 2: a retry of the workflow drops the exit handler and runs it again; hooks that succeeded stay."""
    spec = 'onExit: echo\nhooks: {running: {expression: workflow.status == "Running", template: echo}}'
    run = begun("steps: [[{name: a, template: echo}]]", spec=spec)
    run.play(lambda node, launch: FAILED if node.name == "wf[0].a" else {})
    run.send(RetryRequested())
    assert run.names() == ["wf", "wf.hooks.running", "wf[0]", "wf[0].a"]
    run.play()
    assert (end_of(run)[0], run.phase("wf.onExit")) == ("Succeeded", "Succeeded")
