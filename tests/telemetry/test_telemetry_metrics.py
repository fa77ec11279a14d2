"""Custom metrics in memory, and how Prometheus reads them."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from jitflow.model.runs import Sample
from jitflow.telemetry import metrics as metrics_module
from jitflow.telemetry.metrics import CustomMetrics, Exposition, MetricsError, by, one

pytestmark = pytest.mark.pure


def counter(name: str = "runs", value: float = 1, **labels: str) -> Sample:
    return Sample(kind="counter", name=name, help="h", labels=tuple(sorted(labels.items())), value=value)


def gauge(value: float, operation: str = "Set") -> Sample:
    return Sample(kind="gauge", name="level", help="h", value=value, operation=operation)


def read(custom: CustomMetrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return what a Prometheus reads."""
    found = {}
    for family in text_string_to_metric_families(custom.text()):
        for sample in family.samples:
            found[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return found


def test_counters_add_up_for_each_combination_of_labels():
    custom = CustomMetrics(lambda: 0.0)
    for code in ("1", "1", "0"):
        custom.take(Sample(kind="counter", name="runs", help="h", labels=(("code", code),), value=1, operation="Add"))
    assert custom.text().splitlines() == [
        "# HELP argo_workflows_runs h",
        "# TYPE argo_workflows_runs counter",
        'argo_workflows_runs{code="0"} 1',
        'argo_workflows_runs{code="1"} 2',
    ]


def test_gauges_are_set_added_to_and_taken_from():
    custom = CustomMetrics(lambda: 0.0)
    for sample in (gauge(5), gauge(2, "Add"), gauge(3.5, "Sub")):
        custom.take(sample)
    assert read(custom) == {("argo_workflows_level", ()): 3.5}


def test_histograms_count_into_all_buckets_above():
    custom = CustomMetrics(lambda: 0.0)
    for value in (1, 3, 100):
        custom.take(Sample(kind="histogram", name="took", help="h", value=value, buckets=(2, 4)))
    assert read(custom) == {
        ("argo_workflows_took_bucket", (("le", "2"),)): 1,
        ("argo_workflows_took_bucket", (("le", "4"),)): 2,
        ("argo_workflows_took_bucket", (("le", "+Inf"),)): 3,
        ("argo_workflows_took_sum", ()): 104,
        ("argo_workflows_took_count", ()): 3,
    }


def test_a_clock_grows_until_it_is_stopped_and_goes_with_its_run():
    now = [10.0]
    custom = CustomMetrics(lambda: now[0])
    custom.start_clock("u1", "clocks/n", gauge(0), 4.0)
    assert read(custom) == {("argo_workflows_level", ()): 6}
    now[0] = 12.0
    custom.stop_clock("u1", "clocks/n")
    now[0] = 99.0
    assert read(custom) == {("argo_workflows_level", ()): 8}
    custom.forget_clocks("u1")
    assert read(custom) == {}


def test_a_clock_that_another_run_took_over_stays():
    custom = CustomMetrics(lambda: 10.0)
    custom.start_clock("u1", "clocks/n", gauge(0), 4.0)
    custom.start_clock("u2", "clocks/n", gauge(0), 7.0)
    custom.stop_clock("u1", "clocks/n")
    custom.forget_clocks("u1")
    assert read(custom) == {("argo_workflows_level", ()): 3}


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (counter("a-b"), "metric name 'a-b' is invalid"),
        (counter("gauge"), "taken by the server itself"),
        (counter(value=-1), "a counter cannot go down"),
        (counter(value=float("nan")), "the value is not a number"),
        (counter(**{"__x": "1"}), "label '__x' is invalid"),
        (counter(code="1"), "used with other labels already: none"),
        (Sample(kind="gauge", name="runs", help="h"), "is a counter already and cannot be a gauge"),
    ],
)
def test_what_cannot_be_taken_is_said_and_changes_nothing(sample: Sample, message: str):
    custom = CustomMetrics(lambda: 0.0)
    if sample.name == "runs" and (sample.labels == (("code", "1"),) or sample.kind == "gauge"):
        custom.take(counter())
    before = custom.text()
    with pytest.raises(MetricsError, match=message):
        custom.take(sample)
    assert custom.text() == before


def test_series_are_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(metrics_module, "MAX_SERIES", 3)
    custom = CustomMetrics(lambda: 0.0)
    for number in range(3):
        custom.take(counter(n=str(number)))
    with pytest.raises(MetricsError, match="use labels with fewer values"):
        custom.take(counter(n="4"))
    custom.take(counter(n="1"))


def test_help_and_labels_are_escaped():
    custom = CustomMetrics(lambda: 0.0)
    custom.take(Sample(kind="gauge", name="g", help="two\nlines \\", labels=(("x", 'a"b\\c\nd'),), value=0.5))
    (family,) = text_string_to_metric_families(custom.text())
    assert family.documentation == "two\nlines \\"
    assert family.samples[0].labels == {"x": 'a"b\\c\nd'}


def test_the_exposition_tells_of_the_server_too():
    custom = CustomMetrics(lambda: 0.0)
    custom.take(counter())
    figures = {"argo_workflows_gauge": by("phase", {"Running": 2}), "jitflow_live_workflows": one(1)}
    exposition = Exposition(custom, lambda: figures)
    exposition.requests.answered("GET", 200, 0.002)
    text = exposition.text()
    for line in (
        'argo_workflows_gauge{phase="Running"} 2.0',
        "jitflow_live_workflows 1.0",
        'jitflow_api_request_seconds_bucket{le="0.001",method="GET"} 0.0',
        'jitflow_api_request_seconds_bucket{le="0.0025",method="GET"} 1.0',
        'jitflow_api_requests_total{method="GET",status="200"} 1.0',
        "argo_workflows_runs 1",
    ):
        assert f"{line}\n" in text
    assert "process_resident_memory_bytes" in text
    assert len(list(text_string_to_metric_families(text))) > 5
