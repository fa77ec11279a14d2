"""Numbers, durations and names with rules of their own."""

import re
from collections.abc import Sequence
from typing import Final

from jitflow.expr.durations import DurationError, QuantityError, parse_duration, parse_quantity
from jitflow.model import argo
from jitflow.spec.places import Path
from jitflow.spec.validation._expressions import check_expression
from jitflow.spec.validation._report import Report, has_tag

RETRY_POLICIES: Final = ("Always", "OnError", "OnFailure", "OnTransientError")
POD_GC: Final = ("OnPodCompletion", "OnPodSuccess", "OnWorkflowCompletion", "OnWorkflowSuccess")
_OPERATORS: Final = {"In": True, "NotIn": True, "Exists": False, "DoesNotExist": False}
"""Operators of label selectors, and whether they take values."""

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_LABEL_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)")
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
MAX_NAME: Final = 63
_SUBDOMAIN_RULE: Final = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character"
)


def check_metadata(
    report: Report, metadata: argo.ObjectMeta | None, kind: str, *, needs_name: bool = True, longest: int = MAX_NAME
) -> None:
    """Check name, generateName, namespace and labels of an object; `kind` names it in messages."""
    metadata = metadata or argo.ObjectMeta()
    if needs_name and not metadata.name and not metadata.generate_name:
        report.add(("metadata",), "metadata.name: name or generateName is required", "add `metadata: {generateName: my-}`")
    if metadata.name:
        if len(metadata.name) > longest:
            size = f"must not be more than {longest} characters long (currently {len(metadata.name)})"
            report.add(("metadata", "name"), f'{kind} name "{metadata.name}" {size}', "shorten it")
        elif not _SUBDOMAIN.fullmatch(metadata.name):
            message = f'metadata.name: Invalid value: "{metadata.name}": {_SUBDOMAIN_RULE}'
            report.add(("metadata", "name"), message, "write it like my-workflow-1")
    elif metadata.generate_name and not _SUBDOMAIN.fullmatch(f"{metadata.generate_name}x"):
        message = f'metadata.generateName: Invalid value: "{metadata.generate_name}": {_SUBDOMAIN_RULE}'
        report.add(("metadata", "generateName"), message, "write it like my-workflow-")
    if metadata.namespace and not re.fullmatch(_LABEL, metadata.namespace):
        message = f'metadata.namespace: Invalid value: "{metadata.namespace}": it must be a lowercase RFC 1123 label'
        report.add(("metadata", "namespace"), message, "write it like my-team")
    _check_labels(report, metadata)


def check_plugins(report: Report, plugins: Sequence[argo.ExecutorPlugin], path: Path) -> None:
    """Check the executor plugins that a workflow brings along: a name each, and the port at which it is asked."""
    names: set[str] = set()
    for index, plugin in enumerate(plugins):
        here: Path = (*path, "executorPlugins", index)
        name, container = plugin.metadata.name or "", plugin.spec.sidecar.container
        if not re.fullmatch(_LABEL, name) or len(name) > MAX_NAME:
            message = f"executor plugin name '{name}' must be a lowercase RFC 1123 label"
            report.add((*here, "metadata"), message, "add `metadata: {name: my-plugin}`")
        elif name in names:
            report.add((*here, "metadata", "name"), f"executor plugin name '{name}' is not unique", "give it another name")
        names.add(name)
        if not container.ports:
            place = (*here, "spec", "sidecar", "container")
            report.add(place, f"executor plugin '{name}': at least one port is mandatory", "add `ports: [{containerPort: 4355}]`")


def _check_labels(report: Report, metadata: argo.ObjectMeta) -> None:
    for key, value in metadata.labels.items():
        path: Path = ("metadata", "labels", key)
        if not _LABEL_KEY.fullmatch(key):
            report.add(
                path,
                f'metadata.labels: Invalid value: "{key}": not a label key',
                "write it like team or example.com/team",
                key=True,
            )
        if len(value) > MAX_NAME or not _LABEL_VALUE.fullmatch(value):
            remedy = "use at most 63 letters, digits, '-', '_' or '.', with a letter or digit at both ends; or an annotation"
            report.add(path, f'metadata.labels: Invalid value: "{value[:80]}": not a label value', remedy)


def check_pod_gc(report: Report, pod_gc: argo.PodGC | None) -> None:
    """Check when pods are deleted, and which."""
    if pod_gc is None:
        return
    here = ("spec", "podGC")
    if pod_gc.strategy and pod_gc.strategy not in POD_GC:
        message = f"podGC.strategy unknown strategy '{pod_gc.strategy}'"
        report.add((*here, "strategy"), message, f"use one of {', '.join(POD_GC)}")
    selector = pod_gc.label_selector or argo.LabelSelector()
    for index, rule in enumerate(selector.match_expressions):
        spot = (*here, "labelSelector", "matchExpressions", index)
        if rule.operator not in _OPERATORS:
            message = f'podGC.labelSelector invalid: "{rule.operator}" is not a valid label selector operator'
            report.add((*spot, "operator"), message, f"use one of {', '.join(_OPERATORS)}")
        elif bool(rule.values) != _OPERATORS[rule.operator]:
            need = "needs values" if _OPERATORS[rule.operator] else "takes no values"
            report.add(spot, f"podGC.labelSelector invalid: {rule.operator} {need}", "mend `values:`")


def check_duration(report: Report, text: str | None, path: Path, prefix: str, *, bare_seconds: bool = True) -> None:
    """Check a duration that is known before run time: not negative, and readable."""
    if text is None or has_tag(text):
        return
    remedy = 'write it like "30s", "5m" or "1h30m"'
    try:
        seconds = parse_duration(text, bare_seconds=bare_seconds)
    except DurationError as error:
        report.add(path, f"{prefix}: {error}", remedy)
        return
    if seconds < 0:
        report.add(path, f'{prefix}: "{text}" is negative', remedy)


def check_integer(report: Report, value: int | str | None, path: Path, prefix: str, *, least: int) -> None:
    """Check a number that is known before run time."""
    if value is None or has_tag(value):
        return
    text = str(value).strip()
    if not _INTEGER.fullmatch(text) or int(text) < least:
        report.add(
            path,
            f"{prefix} must be a whole number, {least} or more, or an argo variable; got '{value}'",
            f"write {least} or more",
        )


def check_retry(report: Report, retry: argo.RetryStrategy | None, path: Path, prefix: str) -> None:
    """Check a retry strategy."""
    if retry is None:
        return
    here = (*path, "retryStrategy")
    if retry.retry_policy and retry.retry_policy not in RETRY_POLICIES:
        message = f"{prefix} {retry.retry_policy} is not a valid RetryPolicy"
        report.add((*here, "retryPolicy"), message, f"use one of {', '.join(RETRY_POLICIES)}")
    check_integer(report, retry.limit, (*here, "limit"), f"{prefix}.retryStrategy.limit", least=0)
    check_expression(report, retry.expression, (*here, "expression"), f"{prefix}.retryStrategy.expression")
    backoff = retry.backoff
    if backoff is None:
        return
    here = (*here, "backoff")
    name = f"{prefix}.retryStrategy.backoff"
    if not backoff.duration:
        report.add(here, f"{name}: no base duration specified for retryStrategy", 'add `duration: "10s"`')
    check_duration(report, backoff.duration, (*here, "duration"), f"{name}.duration")
    check_duration(report, backoff.max_duration, (*here, "maxDuration"), f"{name}.maxDuration")
    check_duration(report, backoff.cap, (*here, "cap"), f"{name}.cap")
    check_integer(report, backoff.factor, (*here, "factor"), f"{name}.factor", least=0)


def check_sequence(report: Report, sequence: argo.Sequence | None, path: Path, prefix: str) -> None:
    """Check a `withSequence`."""
    if sequence is None:
        return
    here = (*path, "withSequence")
    if sequence.count is not None and sequence.end is not None:
        report.add(here, f"{prefix} only one of count or end can be defined in withSequence", "remove one of them")
    if sequence.count is None and sequence.end is None:
        report.add(here, f"{prefix} must have either count or end defined in withSequence", "add `count:`")
    check_integer(report, sequence.count, (*here, "count"), f"{prefix} withSequence.count", least=0)
    for name, value in (("start", sequence.start), ("end", sequence.end)):
        check_integer(report, value, (*here, name), f"{prefix} withSequence.{name}", least=-(10**15))


def check_parallelism(report: Report, value: int | None, path: Path, prefix: str) -> None:
    """Check a limit of parallel nodes."""
    if value is not None and value < 1:
        report.add((*path, "parallelism"), f"{prefix}parallelism must be 1 or more, got {value}", "remove it for no limit")


def check_volumes(report: Report, volumes: tuple[argo.Volume, ...], path: Path, prefix: str) -> None:
    """Check names and sizes of volumes."""
    seen: set[str] = set()
    for index, volume in enumerate(volumes):
        here = (*path, "volumes", index)
        if volume.name in seen:
            report.add(
                (*here, "name"), f"{prefix}volumes[{index}].name '{volume.name}' is not unique", "give it a name of its own"
            )
        elif not has_tag(volume.name) and (len(volume.name) > MAX_NAME or not re.fullmatch(_LABEL, volume.name)):
            message = f"{prefix}volumes[{index}].name '{volume.name}' must be a lowercase RFC 1123 label"
            report.add((*here, "name"), message, "write it like work-1")
        seen.add(volume.name)
        limit = volume.empty_dir.size_limit if volume.empty_dir is not None else None
        if limit is not None and not has_tag(limit):
            _check_size(report, limit, (*here, "emptyDir", "sizeLimit"), f"{prefix}volumes[{index}].emptyDir.sizeLimit")


def _check_size(report: Report, limit: str | float, path: Path, prefix: str) -> None:
    try:
        size_bytes = parse_quantity(limit)
    except QuantityError as error:
        report.add(path, f"{prefix}: {error}", "write it like 500Mi or 2Gi")
        return
    if size_bytes <= 0:
        report.add(path, f"{prefix} must be greater than zero", "write it like 500Mi or 2Gi")
