# ruff: noqa: E501 - a manifest on one line reads better than one cut in pieces
"""Artifacts, variables, outputs, and the forecast of what will be read and written."""

import msgspec
import pytest
from machine_driver import Run, default_outputs, workflow
from test_machine_steps import ECHO, arguments, templates

from jitflow import machine
from jitflow.machine import again, locations, times
from jitflow.machine.program import Program
from jitflow.model import argo
from jitflow.model.pods import CollectedArtifact
from jitflow.model.runs import LaunchPod, RetryRequested

pytestmark = pytest.mark.pure

PIPE = """
- name: make
  inputs: {parameters: [{name: num, default: "0"}]}
  container: {image: busybox}
  outputs:
    artifacts:
    - {name: out, path: /tmp/out}
    - {name: raw, path: /tmp/dir/raw.txt, archive: {none: {}}}
    - {name: zipped, path: /tmp/z, archive: {zip: {}}}
    - {name: there, path: /tmp/t, s3: {key: "results/{{inputs.parameters.num}}.bin"}}
    - {name: maybe, path: /tmp/m, optional: true}
- name: use
  inputs:
    parameters: [{name: num, default: "0"}]
    artifacts:
    - {name: in, path: /in}
    - {name: far, path: /far, plugin: {name: rclone, key: "far:data/{{inputs.parameters.num}}.tif"}}
  container: {image: busybox, args: ["{{inputs.artifacts.in.path}}"]}
"""


def keys(artifacts: tuple[argo.Artifact, ...]) -> dict[str, str]:
    """Return each artifact's key."""
    found = {}
    for artifact in artifacts:
        place = artifact.s3 or artifact.plugin
        found[artifact.name] = (place.key or "") if place else ""
    return found


def ended(run: Run, name: str, *, missing: tuple[str, ...] = (), directory: str = "") -> None:
    """End a pod well, with all artifacts but those missing, and save them."""
    outputs = run.launch(name).template.outputs or argo.Outputs()
    artifacts = tuple(
        CollectedArtifact(name=a.name, source="/x", size_bytes=1, is_directory=a.name == directory)
        for a in outputs.artifacts
        if a.name not in missing
    )
    run.end(name, artifacts=artifacts)
    if run.node(name).saving:
        run.save(name)


def test_outputs_without_a_location_get_one_and_are_handed_on() -> None:
    spec = templates(
        """
- name: main
  steps:
  - - {name: make, template: make, arguments: {parameters: [{name: num, value: "7"}]}}
  - - {name: use, template: use, arguments: {artifacts: [{name: in, from: "{{steps.make.outputs.artifacts.out}}"}]}}
    - {name: sub, template: use, arguments: {artifacts: [{name: in, from: "{{steps.make.outputs.artifacts.raw}}", subPath: b/c}]}}
""",
        extra=PIPE,
    )
    run = Run(workflow(spec))
    run.begin()
    pod = run.launch("wf[0].make").pod_name
    planned = keys(run.launch("wf[0].make").template.outputs.artifacts)  # type: ignore[union-attr]
    expected = {
        "out": f"wf/{pod}/out.tgz",
        "raw": f"wf/{pod}/raw.txt",
        "zipped": f"wf/{pod}/zipped.zip",
        "there": "results/7.bin",
        "maybe": f"wf/{pod}/maybe.tgz",
    }
    assert planned == expected
    ended(run, "wf[0].make", missing=("maybe",), directory="raw")
    outputs = run.node("wf[0].make").outputs
    assert outputs is not None
    assert keys(outputs.artifacts) == {name: key for name, key in expected.items() if name != "maybe"} | {
        "raw": expected["raw"] + "/"
    }
    launch = run.launch("wf[1].use")
    assert launch.template.inputs is not None
    assert keys(launch.template.inputs.artifacts) == {"in": expected["out"], "far": "far:data/0.tif"}
    assert launch.template.inputs.artifacts[0].path == "/in"
    assert launch.template.container is not None
    assert launch.template.container.args == ("/in",)
    sub = run.launch("wf[1].sub").template.inputs
    assert sub is not None
    assert keys(sub.artifacts)["in"] == f"{expected['raw']}/b/c"


def test_a_missing_artifact_is_an_error() -> None:
    run = Run(workflow("entrypoint: make\ntemplates:" + PIPE))
    run.begin()
    ended(run, "wf", missing=("out", "maybe"))
    assert run.state.run.message == "wait: Error (exit code 64): path /tmp/out does not exist (output artifact 'out')"
    assert run.state.run.phase == "Error"


def test_inputs_that_are_not_given() -> None:
    spec = templates(
        """
- name: main
  dag:
    failFast: false
    tasks:
    - {name: none, template: need}
    - {name: skipped, template: make, when: "false"}
    - {name: gone, template: need, depends: skipped.Skipped, arguments: {artifacts: [{name: a, from: "{{tasks.skipped.outputs.artifacts.out}}"}]}}
    - {name: may, template: need, depends: skipped.Skipped, arguments: {artifacts: [{name: a, optional: true, from: "{{tasks.skipped.outputs.artifacts.out}}"}]}}
    - {name: opt, template: optional}
    - {name: given, template: need, arguments: {artifacts: [{name: a, raw: {data: "hello {{workflow.name}}"}}]}}
    - {name: bare, template: need, arguments: {artifacts: [{name: a}]}}
""",
        extra=PIPE
        + """
- {name: need, inputs: {artifacts: [{name: a, path: /a}]}, container: {image: busybox}}
- {name: optional, inputs: {artifacts: [{name: a, path: /a, optional: true}]}, container: {image: busybox}}
""",
    )
    run = Run(workflow(spec))
    run.begin()
    assert run.node("wf.none").message == "task 'wf.none' errored: inputs.artifacts.a was not supplied"
    assert run.node("wf.gone").message.startswith("unable to resolve references: Unable to resolve: {{tasks.skipped")
    assert run.node("wf.bare").message == "task 'wf.bare' errored: inputs.artifacts.a missing location information"
    for name in ("wf.may", "wf.opt"):
        assert run.launch(name).template.inputs.artifacts == ()  # type: ignore[union-attr]
    given = run.launch("wf.given").template.inputs
    assert given is not None
    assert given.artifacts[0].raw == argo.RawArtifact(data="hello wf")


def test_outputs_go_up_through_steps_and_dags_and_to_the_workflow() -> None:
    spec = templates(
        """
- name: main
  dag:
    tasks:
    - {name: inner, template: inner}
    - {name: use, template: use, depends: inner, arguments: {parameters: [{name: num, value: "{{tasks.inner.outputs.parameters.p}}"}], artifacts: [{name: in, from: "{{tasks.inner.outputs.artifacts.a}}"}]}}
    - {name: after, template: echo, depends: use, arguments: {parameters: [{name: x, value: "{{workflow.outputs.parameters.shared}}"}]}}
    - {name: last, template: use, depends: use, arguments: {artifacts: [{name: in, from: "{{workflow.outputs.artifacts.everywhere}}"}]}}
- name: inner
  steps: [[{name: w, template: write}, {name: m, template: make, arguments: {parameters: [{name: num, value: "{{workflow.parameters.num}}"}]}}]]
  outputs:
    parameters:
    - {name: p, globalName: shared, valueFrom: {parameter: "{{steps.w.outputs.parameters.p}}"}}
    - {name: d, valueFrom: {parameter: "{{steps.w.outputs.parameters.nothing}}", default: "7"}}
    - {name: v, value: "fixed {{workflow.name}}"}
    artifacts:
    - {name: a, globalName: everywhere, from: "{{steps.m.outputs.artifacts.there}}"}
    - {name: o, optional: true, from: "{{steps.m.outputs.artifacts.maybe}}"}
""",
        extra=PIPE + "\narguments: {parameters: [{name: num, value: '3'}]}",
    )
    run = Run(workflow(spec))
    run.begin()
    run.end("wf.inner[0].w", parameters={"p": "42"})
    ended(run, "wf.inner[0].m", missing=("maybe",))
    inner = run.node("wf.inner").outputs
    assert inner is not None
    assert {p.name: p.value for p in inner.parameters} == {"p": "42", "d": "7", "v": "fixed wf"}
    used = run.launch("wf.use").template.inputs
    assert used is not None
    assert keys(used.artifacts) == {"in": "results/3.bin", "far": "far:data/42.tif"}
    run.end("wf.use")
    assert arguments(run, "wf.after")[0].startswith("42 ")
    last = run.launch("wf.last").template.inputs
    assert last is not None
    assert keys(last.artifacts)["in"] == "results/3.bin"
    outputs = machine.status(run.state, run.now).outputs
    assert outputs is not None
    assert outputs.parameters[0] == argo.Parameter(name="shared", value="42")
    assert outputs.artifacts[0].name == "everywhere"


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (
            "parameters: [{name: p, valueFrom: {parameter: '{{steps.a.outputs.parameters.no}}'}}]",
            "failed to resolve {{steps.a.outputs.parameters.no}}",
        ),
        ("parameters: [{name: p, valueFrom: {}}]", "unable to resolve outputs from scope"),
        ("artifacts: [{name: p, from: '{{steps.a.outputs.artifacts.no}}'}]", "unable to resolve outputs from scope"),
    ],
)
def test_outputs_that_are_not_there_are_errors_of_the_boundary(outputs: str, message: str) -> None:
    run = Run(workflow(templates(f"- {{name: main, steps: [[{{name: a, template: echo}}]], outputs: {{{outputs}}}}}"))).play()
    assert run.phase("wf") == "Error"
    assert run.state.run.message.startswith(f"error in entry template execution: {message}")
    tasks = outputs.replace("steps.a", "tasks.a")
    run = Run(
        workflow(templates(f"- {{name: main, dag: {{tasks: [{{name: a, template: echo}}]}}, outputs: {{{tasks}}}}}"))
    ).play()
    assert run.phase("wf") == "Error"


def test_what_a_workflow_knows_of_itself() -> None:
    tags = [
        "workflow.name", "workflow.namespace", "workflow.uid", "workflow.labels.team", "workflow.mainEntrypoint",
        "workflow.parameters.a", "workflow.creationTimestamp", "workflow.creationTimestamp.Y", "workflow.creationTimestamp.s",
        "workflow.serviceAccountName", "workflow.priority", "workflow.labels", "workflow.parameters", "workflow.nothing",
        "node.name", "pod.name", "steps.name", "inputs.parameters", "outputs.parameters.p.path", "inputs.parameters.q",
    ]  # fmt: skip
    shown = ", ".join(f"'{{{{{tag}}}}}'" for tag in tags)
    spec = f"""
entrypoint: t
priority: 3
serviceAccountName: me
arguments: {{parameters: [{{name: a, value: "1 {{{{workflow.name}}}}"}}, {{name: b, default: two}}, {{name: c, valueFrom: {{default: three}}}}]}}
templates:
- name: t
  inputs: {{parameters: [{{name: q, value: "{{{{workflow.parameters.b}}}}"}}]}}
  container: {{image: busybox, args: [{shown}]}}
  outputs: {{parameters: [{{name: p, valueFrom: {{path: /p}}}}]}}
"""
    run = Run(workflow(spec))
    run.begin()
    values = dict(zip(tags, arguments(run, "wf"), strict=True))
    assert values["workflow.uid"] == "u1"
    assert values["workflow.labels.team"] == "blue"
    assert values["workflow.parameters.a"] == "1 wf"
    assert values["workflow.creationTimestamp"] == "2026-01-02T03:04:05Z"
    assert (values["workflow.creationTimestamp.Y"], values["workflow.creationTimestamp.s"]) == ("2026", "1767323045")
    assert (values["workflow.priority"], values["workflow.serviceAccountName"]) == ("3", "me")
    assert msgspec.json.decode(values["workflow.parameters"])[2] == {
        "name": "c",
        "value": "three",
        "valueFrom": {"default": "three"},
    }
    assert values["workflow.nothing"] == "{{workflow.nothing}}"
    assert values["outputs.parameters.p.path"] == "/p"
    assert values["inputs.parameters.q"] == "two"
    assert msgspec.json.decode(values["inputs.parameters"])[0]["name"] == "q"


def test_template_defaults_and_a_retry_strategy_for_all() -> None:
    spec = (
        "entrypoint: echo\nretryStrategy: {limit: 1}\ntemplateDefaults: {timeout: 5s, container: {image: other, workingDir: /w}}\ntemplates:"
        + ECHO
    )
    run = Run(workflow(spec))
    run.begin()
    launch = run.launch("wf(0)")
    assert launch.template.timeout == "5s"
    assert launch.template.container is not None
    assert (launch.template.container.image, launch.template.container.working_dir) == ("busybox", "/w")


def test_an_archive_location_is_where_outputs_go() -> None:
    location = "archiveLocation: {s3: {bucket: b, key: 'logs/x'}}"
    spec = f"entrypoint: t\ntemplates: [{{name: t, {location}, container: {{image: busybox}}, outputs: {{artifacts: [{{name: o, path: /o}}]}}}}]"
    run = Run(workflow(spec))
    run.begin()
    (artifact,) = run.launch("wf").template.outputs.artifacts  # type: ignore[union-attr]
    assert artifact.s3 == argo.S3Artifact(bucket="b", key="logs/x/o.tgz")


def test_locations() -> None:
    raw = argo.Artifact(name="a", raw=argo.RawArtifact(data="x"))
    assert locations.with_suffix(raw, "y") == locations.below(raw, "y") == locations.as_directory(raw) == raw
    here = argo.Artifact(name="a", s3=argo.S3Artifact(key="d/"))
    assert locations.below(here, "x").s3 == argo.S3Artifact(key="d/x")
    assert locations.as_directory(here) == here


def test_times_are_told_in_words() -> None:
    assert [times.spoken(s) for s in (0, 1, 61, 3600, 90061)] == [
        "0 seconds",
        "1 second",
        "1 minute 1 second",
        "1 hour",
        "1 day 1 hour",
    ]


# -- the forecast -----------------------------------------------------------------------------------------------------


def foreseen(run: Run) -> dict[str, machine.ForecastStep]:
    """Return the forecast, by node id."""
    return {step.node_id: step for step in machine.forecast(run.state)}


FUTURE = templates(
    """
- name: main
  metadata: {annotations: {size: "1Gi"}}
  dag:
    tasks:
    - {name: first, template: make}
    - name: loop
      template: use
      depends: first
      withItems: ["1", "2"]
      arguments: {parameters: [{name: num, value: "{{item}}"}], artifacts: [{name: in, from: "{{tasks.first.outputs.artifacts.out}}"}]}
    - {name: never, template: use, depends: first, when: "1 > 2"}
    - {name: perhaps, template: make, depends: first, when: "{{tasks.first.outputs.result}} == yes"}
    - {name: unknown, template: use, depends: first, arguments: {parameters: [{name: num, value: "{{tasks.first.outputs.result}}"}], artifacts: [{name: in, from: "{{tasks.first.outputs.artifacts.out}}"}]}}
    - {name: hidden, template: make, depends: first, withParam: "{{tasks.first.outputs.result}}", arguments: {parameters: [{name: num, value: "{{item}}"}]}}
    - {name: onfail, template: make, depends: first.Failed}
    - {name: nest, template: nest, depends: loop && never}
    - {name: tail, template: use, depends: nest, arguments: {artifacts: [{name: in, from: "{{tasks.nest.outputs.artifacts.a}}"}]}}
- name: nest
  steps: [[{name: q, template: make, arguments: {parameters: [{name: num, value: "9"}]}}], [{name: pause, template: pause}], [{name: r, template: again}]]
  outputs: {artifacts: [{name: a, from: "{{steps.q.outputs.artifacts.there}}"}]}
- {name: pause, suspend: {}}
- {name: again, retryStrategy: {limit: 2}, metadata: {annotations: {who: "{{workflow.name}}"}}, container: {image: busybox}}
- {name: bye, container: {image: busybox, args: ["{{workflow.status}}"]}}
""",
    extra=PIPE + "\nonExit: bye",
)


def test_the_forecast_knows_keys_and_order_before_anything_has_run() -> None:
    run = Run(workflow(FUTURE))
    steps = foreseen(run)

    def step(name: str) -> machine.ForecastStep:
        return steps[machine.node_id("wf", name)]

    first = step("wf.first")
    assert first.certain
    assert first.after == ()
    assert keys(step("wf.loop(0:1)").inputs) == {"in": keys(first.outputs)["out"], "far": "far:data/1.tif"}
    assert step("wf.loop(1:2)").after == (first.node_id,)
    assert machine.node_id("wf", "wf.never") not in steps
    assert machine.node_id("wf", "wf.onfail") not in steps
    assert not step("wf.perhaps").certain
    assert step("wf.unknown").unknown
    assert keys(step("wf.unknown").inputs) == {"in": keys(first.outputs)["out"]}
    assert (step("wf.hidden").unknown, step("wf.hidden").certain) == (True, False)
    assert "there" not in keys(step("wf.hidden").outputs)
    assert set(step("wf.nest[0].q").after) == {step("wf.loop(0:1)").node_id, step("wf.loop(1:2)").node_id, first.node_id}
    assert step("wf.nest[2].r(0)").after == (step("wf.nest[0].q").node_id,)
    assert step("wf.nest[2].r(0)").body.metadata.annotations == {"who": "wf"}  # type: ignore[union-attr]
    assert keys(step("wf.tail").inputs)["in"] == "results/9.bin"
    assert step("wf.onExit").template == "bye"
    order = [s.node_id for s in machine.forecast(run.state)]
    for one in steps.values():
        assert all(order.index(before) < order.index(one.node_id) for before in one.after)


def test_the_forecast_learns_while_the_workflow_runs() -> None:
    run = Run(workflow(FUTURE))
    run.begin()
    run.end("wf.first", **(default_outputs(run.launch("wf.first")) | {"result": '["a", "b"]'}))
    steps = foreseen(run)
    assert machine.node_id("wf", "wf.first") not in steps
    assert machine.node_id("wf", "wf.hidden") not in steps
    assert steps[machine.node_id("wf", "wf.hidden(1:b)")].certain
    assert keys(steps[machine.node_id("wf", "wf.unknown")].inputs)["far"] == 'far:data/["a", "b"].tif'
    assert steps[machine.node_id("wf", "wf.loop(0:1)")].after == ()
    run.save("wf.first")
    run.end("wf.loop(0:1)")
    run.end("wf.loop(1:2)")
    assert machine.node_id("wf", "wf.loop(0:1)") not in foreseen(run)
    run.end("wf.nest[0].q", **default_outputs(run.launch("wf.nest[0].q")))
    run.save("wf.nest[0].q")
    assert machine.node_id("wf", "wf.nest[2].r(0)") in foreseen(run)


def test_the_forecast_names_the_next_attempt() -> None:
    run = Run(
        workflow(
            "entrypoint: r\ntemplates: [{name: r, retryStrategy: {limit: 3, backoff: {duration: 1m}}, container: {image: busybox}}]"
        )
    )
    assert list(foreseen(run)) == [machine.node_id("wf", "wf(0)")]
    run.begin()
    run.end("wf(0)", 1)
    assert list(foreseen(run)) == [machine.node_id("wf", "wf(1)")]
    run.fire_next()
    assert list(foreseen(run)) == [machine.node_id("wf", "wf(1)")]


def test_the_forecast_of_recursion_is_bounded() -> None:
    coin = templates(
        """
- name: main
  steps: [[{name: flip, template: number}], [{name: heads, template: echo, when: "{{steps.flip.outputs.result}} == 1"}, {name: again, template: main, when: "{{steps.flip.outputs.result}} == 0"}]]
"""
    )
    steps = machine.forecast(machine.new_state(workflow(coin)))
    assert [step.certain for step in steps] == [True, False]
    endless = "entrypoint: m\ntemplates: [{name: m, steps: [[{name: p, template: w}, {name: again, template: m}]]}, {name: w, container: {image: busybox}}]"
    assert 50 < len(machine.forecast(machine.new_state(workflow(endless)))) <= 102


def test_the_forecast_has_a_limit() -> None:
    spec = templates("- {name: main, steps: [[{name: a, template: echo, withSequence: {count: '50'}}]]}")
    assert len(machine.forecast(machine.new_state(workflow(spec)), limit=10)) == 10


def test_the_forecast_of_what_cannot_run_is_empty() -> None:
    assert machine.forecast(machine.new_state(workflow("entrypoint: nobody\ntemplates: [{name: a, suspend: {}}]"))) == ()
    spec = templates("- {name: main, dag: {target: nobody, tasks: [{name: a, template: echo}]}}")
    assert machine.forecast(machine.new_state(workflow(spec))) == ()
    spec = templates(
        "- {name: main, steps: [[{name: a, template: nobody}, {name: b, template: echo, when: 'a b'}, {name: c, template: echo, withParam: '[]'}]]}"
    )
    assert machine.forecast(machine.new_state(workflow(spec))) == ()


def test_items_decide_their_own_condition_in_the_forecast() -> None:
    spec = templates("- {name: main, steps: [[{name: a, template: echo, withItems: [p, q], when: '{{item}} == q'}]]}")
    assert [s.node_id for s in machine.forecast(machine.new_state(workflow(spec)))] == [machine.node_id("wf", "wf[0].a(1:q)")]


# -- what the store keeps ---------------------------------------------------------------------------------------------


def test_rows_are_small_and_headers_change_rarely() -> None:
    spec = templates(
        "- {name: main, steps: [[{name: a, template: echo, withSequence: {count: '3'}, arguments: {parameters: [{name: x, value: '{{item}}'}]}}]]}"
    )
    run = Run(workflow(spec))
    before = run.state
    run.begin()
    assert machine.header_differs(before, run.state)
    before = run.state
    decision = run.end("wf[0].a(1:1)")
    assert not decision.header_changed
    assert not machine.header_differs(before, run.state)
    assert all(len(machine.encode_node(node)) <= 400 for node in run.state.nodes.values())
    assert "wf[0].a(1:1)" in {node.name for node in decision.nodes}


def test_old_states_stay_valid() -> None:
    run = Run(workflow(templates("- {name: main, steps: [[{name: a, template: echo}, {name: b, template: echo}]]}")))
    run.begin()
    before = run.state
    nodes = dict(before.nodes)
    run.end("wf[0].a")
    assert dict(before.nodes) == nodes
    assert machine.summary(before).progress == "0/2"


def test_a_program_with_other_parameters_is_another_program() -> None:
    manifest = workflow("entrypoint: echo\ntemplates:" + ECHO)
    run = Run(manifest)
    run.play(lambda *_: {"exit_code": 1})
    assert again.refusal(run.state, RetryRequested(parameters=("a=b",))) == ""
    decision = run.send(RetryRequested(parameters=("a=b",)))
    assert decision.header_changed
    assert isinstance(run.state.program, Program)
    assert run.state.program.constants["workflow.parameters.a"] == "b"
    restored = machine.restore(machine.encode_header(run.state), [machine.encode_node(n) for n in run.state.nodes.values()])
    assert restored.run == run.state.run
    assert isinstance(run.effects["wf"], LaunchPod)


# -- outputs that cannot be saved while others still are -----------------------------------------------------------------

WRITE = "{name: write, outputs: {artifacts: [{name: o, path: /o, s3: {key: '{{pod.name}}'}}]}, container: {image: busybox}}"


@pytest.mark.parametrize(
    ("main", "prefix"),
    [
        ("steps: [[{name: a, template: write}, {name: b, template: write}]]", "wf[0]."),
        ("dag: {tasks: [{name: a, template: write}, {name: b, template: write}]}", "wf."),
        ("dag: {tasks: [{name: l, template: write, withItems: [a, b]}]}", "wf.l"),
    ],
)
def test_a_root_that_waits_for_its_outputs_fails_with_one_of_them(main: str, prefix: str) -> None:
    run = Run(workflow(f"entrypoint: main\ntemplates: [{{name: main, {main}}}, {WRITE}]"))
    run.begin()
    pods = [name for name in run.names() if run.node(name).type == "Pod"]
    assert all(name.startswith(prefix) for name in pods)
    for name in pods:
        run.end(name, **default_outputs(run.launch(name)))
    assert run.state.nodes["wf"].held == "Succeeded"
    run.save(pods[0], "no room far away")  # the driver counts everything anew after each event
    assert run.state.nodes["wf"].held in {"Failed", "Error"}
    run.save(pods[1])
    assert run.state.run.phase in {"Failed", "Error"}


def followed(a: str, after: str) -> Run:
    """Return a run of a DAG in which `b` has started on the word of `a`, whose outputs are being saved."""
    main = f"dag: {{tasks: [{{name: a, {a}template: write}}, {{name: b, template: work, {after}}}]}}"
    run = Run(
        workflow(f"entrypoint: main\ntemplates: [{{name: main, {main}}}, {WRITE}, {{name: work, container: {{image: x}}}}]")
    )
    run.begin()
    run.end("wf.a", **default_outputs(run.launch("wf.a")))
    run.launch("wf.b")
    return run


@pytest.mark.parametrize("is_over", [False, True])
@pytest.mark.parametrize("after", ["dependencies: [a]", "depends: a", "depends: a.Succeeded", "depends: 'a && !a.Skipped'"])
def test_a_dag_fails_with_a_task_whose_outputs_are_lost_when_others_have_followed_it(after: str, is_over: bool) -> None:
    run = followed("", after)
    if is_over:
        run.end("wf.b")
    run.save("wf.a", "no room far away")
    if not is_over:
        run.end("wf.b")
    assert run.node("wf.a").phase == "Error"
    assert run.node("wf.b").phase == "Succeeded"
    assert run.state.run.phase == "Error"


@pytest.mark.parametrize(
    ("a", "after"),
    [
        ("continueOn: {error: true}, ", "dependencies: [a]"),
        ("", "depends: a.Succeeded || a.Errored"),
        ("", "depends: '!a.Failed'"),
    ],
)
def test_a_dag_goes_on_without_outputs_that_nobody_insists_on(a: str, after: str) -> None:
    run = followed(a, after)
    run.save("wf.a", "no room far away")
    run.end("wf.b")
    assert run.node("wf.a").phase == "Error"
    assert run.state.run.phase == "Succeeded"
