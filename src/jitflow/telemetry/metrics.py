"""Metrics of this process for Prometheus: what workflows define, and what the server tells of itself.

Names begin with `argo_workflows_` where Argo has the same metric, and with `jitflow_` elsewhere. Everything is kept in memory and
begins anew with each process, as Prometheus expects it.
"""

import math
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Protocol

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from jitflow.telemetry.known import KNOWN

PREFIX = "argo_workflows_"
MAX_SERIES = 10_000
"""Series of custom metrics: labels with ever new values would fill the memory."""

RESERVED = frozenset({"gauge", "pods_gauge"})
"""Names (without the prefix) that the server itself uses."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")

Labels = tuple[tuple[str, str], ...]
Figures = Mapping[str, Sequence[tuple[Labels, float]]]
"""Figures of the server itself: name (of `KNOWN`) -> values by labels, in the table's order."""


def one(value: float) -> Sequence[tuple[Labels, float]]:
    """Return the only value of a figure."""
    return [((), float(value))]


def by(label: str, values: Mapping[str, float]) -> Sequence[tuple[Labels, float]]:
    """Return the values of a figure by its one label."""
    return [(((label, key),), float(value)) for key, value in values.items()]


class Value(Protocol):
    """A value for a custom metric, as workflows give it (see `jitflow.model.runs.Sample`)."""

    @property
    def kind(self) -> str:
        """Return `counter`, `gauge` or `histogram`."""
        ...

    @property
    def name(self) -> str:
        """Return the name without the prefix."""
        ...

    @property
    def help(self) -> str:
        """Return what the metric means."""
        ...

    @property
    def labels(self) -> Labels:
        """Return the labels, sorted."""
        ...

    @property
    def value(self) -> float:
        """Return what is added, set or observed."""
        ...

    @property
    def operation(self) -> str:
        """Return what becomes of a gauge: `Set`, `Add` or `Sub`."""
        ...

    @property
    def buckets(self) -> tuple[float, ...]:
        """Return a histogram's upper bounds."""
        ...


class MetricsError(ValueError):
    """A value that cannot be taken; the message says why."""


class _Series:
    """One combination of labels: a number, a clock, or what a histogram counts."""

    def __init__(self, buckets: Sequence[float]) -> None:
        self.total = 0.0
        self.since: float | None = None
        self.owner: tuple[str, str] = ("", "")
        self.bounds = (*sorted({bound for bound in buckets if not math.isinf(bound)}), math.inf)
        self.counts = [0] * len(self.bounds)

    def observe(self, value: float) -> None:
        self.total += value
        for place, bound in enumerate(self.bounds):
            if value <= bound:
                self.counts[place] += 1

    def now(self, at: float) -> float:
        return max(0.0, at - self.since) if self.since is not None else self.total


class _Family:
    """All series of one name."""

    def __init__(self, value: Value) -> None:
        self.kind = value.kind
        self.help = value.help
        self.label_names = tuple(name for name, _ in value.labels)
        self.series: dict[Labels, _Series] = {}


class CustomMetrics:
    """The metrics that workflows define."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Read the time of realtime gauges from `clock`."""
        self._clock = clock
        self._families: dict[str, _Family] = {}
        self._clocks: dict[str, dict[str, list[tuple[str, Labels]]]] = {}
        self._count = 0

    def take(self, value: Value) -> None:
        """Take one value.

        Raises:
            MetricsError: the name, the labels or the value cannot be, or the metric is known as something else.
        """
        if math.isnan(value.value):
            raise MetricsError(f"metric '{value.name}': the value is not a number")
        if value.kind == "counter" and value.value < 0:
            raise MetricsError(f"metric '{value.name}': a counter cannot go down, got {value.value}")
        series = self._series(value)
        if value.kind == "histogram":
            series.observe(value.value)
        elif value.kind == "counter" or value.operation == "Add":
            series.total += value.value
        elif value.operation == "Sub":
            series.total -= value.value
        else:
            series.total = value.value

    def start_clock(self, run: str, key: str, gauge: Value, since: float) -> None:
        """Let a gauge tell the seconds since a time, until `stop_clock`.

        Raises:
            MetricsError: as for `take`.
        """
        series = self._series(gauge)
        series.since, series.owner = since, (run, key)
        mine = self._clocks.setdefault(run, {}).setdefault(key, [])
        if (gauge.name, gauge.labels) not in mine:
            mine.append((gauge.name, gauge.labels))

    def stop_clock(self, run: str, key: str) -> None:
        """Let the gauges of a key stand as they are now."""
        now = self._clock()
        for name, labels in self._clocks.get(run, {}).get(key, ()):
            series = self._families[name].series.get(labels)
            if series is not None and series.owner == (run, key) and series.since is not None:
                series.total, series.since = series.now(now), None

    def forget_clocks(self, run: str) -> None:
        """A run has ended: its realtime gauges go."""
        for key, shown in self._clocks.pop(run, {}).items():
            for name, labels in shown:
                series = self._families[name].series.get(labels)
                if series is not None and series.owner == (run, key):  # else another one shows it now
                    del self._families[name].series[labels]
                    self._count -= 1

    def _series(self, value: Value) -> _Series:
        family = self._families.get(value.name) or self._new_family(value)
        if family.kind != value.kind:
            raise MetricsError(f"metric '{value.name}' is a {family.kind} already and cannot be a {value.kind}")
        if family.label_names != tuple(name for name, _ in value.labels):
            known = ", ".join(family.label_names) or "none"
            raise MetricsError(f"metric '{value.name}' is used with other labels already: {known}")
        series = family.series.get(value.labels)
        if series is None:
            if self._count >= MAX_SERIES:
                raise MetricsError(f"metric '{value.name}': there are {MAX_SERIES} series already; use labels with fewer values")
            series = family.series[value.labels] = _Series(value.buckets)
            self._count += 1
        return series

    def _new_family(self, value: Value) -> _Family:
        if not _NAME.fullmatch(value.name):
            raise MetricsError(f"metric name '{value.name}' is invalid: use letters, digits, _ and :")
        if value.name in RESERVED:
            raise MetricsError(f"metric name '{value.name}' is taken by the server itself")
        for name, _ in value.labels:
            if not _LABEL.fullmatch(name) or name.startswith("__") or (value.kind == "histogram" and name == "le"):
                raise MetricsError(f"metric '{value.name}': label '{name}' is invalid: use letters, digits and _")
        if len({name for name, _ in value.labels}) < len(value.labels):
            raise MetricsError(f"metric '{value.name}': a label is given twice")
        return self._families.setdefault(value.name, _Family(value))

    def text(self) -> str:
        """Return all series in Prometheus' text format; counters keep the names that their authors gave them."""
        now = self._clock()
        lines: list[str] = []
        for name, family in sorted(self._families.items()):
            if not family.series:
                continue
            full = f"{PREFIX}{name}"
            lines += (f"# HELP {full} {_escaped(family.help)}", f"# TYPE {full} {family.kind}")
            for labels, series in sorted(family.series.items()):
                lines += (
                    _histogram(full, labels, series) if family.kind == "histogram" else [_line(full, labels, series.now(now))]
                )
        return "".join(f"{line}\n" for line in lines)


def _histogram(name: str, labels: Labels, series: _Series) -> list[str]:
    lines = [
        _line(f"{name}_bucket", (*labels, ("le", _number(bound))), count)
        for bound, count in zip(series.bounds, series.counts, strict=True)
    ]
    return [*lines, _line(f"{name}_sum", labels, series.total), _line(f"{name}_count", labels, series.counts[-1])]


def _line(name: str, labels: Iterable[tuple[str, str]], value: float) -> str:
    quoted = (f'{key}="{_escaped(text, quotes=True)}"' for key, text in labels)
    inside = ",".join(quoted)
    return f"{name}{{{inside}}} {_number(value)}" if inside else f"{name} {_number(value)}"


def _escaped(text: str, *, quotes: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quotes else text


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(value)


class _Own:
    """The server's own figures, worked out when somebody looks."""

    def __init__(self, figures: Callable[[], Figures]) -> None:
        self._figures = figures

    def collect(self) -> Iterable[Metric]:
        """Yield the figures, as the table describes them."""
        for name, values in self._figures().items():
            known = KNOWN[name]
            labels = [label for label, _ in known.labels]
            kind = CounterMetricFamily if known.kind == "counter" else GaugeMetricFamily
            family = kind(name, known.help, labels=labels)
            for at, value in values:
                family.add_metric([label for _, label in at], value)
            yield family


_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_REQUESTS, _SECONDS = "jitflow_api_requests_total", "jitflow_api_request_seconds"


class Requests:
    """What was asked of the APIs. Counting costs less than a microsecond: every request pays it."""

    def __init__(self) -> None:
        """Count from nothing."""
        self._answered: dict[tuple[str, int], int] = {}
        self._seconds: dict[str, tuple[list[int], list[float]]] = {}

    def answered(self, method: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._answered[method, status] = self._answered.get((method, status), 0) + 1
        found = self._seconds.get(method)
        if found is None:
            found = self._seconds[method] = ([0] * (len(_BOUNDS) + 1), [0.0])
        found[0][bisect_left(_BOUNDS, seconds)] += 1
        found[1][0] += seconds

    def collect(self) -> Iterable[Metric]:
        """Yield the counter and the histogram."""
        counter = CounterMetricFamily(_REQUESTS, KNOWN[_REQUESTS].help, labels=("method", "status"))
        for (method, status), count in self._answered.items():
            counter.add_metric((method, str(status)), count)
        yield counter
        histogram = HistogramMetricFamily(_SECONDS, KNOWN[_SECONDS].help, labels=("method",))
        for method, (counts, total) in self._seconds.items():
            bounds = (*(repr(bound) for bound in _BOUNDS), "+Inf")
            histogram.add_metric((method,), list(zip(bounds, accumulate(counts), strict=True)), total[0])
        yield histogram


class Exposition:
    """What `GET /metrics` answers."""

    def __init__(self, custom: CustomMetrics, figures: Callable[[], Figures]) -> None:
        """Show the workflows' metrics and those of the server."""
        self._custom = custom
        self._registry = CollectorRegistry()
        self.requests = Requests()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        for one in (self.requests, _Own(figures)):
            self._registry.register(one)  # pyright: ignore[reportArgumentType]

    def text(self) -> str:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry).decode() + self._custom.text()
