"""Whatever is thrown at load and validate, people get manifests or problems, never a traceback."""

import copy
import json
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jitflow import spec
from jitflow.model.problems import Refused

pytestmark = pytest.mark.pure

BASE: dict[str, Any] = yaml.safe_load("""
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: a-}
spec:
  entrypoint: main
  onExit: work
  arguments: {parameters: [{name: p, value: "1"}]}
  volumes: [{name: v, emptyDir: {sizeLimit: 1Gi}}]
  templates:
  - name: work
    inputs:
      parameters: [{name: m, default: x}]
      artifacts: [{name: d, path: /d, optional: true, s3: {key: a/b}}]
    container: {image: i, args: ["{{inputs.parameters.m}}"], volumeMounts: [{name: v, mountPath: /v}]}
    outputs:
      parameters: [{name: o, valueFrom: {path: /o}}]
      artifacts: [{name: o, path: /o, archive: {none: {}}}]
    retryStrategy: {limit: 2, backoff: {duration: 1s, factor: 2}}
  - name: main
    dag:
      target: b
      tasks:
      - {name: a, template: work, withItems: [1, {k: 2}]}
      - {name: b, template: loop, depends: a.AnySucceeded || a, when: "{{tasks.a.status}} == Succeeded"}
  - name: loop
    steps:
    - [{name: s, template: work, withSequence: {count: 3}}]
    - [{name: t, template: work, arguments: {parameters: [{name: m, value: "{{steps.s.outputs.result}}"}]}}]
  - name: wait
    suspend: {duration: 10s}
""")

JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 2**65),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        ["{{", "}}", "{{=x}}", "{{tasks.a.outputs.result}}", "{{item}}", "..", "a || ", "-1s", "work", "main", "far:", "[]"]
    ),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.sampled_from(["name", "key", "template", "value", "x"]), st.text(max_size=4), max_size=2),
)


def spots(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all parts of a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(spot for key, inner in items for spot in spots(inner, (*path, key)))]


SPOTS = [path for path in spots(BASE) if path]
KEYS = sorted({str(path[-1]) for path in SPOTS})


def told(error: Refused) -> None:
    """Whoever refuses says what is wrong, and where."""
    assert error.problems
    assert all(problem.message and problem.place is not None for problem in error.problems)


def check(document: spec.Document) -> None:
    try:
        spec.validate_document(document)
    except Refused as error:
        told(error)


@given(
    st.lists(
        st.tuples(st.sampled_from(SPOTS), JUNK, st.sampled_from(["set", "drop", "rename"]), st.sampled_from(KEYS)),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_mutated_manifests(changes: list[tuple[tuple[Any, ...], Any, str, str]]):
    body = copy.deepcopy(BASE)
    for path, junk, what, key in changes:
        target: Any = body
        try:
            for step in path[:-1]:
                target = target[step]
            if what == "set":
                target[path[-1]] = junk
            elif what == "drop":
                del target[path[-1]]
            else:
                target[key] = target.pop(path[-1])
        except (LookupError, TypeError, AttributeError):
            continue
    for read in (lambda: spec.from_json(body), lambda: spec.load_one(yaml.safe_dump(body, allow_unicode=True))):
        try:
            document = read()
        except Refused as error:
            told(error)
            continue
        check(document)


@given(st.text(alphabet="abkindWorfl:-{}[]&*!<>|'\"#%@`, \n\t?~0.\x00é", max_size=80))
@settings(max_examples=200, deadline=None)
def test_any_text(text: str):
    for prefix in ("", "kind: Workflow\nspec:\n  "):
        try:
            documents = spec.load(prefix + text, "f")
        except Refused as error:
            told(error)
            continue
        for document in documents:
            check(document)


@given(st.binary(max_size=40))
@settings(max_examples=100, deadline=None)
def test_any_bytes(data: bytes):
    try:
        spec.load(data.decode("utf-8", "surrogateescape"))
    except Refused as error:
        told(error)


def test_the_base_is_good_and_survives_a_round_trip():
    spec.validate_document(spec.from_json(BASE))
    document = spec.load_one(json.dumps(BASE))
    spec.validate_document(document)
    assert document.manifest == spec.from_json(BASE).manifest
