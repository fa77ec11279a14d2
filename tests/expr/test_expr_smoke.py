import pytest

from jitflow.expr import depends, durations, tags, when
from jitflow.model import argo

pytestmark = pytest.mark.pure


def test_when_compares_words_and_numbers():
    assert when.evaluate("heads == heads")
    assert not when.evaluate("heads == 'tails'")
    assert when.evaluate("3 > 2.5 && x in (a, x) && !(a == b)")
    with pytest.raises(when.WhenError, match="Invalid token"):
        when.evaluate("{{inputs.parameters.x}} == 1")
    with pytest.raises(when.WhenError, match="Expected boolean evaluation for '1 \\+ 1'. Got 2"):
        when.evaluate("1 + 1")


def test_tags_inner_first_and_unknown_stay():
    lookup = {"a.x": "1", "b": "x"}.get
    assert tags.substitute("{{a.{{b}}}} {{ c }} {{=d}}", lookup) == "1 {{ c }} {{=d}}"


def test_struct_values_are_escaped():
    template = argo.Template(name="t", container=argo.Container(image="i", args=("{{x}}",)))
    rendered = tags.compile_struct(template).render({"x": 'a"b\n'}.get)
    assert rendered.container is not None
    assert rendered.container.args == ('a"b\n',)


def test_depends():
    parsed = depends.parse("A.Succeeded && (b-1.Failed || !C)")
    assert parsed.names() == ("A", "b-1", "C")
    done = {("A", "Succeeded"), ("b-1", "Failed")}
    assert parsed.evaluate(lambda task, result: (task, result) in done)


def test_durations():
    assert durations.parse_duration("1h30m") == 5400
    assert durations.parse_duration("20") == 20
    assert durations.parse_quantity("10Mi") == 10 * 1024 * 1024
    assert durations.go_format("%02X", 10) == "0A"
