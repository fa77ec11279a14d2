import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jitflow.expr import tags
from jitflow.model import argo

pytestmark = pytest.mark.pure

VALUES = {"a": "1", "b": "x", "a.x": "deep", "list": "{{a}}", "quote": '"\\\n\t', "ü": "ö", "half": "\ud800"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("plain", "plain"),
        ("{{a}}", "1"),
        ("<{{ a }}{{b}}>", "<1x>"),
        ("{{a.{{b}}}}", "deep"),
        ("{{unknown.{{b}}}}", "{{unknown.x}}"),
        ("{{unknown}}", "{{unknown}}"),
        ("{{list}}", "{{a}}"),
        ("{{=a}}", "{{=a}}"),
        ("{{ = {{a}} }}", "{{ = 1 }}"),
        ("{{a", "{{a"),
        ("a}} {{a}}", "a}} 1"),
        ("{{ {{a}}", "{{ 1"),
        ("{{{a}}}", "{{{a}}}"),
        ("{}{{a}}{}", "{}1{}"),
        ("{{ü}}", "ö"),
        ("{{}}", "{{}}"),
    ],
)
def test_substitution_is_argos(text: str, expected: str):
    assert tags.substitute(text, VALUES.get) == expected


def test_unresolved_tags_can_be_refused():
    with pytest.raises(tags.TagError, match=r"failed to resolve \{\{nope\}\}") as caught:
        tags.substitute("{{a}} {{nope}}", VALUES.get, allow_unresolved=False)
    assert caught.value.tag == "nope"
    with pytest.raises(tags.TagError):
        tags.substitute_struct(argo.EnvVar(name="x", value="{{=a}}"), VALUES.get, allow_unresolved=False)


def test_find_tells_outer_tags_and_find_all_inner_ones_first():
    text = "a {{ b }} {{=c}} {{d.{{e}}}}"
    found = tags.find(text)
    assert [tag.name for tag in found] == ["b", "=c", "d.{{e}}"]
    assert [tag.is_expression for tag in found] == [False, True, False]
    assert [tag.is_nested for tag in found] == [False, False, True]
    assert [text[tag.start : tag.end] for tag in found] == ["{{ b }}", "{{=c}}", "{{d.{{e}}}}"]
    assert [tag.name for tag in tags.find_all(text)] == ["b", "=c", "e", "d.{{e}}"]
    assert tags.find("none") == ()
    assert list(tags.find_all("none")) == []


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("{{a}}", "a"),
        ("{{ a.b }}", "a.b"),
        ("x{{a}}", None),
        ("{{a}}x", None),
        ("{{a}}{{b}}", None),
        ("{{=a}}", None),
        ("{{a.{{b}}}}", None),
    ],
)
def test_a_text_that_is_one_tag_is_told(text: str, name: str | None):
    assert tags.is_pure_tag(text) == name


def test_values_go_into_structs_json_escaped_and_stay_strings():
    retry = argo.RetryStrategy(limit="{{a}}")
    template = argo.Template(
        name="t",
        retry_strategy=retry,
        container=argo.Container(image="i", args=("{{quote}}", "{{half}}", "ä{{ü}}")),
        metadata=argo.Metadata(labels={"k-{{b}}": "v"}),
    )
    rendered = tags.compile_struct(template).render(VALUES.get)
    assert rendered.container is not None
    assert rendered.container.args == ('"\\\n\t', "?", "äö")
    assert rendered.retry_strategy is not None
    assert rendered.retry_strategy.limit == "1"
    assert rendered.metadata is not None
    assert rendered.metadata.labels == {"k-x": "v"}


def test_a_struct_without_tags_is_its_own_rendering():
    template = argo.Template(name="t")
    compiled = tags.compile_struct(template)
    assert compiled.names == ()
    assert compiled.render(VALUES.get) is template
    assert tags.compile_struct(argo.EnvVar(name="{{a}}", value="{{x.{{b}}}}")).names == ("a", "b", "x.{{b}}")


def test_braces_nested_too_deep_are_text():
    deep = "{{" * 40 + "a" + "}}" * 40
    assert tags.substitute(deep, VALUES.get).count("1") == 0
    assert "1" in tags.substitute("{{" * 3 + "a" + "}}" * 3, VALUES.get)


@given(st.text(alphabet='{}=a. "\\x', max_size=60), st.dictionaries(st.text("ax", max_size=2), st.text(max_size=10)))
@settings(max_examples=200, deadline=None)
def test_any_text_renders_alone_and_in_a_struct(text: str, values: dict[str, str]):
    assert isinstance(tags.substitute(text, values.get), str)
    struct = argo.EnvVar(name="n", value=text)
    rendered = tags.substitute_struct(struct, values.get)
    assert isinstance(rendered, argo.EnvVar)
    if not values:
        assert rendered == struct
        assert tags.substitute(text, values.get) == text


@given(st.text(max_size=50))
@settings(max_examples=200, deadline=None)
def test_any_value_comes_back_from_json(value: str):
    escaped = tags.escape_json(value)
    assert msgspec.json.decode(f'"{escaped}"') == value.encode("utf-8", "replace").decode()
