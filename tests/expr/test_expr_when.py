import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jitflow.expr import when

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    "text",
    [
        "",
        "true",
        "heads == heads",
        "'heads' == heads",
        "\"a b\" == 'a b'",
        "heads != tails",
        "1.0 == 1",
        "0x10 == 16",
        ".5 < 1",
        "2 > 1 && 3 >= 3 && 1 <= 1 && 1 < 2",
        "abc < abd && b > a && a <= a && a >= a",
        "false || true",
        "(false && nope < 1) == false",
        "true || nope < 1",
        "!false",
        "!(a == b)",
        "x in (a, x)",
        "x IN (x)",
        "2 in (1, 2, 3)",
        "!(x in (a, b))",
        "(1, 2) == (1, 2)",
        "'v1.2' =~ '^v\\\\d'",
        "abc !~ '^b'",
        "1 + 2 * 3 == 7",
        "2 ** 3 == 8",
        "(1 + 2) * 3 == 9",
        "7 - 2 - 1 == 4",
        "7 % 4 == 3",
        "8 / 2 == 4",
        "(6 & 3) == 2",
        "(6 | 3) == 7",
        "(6 ^ 3) == 5",
        "(1 << 3) == 8",
        "(8 >> 2) == 2",
        "~1 == 0 - 2",
        "-1 < 0",
        "a + b == ab",
        "a + 1 == a1",
        "a == a ? true : false",
        "a == b ? false : true",
        "(a == b ? true) ?? true",
        "(a == a ? true) ?? false",
        "1 / 0 > 100",
        "-1 / 0 < 100",
        "[a b] == 'a b'",
        "'a\\'b' == 'a\\'b'",
        "a_b == a_b",
        "ä == ä",
        "1 << 64 == 0",
        "(1 << 100) == 0",
        "(0 - 8) >> 100 == 0 - 1",
        "2 ** 5000 > 1",
        "105531247 ** 2 == 11136844093375008",
        "(0-2) ** 5001 < 0",
    ],
)
def test_true(text: str):
    assert when.evaluate(text) is True


@pytest.mark.parametrize(
    "text",
    [
        "false",
        "a == b",
        "'1' == 1",
        "true == 1",
        "0 / 0 == 0 / 0",
        "0 / 0 < 1",
        "x in (a)",
        "abc =~ d",
        "abc !~ b",
        "!true",
        "1 % 0 == 0",
        "false ? true : false",
        "(0-1) ** 0.5 > 0",
    ],
)
def test_false(text: str):
    assert when.evaluate(text) is False


INVALID = "Invalid 'when' expression '{}': {}"
HINT = ' (hint: try wrapping the affected expression in quotes ("))'
FAILED = "Failed to evaluate 'when' expresion '{}': {}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{{x}} == 1", "Invalid token: '{{'" + HINT),
        ("a ==-1", "Invalid token: '==-'" + HINT),
        ("_a == a", "Invalid token: '_'" + HINT),
        ("a = b", "Invalid token: '='" + HINT),
        ("== a", "Cannot transition token types from UNKNOWN [<nil>] to COMPARATOR [==]"),
        ("10abc == 1", "Cannot transition token types from NUMERIC [10] to VARIABLE [abc]"),
        ("a b", "Cannot transition token types from VARIABLE [a] to VARIABLE [b]"),
        ("f (a)", "Undefined function f"),
        ("a ==", "Unexpected end of expression"),
        ("(a == b", "Unbalanced parenthesis"),
        ("a == b)", "Unbalanced parenthesis"),
        (")(", "Cannot transition token types from UNKNOWN [<nil>] to CLAUSE_CLOSE [41]"),
        ("(a == b))(a == b", "Unbalanced parenthesis"),
        ("a == 'b", "Unclosed string literal"),
        ("[a == b", "Unclosed parameter bracket"),
        ("1.2.3 == 1", "Unable to parse numeric value '1.2.3' to float64"),
        ("0x == 1", "Unable to parse hex value '' to uint64"),
        ("a. == b", "Hanging accessor on token 'a.'"),
        ("!!true", "Invalid token: '!!'" + HINT),
        ("a ] b", "Invalid token: ']'" + HINT),
        ("² == 1", "Invalid token: '²'" + HINT),
        ("a == b : c", "Unexpected token ':'"),
        ("(a) b", "Unexpected token 'b'"),
        ("(a, b c", "Cannot transition token types from VARIABLE [b] to VARIABLE [c]"),
        ("a, b : c", "Unexpected token ':'"),
        ("a == )", "Unbalanced parenthesis"),
        ("(a == )", "Unbalanced parenthesis"),
    ],
)
def test_what_is_no_expression_is_told_as_argo_does(text: str, reason: str):
    with pytest.raises(when.WhenError) as caught:
        when.evaluate(text)
    assert str(caught.value) == INVALID.format(text, reason)
    assert 0 <= caught.value.offset <= len(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a && true", "Value 'a' cannot be used with the logical operator '&&', it is not a bool"),
        ("true && 1", "Value '1' cannot be used with the logical operator '&&', it is not a bool"),
        ("a < 1", "Value 'a' cannot be used with the comparator '<', it is not a number"),
        ("1 =~ a", "Value '1' cannot be used with the comparator '=~', it is not a string"),
        ("a =~ '('", "error parsing regexp: missing closing ): `(`"),
        ("a - 1", "Value 'a' cannot be used with the modifier '-', it is not a number"),
        ("true + 1", "Value 'true' cannot be used with the modifier '+', it is not a number"),
        ("!a", "Value 'a' cannot be used with the prefix '!', it is not a bool"),
        ("-a == 1", "Value 'a' cannot be used with the prefix '-', it is not a number"),
        ("a ? b : c", "Value 'a' cannot be used with the ternary operator '?', it is not a bool"),
        ("a.b == 1", "No parameter 'a' found."),
        ("v1.2 == v1.2", "No parameter 'v1' found."),
        ("(1, false) < 1", "Value '[1 false]' cannot be used with the comparator '<', it is not a number"),
        ("(false ? 1) < 1", "Value '<nil>' cannot be used with the comparator '<', it is not a number"),
    ],
)
def test_values_that_do_not_fit_are_told_as_argo_does(text: str, reason: str):
    with pytest.raises(when.WhenError) as caught:
        when.evaluate(text)
    assert str(caught.value) == FAILED.format(text, reason)


def test_other_values_than_truth_are_refused():
    for text, shown in [
        ("1 + 1", "2"),
        ("a", "a"),
        ("1000000 * 1", "1e+06"),
        ("1, 2", "[1 2]"),
        ("1 / 0", "+Inf"),
        ("0.5", "0.5"),
    ]:
        with pytest.raises(when.WhenError) as caught:
            when.evaluate(text)
        assert str(caught.value) == f"Expected boolean evaluation for '{text}'. Got {shown}"


def test_bounds():
    with pytest.raises(when.WhenError, match="longer than"):
        when.evaluate("a == " + "a" * when.MAX_TEXT)
    for text in (
        "(" * 200 + "true" + ")" * 200,
        "- " * 200 + "1 == 1",
        "1 ? " * 200 + "1",
        "1 == 1 + " + "(" * 99 + "1" + ")" * 99,
        "a ? : b",
        "a ? , b",
    ):
        with pytest.raises(when.WhenError):
            when.evaluate(text)
    long_chain = " || ".join(["a == b"] * 5000) + " || true"
    assert when.evaluate(long_chain)


@given(st.text(alphabet="ab12 .'\"()!=<>~&|?:,+-*/%^[]\\in\n{}", max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_text_gives_truth_or_a_when_error(text: str):
    with contextlib.suppress(when.WhenError):
        assert isinstance(when.evaluate(text), bool)


@given(
    st.recursive(
        st.sampled_from(["1 == 1", "a == b", "true", "2 < 1"]),
        lambda inner: st.builds("({} {} {})".format, inner, st.sampled_from(["&&", "||"]), inner),
        max_leaves=12,
    )
)
@settings(max_examples=100, deadline=None)
def test_logic_agrees_with_python(text: str):
    python = text.replace("a == b", "False").replace("true", "True").replace("&&", "and").replace("||", "or")
    assert when.evaluate(text) is eval(python)
