"""What sprig does with regular expressions: find, replace, split, as Go's `regexp` does it."""

import re
from functools import partial
from typing import Any, Final

from jitflow.expr import regex
from jitflow.expr.lang.problems import Failure
from jitflow.expr.lang.values import MAX_SIZE

_REFERENCE: Final = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)\})")


def _matches(pattern: str, text: str, count: int = -1) -> tuple[regex.Regex, list[tuple[int, ...]]]:
    try:
        compiled = regex.compile_regex(pattern)
        return compiled, compiled.find_all(text, count)
    except regex.RegexError as error:
        raise Failure(f"error parsing regexp: {error}") from error


def find_all(pattern: str, text: str, count: int) -> list[str]:
    """Return the texts of all matches, the first `count` if that is not negative.

    Raises:
        Failure: no pattern, or it takes too long.
    """
    return [text[match[0] : match[1]] for match in _matches(pattern, text, count)[1]] if count else []


def find(pattern: str, text: str) -> str:
    """Return the text of the first match, an empty one when there is none."""
    return next(iter(find_all(pattern, text, 1)), "")


def replace(pattern: str, text: str, new: str, *, literal: bool = False) -> str:
    """Return a text with all matches replaced; `$1`, `${1}` and `${name}` stand for groups unless `literal`.

    Raises:
        Failure: no pattern, or the result is too large.
    """
    compiled, matches = _matches(pattern, text)
    parts: list[str] = []
    at = size = 0
    for match in matches:
        parts += [text[at : match[0]], new if literal else _expanded(new, text, match, compiled.names)]
        size += len(parts[-1])
        if size > MAX_SIZE:
            raise Failure(f"the result is larger than {MAX_SIZE} characters")
        at = match[1]
    return "".join(parts) + text[at:]


def _expanded(new: str, text: str, match: tuple[int, ...], names: dict[str, int]) -> str:
    def group(found: re.Match[str]) -> str:
        if found[1]:
            return "$"
        name = found[2] or found[3]
        number = int(name) if name.isdecimal() and len(name) < 9 else names.get(name, -1)
        if not 0 <= 2 * number < len(match) or match[2 * number] < 0:
            return ""
        return text[match[2 * number] : match[2 * number + 1]]

    return _REFERENCE.sub(group, new)


def split(pattern: str, text: str, count: int) -> list[str]:
    """Return a text cut at the matches, into `count` parts at most if that is not negative."""
    if not count:
        return []
    if pattern and not text:
        return [""]
    parts: list[str] = []
    begin = end = 0
    for match in _matches(pattern, text, count)[1]:
        if count > 0 and len(parts) == count - 1:
            break
        end = match[0]
        if match[1]:
            parts.append(text[begin:end])
        begin = match[1]
    return [*parts, text[begin:]] if end != len(text) else parts


def functions() -> dict[str, Any]:
    """Return the functions by sprig's names; the arguments are texts and numbers, checked here."""
    plain: dict[str, Any] = {
        "regexFindAll": find_all,
        "regexFind": find,
        "regexReplaceAll": replace,
        "regexReplaceAllLiteral": partial(replace, literal=True),
        "regexSplit": split,
    }
    return plain | {f"must{name[0].upper()}{name[1:]}": function for name, function in plain.items()}
