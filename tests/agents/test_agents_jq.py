"""jq filters: all of the language, within bounds of time and memory."""

import asyncio
import os
import time

import pytest

from jitflow.agents._jq import jq_text
from jitflow.expr.queries import QueryError, check_jq

DOCUMENT = {"metadata": {"name": "wf", "env": "prod"}, "items": [{"n": 1}, {"n": 2}, {"n": 3}]}


def text(expression: str) -> str:
    return asyncio.run(jq_text(expression, DOCUMENT))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (".metadata.name", "wf"),
        (".metadata.env", "prod"),
        ("[range(3)]", "[0,1,2]"),
        ("reduce .items[] as $i (0; . + $i.n)", "6"),
        ("[limit(2; repeat(1))]", "[1,1]"),
        ("[.items | recurse | .n? // empty] | length", "3"),
        ("def twice: . * 2; .items[] | .n | twice", "2\n4\n6"),
        ("[foreach .items[] as $i (0; . + $i.n)] | last", "6"),
        ("[.items[].n | select(. > 1)]", "[2,3]"),
        ('"ä\\(.metadata.name)"', "äwf"),
    ],
)
def test_filters_give_what_jq_gives(expression: str, expected: str) -> None:
    assert text(expression) == expected


def test_a_filter_sees_nothing_of_the_servers_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "SECRET", "hunter2")
    assert text("$ENV.SECRET") == "null"


@pytest.mark.parametrize(
    "expression",
    ["last(repeat(1))", "def f: f; f", "[range(1000000000)] | length", '[limit(40; repeat("x"))] | until(false; . + .)'],
)
def test_a_filter_that_takes_too_much_is_ended(expression: str) -> None:
    began = time.monotonic()
    with pytest.raises(QueryError, match=r"more time or memory than it may|rror"):
        text(expression)
    assert time.monotonic() - began < 30


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(QueryError, match="more than 10000 results"):
        text("range(20000)")
    with pytest.raises(QueryError, match="Cannot index"):
        text(".items.n")


@pytest.mark.pure
@pytest.mark.parametrize("expression", ['import "a" as a; .', 'include "a"; .', '"a" | modulemeta', "get_search_list"])
def test_filters_read_no_files(expression: str) -> None:
    with pytest.raises(QueryError, match="modules"):
        check_jq(expression)
