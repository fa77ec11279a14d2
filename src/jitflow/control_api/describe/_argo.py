"""Argo Server's part of the description: operations and types as its API description has them."""

import json
import re
from pathlib import Path
from typing import Any

from jitflow.openapi import Operation, Query

_HERE = Path(__file__).parent
_SCHEMA = Path(__file__).parents[2] / "spec" / "argo_schema.json"
_FILE = "application/octet-stream"

_SCALARS: dict[str, Any] = {
    "str": {"type": ["string", "null"]},
    "int": {"type": ["integer", "null"]},
    "float": {"type": ["number", "null"]},
    "bool": {"type": ["boolean", "null"]},
    "Any": {},
    "int | str": {"type": ["integer", "string", "null"]},
    "str | int | float": {"type": ["string", "number", "null"]},
}
"""What is optional may be null: Go writes it so."""
_ANY_SCALAR = {"type": ["string", "number", "boolean", "null"]}
_ANY_SCALARS = {("Parameter", "value"), ("Parameter", "default"), ("ValueFrom", "default")}
_TUPLE = re.compile(r"tuple\[(.*), \.\.\.\]$")
_DICT = re.compile(r"dict\[str, (.*)\]$")
_SUMMARIES = {
    "List": "List",
    "Get": "Get",
    "Create": "Create",
    "Update": "Replace",
    "Delete": "Delete",
    "Lint": "Validate without creating",
    "Submit": "Submit from a template or schedule",
    "Watch": "Watch",
    "Retry": "Retry",
    "Resubmit": "Run again under another name",
    "Resume": "Resume",
    "Suspend": "Suspend",
    "Stop": "Stop: exit handlers run",
    "Terminate": "Terminate: no exit handlers",
    "Set": "Supply outputs to suspended nodes",
}


def operations() -> list[Operation]:
    """Return the operations that are served."""
    return [_operation(found) for found in _read()["operations"] if found["served"]]


def absent() -> list[tuple[str, str]]:
    """Return the operations of Argo's API that are not served, as (method, path): those of Argo Events' objects."""
    return [(found["method"], found["path"]) for found in _read()["operations"] if not found["served"]]


def schemas() -> dict[str, Any]:
    """Return the types that the operations refer to, by name."""
    types = json.loads(_SCHEMA.read_text()) | _read()["types"]
    found = {name: _object(name, definition) for name, definition in types.items()}
    found["SyncConfigType"] = {"type": ["string", "null"]}
    found["ParallelSteps"] = {"type": "array", "items": {"$ref": _ref("WorkflowStep")}}
    for name in ("Time", "MicroTime"):
        found[name] = _SCALARS["str"]
    for name in ("Item", "Plugin", "Amount", "FieldsV1", "Quantity", "IntOrString"):
        found.pop(name, None)
    return found


def _read() -> dict[str, Any]:
    return json.loads((_HERE / "argo_api.json").read_text())


def _operation(found: dict[str, Any]) -> Operation:
    service, _, name = found["id"].partition("_")
    verb = next((text for start, text in _SUMMARIES.items() if name.startswith(start)), "")
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
    yaml = name.startswith(("Create", "Lint", "Update")) and "Workflow" in name
    return Operation(
        id=found["id"],
        method=found["method"],
        path=found["path"],
        summary=f"{verb} ({words})" if verb else words.capitalize(),
        tag=service.removesuffix("Service"),
        query=tuple(Query(key, kind) for key, kind in found["query"].items()),
        body=_type(found["body"]) if found["body"] else None,
        answer=_type(found["answer"]) if found["answer"] else None,
        stream=found["stream"],
        media=_FILE if found["file"] else "application/json",
        yaml=yaml,
    )


def _object(name: str, definition: dict[str, Any]) -> dict[str, Any]:
    fields = {
        key: _ANY_SCALAR if (name, key) in _ANY_SCALARS else _optional(_type(kind)) for key, kind in definition["fields"].items()
    }
    return {"type": "object", "properties": fields}


def _optional(schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    if schema.get("type") in ("array", "object"):
        return {**schema, "type": [schema["type"], "null"]}
    return schema


def _type(text: str) -> dict[str, Any]:
    if text in _SCALARS:
        return _SCALARS[text]
    if match := _TUPLE.match(text):
        return {"type": "array", "items": _type(match[1])}
    if match := _DICT.match(text):
        return {"type": "object", "additionalProperties": _type(match[1])}
    return {"$ref": _ref(text)}


def _ref(name: str) -> str:
    return f"#/components/schemas/{name}"
