"""Kubernetes' label and field selectors, as lists and watches take them."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from msgspec import Struct

from jitflow.app.present import labels_of
from jitflow.model.problems import Refused
from jitflow.ports.store import RunRow

Labels = Mapping[str, str]
LabelTest = Callable[[Labels], bool]
RowTest = Callable[[RunRow], bool]

MAX_SELECTOR_CHARS = 8192

_KEY = r"[A-Za-z0-9](?:[-A-Za-z0-9_./]*[A-Za-z0-9])?"
_VALUE = r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)?"
_EXISTS = re.compile(rf"(!?)\s*({_KEY})")
_EQUALS = re.compile(rf"({_KEY})\s*(==|=|!=)\s*({_VALUE})")
_SET = re.compile(rf"({_KEY})\s+(in|notin)\s*\(([^()]*)\)")
_COMPARE = re.compile(rf"({_KEY})\s*([<>])\s*(-?\d{{1,18}})")
_NUMBER = re.compile(r"-?\d{1,18}")
_COMMA = re.compile(r",(?![^(]*\))")


def label_selector(text: str) -> LabelTest:
    """Return the test that a label selector such as `a=b,c in (d,e),!f` stands for.

    Raises:
        Refused: the text is no label selector.
    """
    if len(text) > MAX_SELECTOR_CHARS:
        raise Refused(f"the label selector is longer than {MAX_SELECTOR_CHARS} characters")
    tests = [_requirement(part.strip()) for part in _COMMA.split(text)] if text.strip() else []
    return lambda labels: all(test(labels) for test in tests)


def _requirement(text: str) -> LabelTest:
    if found := _EQUALS.fullmatch(text):
        key, operator, value = found.groups()
        if operator == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if found := _SET.fullmatch(text):
        key, operator, inside = found.groups()
        values = {value.strip() for value in inside.split(",")}
        if all(re.fullmatch(_VALUE, value) for value in values):
            if operator == "in":
                return lambda labels: key in labels and labels[key] in values
            return lambda labels: labels.get(key) not in values
    if found := _COMPARE.fullmatch(text):
        return _comparison(*found.groups())
    if found := _EXISTS.fullmatch(text):
        negated, key = found.groups()
        return lambda labels: (key in labels) != bool(negated)
    raise Refused(
        f"unable to parse the label selector at {text[:100]!r}; requirements have the forms key, !key, key=value, key!=value, "
        "key in (a,b) and key notin (a,b), joined by commas"
    )


def _comparison(key: str, operator: str, limit: str) -> LabelTest:
    def test(labels: Labels) -> bool:
        value = labels.get(key, "")
        if not _NUMBER.fullmatch(value):
            return False
        return int(value) > int(limit) if operator == ">" else int(value) < int(limit)

    return test


class FieldSelector:
    """Argo's field selector: `metadata.name`, `metadata.namespace`, `spec.startedAt`, `ext.showRemainingItemCount`."""

    def __init__(self, text: str, *, name_filter: str = "") -> None:
        """Parse the text; `name_filter` says how `metadata.name` compares: Exact, Contains, Prefix or NotEquals.

        Raises:
            Refused: an unknown field or filter, or a value that cannot be read.
        """
        if len(text) > MAX_SELECTOR_CHARS:
            raise Refused(f"the field selector is longer than {MAX_SELECTOR_CHARS} characters")
        if name_filter not in {"", *_NAME_FILTERS}:
            raise Refused(f"nameFilter {name_filter[:40]!r} is not one of {', '.join(sorted(_NAME_FILTERS))}")
        self.show_remaining = False
        self.namespace = ""
        self._name_filter = name_filter or "Exact"
        self._tests: list[RowTest] = [test for part in text.split(",") if part.strip() for test in [self._parse(part.strip())]]

    def __call__(self, row: RunRow) -> bool:
        """Return whether the row is selected."""
        return all(test(row) for test in self._tests)

    def _parse(self, text: str) -> RowTest:
        found = re.fullmatch(r"([A-Za-z.]+)\s*(==|!=|=|>|<)\s*(.*)", text)
        if found is None:
            raise Refused(f"unable to parse the field selector at {text[:100]!r}; write field=value")
        field, operator, value = found.groups()
        equal = operator in {"=", "=="}
        if field == "metadata.name" and operator not in {">", "<"}:
            compare = _NAME_FILTERS[self._name_filter]
            return lambda row: compare(row.name, value) == equal
        if field == "metadata.namespace" and operator not in {">", "<"}:
            self.namespace = value if equal else self.namespace
            return lambda row: (row.namespace == value) == equal
        if field == "spec.startedAt" and operator in {">", "<"}:
            limit = instant(value)
            # Argo keeps whole seconds, and takes the given one in.
            if operator == ">":
                return lambda row: row.started_at is not None and int(row.started_at) >= limit
            return lambda row: row.started_at is not None and int(row.started_at) <= limit
        if field == "ext.showRemainingItemCount" and equal:
            self.show_remaining = value.lower() == "true"
            return lambda row: True
        raise Refused(f"unsupported requirement {text[:100]!r}")


_NAME_FILTERS: dict[str, Callable[[str, str], bool]] = {
    "Exact": lambda name, wanted: name == wanted,
    "Contains": lambda name, wanted: wanted in name,
    "Prefix": lambda name, wanted: name.startswith(wanted),
    "NotEquals": lambda name, wanted: name != wanted,
}


def instant(text: str) -> float:
    """Return an RFC 3339 time as seconds since the epoch.

    Raises:
        Refused: it is none.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or "T" not in text:
        raise Refused(f"{text[:60]!r} is no time; write it as 2026-01-31T12:00:00Z")
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


class Selection(Struct, frozen=True, kw_only=True):
    """Which runs a list or a watch is about; texts as in Argo's listOptions.

    `visible`: the namespaces that may be seen at all; None: every one.
    """

    namespace: str = ""
    visible: frozenset[str] | None = None
    labels: str = ""
    fields: str = ""
    name_filter: str = ""
    created_after: str = ""
    finished_before: str = ""
    only_live: bool = False
    """Leave out what only the archive knows."""


def selector_of(selection: Selection) -> Callable[[RunRow], bool]:
    """Return whether a run is among the selected.

    Raises:
        Refused: a text of the selection cannot be read.
    """
    by_label = label_selector(selection.labels) if selection.labels else None
    by_field = FieldSelector(selection.fields, name_filter=selection.name_filter)
    after = instant(selection.created_after) if selection.created_after else None
    before = instant(selection.finished_before) if selection.finished_before else None

    visible = selection.visible

    def selects(row: RunRow) -> bool:
        if visible is not None and row.namespace not in visible:
            return False
        if after is not None and int(row.created_at) < after:
            return False
        if before is not None and (row.finished_at is None or int(row.finished_at) > before):
            return False
        return by_field(row) and (by_label is None or by_label(labels_of(row)))

    return selects
