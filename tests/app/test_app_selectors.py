"""Selectors, projections, names, references and patterns: what people type."""

import contextlib
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitflow.app.fields import Fields
from jitflow.app.grep import line_filter
from jitflow.app.names import check_name, check_namespace, generated_name, pod_name
from jitflow.app.refs import parse_ref
from jitflow.app.selectors import FieldSelector, instant, label_selector
from jitflow.model import argo
from jitflow.model.data import ObjectRef
from jitflow.model.problems import Refused
from jitflow.ports.store import RunRow

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("selector", "yes", "no"),
    [
        ("a=1", {"a": "1"}, {"a": "2"}),
        ("a==1,b=2", {"a": "1", "b": "2"}, {"a": "1"}),
        ("a!=1", {}, {"a": "1"}),
        ("a", {"a": ""}, {"b": "1"}),
        ("!a", {"b": "1"}, {"a": "1"}),
        ("a in (1, 2),b", {"a": "2", "b": ""}, {"a": "3", "b": ""}),
        ("a notin (1,2)", {"b": ""}, {"a": "1"}),
        ("workflows.argoproj.io/phase=Running", {"workflows.argoproj.io/phase": "Running"}, {}),
        ("a>5", {"a": "6"}, {"a": "x"}),
        ("a<5", {"a": "-6"}, {"a": "5"}),
        ("", {}, None),
        (" a = 1 ", {"a": "1"}, {}),
    ],
)
def test_label_selectors(selector: str, yes: dict[str, str], no: dict[str, str] | None) -> None:
    test = label_selector(selector)
    assert test(yes)
    assert no is None or not test(no)


@pytest.mark.parametrize("selector", ["a=b=c", "=", "a in", "a in (b", "a b", ",", "a=1,,b=2", "a in ($)", "x" * 9000, "!"])
def test_label_selectors_that_are_none(selector: str) -> None:
    with pytest.raises(Refused, match="label selector"):
        label_selector(selector)


@given(st.text(max_size=60))
def test_any_text_is_a_label_selector_or_refused(text: str) -> None:
    with contextlib.suppress(Refused):
        assert label_selector(text)({}) in {True, False}


ROW = RunRow(uid="u", namespace="ns", name="abc", created_at=1.0, started_at=1_700_000_000.0)


@pytest.mark.parametrize(
    ("selector", "name_filter", "expected"),
    [
        ("metadata.name=abc", "", True),
        ("metadata.name==ab", "Exact", False),
        ("metadata.name=b", "Contains", True),
        ("metadata.name=ab", "Prefix", True),
        ("metadata.name=bc", "Prefix", False),
        ("metadata.name=abc", "NotEquals", False),
        ("metadata.name!=abc", "", False),
        ("metadata.namespace=ns,metadata.name=abc", "", True),
        ("metadata.namespace=other", "", False),
        ("spec.startedAt>2023-01-01T00:00:00Z", "", True),
        ("spec.startedAt<2023-01-01T00:00:00Z", "", False),
        ("ext.showRemainingItemCount=true", "", True),
    ],
)
def test_field_selectors(selector: str, name_filter: str, expected: bool) -> None:
    assert FieldSelector(selector, name_filter=name_filter)(ROW) is expected


@pytest.mark.parametrize("selector", ["status.phase=Running", "metadata.name>a", "x", "spec.startedAt=2023-01-01T00:00:00Z"])
def test_field_selectors_that_are_not_served(selector: str) -> None:
    with pytest.raises(Refused):
        FieldSelector(selector)


def test_a_name_filter_must_be_known() -> None:
    with pytest.raises(Refused, match="Exact"):
        FieldSelector("metadata.name=a", name_filter="Regex")


def test_times() -> None:
    assert instant("1970-01-01T00:01:00Z") == 60.0
    assert instant("1970-01-01T01:01:00+01:00") == 60.0
    for text in ("", "yesterday", "1970-01-01", "1970-13-01T00:00:00Z"):
        with pytest.raises(Refused):
            instant(text)


VALUE = {
    "metadata": {"name": "n", "labels": {"a": "1"}},
    "items": [{"metadata": {"name": "x", "uid": "u"}, "spec": {}}, {"k": 1}],
}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("metadata.name", {"metadata": {"name": "n"}}),
        ("items.metadata.name,metadata", {"metadata": VALUE["metadata"], "items": [{"metadata": {"name": "x"}}, {}]}),
        ("items,items.metadata.name", {"items": VALUE["items"]}),
        ("nothing", {}),
        ("-items", {"metadata": VALUE["metadata"]}),
        (
            "-items.metadata,metadata.labels",
            {"metadata": {"name": "n"}, "items": [{"spec": {}}, {"k": 1}]},
        ),
        ("", VALUE),
    ],
)
def test_projections(fields: str, expected: object) -> None:
    assert Fields(fields).apply(VALUE) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("items.metadata.name,metadata", True),
        ("metadata", True),
        ("items.metadata.name,items.status.phase,items.metadata.labels", True),
        ("items.metadata.annotations", False),
        ("items.metadata", False),
        ("items", False),
        ("items.spec", False),
        ("-items.metadata.name", False),
        ("", False),
    ],
)
def test_projections_that_need_no_document(fields: str, expected: bool) -> None:
    assert Fields(fields).wants_only_row("items.") is expected


@given(
    st.recursive(st.none() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from("ab"), inner)),
    st.text("ab.,-"),
)
def test_a_projection_never_adds(value: object, fields: str) -> None:
    shown = msgspec.json.encode(Fields(fields).apply(value))
    assert len(shown) <= len(msgspec.json.encode(value))


def test_namespaces_and_names() -> None:
    assert check_namespace("argo") == "argo"
    assert check_name("a.b-c") == "a.b-c"
    for bad in ("", "A", "a_b", "-a", "a/b", "a" * 64, "ä", "a\n"):
        with pytest.raises(Refused):
            check_namespace(bad)
        with pytest.raises(Refused):
            check_name(bad)
    assert generated_name("x-", "abcde") == "x-abcde"
    assert len(generated_name("x" * 80, "abcde")) == 63
    for bad in ("X-", "a_", "a.-", "-", "ä"):
        for _ in range(2):  # what is known of a beginning holds for all names with it
            with pytest.raises(Refused, match="is not valid"):
                generated_name(bad, "abcde")


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ({"name": "wf", "id": "wf", "template_name": "main"}, "wf"),
        ({"name": "wf.a", "id": "wf-123", "template_name": "echo"}, "wf-echo-123"),
        ({"name": "wf[0].a.inline", "id": "wf-9", "template_name": ""}, "wf-9"),
        ({"name": "wf.a", "id": "wf-1", "template_ref": argo.TemplateRef(name="t", template="far")}, "wf-far-1"),
        ({"name": "wf.a", "id": "wf-1", "template_name": "t" * 300}, f"wf-{'t' * 239}-1"),
    ],
)
def test_pod_names(node: dict[str, object], expected: str) -> None:
    assert pod_name("wf", argo.NodeStatus(type="Pod", **node)) == expected


@pytest.mark.parametrize("text", ["far:a/b.tif", "far:dir/", "far:", "my_remote-1:ü b/c"])
def test_references(text: str) -> None:
    ref = parse_ref(text)
    assert str(ref) == text
    assert isinstance(ref, ObjectRef)


@pytest.mark.parametrize(
    "text",
    [
        "", "far", ":a", "far:../x", "far:a/../b", "far:a/..", "far:./a", "far:a//b", "far:/etc/passwd", "far:a\x00b",
        "far:a\nb", ":s3:bucket/x", "far,env_auth=true:x", "-x:a", "/abs:x", "far:\ud800", "far:" + "a" * 5000, "far:a/",
    ],
)  # fmt: skip
def test_references_that_lead_elsewhere(text: str) -> None:
    if text == "far:a/":
        assert parse_ref(text).is_prefix
        return
    with pytest.raises(Refused):
        parse_ref(text)


@given(st.text(max_size=40))
def test_no_reference_leads_out(text: str) -> None:
    try:
        ref = parse_ref(f"far:{text}")
    except Refused:
        return
    assert not ref.path.startswith("/")
    assert ".." not in ref.path.split("/")


@pytest.mark.parametrize("pattern", ["error", "^a.*b$", "(?:foo|bar)", r"\d+ms", "[+*]x", "a{2}", r"\(x\)+", "(abc)+"])
def test_patterns(pattern: str) -> None:
    assert line_filter(pattern)("") in {True, False}
    assert line_filter("b.d")("abcd")


@pytest.mark.parametrize(
    "pattern",
    ["(", "(a+)+", "(a|a)*", "((a*))*", r"(a)\1", "(?=a)b", "a*b*c*d*", "x" * 600, "(?:a+){5}", "(a|b){2,9}", "(.*a){20}"],
)
def test_patterns_that_could_hold_the_server_up(pattern: str) -> None:
    with pytest.raises(Refused, match="grep"):
        line_filter(pattern)


@given(st.text("()|*+?{}[]^$\\.ab1,:", max_size=14))
def test_an_accepted_pattern_is_quick(pattern: str) -> None:
    try:
        matches = line_filter(pattern)
    except Refused:
        return
    began = time.process_time()
    matches("a" * 300 + "!")
    assert time.process_time() - began < 5.0
