"""What Argo Events sends about a workflow of another Argo: from bytes to the workflow, whatever it is wrapped in.

Understood are a resource event `{type, body}` (and Kubernetes' own `{type, object}`), the event inside `workflow_submission` or
`full_event` as an object, as JSON text or as base64 text in `data`, and a bare Workflow. Nothing is trusted: sizes, depth and
types are bounded, and what cannot be used is refused with its place.
"""

import base64
import binascii
import zlib
from collections.abc import Mapping
from typing import Any, Final, NoReturn, cast

import msgspec
from msgspec import Struct

from jitflow.model import argo
from jitflow.model.problems import Place, Problem, Refused
from jitflow.spec import _nodes
from jitflow.spec._nodes import LIST, MAP, Node, key_text
from jitflow.spec._reader import Reader
from jitflow.spec.places import Places

ADDED, UPDATED, DELETED = "ADD", "UPDATE", "DELETE"
_TYPES: Final = {ADDED: ADDED, UPDATED: UPDATED, DELETED: DELETED, "ADDED": ADDED, "MODIFIED": UPDATED, "DELETED": DELETED}
_WRAPPINGS: Final = ("workflow_submission", "full_event")
_MAX_LAYERS: Final = 6
MAX_NODES_BYTES: Final = 16 * 1024 * 1024
"""What compressed nodes may unfold to."""
_NODE_FIELDS: Final = frozenset(
    {"id", "name", "type", "phase", "templateName", "inputs", "startedAt", "finishedAt", "boundaryID"}
)
_STATUS_FIELDS: Final = frozenset(
    {"phase", "startedAt", "finishedAt", "artifactRepositoryRef", "storedTemplates", "storedWorkflowTemplateSpec"}
)
_METADATA_FIELDS: Final = frozenset(
    {"name", "namespace", "uid", "resourceVersion", "generation", "labels", "annotations", "creationTimestamp"}
)
_FORMS: Final = (
    'send {"type": "UPDATE", "body": {a Workflow}}, {"workflow_submission": …} or {"full_event": …}, '
    "as the Sensors of Argo Events do"
)


class Announced(Struct, frozen=True, kw_only=True):
    """An event: what happened (`ADD`, `UPDATE`, `DELETE`, or empty if it does not say), and the workflow as it was then."""

    type: str
    workflow: argo.Workflow


def read(body: bytes) -> Announced:
    """Return what an event says.

    Raises:
        Refused: it cannot be understood; what is wrong and where.
    """
    value, path = _unwrapped(_parsed(body, "$"), "$")
    return value if isinstance(value, Announced) else _announced("", value, path)


# -- wrappings ---------------------------------------------------------------------------------------------------------


def _unwrapped(value: Any, path: str) -> tuple[Any, str]:
    """Take layer after layer off until a workflow is found."""
    for _ in range(_MAX_LAYERS):
        if isinstance(value, str):
            value = _parsed(value.encode("utf-8", "replace"), path, json_only=True)
        if not isinstance(value, dict):
            _refuse(path, f"expected an object, got {_shown(value)}", _FORMS)
        layer = cast("dict[str, Any]", value)
        if "type" in layer and ("body" in layer or "object" in layer):
            return _of_type(layer, path), path
        wrapping = next((name for name in _WRAPPINGS if name in layer), None)
        if wrapping is not None:
            value, path = layer[wrapping], f"{path}.{wrapping}"
        elif layer.get("data") and "spec" not in layer:
            value, path = _data(layer["data"], f"{path}.data"), f"{path}.data"
        else:
            return layer, path
    return _refuse(path, f"wrapped in more than {_MAX_LAYERS} layers", _FORMS)


def _of_type(layer: Mapping[str, Any], path: str) -> Announced:
    kind = layer["type"]
    if not isinstance(kind, str) or kind not in _TYPES:
        _refuse(f"{path}.type", f"the type {_shown(kind)} is none of {', '.join(_TYPES)}", "send resource events of workflows")
    field = "body" if "body" in layer else "object"
    body, path = layer[field], f"{path}.{field}"
    if isinstance(body, str):
        body = _parsed(body.encode("utf-8", "replace"), path, json_only=True)
    return _announced(_TYPES[kind], body, path)


def _data(value: Any, path: str) -> Any:
    """Return the event that `data` holds: base64 of JSON, as Argo Events writes bytes, or JSON as it is."""
    if not isinstance(value, str) or value.lstrip()[:1] == "{":
        return value
    try:
        raw = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        _refuse(path, "is neither JSON nor base64", "send the event's data as Argo Events gives it")
    return _parsed(raw, path, json_only=True)


def _parsed(body: bytes, path: str, *, json_only: bool = False) -> Any:
    """Return JSON; where that is allowed, YAML."""
    if not body.strip():
        _refuse(path, "is empty", _FORMS)
    try:
        return msgspec.json.decode(body)
    except RecursionError:
        _refuse(path, "is nested too deeply", "make it flatter", "too_large")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if json_only or body.lstrip()[:1] in b"{[":
            _refuse(path, f"is not valid JSON: {error}", _FORMS)
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        _refuse(path, f"is not UTF-8 text: {error.reason} at byte {error.start}", _FORMS)
    roots = _nodes.parse(text, "")
    if len(roots) != 1:
        _refuse(path, f"holds {len(roots)} documents", "send one event at a time")
    return _plain(roots[0], [_nodes.MAX_NODES])


def _plain(node: Node, budget: list[int]) -> Any:
    """Return a tree's JSON value; aliases count each time."""
    budget[0] -= 1
    if budget[0] < 0:
        raise Refused(Problem(message=f"more than {_nodes.MAX_NODES} values after aliases are replaced", code="too_large"))
    if node.kind == MAP:
        return {key_text(key): _plain(value, budget) for key, value in node.pairs() if not key.is_collection}
    if node.kind == LIST:
        return [_plain(item, budget) for item in node.value]
    return node.value


# -- the workflow ------------------------------------------------------------------------------------------------------


def _announced(kind: str, body: Any, path: str) -> Announced:
    if not isinstance(body, dict):
        _refuse(path, f"expected a Workflow, got {_shown(body)}", _FORMS)
    found = cast("dict[str, Any]", body)
    named = found.get("kind", "Workflow")
    if named != "Workflow":
        _refuse(f"{path}.kind", f"the kind {_shown(named)} is not Workflow", "let the EventSource watch workflows only")
    if "spec" not in found and "metadata" not in found:
        _refuse(path, "holds no Workflow", _FORMS)
    trimmed = {
        "apiVersion": found.get("apiVersion"),
        "kind": "Workflow",
        "metadata": _some(found.get("metadata"), _METADATA_FIELDS),
        "spec": found.get("spec"),
        "status": _status(found.get("status"), f"{path}.status"),
    }
    return Announced(type=kind, workflow=_read(trimmed, path))


def _read(value: Mapping[str, Any], path: str) -> argo.Workflow:
    """Return the workflow; fields that this version does not know are left out: another Argo wrote it."""
    try:
        tree = _nodes.from_plain(value)
        return Reader(Places(), coerce=True, lenient=True).read(tree, argo.Workflow)
    except Refused as error:
        raise Refused([_below(problem, path) for problem in error.problems], code=error.code) from None


def _below(problem: Problem, path: str) -> Problem:
    inner = problem.place.path.removeprefix("$") if problem.place is not None else ""
    return msgspec.structs.replace(problem, place=Place(path=path + inner))


def _some(value: Any, fields: frozenset[str]) -> Any:
    """Return the fields of an object that matter here; what is no object stays, to be refused."""
    if not isinstance(value, dict):
        return value
    return {key: inner for key, inner in cast("dict[str, Any]", value).items() if key in fields}


def _status(value: Any, path: str) -> Any:
    if not isinstance(value, dict):
        return value
    status = cast("dict[str, Any]", value)
    nodes = status.get("nodes")
    compressed = status.get("compressedNodes")
    if not nodes and isinstance(compressed, str) and compressed:
        nodes = _unfolded(compressed, f"{path}.compressedNodes")
    found = _some(status, _STATUS_FIELDS)
    if isinstance(nodes, dict):
        known = cast("dict[str, Any]", nodes)
        found["nodes"] = {key: _some(node, _NODE_FIELDS) for key, node in known.items()}
    elif nodes is not None:
        found["nodes"] = nodes
    return found


def _unfolded(text: str, path: str) -> Any:
    """Return the nodes that Argo has written as base64 of gzip, for they were long."""
    try:
        unpacker = zlib.decompressobj(wbits=31)
        raw = unpacker.decompress(base64.b64decode(text, validate=True), MAX_NODES_BYTES)
    except (binascii.Error, ValueError, zlib.error):
        _refuse(path, "is not base64 of gzip", "send the status as Argo writes it")
    if unpacker.unconsumed_tail:
        _refuse(path, f"unfolds to more than {MAX_NODES_BYTES} bytes", "split the workflow", "too_large")
    return _parsed(raw, path, json_only=True)


def _refuse(path: str, message: str, remedy: str, code: str = "invalid") -> NoReturn:
    raise Refused(Problem(message=message, place=Place(path=path), remedy=remedy, code=code)) from None


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return f"{str(value)[:60]!r}" if value is not None else "nothing"
