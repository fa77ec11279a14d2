"""Events of another Argo's workflows: every form of Argo Events is understood, everything else refused with its place."""

import base64
import contextlib
import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jitflow.model.problems import Refused
from jitflow.spec import announcements

pytestmark = pytest.mark.pure

WORKFLOW: dict[str, Any] = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "Workflow",
    "metadata": {
        "name": "w-1", "namespace": "argo", "uid": "u-1", "resourceVersion": "7", "generation": 2, "managedFields": [{"x": 1}],
    },
    "spec": {
        "entrypoint": "main",
        "fieldOfALaterArgo": {"a": 1},
        "templates": [{"name": "main", "container": {"image": "busybox", "resources": {}, "name": ""}, "metadata": {}}],
    },
    "status": {
        "phase": "Running",
        "finishedAt": "None",
        "nodes": {"w-1": {"id": "w-1", "name": "w-1", "type": "Pod", "phase": "Running", "unknown": 1, "hostNodeName": 5}},
    },
}  # fmt: skip
EVENT = {"type": "UPDATE", "body": WORKFLOW}


def text(value: Any) -> bytes:
    return json.dumps(value).encode()


def b64(value: Any) -> str:
    return base64.b64encode(text(value)).decode()


FORMS: dict[str, Callable[[], Any]] = {
    "resource event": lambda: EVENT,
    "watch event": lambda: {"type": "MODIFIED", "object": WORKFLOW},
    "submission": lambda: {"workflow_submission": EVENT},
    "submission as text": lambda: {"workflow_submission": json.dumps(EVENT)},
    "full event, base64": lambda: {"full_event": {"context": {"id": "1"}, "data": b64(EVENT)}},
    "full event as text, base64": lambda: {"full_event": json.dumps({"context": {"id": "1"}, "data": b64(EVENT)})},
    "full event, data as object": lambda: {"full_event": {"context": {}, "data": EVENT}},
    "full event, data as text": lambda: {"full_event": {"context": {}, "data": json.dumps(EVENT)}},
    "bare event": lambda: {"context": {}, "data": b64(EVENT)},
    "body as text": lambda: {"type": "UPDATE", "body": json.dumps(WORKFLOW)},
    "wrapped twice": lambda: {"full_event": {"data": b64({"workflow_submission": EVENT})}},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_says_the_same(form: str) -> None:
    found = announcements.read(text(FORMS[form]()))
    assert found.type == "UPDATE"
    workflow = found.workflow
    assert workflow.metadata is not None
    assert (workflow.metadata.uid, workflow.metadata.resource_version, workflow.metadata.namespace) == ("u-1", "7", "argo")
    assert workflow.spec.templates[0].name == "main"
    assert workflow.status is not None
    assert workflow.status.nodes["w-1"].phase == "Running"


def test_a_bare_workflow_and_yaml_are_understood_too() -> None:
    found = announcements.read(text({"workflow_submission": WORKFLOW}))
    assert (found.type, found.workflow.metadata and found.workflow.metadata.name) == ("", "w-1")
    yaml = b"type: DELETE\nbody:\n  metadata: {name: w, namespace: n, uid: u}\n  spec: {}\n"
    deleted = announcements.read(yaml)
    assert (deleted.type, deleted.workflow.metadata and deleted.workflow.metadata.uid) == ("DELETE", "u")


def test_nodes_that_argo_has_compressed_are_unfolded() -> None:
    nodes = base64.b64encode(gzip.compress(text(WORKFLOW["status"]["nodes"]))).decode()
    found = announcements.read(text({"type": "UPDATE", "body": {**WORKFLOW, "status": {"compressedNodes": nodes}}}))
    assert found.workflow.status is not None
    assert list(found.workflow.status.nodes) == ["w-1"]


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


BOMB = base64.b64encode(gzip.compress(b"0" * (announcements.MAX_NODES_BYTES + 1000))).decode()
ALIASES = "type: UPDATE\nbody:\n  a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"  {new}: &{new} [{','.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(
    ("body", "place", "words"),
    [
        (b"", "$", "is empty"),
        (b"{", "$", "not valid JSON"),
        (b"\xff\xfe", "$", "not UTF-8"),
        (b"[1]", "$", "got a list"),
        (b'"x"', "$", "not valid JSON"),
        (b"3", "$", "expected an object, got '3'"),
        (b"{}", "$", "holds no Workflow"),
        (text({"type": "PATCH", "body": WORKFLOW}), "$.type", "'PATCH' is none of"),
        (text({"type": 3, "body": WORKFLOW}), "$.type", "'3' is none of"),
        (text({"type": "ADD", "body": []}), "$.body", "expected a Workflow, got a list"),
        (text({"type": "ADD", "body": {"kind": "Pod", "metadata": {}}}), "$.body.kind", "'Pod' is not Workflow"),
        (text({"workflow_submission": "{"}), "$.workflow_submission", "not valid JSON"),
        (text({"workflow_submission": None}), "$.workflow_submission", "got nothing"),
        (text({"full_event": {"data": "%%%"}}), "$.full_event.data", "neither JSON nor base64"),
        (text({"full_event": {"data": base64.b64encode(b"no").decode()}}), "$.full_event.data", "not valid JSON"),
        (text({"type": "ADD", "body": {**WORKFLOW, "spec": 5}}), "$.body.spec", "expected an object"),
        (text({"type": "ADD", "body": {**WORKFLOW, "spec": {"templates": {}}}}), "$.body.spec.templates", "expected list"),
        (text({"type": "ADD", "body": {**WORKFLOW, "metadata": []}}), "$.body.metadata", "expected an object"),
        (text({"type": "ADD", "body": {**WORKFLOW, "status": {"nodes": 1}}}), "$.body.status.nodes", "expected an object"),
        (text({"type": "ADD", "body": {**WORKFLOW, "status": {"nodes": {"a": {}}}}}), "$.body.status.nodes.a", "is required"),
        (text({"type": "ADD", "body": {**WORKFLOW, "status": {"compressedNodes": "?"}}}), "compressedNodes", "not base64"),
        (text({"type": "ADD", "body": {**WORKFLOW, "status": {"compressedNodes": BOMB}}}), "compressedNodes", "unfolds to more"),
        (b'{"type":"ADD","body":{"spec":' + deep(500).encode() + b"}}", "$.body", "nested deeper"),
        (deep(200_000).encode(), "$", "nested too deeply"),
        (ALIASES.encode(), "", "aliases are replaced"),
        (b"a: 1\n---\nb: 2\n", "$", "holds 2 documents"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(body: bytes, place: str, words: str) -> None:
    with pytest.raises(Refused) as refused:
        announcements.read(body)
    (problem, *_) = refused.value.problems
    assert words in problem.message
    assert place in (problem.place.path if problem.place is not None else "")


def test_layers_have_an_end() -> None:
    value: Any = EVENT
    for _ in range(20):
        value = {"workflow_submission": value}
    with pytest.raises(Refused, match="layers"):
        announcements.read(text(value))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "body", "data", "spec", "metadata", "status", "nodes", "kind", "full_event", "templates", "uid"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(JSON, st.booleans())
def test_whatever_comes_is_read_or_refused(value: Any, wrapped: bool) -> None:
    body = {"type": "ADD", "body": value} if wrapped else value
    with contextlib.suppress(Refused):
        assert announcements.read(text(body)).workflow.spec is not None


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_whatever_bytes_come_are_refused(body: bytes) -> None:
    with pytest.raises(Refused):
        announcements.read(body)
