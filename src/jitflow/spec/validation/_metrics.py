"""Checks of custom metrics: names, help, and exactly one kind of value."""

import re

from jitflow.model import argo
from jitflow.spec.places import Path
from jitflow.spec.validation._expressions import check_condition
from jitflow.spec.validation._report import Report

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_OPERATIONS = ("Set", "Add", "Sub")


def check_metrics(report: Report, metrics: argo.Metrics | None, path: Path, prefix: str) -> None:
    """Check `metrics.prometheus` of a template or of the workflow."""
    for index, metric in enumerate(metrics.prometheus if metrics is not None else ()):
        _check(report, metric, (*path, "metrics", "prometheus", index), prefix)


def _check(report: Report, metric: argo.Prometheus, path: Path, prefix: str) -> None:
    if not _NAME.fullmatch(metric.name):
        message = f"{prefix} metric name '{metric.name}' is invalid. Metric names must contain alphanumeric characters or '_'"
        report.add((*path, "name"), message, "write it like steps_done")
    if not metric.help:
        report.add(path, f"{prefix} metric '{metric.name}' must contain a help string under 'help: ' field", "add `help:`")
    for index, label in enumerate(metric.labels):
        if not _NAME.fullmatch(label.key):
            message = f"{prefix} metric '{metric.name}' has an invalid label key '{label.key}'"
            report.add((*path, "labels", index, "key"), message, "use letters, digits and _")
    check_condition(report, metric.when, (*path, "when"), f"{prefix} metric '{metric.name}' when:")
    kinds = [kind for kind in (metric.counter, metric.gauge, metric.histogram) if kind is not None]
    if len(kinds) != 1:
        message = f"{prefix} metric '{metric.name}' must be exactly one of counter, gauge and histogram"
        report.add(path, message, "write one of them")
        return
    if metric.gauge is not None:
        _check_gauge(report, metric, metric.gauge, path, prefix)
    elif not kinds[0].value:
        report.add(path, f"{prefix} metric '{metric.name}' has no value", 'add `value: "1"`')
    if metric.histogram is not None and not metric.histogram.buckets:
        report.add((*path, "histogram"), f"{prefix} metric '{metric.name}' has no buckets", "add `buckets: [1, 5, 10]`")


def _check_gauge(report: Report, metric: argo.Prometheus, gauge: argo.Gauge, path: Path, prefix: str) -> None:
    here = (*path, "gauge")
    if not gauge.value:
        report.add(here, f"{prefix} metric '{metric.name}' has no value", 'add `value: "1"`')
    if gauge.operation and gauge.operation not in _OPERATIONS:
        message = f"{prefix} metric '{metric.name}': unknown operation '{gauge.operation}'"
        report.add((*here, "operation"), message, f"use one of {', '.join(_OPERATIONS)}")
    if gauge.realtime and "resourcesDuration." in gauge.value:
        message = f"{prefix} metric '{metric.name}': 'resourcesDuration.*' metrics cannot be used in real-time"
        report.add((*here, "value"), message, "remove `realtime: true`")
