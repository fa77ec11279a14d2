"""The table of features: complete, consistent, and obeyed."""

import typing
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from jitflow import spec
from jitflow.model import argo
from jitflow.model.problems import Refused
from jitflow.spec import support
from jitflow.spec.support import FEATURES, Status

pytestmark = pytest.mark.pure


def structs(kind: Any) -> Iterator[type[msgspec.Struct]]:
    """The struct types in a type."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind
    for part in typing.get_args(kind):
        yield from structs(part)


def reachable() -> dict[str, tuple[str, ...]]:
    """Types reached through supported fields, with their fields."""
    found: dict[str, tuple[str, ...]] = {}
    todo: list[type[msgspec.Struct]] = [argo.WorkflowSpec]
    while todo:
        kind = todo.pop()
        if kind.__name__ in found:
            continue
        fields = msgspec.structs.fields(kind)
        found[kind.__name__] = tuple(field.encode_name for field in fields)
        for field in fields:
            if support.of(f"{kind.__name__}.{field.encode_name}").status is Status.SUPPORTED:
                todo += structs(field.type)
    return found


def test_every_row_names_a_field_and_every_refusal_says_why():
    known = {f"{kind}.{field}" for kind, fields in reachable().items() for field in fields} | {"Tag.expression"}
    assert {row.where for row in FEATURES} <= known
    assert [row.where for row in FEATURES if row.status is not Status.SUPPORTED and not row.note] == []


def test_every_field_that_can_be_reached_has_a_row():
    named = {row.where for row in FEATURES}
    missing = [f"{kind}.{field}" for kind, fields in reachable().items() if kind != "Volume" for field in fields]
    assert [where for where in missing if where not in named] == []


def test_a_field_without_a_row_is_refused():
    assert support.of("Volume.nfs").status is Status.REFUSED
    assert "emptyDir" in support.of("Volume.nfs").note
    row = support.of("Container.newThing")
    assert (row.status, row.note) == (Status.REFUSED, "newThing is not supported by this version")


HEAD = "kind: Workflow\nmetadata: {name: w}\nspec:\n  entrypoint: a\n"
TEMPLATE = "  templates:\n  - name: a\n    container: {image: i}\n"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (TEMPLATE + "  volumes: [{name: v, hostPath: {path: /etc}}]\n", "8:23"),
        (TEMPLATE + "    resourceClaims: [{name: r}]\n", "8:5"),
        (TEMPLATE + "    sidecars: [{name: s, lifecycle: {postStart: {exec: {command: [a]}}}}]\n", "8:38"),
        (TEMPLATE + "    initContainers: [{name: s, lifecycle: {postStart: {}}}]\n", "8:44"),
    ],
)
def test_what_is_not_supported_is_refused_where_it_stands(text: str, where: str):
    document = spec.load_one(HEAD + text)
    with pytest.raises(Refused) as caught:
        spec.validate_document(document)
    assert {problem.code for problem in caught.value.problems} == {"unsupported"}
    assert caught.value.code == "unsupported"
    assert where in {str(problem.place).split(" ")[0] for problem in caught.value.problems}


def test_kubernetes_only_fields_are_ignored_with_a_reason():
    text = (
        HEAD + TEMPLATE + "    tolerations: [{key: k}]\n    metadata: {labels: {a: b}}\n    daemon: false\n"
        "    sidecars: [{name: s, lifecycle: {preStop: {sleep: {seconds: 1}}}}]\n"
        "    nodeSelector: {}\n  serviceAccountName: me\n  podGC: {strategy: OnPodSuccess}\n  securityContext: {runAsUser: 1}\n"
    )
    document = spec.load_one(text)
    spec.validate_document(document)
    assert isinstance(document.manifest, argo.Workflow)
    uses = {spec.json_path(path): feature for path, feature in support.uses(document.manifest.spec)}
    assert set(uses) == {
        "$.spec.serviceAccountName",
        "$.spec.podGC",
        "$.spec.templates[0].sidecars[0].lifecycle.preStop",
        "$.spec.securityContext",
        "$.spec.templates[0].tolerations",
    }
    assert all(feature.status is Status.IGNORED and feature.note for feature in uses.values())


def test_supporting_a_feature_is_one_row(monkeypatch: pytest.MonkeyPatch):
    rows = tuple(
        row if row.where != "Template.pendingTimeout" else msgspec.structs.replace(row, status=Status.SUPPORTED)
        for row in FEATURES
    )
    monkeypatch.setattr(support, "FEATURES", rows)
    support._by_name.cache_clear()
    support._plan.cache_clear()
    try:
        spec.validate_document(spec.load_one(HEAD + TEMPLATE + "    pendingTimeout: 1m\n"))
    finally:
        monkeypatch.undo()
        support._by_name.cache_clear()
        support._plan.cache_clear()


def test_expression_tags_can_be_supported_by_their_row(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(support, "of", lambda where, value=None: support.Feature(where, Status.SUPPORTED))
    assert list(support.uses(argo.WorkflowSpec(entrypoint="{{=x}}"))) == []
