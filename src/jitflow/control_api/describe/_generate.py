"""Write down Argo Server's operations, names and types only, from its API description:

python -m jitflow.control_api.describe._generate --swagger swagger.json    # swagger.json -> argo_api.json
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from jitflow.spec._generate_types import SCHEMA, SPECIAL, refs_of, type_of

TARGET = Path(__file__).with_name("argo_api.json")
_NOT_SERVED = ("/sensors/", "/event-sources/", "/stream/sensors/", "/stream/event-sources/")
_ENVELOPE = "Stream result of "
_RENAMED = {"io.k8s.api.core.v1.Event": "KubeEvent"}
"""Manifests have an `Event` of their own."""
_KINDS = {"string": "string", "integer": "integer", "boolean": "boolean", "number": "number"}


def reduce_operations(swagger: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """Return the operations, and the types of their bodies that the manifests do not reach."""
    definitions: dict[str, Any] = swagger["definitions"]
    operations: list[dict[str, Any]] = []
    types: dict[str, Any] = {}
    for path, methods in sorted(swagger["paths"].items()):
        for method, found in methods.items():
            operation = _operation(method.upper(), path, found)
            operations.append(operation)
            if operation["served"]:
                _collect(_roots(found), definitions, known, types)
    return {"operations": operations, "types": dict(sorted(types.items()))}


def _operation(method: str, path: str, found: dict[str, Any]) -> dict[str, Any]:
    parameters = found.get("parameters", [])
    bodies = [one["schema"] for one in parameters if one["in"] == "body"]
    answer = found["responses"]["200"].get("schema", {})
    stream = answer.get("title", "").startswith(_ENVELOPE)
    result = answer["properties"]["result"] if stream else answer
    return {
        "id": found["operationId"],
        "method": method,
        "path": path,
        "served": not any(part in path for part in _NOT_SERVED),
        "query": {one["name"]: _KINDS.get(one.get("type"), "string") for one in parameters if one["in"] == "query"},
        "body": type_of(bodies[0]) if bodies else "",
        "answer": _name(refs_of(result)[0]) if refs_of(result) else "",
        "file": answer.get("type") == "file" or found["responses"]["200"].get("description", "").endswith("artifact file."),
        "stream": stream,
    }


def _roots(found: dict[str, Any]) -> list[str]:
    roots: list[str] = []
    for one in found.get("parameters", []):
        roots += refs_of(one.get("schema", {}))
    answer = found["responses"]["200"].get("schema", {})
    roots += refs_of(answer)
    roots += refs_of(answer.get("properties", {}).get("result", {}))
    return roots


def _name(full: str) -> str:
    return _RENAMED.get(full, full.rsplit(".", 1)[-1])


def _collect(roots: list[str], definitions: dict[str, Any], known: dict[str, Any], types: dict[str, Any]) -> None:
    todo = list(roots)
    while todo:
        full = todo.pop()
        name = _name(full)
        if name in known or name in types or name in SPECIAL:
            continue
        definition = definitions[full]
        fields = {key: type_of(prop) for key, prop in definition.get("properties", {}).items()}
        types[name] = {"required": definition.get("required", []), "fields": fields}
        if "enum" in definition:
            types[name]["kind"] = "str"
        for prop in definition.get("properties", {}).values():
            todo += refs_of(prop)


def main() -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--swagger", type=Path, required=True, help="Argo's swagger.json")
    swagger = json.loads(parser.parse_args().swagger.read_text())
    TARGET.write_text(json.dumps(reduce_operations(swagger, json.loads(SCHEMA.read_text())), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
