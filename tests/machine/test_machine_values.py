# ruff: noqa: E501 - a manifest on one line reads better than one cut in pieces
"""Values that are not there: tags, arguments, results, and what the forecast makes of them."""

import pytest
from machine_driver import Run, workflow
from test_machine_steps import arguments, templates

from jitflow import machine
from jitflow.model.runs import PodStarted, RetryRequested, ShutdownRequested

pytestmark = pytest.mark.pure


def test_all_parameters_of_an_input_a_step_and_the_workflow_as_json() -> None:
    run = Run(
        workflow(
            "arguments: {parameters: [{name: g, value: all}]}\n"
            + templates(
                """
- name: main
  steps:
  - - {name: w, template: write}
  - - {name: show, template: show, arguments: {parameters: [{name: a, value: "{{steps.w.outputs.parameters}}"}, {name: b, value: "{{steps.w.outputs.exitCode}} {{steps.w.status}} {{steps.w.id}}"}]}}
- name: show
  inputs: {parameters: [{name: a}, {name: b}]}
  container: {image: busybox, args: ["{{inputs.parameters}}", "{{workflow.parameters}}", "{{inputs.parameters.b}}"]}
"""
            )
        )
    )
    run.begin()
    run.end("wf[0].w", parameters={"p": "7"})
    shown = arguments(run, "wf[1].show")
    assert '"name":"a"' in shown[0]
    assert '"g"' in shown[1]
    assert shown[2].startswith("0 Succeeded wf-")


@pytest.mark.parametrize(("result", "phase"), [("[1, 2]", "Succeeded"), ("no json", "Error")])
def test_the_results_of_a_loop_are_a_list_only_if_each_is_json(result: str, phase: str) -> None:
    run = Run(
        workflow(
            templates(
                """
- name: main
  steps:
  - - {name: num, template: number, withItems: [1, 2]}
  - - {name: all, template: echo, arguments: {parameters: [{name: x, value: "{{steps.num.outputs.result}}"}]}}
"""
            )
        )
    )
    run.play(lambda node, _: {"result": result} if ".num(" in node.name else {})
    assert run.state.run.phase in {phase, "Failed" if phase == "Error" else phase}


def test_the_forecast_knows_what_it_cannot_know() -> None:
    run = Run(
        workflow(
            "onExit: bye\n"
            + templates(
                """
- name: main
  dag:
    tasks:
    - {name: w, template: write}
    - {name: loop, template: echo, dependencies: [w], withParam: "{{tasks.w.outputs.parameters.p}}", arguments: {parameters: [{name: x, value: "{{item}}"}]}}
    - {name: r, template: reader, dependencies: [w], arguments: {parameters: [{name: key, value: "{{tasks.w.outputs.parameters.p}}"}]}}
- name: reader
  inputs:
    parameters: [{name: key}]
    artifacts: [{name: in, path: /in, s3: {key: "data/{{inputs.parameters.key}}"}}]
  container: {image: busybox}
- name: bye
  inputs:
    parameters: [{name: how, value: "{{workflow.status}}"}]
    artifacts: [{name: in, path: /in, s3: {key: "end/{{workflow.status}}"}}]
  container: {image: busybox}
"""
            )
        )
    )
    run.begin()
    before = {step.node_id: step for step in machine.forecast(run.state)}
    hidden = [step for step in before.values() if step.unknown]
    assert hidden, "the reader's key and the loop's list are known only later"
    assert all(not step.inputs for step in hidden)
    run.end("wf.w", parameters={"p": '["a", "b"]'})
    names = {run.state.nodes[step.node_id].name for step in machine.forecast(run.state) if step.node_id in run.state.nodes}
    assert {"wf.loop(0:a)", "wf.loop(1:b)", "wf.r"} <= names


def test_a_stop_after_the_end_changes_nothing() -> None:
    run = Run(workflow(templates("\n- name: main\n  steps: [[{name: a, template: echo}]]\n")))
    run.play()
    before = run.state
    decision = run.send(ShutdownRequested(strategy="Stop"))
    assert (decision.nodes, decision.effects, decision.state.run) == ((), (), before.run)


def test_a_stop_before_the_start_ends_the_workflow() -> None:
    run = Run(workflow("suspend: true\n" + templates("\n- name: main\n  steps: [[{name: a, template: echo}]]\n")))
    run.begin()
    run.send(ShutdownRequested(strategy="Terminate"))
    assert run.state.run.phase == "Failed"
    assert run.state.run.finished_at is not None


def test_a_terminated_workflow_is_retried_with_its_killed_pods_gone() -> None:
    run = Run(
        workflow(
            "onExit: echo\n" + templates("\n- name: main\n  steps: [[{name: a, template: echo}, {name: b, template: echo}]]\n")
        )
    )
    run.begin()
    run.end("wf[0].a")
    run.send(ShutdownRequested(strategy="Terminate"))
    run.end("wf[0].b", 143, terminated=True)
    assert run.state.run.phase == "Failed"
    run.send(RetryRequested())
    assert run.phase("wf[0].a") == "Succeeded"
    run.play()
    assert run.state.run.phase == "Succeeded"


def test_before_the_start_there_is_nothing_to_tell() -> None:
    run = Run(workflow(templates("\n- name: main\n  steps: [[{name: a, template: echo}]]\n")))
    assert machine.status(run.state, run.now).conditions == ()
    assert machine.summary(run.state).progress == "0/0"


def test_a_pod_is_killed_once_however_often_it_is_asked() -> None:
    run = Run(workflow(templates("\n- name: main\n  steps: [[{name: a, template: echo}]]\n")))
    run.begin()
    run.send(PodStarted(node_id=run.node("wf[0].a").id))
    run.send(ShutdownRequested(strategy="Stop"))
    run.send(ShutdownRequested(strategy="Terminate"))
    assert run.killed == [run.node("wf[0].a").id]
    run.end("wf[0].a", 143, terminated=True)
    assert run.state.run.phase == "Failed"


def test_the_forecast_reads_depends_in_any_order_of_tasks() -> None:
    run = Run(
        workflow(
            templates(
                """
- name: main
  dag:
    tasks:
    - {name: late, template: echo, depends: "loop.AnySucceeded && !maybe.Failed"}
    - {name: other, template: echo, depends: "maybe.Omitted || maybe.Skipped || maybe.Errored"}
    - {name: maybe, template: echo, depends: first, when: "{{tasks.first.outputs.result}} == 1"}
    - {name: loop, template: echo, withItems: [1, 2]}
    - {name: first, template: number}
"""
            )
        )
    )
    run.begin()
    certain = {step.template: step.certain for step in machine.forecast(run.state)}
    assert certain["number"]
    expected = {step.node_id for step in machine.forecast(run.state)}
    run.play()
    assert run.state.run.phase == "Succeeded"
    assert {machine.node_id("wf", f"wf.{name}") for name in ("late", "maybe", "first", "loop(0:1)", "loop(1:2)")} <= expected


def test_an_input_artifact_is_handed_down() -> None:
    run = Run(
        workflow(
            "arguments: {artifacts: [{name: a, s3: {key: given}}]}\n"
            + templates(
                """
- name: main
  inputs: {artifacts: [{name: a}]}
  dag:
    tasks:
    - {name: use, template: use, arguments: {artifacts: [{name: in, from: "{{inputs.artifacts.a}}"}]}}
- name: use
  inputs: {artifacts: [{name: in, path: /in}], parameters: [{name: p, default: d}]}
  container: {image: busybox, args: ["{{inputs.artifacts.in.path}}", "{{inputs.parameters}}"]}
"""
            )
        )
    )
    run.begin()
    inputs = run.launch("wf.use").template.inputs
    assert inputs is not None
    assert [(a.name, a.s3.key if a.s3 else None) for a in inputs.artifacts] == [("in", "given")]
    assert arguments(run, "wf.use")[0] == "/in"
    assert any(step.inputs and step.inputs[0].s3 and step.inputs[0].s3.key == "given" for step in machine.forecast(run.state))
