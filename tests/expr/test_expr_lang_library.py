"""The expression language: grammar, operators, functions, limits, errors."""

import math
from typing import Any

import pytest

from jitflow.expr import environment, lang

pytestmark = pytest.mark.pure

ENV: dict[str, Any] = {
    "n": None,
    "v": "str",
    "l": [1, 2, 3],
    "s": ["b", "a"],
    "m": {"a": 1, "b": [1], "in": 2},
    "inputs": {"parameters": {"x": "1", "a-b": "y"}},
    "now": lang.now_of(1_700_000_000.5),
}


def value(text: str) -> Any:
    """Return an expression's value."""
    return lang.compile_expression(text).evaluate(ENV)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3", 7),
        ("-2 ** 2", -4.0),
        ("105531247 ** 2", 11136844093375008.0),
        ("(-3) ** 3", -27.0),
        ("2 ** -2", 0.25),
        ("10 ** 400", math.inf),
        ("(-10) ** 401", -math.inf),
        ("10 ** -400", 0.0),
        ("16 ** 0.5", 4.0),
        ("16 ** -0.5", 0.25),
        ("0 ** -0.5", math.inf),
        ("2 ** 3 ** 0", 2.0),
        ("7 % 3", 1),
        ("-7 % 3", -1),
        ("1 / 2", 0.5),
        ("9223372036854775807 + 1", -(2**63)),
        ("0x1F + 0b11 + 0o7 + 1_000", 1041),
        ("1.5e1", 15.0),
        ("'a' + \"b\" + `c\\n`", "abc\\n"),
        (r"'\x41é\101'", "AéA"),
        ("1 < 2 && 2 <= 2 and not (3 < 2)", True),
        ("1 < 2 < 3", True),
        ("3 > 2 > 2", False),
        ("1 == 1.0", True),
        ("v == 1", False),
        ("2 in l", True),
        ("5 not in l", True),
        ("'a' in m", True),
        ("v matches '^s.r$'", True),
        ("v not contains 'x'", True),
        ("v startsWith 's' && v endsWith 'r'", True),
        ("n ?? 'd'", "d"),
        ("n?.a.b.c", None),
        ("m.a", 1),
        ("m['b'][0]", 1),
        ("m.in", 2),
        ("m.missing", None),
        ("l[-1]", 3),
        ("l[1:]", [2, 3]),
        ("l[:-1]", [1, 2]),
        ("v[1:2]", "t"),
        ("1..3", [1, 2, 3]),
        ("3..1", []),
        ("true ? 1 : 2", 1),
        ("false ?: 2", 2),
        ("if v == 'str' { 1 } else if true { 2 } else { 3 }", 1),
        ("let x = 2; let y = x * 2; y + 1", 5),
        ("1; 2", 2),
        ("l | map(# * 2) | sum()", 12),
        ("filter(l, {# > 1})", [2, 3]),
        ("map([{'a': 1}], .a)", [1]),
        ("map(l, #index)", [0, 1, 2]),
        ("reduce(l, #acc + #)", 6),
        ("reduce(l, #acc + #, 10)", 16),
        ("map(l, filter(l, # > 2)[0] + #)", [4, 5, 6]),
        ("$env.v + $env['v']", "strstr"),
        ("inputs.parameters['a-b']", "y"),
        ("b'ab' == b'ab'", True),
        ("{'a': 1, b: 2, (v): 3}", {"a": 1, "b": 2, "str": 3}),
        ("1 // comment", 1),
        ("/* a */ 1", 1),
        ("::len(l)", 3),
    ],
)
def test_values(text: str, expected: Any) -> None:
    """Operators, literals, members, predicates."""
    found = value(text)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("all(l, # > 0)", True),
        ("any(l, # > 2)", True),
        ("one(l, # > 2)", True),
        ("none(l, # > 3)", True),
        ("find(l, # > 1)", 2),
        ("findIndex(l, # > 1)", 1),
        ("findLast(l, # > 1)", 3),
        ("findLastIndex(l, # < 3)", 1),
        ("count(l, # > 1)", 2),
        ("sum(l)", 6),
        ("mean(l)", 2.0),
        ("median(l)", 2.0),
        ("min(l)", 1),
        ("max(1, 2.5)", 2.5),
        ("abs(-5)", 5),
        ("ceil(1.2)", 2.0),
        ("floor(-1.2)", -2.0),
        ("round(-2.5)", -3.0),
        ("int('12')", 12),
        ("int(1.9)", 1),
        ("float('1.5')", 1.5),
        ("string(1e6)", "1e+06"),
        ("string([1, nil, {'b': 1, 'a': 2.5}])", "[1 <nil> map[a:2.5 b:1]]"),
        ("len('é')", 1),
        ("type(1) + type('') + type([]) + type({}) + type(nil)", "intstringarraymapnil"),
        ("trim('  a ')", "a"),
        ("trim('xax', 'x')", "a"),
        ("trimPrefix('abc', 'a') + trimSuffix('abc', 'c')", "bcab"),
        ("upper('aß') + lower('ÀB')", "Aßàb"),
        ("split('a,b,c', ',', 2)", ["a", "b,c"]),
        ("splitAfter('a,b', ',')", ["a,", "b"]),
        ("replace('aaa', 'a', 'b', 2)", "bba"),
        ("repeat('ab', 2)", "abab"),
        ("join(s, '-')", "b-a"),
        ("indexOf('aba', 'b')", 1),
        ("lastIndexOf('aba', 'a')", 2),
        ("hasPrefix(v, 's') && hasSuffix(v, 'r')", True),
        ("groupBy(l, # > 1)", {False: [1], True: [2, 3]}),
        ("sort(l, 'desc')", [3, 2, 1]),
        ("sortBy([{'a': 2}, {'a': 1}], .a)", [{"a": 1}, {"a": 2}]),
        ("reverse(l)", [3, 2, 1]),
        ("flatten([1, [2, [3]]])", [1, 2, 3]),
        ("uniq([1, 1.0, 'a', 'a'])", [1, "a"]),
        ("concat(l, [4])", [1, 2, 3, 4]),
        ("first(l) + last(l)", 4),
        ("first([])", None),
        ("take(l, 2)", [1, 2]),
        ("keys({'a': 1})", ["a"]),
        ("values({'a': 1})", [1]),
        ("toPairs({'a': 1})", [["a", 1]]),
        ("fromPairs([['a', 1]])", {"a": 1}),
        ("toJSON({'b': [1], 'a': '<'})", '{\n  "a": "\\u003c",\n  "b": [\n    1\n  ]\n}'),
        ("fromJSON('{\"a\": [1, true, null]}')", {"a": [1.0, True, None]}),
        ("toBase64('a')", "YQ=="),
        ("fromBase64('YQ==')", "a"),
        ("bitand(6, 3) + bitor(1, 2) + bitxor(1, 3) + bitnand(3, 1) + bitnot(-1)", 2 + 3 + 2 + 2 + 0),
        ("bitshl(1, 65) + bitshr(-8, 1) + bitushr(-1, 63)", 0 - 4 + 1),
        ("get(l, 9)", None),
        ("get(m, 'a')", 1),
        ("string(duration('1h30m'))", "1h30m0s"),
        ("duration('1h').Minutes()", 60.0),
        ("string(date('2023-08-14') + duration('36h'))", "2023-08-15 12:00:00 +0000 UTC"),
        ("date('2023-08-14').Format('Jan 2, 06')", "Aug 14, 23"),
        ("date('14.08.2023 10:00', '02.01.2006 15:04', 'Europe/Zurich').Unix()", 1692000000),
        ("string(date('2023-08-14').Month())", "August"),
        ("now().Unix()", 1_700_000_000),
        ("now(timezone('America/New_York')).Format('15:04 MST')", "17:13 EST"),
    ],
)
def test_functions(text: str, expected: Any) -> None:
    """Each function of the language."""
    found = value(text)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("text", "message", "column"),
    [
        ("v + 1", "invalid operation: string + int (1:3)", 3),
        ("n.a", "cannot fetch a from <nil> (1:3)", 3),
        ("l[5]", "index out of range: 5 (array length is 3) (1:2)", 2),
        ("1 +", "unexpected token EOF", 3),
        ("(1", "unexpected token EOF", 2),
        ("v ? 1 : 2", "interface conversion: interface {} is string, not bool", 1),
        ("n ?? 1 + 2", "Operator (+) and coalesce expressions (??) cannot be mixed. Wrap either by parentheses. (1:8)", 8),
        ("#", "cannot use pointer accessor outside predicate", 1),
        ("5 % 0", "integer divide by zero", 3),
        ("'a", "literal not terminated", 1),
        ("let len = 1; 2", "cannot redeclare builtin len", 5),
        ("let a = 1; let a = 2; a", "cannot redeclare variable a", 16),
        ("len()", "not enough arguments to call len (expected 1, got 0)", 1),
        ("int('a')", "invalid operation: int(a)", 1),
        ("map(l, .a)", "cannot fetch a from int", 9),
        ("m.a()", "cannot call int", 3),
        ("v matches '('", "error parsing regexp", 3),
        ("\n  v - 1", "invalid operation: string - int (2:5)", 5),
    ],
)
def test_errors_say_what_and_where(text: str, message: str, column: int) -> None:
    """An error has a message and a place."""
    with pytest.raises(lang.LangError) as caught:
        value(text)
    assert message in str(caught.value)
    assert caught.value.column == column
    assert not isinstance(caught.value, lang.UnknownName)


def test_an_unknown_name_is_told_apart() -> None:
    """A missing identifier is no error like others."""
    with pytest.raises(lang.UnknownName) as caught:
        value("1 + missing.x")
    assert caught.value.name == "missing"
    assert str(caught.value) == "unknown name missing (1:5)"


@pytest.mark.parametrize(
    ("text", "names", "calls"),
    [
        ("inputs.parameters.x + inputs.parameters['a-b']", {"inputs.parameters.x", "inputs.parameters.a-b"}, set[str]()),
        ("sprig.trim(item.a) + asInt(item)", {"item.a", "item"}, {"sprig.trim", "asInt"}),
        ("let x = a.b; x.c + y", {"a.b", "y"}, set[str]()),
        ("steps[z].outputs.result", {"steps", "z"}, set[str]()),
        ("a?.b?.['c'][0]", {"a.b.c"}, set[str]()),
        ("map(l, #.x + k)", {"l", "k"}, set[str]()),
        ("$env['a'].b", {"a.b"}, set[str]()),
        ("len(x)", {"x"}, set[str]()),
    ],
)
def test_names_that_are_read(text: str, names: set[str], calls: set[str]) -> None:
    """The dotted references of an expression, for validation and looking ahead."""
    expression = lang.compile_expression(text)
    assert set(expression.names) == names
    assert set(expression.calls) == calls


@pytest.mark.parametrize(
    "text",
    [
        "repeat('a', 1000000000)",
        "repeat(repeat('a', 1000000), 1000000)",
        "1..9223372036854775807",
        "map(1..1000, map(1..1000, map(1..1000, #)))",
        "reduce(1..100, #acc + #acc, 'aaaaaaaaaaaaaaaa')",
        "reduce(1..100, concat(#acc, #acc), [1])",
        "2 ** 2 ** 2 ** 2 ** 2 ** 2 ** 1..99999999",
        "uniq(1..100000)",
        "toJSON(reduce(1..10000, [#acc], []))",
        "string(reduce(1..10000, [#acc], []))",
        "reduce(1..10000, [#acc], []) == reduce(1..10000, [#acc], [1])",
        "flatten(reduce(1..10000, [#acc], []))",
        "fromJSON(repeat('[', 100000))",
        "replace(repeat('a', 1000000), 'a', repeat('b', 1000000))",
        "toJSON(reduce(1..40, [#acc, #acc], []))",
        "string(reduce(1..40, [#acc, #acc], []))",
        "reduce(1..40, [#acc, #acc], []) == reduce(1..40, [#acc, #acc], [])",
        "join(map(1..1000, repeat('a', 100000)))",
    ],
)
def test_what_would_take_too_much_is_refused(text: str) -> None:
    """No expression hangs the service or eats its memory."""
    with pytest.raises(lang.LangError):
        value(text)


def test_regular_expressions_take_linear_time() -> None:
    """A pattern that would keep a backtracking matcher busy for years."""
    assert value("repeat('a', 100000) matches '(a*)*b'") is False
    with pytest.raises(lang.LangError):
        value("map(1..1000, repeat('a', 10000) matches '(a*)*b')")


TOO_LARGE = ("(" * 500 + "1" + ")" * 500, "-" * 500 + "1", "a" + ".b" * 500, "[" * 500, "1" + " " * 70_000, "if true {" * 200)


@pytest.mark.parametrize("text", TOO_LARGE)
def test_expressions_that_are_too_large_are_refused(text: str) -> None:
    """Nesting and length have bounds."""
    with pytest.raises(lang.LangError):
        lang.compile_expression(text)


def test_long_chains_are_no_nesting() -> None:
    """A chain of operators may be long."""
    assert value(" + ".join(["1"] * 2000)) == 2000
    assert value(" && ".join(["true"] * 2000)) is True
    assert value(" ?? ".join(["n"] * 999 + ["7"])) == 7


def test_equal_texts_are_compiled_once() -> None:
    """Compiled expressions are remembered."""
    assert lang.compile_expression("1 + 41") is lang.compile_expression("1 + 41")


def test_the_time_must_be_given() -> None:
    """The language reads no clock."""
    with pytest.raises(lang.UnknownName, match="unknown name now"):
        lang.compile_expression("now()").evaluate({})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sprig.regexFindAll('[2,4,6,8]', '123456789', -1)", ["2", "4", "6", "8"]),
        ("sprig.regexFindAll('a.', 'abacad', 2)", ["ab", "ac"]),
        ("sprig.regexFind('[a-zA-Z][1-9]', 'abcd1234')", "d1"),
        ("sprig.regexFind('x', 'abc')", ""),
        ("sprig.regexReplaceAll('a(x*)b', '-ab-axxb-', '${1}W')", "-W-xxW-"),
        ("sprig.regexReplaceAll('a(x*)b', '-ab-axxb-', '$1W')", "---"),
        ("sprig.regexReplaceAll('(?P<n>x)', 'axb', '<${n}>$$')", "a<x>$b"),
        ("sprig.regexReplaceAllLiteral('a(x*)b', '-ab-axxb-', '${1}')", "-${1}-${1}-"),
        ("sprig.regexSplit('z+', 'pizza', -1)", ["pi", "a"]),
        ("sprig.regexSplit('', 'abc', -1)", ["a", "b", "c"]),
        ("sprig.regexSplit(',', 'a,b,c', 2)", ["a", "b,c"]),
        ("sprig.mustRegexFind('b+', 'abb')", "bb"),
        ("sprig.toRawJson('<')", '"<"'),
        ("sprig.osBase('/a/b') + sprig.trimall('$', '$5$')", "b5"),
    ],
)
def test_sprigs_regular_expressions(text: str, expected: Any) -> None:
    """The examples of sprig's documentation and what they leave out."""
    assert lang.compile_expression(text).evaluate(environment.at(0.0)) == expected
