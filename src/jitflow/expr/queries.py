# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false, reportMissingModuleSource=false
# The values of expressions are JSON of any shape.

"""Asking JSON documents: JSONPath (also kubectl's form), gjson paths, jq filters. The work is done by kept libraries."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import jq
import jsonpath as jsonpath_library

from jitflow.expr.lang.problems import Failure
from jitflow.expr.lang.values import to_json
from jitflow.expr.spots import spot

MAX_PATH: Final = 1_000
MAX_RESULTS: Final = 10_000
MAX_DOCUMENT: Final = 4_000_000
_OUTSIDE: Final = re.compile(r"\b(?:import|include)\s*\"|\b(?:modulemeta|get_search_list)\b")
"""What makes jq look for files."""


class QueryError(ValueError):
    """A path or filter that cannot be read, or does not fit the document."""


def jsonpath(path: str, document: Any) -> list[Any]:
    """Return all that a JSONPath (RFC 9535, `$.a[0].b`) finds in a document.

    Raises:
        QueryError: the path cannot be read.
    """
    _check(path)
    try:
        return list(jsonpath_library.findall(path, document))[:MAX_RESULTS]
    except (jsonpath_library.JSONPathError, RecursionError, ValueError, TypeError) as error:
        raise QueryError(f"JSONPath {path!r}: {_first_line(error)}") from None


def first(path: str, text: Any) -> Any:
    """Return what Argo's function `jsonpath(json, path)` gives: the value found, a list if the path can find several.

    Raises:
        Failure: the text is no JSON, or the path finds nothing.
    """
    try:
        document = json.loads(text) if isinstance(text, str) else text
        found = jsonpath(path, document)
    except (QueryError, ValueError, RecursionError) as error:
        raise Failure(f"jsonpath: {error}") from None
    if any(mark in path for mark in ("*", "..", "?", ":", ",")):
        return found
    if not found:
        raise Failure(f"jsonpath: {path} finds nothing")
    return found[0]


def template(text: str, document: Any) -> str:
    """Return a kubectl JSONPath template, `{.metadata.name}`, filled in. As kubectl does, a path that finds nothing is empty.

    Raises:
        QueryError: it cannot be read.
    """
    parts: list[str] = []
    for plain, body in _pieces(text):
        parts.append(plain)
        if body:
            parts.append(_filled(body, document))
    return "".join(parts)


def check_template(text: str) -> None:
    """Check that a kubectl JSONPath template can be read.

    Raises:
        QueryError: it cannot.
    """
    for _, body in _pieces(text):
        if body and body[0] not in "\"'":
            try:
                jsonpath_library.compile(_path_of(body))
            except (jsonpath_library.JSONPathError, RecursionError, ValueError, TypeError) as error:
                raise QueryError(f"JSONPath {text!r}: {_first_line(error)}") from None


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    """Yield the parts of a template: plain text, and the path in braces after it (empty at the end)."""
    _check(text)
    rest = text if "{" in text else "{" + (text if text.startswith(".") else f".{text}") + "}"
    while rest:
        before, brace, rest = rest.partition("{")
        body, closed, rest = rest.partition("}")
        if brace and not closed:
            raise QueryError(f"JSONPath {text!r}: a brace is not closed ({spot(text, text.rfind('{'))})")
        yield before, body.strip()


def _path_of(body: str) -> str:
    path = body if body.startswith("$") else f"${body}" if body[:1] in {".", "["} else f"$.{body}"
    return _quoted_dots(path) if "\\." in path else path


def _filled(body: str, document: Any) -> str:
    if body[:1] in {'"', "'"}:
        return body[1:-1].encode().decode("unicode_escape")
    found = jsonpath(_path_of(body), document)
    return " ".join(value if isinstance(value, str) else to_json(value) for value in found)


def _first_line(error: Exception) -> str:
    """Return what a library says of a path, in one line, with the place if it knows one."""
    what = str(error).partition("\n")[0]
    token = getattr(error, "token", None)
    if token is None:
        return what
    return f"{what} ({spot(token.path, token.index if token.index >= 0 else len(token.path))})"


def _quoted_dots(path: str) -> str:
    """Return a path whose escaped dots (`.labels.a\\.b`) stand inside brackets."""
    parts = path.replace("\\.", "\0").split(".")
    return parts[0] + "".join(f"['{part.replace(chr(0), '.')}']" if "\0" in part else f".{part}" for part in parts[1:])


def gjson(path: str, document: Any) -> Any:
    """Return what a gjson path (`status.conditions.0.type`, `items.#`) finds; None when it finds nothing.

    Supported: keys, escaped dots, indexes, `#` (the length, or the field of every item).

    Raises:
        QueryError: the path uses more of gjson than that.
    """
    _check(path)
    if any(mark in path for mark in ("#(", "@", "|", "*", "?", "{", "!")):
        raise QueryError(f"the path {path!r} uses queries or modifiers, which are not supported; use keys, indexes and #")
    value = document
    parts = [part.replace("\0", ".") for part in path.replace("\\.", "\0").split(".")]
    for place, part in enumerate(parts):
        if part == "#" and isinstance(value, list):
            rest = ".".join(item.replace(".", "\\.") for item in parts[place + 1 :])
            return [found for item in value if (found := gjson(rest, item)) is not None] if rest else len(value)
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def check_jq(expression: str) -> Any:
    """Return a jq filter, compiled. It may run without end: let it run where it can be ended.

    Raises:
        QueryError: it cannot be read, or reads what is not the document.
    """
    _check(expression)
    if _OUTSIDE.search(expression):
        raise QueryError("the jq filter reads modules; write what it needs into the filter itself")
    try:
        return jq.compile(expression)
    except (ValueError, RecursionError) as error:
        what = str(error).partition("\n")[0].removeprefix("jq: error: ").replace(" at <top-level>", "")
        raise QueryError(f"jq {expression!r}: {what}") from None


def _check(path: str) -> None:
    if len(path) > MAX_PATH:
        raise QueryError(f"the path has more than {MAX_PATH} characters")
