"""Custom metrics: what templates and workflows tell of themselves when they end, or while they run."""

from collections.abc import Iterable

from jitflow.expr import tags
from jitflow.expr import when as when_language
from jitflow.machine.problems import Problem
from jitflow.machine.scope import Scope
from jitflow.model import argo
from jitflow.model.runs import Sample

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"
OPERATIONS = frozenset({"Set", "Add", "Sub"})


def key_of(node_id: str) -> str:
    """Return the key of the effect that emits a node's metrics; the workflow's for an empty id."""
    return f"metrics/{node_id}"


def clock_key(node_id: str) -> str:
    """Return the key of the effect that shows a node's realtime gauges; the workflow's for an empty id."""
    return f"clocks/{node_id}"


def is_realtime(metric: argo.Prometheus) -> bool:
    """Return whether a metric is told while its template runs, not when it has ended."""
    return metric.gauge is not None and bool(metric.gauge.realtime)


def has_clocks(metrics: argo.Metrics | None) -> bool:
    """Return whether some of the metrics are realtime."""
    return metrics is not None and any(map(is_realtime, metrics.prometheus))


def at_end(metrics: argo.Metrics, scope: Scope) -> tuple[list[Sample], list[str]]:
    """Return the values that are told at the end, and what is wrong with those that cannot be."""
    return _each((metric for metric in metrics.prometheus if not is_realtime(metric)), scope, frozenset())


def clocks(metrics: argo.Metrics, scope: Scope, known: frozenset[str]) -> tuple[list[Sample], list[str]]:
    """Return the gauges that grow with time, and what is wrong with those that cannot be.

    Args:
        metrics: of a template or of the workflow.
        scope: what `when` and labels may refer to.
        known: the variables that grow: `duration` in templates, `workflow.duration` in the workflow.
    """
    return _each(filter(is_realtime, metrics.prometheus), scope, known)


def _each(metrics: Iterable[argo.Prometheus], scope: Scope, known: frozenset[str]) -> tuple[list[Sample], list[str]]:
    samples: list[Sample] = []
    complaints: list[str] = []
    for metric in metrics:
        try:
            if metric.when is None or _holds(metric, scope):
                samples.append(_sample(metric, scope, known))
        except Problem as problem:
            complaints.append(str(problem))
    return samples, complaints


def _holds(metric: argo.Prometheus, scope: Scope) -> bool:
    try:
        return when_language.evaluate(_text(metric.when or "", scope))
    except (when_language.WhenError, Problem) as error:
        raise Problem(f"unable to compute 'when' clause for metric '{metric.name}': {error}") from error


def _sample(metric: argo.Prometheus, scope: Scope, known: frozenset[str]) -> Sample:
    kind, value, operation, buckets = _source(metric)
    if is_realtime(metric):
        name = tags.is_pure_tag(value)
        if name is None:
            raise Problem(f"metric '{metric.name}': real time metrics can only be used with metric variables")
        if name not in known:
            raise Problem(f"metric '{metric.name}': '{name}' is not available as a real time metric")
        number = 0.0
    else:
        number = _number(metric.name, _text(value, scope))
    return Sample(
        kind=kind,
        name=_text(metric.name, scope),
        help=_text(metric.help, scope),
        labels=tuple(sorted((_text(label.key, scope), _text(label.value, scope)) for label in metric.labels)),
        value=number,
        operation=operation,
        buckets=buckets,
    )


def _source(metric: argo.Prometheus) -> tuple[str, str, str, tuple[float, ...]]:
    if metric.counter is not None:
        return COUNTER, metric.counter.value, "Add", ()
    if metric.histogram is not None:
        return HISTOGRAM, metric.histogram.value, "", metric.histogram.buckets
    if metric.gauge is not None:
        return GAUGE, metric.gauge.value, metric.gauge.operation or "Set", ()
    raise Problem(f"metric '{metric.name}' is neither a counter, nor a gauge, nor a histogram")


def _text(text: str, scope: Scope) -> str:
    """Return a text with its tags replaced; a counter or a label with a tag left in it would be a series of its own."""
    try:
        return tags.compile_text(text).render(scope, allow_unresolved=False)
    except tags.TagError as error:
        raise Problem(str(error)) from error


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise Problem(f"metric '{name}': the value '{text[:80]}' is no number") from None
