import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jitflow.expr import depends
from jitflow.expr.depends import Result

pytestmark = pytest.mark.pure


def holds(text: str, *facts: str, **forgiven: tuple[str, ...]) -> bool:
    return depends.parse(text).evaluate(lambda task, result: f"{task}.{result}" in facts, forgiven)


@pytest.mark.parametrize("fact", ["A.Succeeded", "A.Skipped", "A.Daemoned"])
def test_a_bare_name_accepts_what_dependencies_accept(fact: str):
    assert holds("A", fact)
    assert not holds("A", "A.Omitted", "A.Failed", "A.Errored")


def test_continue_on_widens_bare_names_only():
    assert holds("A", "A.Failed", A=("Failed",))
    assert not holds("A.Succeeded", "A.Failed", A=("Failed",))


@pytest.mark.parametrize(
    ("text", "facts", "expected"),
    [
        ("", (), True),
        ("  ", (), True),
        ("a-b.Failed", ("a-b.Failed",), True),
        ("A.Succeeded && (B.Failed || !C.Omitted)", ("A.Succeeded",), True),
        ("A.Succeeded && (B.Failed || !C.Omitted)", ("A.Succeeded", "C.Omitted"), False),
        ("A.Failed || B.Failed && C.Failed", ("A.Failed",), True),
        ("(A.Failed || B.Failed) && C.Failed", ("A.Failed",), False),
        ("!!A.Failed", ("A.Failed",), True),
        ("A.AnySucceeded&&!A.AllFailed", ("A.AnySucceeded",), True),
    ],
)
def test_logic(text: str, facts: tuple[str, ...], *, expected: bool):
    assert holds(text, *facts) is expected


def test_names_and_results_are_told_once_in_order():
    parsed = depends.parse("b-1.Failed || A && (!b-1.Succeeded || A)")
    assert parsed.names() == ("b-1", "A")
    assert parsed.results() == (Result("b-1", "Failed"), Result("A"), Result("b-1", "Succeeded"))


def test_dependencies_are_bare_names_together():
    listed = depends.from_dependencies(["A", "B"])
    assert listed.names() == ("A", "B")
    assert listed.evaluate(lambda task, result: result == "Succeeded")
    assert not listed.evaluate(lambda task, result: task == "A" and result == "Succeeded")
    assert depends.from_dependencies([]).evaluate(lambda task, result: False)


@pytest.mark.parametrize(
    ("text", "message", "offset"),
    [
        ("A &&", "unexpected end of depends 'A &&'", 4),
        ("A B", "unexpected 'B' in depends 'A B'", 2),
        ("A & B", "unexpected '&' in depends 'A & B'", 2),
        ("A.Finished", "task result 'Finished' for task 'A' is invalid", 0),
        ("(A", "unexpected end of depends '(A'", 2),
        ("A)", "unexpected ')' in depends 'A)'", 1),
        ("A || || B", "unexpected '||' in depends 'A || || B'", 5),
        ("A\n  $", "unexpected '$' in depends 'A\n  $'", 4),
    ],
)
def test_errors_say_what_and_where(text: str, message: str, offset: int):
    with pytest.raises(depends.DependsError) as caught:
        depends.parse(text)
    assert (str(caught.value), caught.value.offset) == (message, offset)


def test_bounds():
    for text in ("!" * 200 + "A", "(" * 200 + "A" + ")" * 200, "A" * (depends.MAX_TEXT + 1)):
        with pytest.raises(depends.DependsError):
            depends.parse(text)
    assert len(depends.parse(" && ".join(f"t{i}" for i in range(5000))).names()) == 5000


@given(st.text(alphabet="AB-.&|!() SuccedFaild1", max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_text_parses_or_gives_a_depends_error(text: str):
    with contextlib.suppress(depends.DependsError):
        parsed = depends.parse(text)
        assert parsed.evaluate(lambda task, result: True) in {True, False}
