"""The language of `when`: govaluate as Argo uses it, with bare words read as strings.

`heads == heads`, `'a b' != "c"`, `3 > 2.5`, `x in (a, b)`, `v1 =~ '^v'`, `!(a == b) && 1 + 1 == 2`, `a == b ? true : false`.
Numbers are floats and compare as such; a number and a string are never equal.

One thing differs from govaluate: quoted dates stay strings (there they become times, which compare alike in one notation).
"""

from jitflow.expr.when._errors import WhenError
from jitflow.expr.when._evaluator import Value, show, value_of
from jitflow.expr.when._lexer import MAX_TEXT, tokenize
from jitflow.expr.when._parser import MAX_DEPTH, Expression, parse

__all__ = ["MAX_DEPTH", "MAX_TEXT", "Expression", "Value", "WhenError", "evaluate", "parse", "tokenize", "value_of"]


def evaluate(text: str, *, bare_words: bool = True) -> bool:
    """Return what a `when` text, its tags already replaced, evaluates to; an empty text is true.

    Args:
        text: the condition.
        bare_words: whether a word without quotes is a text, as in steps and tasks; schedules know no such words.

    Raises:
        WhenError: the text is not an expression, or its value is not true or false; the message is Argo's.
    """
    if not text:
        return True
    expression = parse(text, bare_words=bare_words)
    value = value_of(expression, text)
    if not isinstance(value, bool):
        raise WhenError(f"Expected boolean evaluation for '{text}'. Got {show(value)}", offset=0)
    return value
