"""Custom metrics: what is told, when, and what cannot be told."""

from typing import Any

import msgspec
import pytest
from machine_driver import T0, Run, pod_end, workflow

from jitflow import machine
from jitflow.model.runs import EmitMetrics, PodEnded, PodStarted, Sample, ShowClocks

pytestmark = pytest.mark.pure

COUNTED = """
entrypoint: main
templates:
- name: main
  steps: [[{name: s, template: t, continueOn: {failed: true}}]]
- name: t
  inputs: {parameters: [{name: x, default: "7"}]}
  container: {image: busybox, command: [work]}
  RETRY
  metrics:
    prometheus:
    - name: runs
      help: h
      counter: {value: "1"}
      labels: [{key: code, value: "{{exitCode}}"}, {key: status, value: "{{status}}"}]
"""


class Told:
    """Plays a workflow and notes what it tells."""

    def __init__(self, text: str, **more: Any) -> None:
        self.samples: list[Sample] = []
        self.run = Run(workflow(text), **more)
        self._send = self.run.send
        self.run.send = self.send  # type: ignore[method-assign]

    def send(self, event: Any) -> machine.Decision:
        decision = self._send(event)
        for effect in decision.effects:
            if isinstance(effect, EmitMetrics):
                assert effect.key in decision.effects_done, "told once, never again after a restart"
                self.samples += effect.samples
        return decision

    def labels(self) -> list[dict[str, str]]:
        return [dict(sample.labels) for sample in self.samples]


def failing(_node: object, _launch: object) -> dict[str, Any]:
    return {"exit_code": 1}


def test_each_attempt_of_a_repeated_template_is_told_once():
    """SEMANTICS Metrics with retry: three attempts that exit with 1 count three times."""
    told = Told(COUNTED.replace("RETRY", 'retryStrategy: {limit: "2"}'))
    told.run.play(failing)
    assert told.run.state.run.phase == "Succeeded"
    assert told.labels() == [{"code": "1", "status": "Failed"}] * 3


def test_a_template_without_retry_is_told_at_its_end():
    told = Told(COUNTED.replace("RETRY", ""))
    told.run.play()
    assert told.samples == [
        Sample(kind="counter", name="runs", help="h", labels=(("code", "0"), ("status", "Succeeded")), value=1, operation="Add")
    ]


def leaf(metric: str, **more: str) -> str:
    return f"""
entrypoint: t
templates:
- name: t
  inputs: {{parameters: [{{name: x, default: "7"}}]}}
  outputs: {{parameters: [{{name: num, valueFrom: {{path: /n}}}}]}}
  container: {{image: busybox, command: [work], resources: {{requests: {{cpu: 500m, memory: 200Mi}}}}}}
  {more.get("field", "")}
  metrics: {{prometheus: [{{name: m, help: "of {{{{workflow.name}}}}", {metric}}}]}}
"""


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("{{inputs.parameters.x}}", 7),
        ("{{outputs.parameters.num}}", 3),
        ("{{duration}}", 10),
        ("{{retries}}", 0),
        ("{{resourcesDuration.cpu}}", 5),
        ("{{resourcesDuration.memory}}", 20),
        ("{{exitCode}}", 0),
        ("{{=asInt(inputs.parameters.x) + 1}}", 8),
    ],
)
def test_values_may_refer_to_what_the_template_did(value: str, wanted: float):
    """SEMANTICS Metrics: value expressions and tags: duration, exitCode, resourcesDuration, inputs, outputs, retries."""
    told = Told(leaf(f'gauge: {{value: "{value}", realtime: false}}'))
    told.run.begin()
    told.run.send(PodStarted(node_id=told.run.node("wf").id))
    told.run.now += 10
    node = told.run.node("wf").id
    end = pod_end(node, 0, told.run.now, parameters={"num": "3"})
    told.run.send(PodEnded(node_id=node, end=msgspec.structs.replace(end, started_at=told.run.now - 10)))
    (sample,) = told.samples
    assert (sample.value, sample.help, sample.kind) == (wanted, "of wf", "gauge")


def test_the_number_of_retries_is_told():
    told = Told(leaf('gauge: {value: "{{retries}}"}', field='retryStrategy: {limit: "3"}'))
    told.run.play(lambda node, _: {"exit_code": int(node.index < 2)})
    assert [sample.value for sample in told.samples] == [0, 1, 2]


@pytest.mark.parametrize(("when", "count"), [("{{status}} == Succeeded", 1), ("{{status}} == Failed", 0)])
def test_a_metric_is_told_only_if_its_when_holds(when: str, count: int):
    """SEMANTICS `when` of a metric is govaluate too."""
    told = Told(leaf(f'when: "{when}", histogram: {{value: "{{{{outputs.parameters.num}}}}", buckets: [1, 5]}}'))
    told.run.play(lambda *_: {"parameters": {"num": "3"}})
    assert [(s.kind, s.value, s.buckets) for s in told.samples] == [("histogram", 3, (1, 5))] * count


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ('gauge: {value: "{{nothing}}"}', "failed to resolve {{nothing}}"),
        ('gauge: {value: "many"}', "the value 'many' is no number"),
        ('when: "1 +", counter: {value: "1"}', "unable to compute 'when' clause for metric 'm'"),
        (
            'gauge: {value: "{{inputs.parameters.x}}", realtime: true}',
            "'inputs.parameters.x' is not available as a real time metric",
        ),
        ('gauge: {value: "1", realtime: true}', "real time metrics can only be used with metric variables"),
    ],
)
def test_a_metric_that_cannot_be_told_is_a_condition_and_fails_nothing(metric: str, message: str):
    told = Told(leaf(metric))
    told.run.play()
    assert told.run.state.run.phase == "Succeeded"
    assert told.samples == []
    conditions = {one.type: one.message for one in machine.status(told.run.state, T0).conditions}
    assert message in (conditions["MetricsError"] or "")


def test_realtime_gauges_are_shown_while_the_node_runs():
    """SEMANTICS Metrics: gauges may be realtime."""
    told = Told(leaf('gauge: {value: "{{duration}}", realtime: true}, labels: [{key: x, value: "{{inputs.parameters.x}}"}]'))
    told.run.begin()
    key = f"clocks/{told.run.node('wf').id}"
    shown = told.run.effects[key]
    assert isinstance(shown, ShowClocks)
    assert (shown.since, shown.gauges[0].labels) == (T0, (("x", "7"),))
    told.run.end("wf", parameters={"num": "3"})
    assert key not in told.run.effects
    assert told.samples == []


def test_the_workflow_has_metrics_too():
    text = """
    entrypoint: t
    metrics:
      prometheus:
      - {name: d, help: h, gauge: {value: "{{workflow.duration}}", realtime: true}}
      - {name: c, help: h, counter: {value: "1"}, labels: [{key: s, value: "{{workflow.status}}"}], when: "{{status}} != Error"}
      - {name: l, help: h, gauge: {value: "{{workflow.duration}}"}}
    templates:
    - {name: t, container: {image: busybox, command: [work]}}
    """
    told = Told(text)
    told.run.begin()
    assert isinstance(told.run.effects["clocks/"], ShowClocks)
    told.run.now += 5
    told.run.end("wf", exit_code=2)
    assert [(s.name, s.value, s.labels) for s in told.samples] == [("c", 1, (("s", "Failed"),)), ("l", 5, ())]
    assert "clocks/" not in told.run.effects


def test_what_did_not_run_tells_nothing():
    text = COUNTED.replace("RETRY", "").replace("template: t,", 'template: t, when: "1 > 2",')
    told = Told(text)
    told.run.play()
    assert told.samples == []


def test_loops_tell_of_each_item_and_not_of_the_group():
    told = Told(COUNTED.replace("RETRY", "").replace("template: t,", "template: t, withItems: [1, 2],"))
    told.run.play()
    assert len(told.samples) == 2
