"""expr-lang: the language by examples, its limits, and beside the library that Argo uses."""

import importlib.util
import json
import math
import random
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jitflow.expr import environment
from jitflow.expr.lang import LangError, UnknownName, compile_expression, now_of
from jitflow.expr.lang.parser import MAX_DEPTH

pytestmark = pytest.mark.pure

ENV: dict[str, Any] = {
    "a": 7, "b": 2, "f": 2.5, "s": "hello", "t": "Wor ld", "e": "", "yes": True, "no": False, "l": [3, 1, 2],
    "m": {"x": {"y": "z"}, "n": 5},
    "w": ["b", "a"], "o": [{"k": "p", "v": 1}, {"k": "q", "v": 2}, {"k": "p", "v": 3}], "nothing": None,
}  # fmt: skip


def value(text: str, **more: Any) -> Any:
    return compile_expression(text).evaluate({**ENV, **more})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3 - 4 / 2", 5.0),
        ("7 % 3 + a", 8),
        ("2 ** 3 ** 2", 512.0),
        ("-a + +b", -5),
        ("a > b && !(f < 1) or no", True),
        ("s + ' ' + t", "hello Wor ld"),
        ("s matches '^h.*o$' and s contains 'ell' and s startsWith 'he' and s endsWith 'lo'", True),
        ("a in [1, 7] && a not in 1..3 && 'x' in m", True),
        ("yes ? 'p' : 'q'", "p"),
        ("nothing ?? 'd'", "d"),
        ("m?.x?.y", "z"),
        ("nothing?.x.y", None),
        ("m['x'].y + m.x['y']", "zz"),
        ("l[0] + l[-1] + len(l[1:])", 7),
        ("s[1:3]", "el"),
        ("filter(l, # > 1) | map({# * 2}) | sum()", 10),
        ("map(o, .v)", [1, 2, 3]),
        ("groupBy(o, .k) | keys() | sort()", ["p", "q"]),
        ("sortBy(o, .v, 'desc')[0].v", 3),
        ("reduce(l, #acc + #, 10)", 16),
        ("find(l, # < 3)", 1),
        ("count(l, # > 1)", 2),
        ("all(l, # > 0) and any(l, # == 2) and none(l, # > 5) and one(l, # == 3)", True),
        ("let x = a * 2; let y = x + 1; x + y", 29),
        ("if a > 10 { 'big' } else if a > 5 { 'middle' } else { 'small' }", "middle"),
        ("upper(s) + lower(t) + trim('  q ')", "HELLOwor ldq"),
        ("split('a,b,c', ',') | join('-')", "a-b-c"),
        ("replace(s, 'l', 'L') + repeat('ab', 2)", "heLLoabab"),
        ("toJSON({'b': 1, 'a': [true, nil]}) | fromJSON()", {"b": 1, "a": [True, None]}),
        ("string(1.0) + string(true) + string(nil)", "1true<nil>"),
        ("int('42') + int(2.9)", 44),
        ("float('1.5') + abs(-2)", 3.5),
        ("ceil(1.2) + floor(1.8) + round(2.5)", 6.0),
        ("min(3, 1, 2) + max([4, 9])", 10),
        ("toBase64('hi') | fromBase64()", "hi"),
        ("flatten([1, [2, [3]]]) == concat([1], [2, 3])", True),
        ("first([]) == nil && last(l) == 2", True),
        ("duration('1h30m').Minutes()", 90.0),
        ("int(date('2024-02-29').Month())", 2),
        ("(date('2024-03-01') - date('2024-02-29')).Hours()", 24.0),
        ("1 == 1.0 && true != 1", True),
        ("bitand(6, 3) + bitor(4, 1)", 7),
        ("`raw \\n` + \"\\u00e9\\n\"", "raw \\né\n"),
        ("// note\n1 /* two */ + 2", 3),
        ("get(m, 'gone') ?? get(l, 9) ?? 'd'", "d"),
    ],
)  # fmt: skip
def test_the_language_by_examples(text: str, expected: Any):
    assert value(text) == expected


@pytest.mark.parametrize(
    ("text", "message", "column"),
    [
        ("1 +", "unexpected token EOF", 3),
        ("a b", 'unexpected token Identifier("b")', 3),
        ("foo(", "unexpected token EOF", 4),
        ("'abc", "literal not terminated", 1),
        ("1 + 'x'", "invalid operation: int + string", 3),
        ("yes + no", "invalid operation: bool + bool", 5),
        ("!a", "interface {} is int, not bool", 1),
        ("a ? 1 : 2", "interface {} is int, not bool", 1),
        ("nosuch + 1", "unknown name nosuch", 1),
        ("nosuch(1)", "unknown name nosuch", 1),
        ("l[9]", "index out of range: 9", 2),
        ("nothing.x", "cannot fetch x from <nil>", 9),
        ("1 % 0", "integer divide by zero", 3),
        ("fromJSON('{')", "invalid JSON", 1),
        ("# > 1", "outside predicate", 1),
        ("99999999999999999999", "out of range", 1),
        ("", "unexpected token EOF", 1),
        ("upper(a)", "interface {} is int, not string", 1),
        ("s matches '('", "", 3),
    ],
)
def test_errors_name_their_place(text: str, message: str, column: int):
    with pytest.raises(LangError) as caught:
        value(text)
    assert message in caught.value.message
    assert (caught.value.line, caught.value.column) == (1, column)


def test_unknown_names_are_told_apart():
    with pytest.raises(UnknownName) as caught:
        value("1 + gone.inside")
    assert caught.value.name == "gone"
    assert compile_expression("a.b['c'] + filter(tasks['x-y'].outputs, # > 1)").names == {"a.b.c", "tasks.x-y.outputs"}


@pytest.mark.parametrize(
    "text",
    [
        "(" * (MAX_DEPTH + 5) + "1" + ")" * (MAX_DEPTH + 5),
        "repeat('a', 100000000)",
        "1..100000000",
        "map(1..100000, map(1..100000, #))",
        "reduce(1..40, #acc + #acc, 'aaaaaaaa')",
        "'x' matches '" + "(a*)*" * 500 + "'",
        "a" * 30_000,
        "replace(repeat('a', 900000), 'a', repeat('b', 1000))",
    ],
)
def test_nothing_runs_away(text: str):
    with pytest.raises(LangError):
        value(text)


def test_the_clock_is_the_callers():
    assert value("now().Unix()", now=now_of(1_700_000_000.0)) == 1_700_000_000
    with pytest.raises(UnknownName):
        value("now()")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("asInt('12') * 2 + asFloat('0.5')", 24.5),
        ("jsonpath('{\"a\": [{\"b\": 3}]}', '$.a[0].b')", 3),
        ("toJson(filter([1, 3], {# > 1}))", "[3]"),
        ("sprig.upper(sprig.trim(' x ')) + sprig.trunc(2, 'abc')", "Xab"),
        ("sprig.default('d', '') + sprig.ternary('y', 'n', true)", "dy"),
        ("sprig.date('2006-01', '2024-05-06T07:08:09Z')", "2024-05"),
        ("sprig.add(1, '2', 3) + sprig.int64('4')", 10),
        ("sprig.join('-', sprig.list('a', 'b'))", "a-b"),
        ("sprig.sha256sum('x')[:8]", "2d711642"),
        ("sprig.printf('%s-%03d', 'a', 7)", "a-007"),
        ("sprig.regexMatch('^a+$', 'aaa') && sprig.has(2, [1, 2])", True),
    ],
)
def test_argos_own_functions(text: str, expected: Any):
    assert compile_expression(text).evaluate(environment.at(0.0)) == expected


@pytest.mark.parametrize("name", ["env", "expandenv", "genCA", "randAlpha", "getHostByName", "derivePassword"])
def test_what_sprig_does_that_an_expression_must_not_is_left_out(name: str):
    with pytest.raises(LangError):
        compile_expression(f"sprig.{name}('x')").evaluate(environment.at(0.0))


@given(st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_text_is_an_expression_or_an_error_with_a_place(text: str):
    with suppress(LangError):
        value(text)


@given(st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_every_error_has_a_place(text: str):
    with pytest.raises(LangError) as caught:
        value(text + " ] (")
    assert caught.value.line >= 1
    assert caught.value.column >= 1


# -- beside the Go library --------------------------------------------------------------------------------------------

ATOMS = {
    "number": ["1", "0", "7", "2.5", "a", "b", "f", "len(l)", "l[0]", "m.n", "-3"],
    "text": ["'x'", "s", "t", "e", "w[0]", "m.x.y"],
    "bool": ["true", "false", "yes", "no"],
    "list": ["l", "[1, 2]", "[]", "1..3"],
}


def generated(rng: random.Random, kind: str, depth: int) -> str:
    """Return a well-typed expression."""
    if depth == 0 or rng.random() < 0.2:
        return rng.choice(ATOMS[kind])

    def sub(of: str) -> str:
        return generated(rng, of, depth - 1)

    match kind:
        case "number":
            forms = [
                lambda: f"({sub('number')} {rng.choice('+-*')} {sub('number')})",
                lambda: f"(({sub('bool')}) ? {sub('number')} : {sub('number')})",
                lambda: f"sum({sub('list')})",
                lambda: f"len({rng.choice([sub('list'), sub('text')])})",
                lambda: f"count({sub('list')}, # {rng.choice(['>', '<', '=='])} {sub('number')})",
                lambda: f"abs({sub('number')})",
                lambda: f"max({sub('number')}, {sub('number')})",
            ]
        case "text":
            forms = [
                lambda: f"({sub('text')} + {sub('text')})",
                lambda: f"{rng.choice(['upper', 'lower', 'trim'])}({sub('text')})",
                lambda: f"(({sub('bool')}) ? {sub('text')} : {sub('text')})",
                lambda: f"replace({sub('text')}, 'l', {sub('text')})",
                lambda: f"string({rng.choice([sub('bool'), 'a', 'len(s)'])})",
                lambda: f"join(w, {sub('text')})",
            ]
        case "bool":
            forms = [
                lambda: f"({sub('number')} {rng.choice(['<', '>', '<=', '>=', '==', '!='])} {sub('number')})",
                lambda: f"({sub('text')} {rng.choice(['==', '!=', '<', 'contains', 'startsWith', 'endsWith'])} {sub('text')})",
                lambda: f"(({sub('bool')}) {rng.choice(['&&', '||', 'and', 'or'])} ({sub('bool')}))",
                lambda: f"(not ({sub('bool')}))",
                lambda: f"({sub('number')} in {sub('list')})",
                lambda: f"{rng.choice(['all', 'any', 'none', 'one'])}({sub('list')}, # > {sub('number')})",
            ]
        case _:
            forms = [
                lambda: f"filter({sub('list')}, # {rng.choice(['>', '<', '!='])} {sub('number')})",
                lambda: f"map({sub('list')}, # * 2)",
                lambda: f"concat({sub('list')}, {sub('list')})",
                lambda: f"reverse({sub('list')})",
            ]
    return rng.choice(forms)()


def same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, float) or isinstance(theirs, float):
        if not all(isinstance(one, int | float) and not isinstance(one, bool) for one in (ours, theirs)):
            return False
        return math.isclose(ours, theirs, rel_tol=1e-9, abs_tol=1e-9)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return ours == theirs and type(ours) is type(theirs)


@pytest.mark.skipif(importlib.util.find_spec("golem") is None, reason="enchanter-golem, the Go library, has no build here")
@pytest.mark.parametrize("seed", range(4))
def test_the_go_library_gives_the_same_values(seed: int):
    import golem

    env = {name: known for name, known in json.loads(json.dumps(ENV)).items() if known is not None}
    engine = golem.Engine(strict_vars=False)
    rng = random.Random(seed)
    compared = 0
    for number in range(600):
        kind = ("number", "text", "bool", "list")[number % 4]
        text = generated(rng, kind, 4)
        text = f"toJSON({text})" if kind == "list" else text
        try:
            theirs = engine.eval(text, env)
        except Exception:  # the library's own errors, of many types: it refuses, for example, to mix lists of several types
            continue
        if "null" in str(theirs):
            continue  # an empty list that `concat` made is nil in Go, see the differences
        assert same(value(text), theirs), (text, value(text), theirs)
        compared += 1
    assert compared > 500


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        ("toJSON(concat([]))", "[]"),  # Go: null, for the slice was never made
        ("reduce(1..3, #acc + #) matches '^6$'", LangError),  # types are checked when it is evaluated, as here
        ("'aa' matches '(a)\\\\1'", LangError),  # no back references
        ("now()", UnknownName),  # the environment gives the clock
    ],
)
def test_the_differences_are_deliberate(text: str, ours: Any):
    if isinstance(ours, str):
        assert value(text) == ours
    else:
        with pytest.raises(ours):
            value(text)
