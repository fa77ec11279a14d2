"""The expression language of Argo Workflows: expr-lang (the Go library, 1.17) over Python values.

    compile_expression("inputs.parameters.n | int() > 3 ? 'many' : 'few'").evaluate({"inputs": {"parameters": {"n": "4"}}})

An expression is parsed once (`compile_expression` remembers), turned into closures, and may then be evaluated often. Evaluating
reads no clock and draws no random number: the environment gives `now`. All work is bounded: see `frame`.

What differs from the Go library, deliberately:

- Types are checked when an operator meets its values, not before: `true || "a" + 1` is true here and an error there.
- Nothing is simplified before it runs: `v && true` with a text `v` is an error here; the library drops `&& true`.
- A map that `groupBy` or `fromPairs` made can be marshalled to JSON (keys as text); there it cannot.
- `keys`, `values` and `toPairs` give the order of the map's making, there any order.
- `sort` and `sortBy` keep equal elements in order; there they may change places.
- One element of a text (`"abc"[0]`) is a number, also of a literal; there an element of a literal is refused.
- A time of day without a date lies in the year 1, there in the year 0; years end with 9999.
- `map`, `filter` and the like take arrays only, there also the bytes of a text.
- A slice that cuts a character in two gives the replacement character, there half of it.
- `get` of a map with a key that is no text gives nil, there an error.
- Methods exist on times and durations only, integers have 64 bits, a function cannot be a value.
- Limits: 64 KiB of expression, nesting of 80, 1,000,000 steps, 16 MiB in one text, `expr.regex` patterns.
"""

from collections.abc import Mapping
from functools import lru_cache

from jitflow.expr.lang.clock import now_of
from jitflow.expr.lang.compiler import Compiler
from jitflow.expr.lang.frame import Frame, Lazy, Value
from jitflow.expr.lang.lexer import MAX_TEXT
from jitflow.expr.lang.parser import MAX_DEPTH, parse
from jitflow.expr.lang.problems import Failure, LangError, UnknownName
from jitflow.expr.lang.references import references
from jitflow.expr.lang.values import Duration, Moment, printed
from jitflow.expr.lang.values import to_json as _to_json

__all__ = [
    "MAX_DEPTH", "MAX_TEXT", "Duration", "Expression", "Failure", "LangError", "Lazy", "Moment", "UnknownName", "Value",
    "compile_expression", "now_of", "printed", "to_json",
]  # fmt: skip


class Expression:
    """A compiled expression.

    `names`: what it reads of the environment, dotted (`inputs.parameters.x`); `calls`: what it calls there (`sprig.trim`).
    """

    __slots__ = ("_code", "_room", "calls", "names", "text")

    def __init__(self, text: str) -> None:
        """Compile a text.

        Raises:
            LangError: it is not an expression.
        """
        self.text = text
        tree = parse(text)
        compiler = Compiler(text)
        self._code = compiler.code(tree)
        self._room = compiler.room
        self.names, self.calls = references(tree)

    def evaluate(self, env: Mapping[str, Value]) -> Value:
        """Return the expression's value.

        Args:
            env: the names it may read: nil, bool, int, float, str, bytes, lists and mappings of them, functions (any callable),
                and `Lazy` values, which are looked up only as far as they are used.

        Raises:
            UnknownName: a name is not there.
            LangError: the values do not fit the operators, or the work is too much.
        """
        try:
            return self._code(Frame(env, self._room))
        except RecursionError as error:
            raise LangError("the values nest too deeply", text=self.text, offset=0) from error
        except Failure as fault:
            raise LangError(str(fault), text=self.text, offset=0) from fault


@lru_cache(maxsize=4096)
def compile_expression(text: str) -> Expression:
    """Return a compiled expression; equal texts are compiled once.

    Raises:
        LangError: the text is not an expression.
    """
    return Expression(text)


def to_json(value: Value) -> str:
    """Return the JSON of an expression's value, as Go marshals it.

    Raises:
        LangError: JSON has no such value.
    """
    try:
        return _to_json(value)
    except RecursionError as error:
        raise LangError("the value nests too deeply") from error
    except Failure as fault:
        raise LangError(str(fault)) from fault
