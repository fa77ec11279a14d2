"""JSON patches (RFC 6902)."""

import copy
from collections.abc import Sequence
from typing import Any

from jitflow.model.problems import Refused


def json_patch(document: Any, operations: Any) -> Any:
    """Return a document after a JSON patch.

    Raises:
        Refused: the patch is none, a path is not there, or a test does not hold.
    """
    if not isinstance(operations, list):
        raise Refused("a JSON patch is a list of operations, each with `op` and `path`")
    result = copy.deepcopy(document)
    for operation in operations:
        if not isinstance(operation, dict) or not {"op", "path"} <= operation.keys():
            raise Refused(f"not an operation of a JSON patch: {str(operation)[:100]}")
        result = _applied(result, operation)
    return result


def _applied(document: Any, operation: dict[str, Any]) -> Any:
    kind, path = operation["op"], _parts(operation["path"])
    if kind in {"add", "replace", "test"} and "value" not in operation:
        raise Refused(f"the operation {kind!r} of a JSON patch needs a value")
    if kind == "test":
        if _get(document, path) != operation["value"]:
            raise Refused(f"testing path {operation['path']} value failed")
        return document
    if kind in {"copy", "move"}:
        source = _parts(operation.get("from", ""))
        value = copy.deepcopy(_get(document, source))
        if kind == "move":
            document = _removed(document, source)
        return _added(document, path, value)
    if kind == "add":
        return _added(document, path, operation["value"])
    if kind == "replace":
        _get(document, path)
        return _added(_removed(document, path), path, operation["value"]) if path else operation["value"]
    if kind == "remove":
        return _removed(document, path)
    raise Refused(f"unknown operation {kind!r} of a JSON patch: use add, remove, replace, move, copy or test")


def _parts(path: Any) -> list[str]:
    text = str(path)
    if text and not text.startswith("/"):
        raise Refused(f"the path {text!r} of a JSON patch does not begin with '/'")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _get(document: Any, path: Sequence[str]) -> Any:
    value = document
    for part in path:
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            raise Refused(f"the path /{'/'.join(path)} of a JSON patch is not there")
    return value


def _added(document: Any, path: Sequence[str], value: Any) -> Any:
    if not path:
        return value
    parent, last = _get(document, path[:-1]), path[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list) and (last == "-" or (last.isdecimal() and int(last) <= len(parent))):
        parent.insert(len(parent) if last == "-" else int(last), value)
    else:
        raise Refused(f"the path /{'/'.join(path)} of a JSON patch is not there")
    return document


def _removed(document: Any, path: Sequence[str]) -> Any:
    _get(document, path)
    if not path:
        return None
    parent = _get(document, path[:-1])
    del parent[int(path[-1]) if isinstance(parent, list) else path[-1]]
    return document
