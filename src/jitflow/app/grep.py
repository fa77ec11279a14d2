"""Regular expressions from outside: only those that cannot hold the server up."""

import re
import warnings
from collections.abc import Callable

from jitflow.model.problems import Refused

MAX_PATTERN_CHARS = 512
MAX_SEARCHED_CHARS = 4096
MAX_UNBOUNDED = 3

_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{\d*(?:,\d*)?\}|\(\?[^:)]|[()|*+]|.", re.DOTALL)


def line_filter(pattern: str) -> Callable[[str], bool]:
    """Return the test whether a line matches somewhere; only a line's first 4,096 characters are looked at.

    Raises:
        Refused: the pattern is no regular expression, or could take exponential time.
    """
    if len(pattern) > MAX_PATTERN_CHARS:
        raise Refused(f"the grep pattern is longer than {MAX_PATTERN_CHARS} characters")
    try:
        with warnings.catch_warnings(action="ignore"):  # sets that may mean something else in a later Python
            search = re.compile(pattern).search
    except (re.error, OverflowError, RecursionError) as error:
        raise Refused(f"the grep pattern {pattern!r} is no regular expression: {error}") from error
    _check_cost(pattern)
    return lambda line: search(line[:MAX_SEARCHED_CHARS]) is not None


def _check_cost(pattern: str) -> None:
    """Refuse repeated groups that hold repeats or alternatives, back references, look-arounds, and many repeats."""
    holds: list[bool] = [False]
    repeats = 0
    closed = False
    for token in _TOKEN.findall(pattern):
        is_repeat = token in {"*", "+"} or (len(token) > 1 and token[0] == "{")
        if is_repeat:
            repeats += 1
            if closed or repeats > MAX_UNBOUNDED:
                raise Refused(
                    f"the grep pattern {pattern!r} could take too long; use at most {MAX_UNBOUNDED} repeats (*, +, {{n}}) "
                    "and do not repeat a group that itself holds repeats or alternatives"
                )
            holds[-1] = True
        closed = False
        if token.startswith("(?") or re.fullmatch(r"\\[1-9]", token):
            raise Refused(f"the grep pattern {pattern!r} uses {token!r}; only (?:…) groups and no back references are possible")
        if token == "(":
            holds.append(False)
        elif token == ")" and len(holds) > 1:
            closed = holds.pop()
            holds[-1] = holds[-1] or closed
        elif token == "|":
            holds[-1] = True
