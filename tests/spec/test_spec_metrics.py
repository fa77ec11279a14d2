"""What custom metrics may be."""

import pytest

from jitflow import spec
from jitflow.model.problems import Problem, Refused

pytestmark = pytest.mark.pure

HEAD = """\
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {name: w}
spec:
  entrypoint: a
"""
VARIABLES = (
    "{{status}} {{duration}} {{exitCode}} {{retries}} {{resourcesDuration.cpu}} {{inputs.parameters.x}} {{outputs.parameters.o}} "
    "{{outputs.result}} {{workflow.name}}"
)


def problems(metric: str, *, workflow: bool = False) -> tuple[Problem, ...]:
    line = f"metrics: {{prometheus: [{{{metric}}}]}}\n"
    inputs = "    inputs: {parameters: [{name: x, default: '1'}]}\n"
    outputs = "    outputs: {parameters: [{name: o, valueFrom: {path: /o}}]}\n"
    template = f"  templates:\n  - name: a\n{inputs}{outputs}    container: {{image: i}}\n"
    text = f"{HEAD}  {line}{template}" if workflow else f"{HEAD}{template}    {line}"
    document = spec.load_one(text)
    try:
        spec.validate_document(document)
    except Refused as error:
        return error.problems
    return ()


@pytest.mark.parametrize("workflow", [True, False])
@pytest.mark.parametrize(
    "metric",
    [
        "name: a_b, help: h, counter: {value: '1'}",
        "name: _ab, help: h, gauge: {value: '{{workflow.duration}}', realtime: true}",
        "name: a, help: h, histogram: {value: '2', buckets: [1, 2.5]}, labels: [{key: k, value: v}]",
        "name: a, help: h, counter: {value: '2'}, when: '{{workflow.status}} == Failed'",
    ],
)
def test_good_metrics_pass(metric: str, workflow: bool):
    assert problems(metric, workflow=workflow) == ()


def test_templates_may_tell_what_they_did():
    assert problems(f"name: a, help: h, counter: {{value: '1'}}, labels: [{{key: k, value: '{VARIABLES}'}}]") == ()


@pytest.mark.parametrize("workflow", [True, False])
@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("name: a-b, help: h, counter: {value: '1'}", "metric name 'a-b' is invalid. Metric names must contain"),
        ("name: 'a:b', help: h, counter: {value: '1'}", "metric name 'a:b' is invalid. Metric names must contain"),
        ("name: a, help: h, when: 'a ==', counter: {value: '1'}", "metric 'a' when: Invalid 'when' expression 'a =='"),
        ("name: a, help: '', counter: {value: '1'}", "metric 'a' must contain a help string under 'help: ' field"),
        ("name: a, help: h", "must be exactly one of counter, gauge and histogram"),
        ("name: a, help: h, counter: {value: '1'}, gauge: {value: '1'}", "must be exactly one of counter, gauge and histogram"),
        ("name: a, help: h, counter: {value: ''}", "metric 'a' has no value"),
        ("name: a, help: h, gauge: {value: ''}", "metric 'a' has no value"),
        ("name: a, help: h, gauge: {value: '1', operation: Mul}", "unknown operation 'Mul'"),
        ("name: a, help: h, histogram: {value: '1', buckets: []}", "metric 'a' has no buckets"),
        ("name: a, help: h, counter: {value: '1'}, labels: [{key: a-b, value: v}]", "has an invalid label key 'a-b'"),
        (
            "name: a, help: h, gauge: {value: '{{resourcesDuration.cpu}}', realtime: true}",
            "'resourcesDuration.*' metrics cannot be used in real-time",
        ),
    ],
)
def test_bad_metrics_are_refused_where_they_stand(metric: str, message: str, workflow: bool):
    """SEMANTICS Metrics need help."""
    found = problems(metric, workflow=workflow)
    assert len(found) == 1
    assert message in found[0].message
    assert found[0].place.line == (6 if workflow else 11)
    assert found[0].remedy
