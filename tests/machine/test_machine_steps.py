# ruff: noqa: E501 - a manifest on one line reads better than one cut in pieces
"""Steps, DAGs, loops, conditions: names, phases and messages as Argo's."""

from typing import Any

import pytest
from machine_driver import Run, pod_end, workflow

from jitflow import machine
from jitflow.machine import names, phases
from jitflow.model import argo
from jitflow.model.runs import LaunchPod, PodEnded, PodStarted, PodWaits, WorkflowStarted

pytestmark = pytest.mark.pure

ECHO = """
- name: echo
  inputs: {parameters: [{name: x, default: none}]}
  container: {image: busybox, command: [echo], args: ["{{inputs.parameters.x}} {{pod.name}} {{workflow.name}}"]}
- name: number
  script: {image: busybox, command: [sh], source: "echo 1"}
- name: write
  container: {image: busybox, command: [sh]}
  outputs:
    parameters: [{name: p, valueFrom: {path: /tmp/p}}]
"""


def templates(main: str, *, extra: str = "") -> str:
    """Return a spec whose entrypoint is `main`."""
    return f"entrypoint: main\ntemplates:{ECHO}{main}{extra}"


def arguments(run: Run, name: str) -> list[str]:
    """Return the resolved arguments of a node's pod."""
    container = run.launch(name).template.container
    assert container is not None
    return list(container.args)


def test_a_single_pod_runs_and_ends() -> None:
    run = Run(workflow("entrypoint: echo\ntemplates:" + ECHO))
    decision = run.begin()
    (launch,) = decision.effects
    assert isinstance(launch, LaunchPod)
    assert (launch.key, launch.node_id, launch.pod_name, launch.capture_result) == ("wf", "wf", "wf", False)
    assert arguments(run, "wf") == ["none wf wf"]
    run.send(PodWaits(node_id="wf", message="waits for data"))
    assert run.node("wf").message == "waits for data"
    run.send(PodStarted(node_id="wf"))
    assert run.phase("wf") == "Running"
    assert not run.node("wf").message
    decision = run.end("wf")
    assert [effect.key for effect in decision.effects] == ["close"]
    assert decision.effects_done == ("wf", "deadline")
    assert run.state.run.phase == "Succeeded"
    assert machine.summary(run.state).progress == "1/1"
    assert machine.summary(run.state).labels["workflows.argoproj.io/completed"] == "true"


def test_late_repeated_and_unknown_events_change_nothing() -> None:
    run = Run(workflow("entrypoint: echo\ntemplates:" + ECHO))
    run.begin()
    ended = PodEnded(node_id="wf", end=run_end(run))
    run.send(ended)
    for event in (
        ended,
        PodStarted(node_id="wf"),
        PodWaits(node_id="wf", message="x"),
        PodStarted(node_id="no"),
        WorkflowStarted(),
    ):
        decision = run.send(event)
        assert (decision.nodes, decision.effects, decision.notes, decision.header_changed) == ((), (), (), False)


def run_end(run: Run) -> Any:
    """Return a good end of the root's pod."""
    return pod_end("wf", 0, run.now)


def test_steps_run_group_by_group() -> None:
    run = Run(
        workflow(
            templates(
                "- {name: main, steps: [[{name: a, template: echo}, {name: b, template: echo}], [{name: c, template: echo}]]}"
            )
        )
    )
    run.begin()
    assert run.names() == ["wf", "wf[0]", "wf[0].a", "wf[0].b"]
    assert names.fnv1a32("foobar") == 0xBF9CF968
    assert run.node("wf[0].a").id == "wf-3986212215" == machine.node_id("wf", "wf[0].a")
    assert run.launch("wf[0].a").pod_name == "wf-echo-3986212215"
    run.end("wf[0].a")
    assert "wf[1]" not in run.names()
    run.end("wf[0].b")
    run.end("wf[1].c")
    status = machine.status(run.state, run.now)
    nodes = {node.name: node for node in status.nodes.values()}
    assert (nodes["wf"].type, nodes["wf[0]"].type, nodes["wf[0].a"].type) == ("Steps", "StepGroup", "Pod")
    assert nodes["wf[0].a"].display_name == "a"
    assert nodes["wf[0]"].display_name == "[0]"
    assert nodes["wf"].children == (nodes["wf[0]"].id,)
    assert nodes["wf[0].a"].children == (nodes["wf[1]"].id,)
    assert nodes["wf"].outbound_nodes == (nodes["wf[1].c"].id,)
    assert nodes["wf[0].a"].boundary_id == nodes["wf[0]"].boundary_id == "wf"
    assert (nodes["wf"].progress, nodes["wf[1]"].progress) == ("3/3", "1/1")
    assert status.conditions[1].type == "Completed"
    assert status.phase == "Succeeded"


def test_a_failed_step_fails_its_group_and_the_workflow() -> None:
    run = Run(
        workflow(
            templates(
                "- {name: main, steps: [[{name: a, template: echo}, {name: b, template: echo}], [{name: c, template: echo}]]}"
            )
        )
    )
    run.begin()
    run.end("wf[0].b", 3)
    assert run.phase("wf[0].b") == "Failed"
    assert run.node("wf[0].b").message == "main: Error (exit code 3)"
    assert run.phase("wf[0]") == "Running"
    run.end("wf[0].a")
    message = f"child '{run.node('wf[0].b').id}' failed"
    assert run.node("wf[0]").message == run.node("wf").message == run.state.run.message == message
    assert "wf[1]" not in run.names()


@pytest.mark.parametrize(
    ("end", "phase", "message"),
    [
        ({"exit_code": 1}, "Failed", "main: Error (exit code 1)"),
        ({"exit_code": None, "error": "killed"}, "Error", "killed"),
        ({"exit_code": None}, "Error", "the pod was lost before it ended"),
        ({"exit_code": 0, "error": "unpacking x failed"}, "Error", "unpacking x failed"),
        ({"exit_code": 143, "timed_out": True}, "Failed", "Pod was active on the node longer than the specified deadline"),
        (
            {"exit_code": 0},
            "Error",
            "wait: Error (exit code 64): open /tmp/p: no such file or directory (output parameter 'p')",
        ),
        ({"exit_code": 2, "error": "an output is missing"}, "Failed", "main: Error (exit code 2)"),
    ],
)
def test_how_a_pods_end_is_judged(end: dict[str, Any], phase: str, message: str) -> None:
    run = Run(workflow("entrypoint: write\ntemplates:" + ECHO))
    run.begin()
    run.end("wf", **end)
    assert (run.phase("wf"), run.node("wf").message) == (phase, message)
    assert run.state.run.phase == phase


def test_outputs_of_steps_are_read_by_later_ones() -> None:
    spec = templates("""
- name: main
  steps:
  - - {name: num, template: number}
    - {name: w, template: write}
  - - name: show
      template: echo
      arguments: {parameters: [{name: x, value: "{{steps.num.outputs.result}}-{{steps.w.outputs.parameters.p}}-{{steps.num.exitCode}}-{{steps.num.status}}"}]}
    - {name: id, template: echo, arguments: {parameters: [{name: x, value: "{{steps.num.id}} {{steps.num.startedAt}} {{steps.num.finishedAt}} {{steps.num.ip}}"}]}}
""")
    run = Run(workflow(spec))
    run.begin()
    assert run.launch("wf[0].num").capture_result
    assert not run.launch("wf[0].w").capture_result
    run.end("wf[0].num", result="42")
    run.end("wf[0].w", parameters={"p": 'a "quoted"\nline'})
    assert arguments(run, "wf[1].show")[0].startswith('42-a "quoted"\nline-0-Succeeded ')
    assert run.node("wf[0].num").id in arguments(run, "wf[1].id")[0]


def test_an_output_that_is_not_there_is_an_error_of_the_step() -> None:
    spec = templates("""
- name: main
  steps:
  - - {name: w, template: write, continueOn: {failed: true}}
  - - {name: show, template: echo, arguments: {parameters: [{name: x, value: "{{steps.w.outputs.parameters.p}}"}]}}
""")
    run = Run(workflow(spec))
    run.begin()
    run.end("wf[0].w", 1)
    assert (run.phase("wf[0]"), run.phase("wf[1].show")) == ("Succeeded", "Error")
    assert run.node("wf[1].show").message == "failed to resolve {{steps.w.outputs.parameters.p}}"
    assert run.state.run.phase == "Failed"


def test_when_skips_a_step() -> None:
    spec = templates(
        "- {name: main, steps: [[{name: a, template: echo, when: '1 > 2'}], [{name: b, template: echo, when: '{{steps.a.status}} == Skipped'}]]}"
    )
    run = Run(workflow(spec)).play()
    assert (run.node("wf[0].a").type, run.phase("wf[0].a")) == ("Skipped", "Skipped")
    assert run.node("wf[0].a").message == "when '1 > 2' evaluated false"
    assert run.phase("wf[1].b") == "Succeeded"


def test_a_when_that_is_no_condition_is_an_error() -> None:
    run = Run(workflow(templates("- {name: main, steps: [[{name: a, template: echo, when: 'a b c'}]]}"))).play()
    assert run.node("wf[0].a").message.startswith("Invalid 'when' expression 'a b c'")
    assert run.state.run.phase == "Failed"


def test_loops_name_their_items_and_collect_their_outputs() -> None:
    spec = templates("""
- name: main
  steps:
  - - name: l
      template: write
      withItems: [one, 2, true, {b: x, a: 1}, [1, 2]]
    - {name: e, template: echo, withParam: "[]"}
    - {name: s, template: number, withSequence: {start: "3", end: "1", format: "n%02X"}}
    - {name: f, template: echo, when: "'{{item}}' != 'a(b)'", withItems: ["a(b)", c]}
  - - {name: show, template: echo, arguments: {parameters: [{name: x, value: "{{steps.l.outputs.parameters.p}}|{{steps.s.outputs.result}}|{{steps.e.outputs.result}}|{{steps.l.outputs.parameters}}"}]}}
""")
    run = Run(workflow(spec))
    run.begin()
    loop = ["wf[0].l(0:one)", "wf[0].l(1:2)", "wf[0].l(2:true)", "wf[0].l(3:a:1,b:x)", "wf[0].l(4:[1,2])"]
    assert set(loop) <= set(run.names())
    assert (run.phase("wf[0].e"), run.node("wf[0].e").message) == ("Skipped", "Skipped, empty params")
    for number, name in enumerate(loop):
        run.end(name, parameters={"p": str(number)})
    for number, name in enumerate(["wf[0].s(0:n03)", "wf[0].s(1:n02)", "wf[0].s(2:n01)"]):
        run.end(name, result=str(number))
    assert run.node("wf[0].f(0:ab)").type in {"Skipped", "Pod"}
    for node in run.live():
        run.end(node.name)
    shown = arguments(run, "wf[1].show")[0]
    assert shown.startswith('["0","1","2","3","4"]|[0,1,2]|[]|[{"p":"0"},')


def test_aggregated_parameters_that_are_all_lists_or_maps_stay_json() -> None:
    spec = templates("""
- name: main
  dag:
    tasks:
    - {name: l, template: write, withItems: [a, b]}
    - {name: show, template: echo, depends: l, withParam: "{{tasks.l.outputs.parameters.p}}", arguments: {parameters: [{name: x, value: "{{item.k}}"}]}}
""")
    run = Run(workflow(spec))
    run.begin()
    run.end("wf.l(0:a)", parameters={"p": '{"k": "v"}'})
    run.end("wf.l(1:b)", parameters={"p": '{"k": [1]}'})
    assert run.node("wf.l").type == "TaskGroup"
    assert arguments(run, "wf.show(0:k:v)")[0].startswith("v ")
    assert arguments(run, "wf.show(1:k:[1])")[0].startswith("[1] ")


@pytest.mark.parametrize(
    ("loop", "message"),
    [
        ("withParam: nonsense", "withParam value could not be parsed as a JSON list: nonsense"),
        ("withSequence: {count: many}", "withSequence.count: 'many' is no whole number"),
        ("withSequence: {count: '2000000'}", "withSequence gives 2000000 items; at most 1000000 are possible"),
        ("withSequence: {start: '1'}", "must specify one of the following: withSequence.count, withSequence.end"),
    ],
)
def test_a_loop_that_cannot_be_read_is_an_error(loop: str, message: str) -> None:
    run = Run(workflow(templates(f"- {{name: main, steps: [[{{name: a, template: echo, {loop}}}]]}}"))).play()
    assert run.node("wf[0].a").message.startswith(message)
    assert run.phase("wf[0].a") == "Error"


def test_an_item_without_fields_has_no_fields() -> None:
    spec = templates(
        "- {name: main, steps: [[{name: a, template: echo, withItems: [x], arguments: {parameters: [{name: x, value: '{{item.k}}'}]}}]]}"
    )
    run = Run(workflow(spec)).play()
    assert "item is not a map" in run.node("wf[0].a(0:x)").message


DIAMOND = """
- name: main
  dag:
    tasks:
    - {name: a, template: echo}
    - {name: b, template: echo, dependencies: [a]}
    - {name: c, template: echo, dependencies: [a]}
    - {name: d, template: echo, dependencies: [b, c]}
"""


def test_a_dag_follows_its_dependencies() -> None:
    run = Run(workflow(templates(DIAMOND)))
    run.begin()
    assert run.names() == ["wf", "wf.a"]
    run.end("wf.a")
    run.end("wf.c")
    assert "wf.d" not in run.names()
    run.end("wf.b")
    run.end("wf.d")
    assert run.state.run.phase == "Succeeded"
    nodes = {node.name: node for node in machine.status(run.state, run.now).nodes.values()}
    assert nodes["wf"].children == (nodes["wf.a"].id,)
    assert set(nodes["wf.a"].children) == {nodes["wf.b"].id, nodes["wf.c"].id}
    assert nodes["wf.b"].children == nodes["wf.c"].children == (nodes["wf.d"].id,)
    assert nodes["wf"].outbound_nodes == (nodes["wf.d"].id,)


def test_tasks_after_a_failed_one_are_omitted() -> None:
    run = Run(workflow(templates(DIAMOND)))
    run.begin()
    run.end("wf.a", 1)
    assert {run.phase(f"wf.{name}") for name in "bcd"} == {"Omitted"}
    assert run.node("wf.b").message == "omitted: depends condition not met"
    assert (run.phase("wf"), run.state.run.phase) == ("Failed", "Failed")


def test_fail_fast_starts_nothing_new_but_waits_for_what_runs() -> None:
    tasks = "[{name: a, template: echo}, {name: b, template: echo}, {name: c, template: echo, depends: b}]"
    for fail_fast, made in (("true", ["wf", "wf.a", "wf.b"]), ("false", ["wf", "wf.a", "wf.b", "wf.c"])):
        run = Run(workflow(templates(f"- {{name: main, dag: {{failFast: {fail_fast}, tasks: {tasks}}}}}")))
        run.begin()
        run.end("wf.a", 1)
        assert run.phase("wf") == "Running"
        run.end("wf.b")
        run.play()
        assert run.names() == made
        assert run.phase("wf") == "Failed"


@pytest.mark.parametrize(
    ("depends", "exit_code", "phase"),
    [
        ("a.Failed", 1, "Succeeded"),
        ("a.Failed", 0, "Omitted"),
        ("a.Succeeded || a.Failed", 1, "Succeeded"),
        ("a.Errored", None, "Succeeded"),
        ("!a.Skipped && !a.Omitted", 0, "Succeeded"),
        ("a.Daemoned", 0, "Omitted"),
        ("l.AnySucceeded && a", 0, "Succeeded"),
        ("l.AllFailed", 0, "Omitted"),
        ("a.AnySucceeded", 0, "Omitted"),
    ],
)
def test_depends(depends: str, exit_code: int | None, phase: str) -> None:
    tasks = f"[{{name: a, template: echo}}, {{name: l, template: echo, withItems: [x]}}, {{name: b, template: echo, depends: '{depends}'}}]"
    run = Run(workflow(templates(f"- {{name: main, dag: {{failFast: false, tasks: {tasks}}}}}")))
    run.play(lambda node, _: {"exit_code": exit_code} if node.name == "wf.a" else {})
    assert run.phase("wf.b") == phase


def test_continue_on_forgives_a_task() -> None:
    tasks = "[{name: a, template: echo, continueOn: {failed: true, error: true}}, {name: b, template: echo, dependencies: [a]}]"
    run = Run(workflow(templates(f"- {{name: main, dag: {{tasks: {tasks}}}}}")))
    run.play(lambda node, _: {"exit_code": None} if node.name == "wf.a" else {})
    assert (run.phase("wf.a"), run.phase("wf.b"), run.phase("wf")) == ("Error", "Succeeded", "Succeeded")


def test_a_target_runs_only_what_it_needs() -> None:
    spec = (
        "entrypoint: main\narguments: {parameters: [{name: t, value: 'b'}]}\ntemplates:"
        + ECHO
        + DIAMOND.replace("dag:", "dag:\n    target: '{{workflow.parameters.t}}'")
    )
    run = Run(workflow(spec)).play()
    assert run.names() == ["wf", "wf.a", "wf.b"]
    assert run.state.run.phase == "Succeeded"


def test_a_target_that_is_no_task_is_an_error() -> None:
    run = Run(workflow(templates(DIAMOND.replace("dag:", "dag:\n    target: nobody")))).play()
    assert run.state.run.message == "error in entry template execution: target 'nobody' is not defined"


def test_a_reference_to_a_skipped_output_takes_the_default_of_the_input() -> None:
    spec = templates("""
- name: main
  dag:
    tasks:
    - {name: w, template: write, when: "false"}
    - {name: good, template: echo, depends: w.Skipped, arguments: {parameters: [{name: x, value: "{{tasks.w.outputs.parameters.p}}"}]}}
    - {name: bad, template: echo, depends: w.Skipped, arguments: {parameters: [{name: x, value: "got {{tasks.w.outputs.parameters.p}}"}]}}
    - {name: loop, template: echo, depends: w.Skipped, withParam: "{{tasks.w.outputs.parameters.p}}"}
""")
    run = Run(workflow(spec)).play()
    assert run.phase("wf.good") == "Succeeded"
    assert (run.node("wf.bad").type, run.phase("wf.bad")) == ("Skipped", "Error")
    assert "the node was skipped and the output has no default" in run.node("wf.loop").message
    assert run.state.run.phase == "Error"


def test_a_skipped_output_with_a_default_gives_it() -> None:
    spec = templates(
        """
- name: main
  dag:
    tasks:
    - {name: w, template: given, when: "false"}
    - {name: b, template: echo, depends: w.Skipped, arguments: {parameters: [{name: x, value: "{{tasks.w.outputs.parameters.p}}"}]}}
""",
        extra="""
- name: given
  container: {image: busybox, command: [sh]}
  outputs: {parameters: [{name: p, valueFrom: {path: /p, default: fallback}}]}
""",
    )
    run = Run(workflow(spec))
    run.begin()
    assert arguments(run, "wf.b")[0].startswith("fallback ")


def test_recursion_has_a_bottom() -> None:
    run = Run(workflow("entrypoint: main\ntemplates: [{name: main, steps: [[{name: again, template: main}]]}]"))
    run.begin()
    assert run.state.run.phase == "Failed"
    deepest = max(run.state.nodes.values(), key=lambda node: node.depth)
    assert deepest.message.startswith("Maximum recursion depth exceeded")


def test_an_inline_template_needs_no_name() -> None:
    spec = "entrypoint: main\ntemplates: [{name: main, dag: {tasks: [{name: a, inline: {container: {image: busybox, command: ['true']}}}]}}]"
    run = Run(workflow(spec)).play()
    assert run.state.run.phase == "Succeeded"
    assert machine.status(run.state, run.now).nodes[run.node("wf.a").id].template_name is None


def test_two_names_with_one_hash_get_two_ids() -> None:
    assert machine.node_id("wf", "wf.a") != machine.node_id("wf", "wf.a", 1)
    assert machine.pod_name("w" * 300, "t", "x", "w-7").endswith("-7")
    assert len(machine.pod_name("w" * 300, "t", "x", "w-7")) == 244


def test_forbidden_moves_raise() -> None:
    with pytest.raises(machine.IllegalMove, match="n: Skipped -> Running is no legal move"):
        phases.check("n", "Skipped", "Running")


@pytest.mark.parametrize("fail_fast", ["true", "false"])
def test_fail_fast_of_the_template_ends_a_dag_with_its_own_message(fail_fast: str) -> None:
    """SEMANTICS parallelism: with `parallelism` and `failFast` a failed child fails the DAG, though `depends` would forgive it."""
    tasks = "[{name: a, template: echo}, {name: b, template: echo}, {name: c, template: echo, depends: a.Failed}]"
    dag = f"dag: {{failFast: {fail_fast}, tasks: {tasks}}}"
    run = Run(workflow(templates(f"- {{name: main, parallelism: 1, failFast: true, {dag}}}")))
    run.begin()
    run.end("wf.a", 1)
    assert run.names() == ["wf", "wf.a"]
    message = "template has failed or errored children and failFast enabled"
    assert (run.state.run.phase, run.state.run.message) == ("Failed", message)


NAMED = """
entrypoint: main
arguments: {parameters: [{name: z, value: q}]}
templates:
- name: main
  inputs: {parameters: [{name: z}]}
  KIND
- name: echo
  inputs: {parameters: [{name: p, value: none}]}
  container: {image: busybox, command: [echo, "{{inputs.parameters.p}}"]}
"""
STEPS_NAMED = """steps:
  - - {name: "s-{{inputs.parameters.z}}", template: echo}
    - {name: "{{workflow.parameters.z}}-loop", template: echo, withItems: [x]}
  - - {name: end, template: echo, arguments: {parameters: [{name: p, value: "{{steps.s-q.outputs.result}}"}]}}"""
DAG_NAMED = """dag:
    tasks:
    - {name: "s-{{inputs.parameters.z}}", template: echo}
    - {name: "{{workflow.parameters.z}}-loop", template: echo, withItems: [x], depends: s-q}
    - name: end
      template: echo
      depends: s-q.Succeeded && q-loop
      arguments: {parameters: [{name: p, value: "{{tasks.s-q.outputs.result}}"}]}"""


@pytest.mark.parametrize(("kind", "first", "loop", "end"), [
    (STEPS_NAMED, "wf[0].s-q", "wf[0].q-loop(0:x)", "wf[1].end"),
    (DAG_NAMED, "wf.s-q", "wf.q-loop(0:x)", "wf.end"),
])  # fmt: skip
def test_tags_in_the_names_of_steps_and_tasks_are_replaced(kind: str, first: str, loop: str, end: str) -> None:
    """SEMANTICS templating: the whole template is text, names included; others refer to what the name has become."""
    run = Run(workflow(NAMED.replace("KIND", kind)))
    run.begin()
    assert run.launch(first).capture_result
    run.end(first, result="told")
    run.end(loop)
    assert run.node(first).display_name == "s-q"
    (parameter,) = (run.node(end).inputs or argo.Inputs()).parameters
    assert parameter.value == "told"
    run.play()
    assert run.state.run.phase == "Succeeded"


def test_steps_know_on_which_machine_others_ran() -> None:
    """SEMANTICS variables: steps.X.hostNodeName, of what has run in a pod."""
    body = """- name: main
  steps:
  - - {name: a, template: echo}
  - - {name: b, template: echo, arguments: {parameters: [{name: x, value: "{{steps.a.hostNodeName}}"}]}}"""
    run = Run(workflow(templates(body)))
    run.begin()
    run.send(PodStarted(node_id=run.node("wf[0].a").id, host="box"))
    run.end("wf[0].a")
    (parameter,) = (run.node("wf[1].b").inputs or argo.Inputs()).parameters
    assert parameter.value == "box"
