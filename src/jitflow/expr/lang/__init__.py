"""expr-lang: the language of `{{=…}}` tags, of conditions, of `valueFrom.expression` and `fromExpression`.

`compile_expression(text)` reads an expression once; `Expression.evaluate(env)` gives its value in an environment: a map of names
to JSON-like values, functions, and `Lazy` values that are looked up only as far as they are used.

Deliberate differences from the Go library: an expression is bounded in length, depth, steps and the size of what it makes;
types are checked when it is evaluated, not before; a regular expression is matched in linear time and knows no
back references; a list that `concat` makes of nothing is empty, not nil; `now()` is there only if the environment gives it (this
room reads no clock).
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from jitflow.expr.lang.builtins import FUNCTIONS, now_of
from jitflow.expr.lang.evaluate import Evaluator, names
from jitflow.expr.lang.parser import parse
from jitflow.expr.lang.problems import Failure, LangError, UnknownName
from jitflow.expr.lang.values import Duration, Lazy, Moment, printed, to_json

__all__ = [
    "FUNCTIONS", "Duration", "Expression", "Failure", "LangError", "Lazy", "Moment", "UnknownName", "compile_expression",
    "now_of", "printed", "to_json",
]  # fmt: skip


class Expression:
    """An expression that was read."""

    __slots__ = ("_tree", "names", "text")

    def __init__(self, text: str) -> None:
        """Read the text.

        Raises:
            LangError: it is no expression.
        """
        self.text = text
        self._tree = parse(text)
        self.names = names(self._tree)
        """The names it refers to, as far as they are written out: `tasks.a.outputs.result`."""

    def evaluate(self, env: Mapping[str, Any]) -> Any:
        """Return the value.

        Raises:
            UnknownName: the environment lacks a name.
            LangError: it cannot be evaluated; with the place.
        """
        return Evaluator(self.text, env, FUNCTIONS).value(self._tree)


@lru_cache(maxsize=2048)
def compile_expression(text: str) -> Expression:
    """Return an expression; equal texts are read once.

    Raises:
        LangError: it cannot be read.
    """
    return Expression(text)
