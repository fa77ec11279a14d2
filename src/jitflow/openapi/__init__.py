"""OpenAPI 3.1 documents, made from tables of operations and from the types of their bodies.

Each room with routes keeps a table beside them; a test compares the table with the routes.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

JSON = "application/json"
BYTES = "application/octet-stream"
FORM = "multipart/form-data"
YAML = "application/yaml"
EVENT_STREAM = "text/event-stream"
_REF = "#/components/schemas/{name}"
_PATH_PARAMETER = re.compile(r"\{(\w+)(?::path)?\}")

Schema = Mapping[str, Any]


class Query(Struct, frozen=True):
    """A query parameter. `kind`: `string`, `integer`, `number` or `boolean`."""

    name: str
    kind: str = "string"
    about: str = ""
    required: bool = False


class Operation(Struct, frozen=True, kw_only=True):
    """One method of one path, as the router has it.

    `body` and `answer`: a type, a schema, or None. `stream`: the answer is one `{"result": …}` a line. `media`: of the answer;
    of another kind than JSON it is described as bytes. `also`: a media type of bytes that may be asked for instead. `sent`: the
    media type of the body. `yaml`: the body may also be a manifest as it is.
    """

    id: str
    method: str
    path: str
    summary: str
    tag: str
    query: tuple[Query, ...] = ()
    body: Any = None
    optional_body: bool = False
    answer: Any = None
    example: Any = None
    """Of the body."""
    answer_example: Any = None
    """Of the answer; of a stream: of one line."""
    stream: bool = False
    media: str = JSON
    also: str = ""
    sent: str = JSON
    status: int = 200
    yaml: bool = False
    open: bool = False
    """Whether it needs no token."""


def document(
    operations: Sequence[Operation],
    *,
    title: str,
    version: str,
    about: str,
    error: Any,
    schemas: Mapping[str, Schema] | None = None,
) -> dict[str, Any]:
    """Return an OpenAPI 3.1 document.

    Args:
        operations: what is served.
        title: of the API.
        version: of the API.
        about: Markdown.
        error: the type of the body of every error.
        schemas: named schemas that operations refer to by `{"$ref": "#/components/schemas/NAME"}`.
    """
    kinds = [kind for one in operations for kind in (one.body, one.answer) if kind is not None and not isinstance(kind, dict)]
    distinct = list({repr(kind): kind for kind in (*kinds, error)}.values())
    found, components = msgspec.json.schema_components(distinct, ref_template=_REF)
    known = {repr(kind): _modern(schema) for kind, schema in zip(distinct, found, strict=True)}
    components = _modern(components)
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        shown = _PATH_PARAMETER.sub(r"{\1}", one.path)
        paths.setdefault(shown, {})[one.method.lower()] = _operation(one, known, known[repr(error)])
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "description": about, "license": {"name": "Apache-2.0"}},
        "security": [{"token": []}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(sorted({**(schemas or {}), **components}.items())),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def with_examples(operations: Iterable[Operation], examples: Mapping[str, Mapping[str, Any]]) -> list[Operation]:
    """Return operations with examples by their id: `answer`, and `body` where the table has none."""
    found: list[Operation] = []
    for one in operations:
        known = examples.get(one.id, {})
        body = known.get("body") if one.example is None else one.example
        found.append(replace(one, example=body, answer_example=known.get("answer", one.answer_example)))
    return found


def _modern(schema: Any) -> Any:
    """Return a schema with its tuples written as JSON Schema 2020-12 does."""
    if isinstance(schema, list):
        return [_modern(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _modern(value) for key, value in schema.items()}
    if isinstance(found.get("items"), list):
        found["prefixItems"] = found.pop("items")
    return found


def described(operations: Iterable[Operation]) -> set[tuple[str, str]]:
    """Return which routes a table describes, as (method, path of the router)."""
    return {(one.method, one.path) for one in operations}


def _operation(one: Operation, known: Mapping[str, Schema], error: Schema) -> dict[str, Any]:
    answer = _schema(one.answer, known) if one.answer is not None else {}
    found: dict[str, Any] = {
        "operationId": one.id,
        "summary": one.summary,
        "tags": [one.tag],
        "parameters": [*_path_parameters(one.path), *(_query(query) for query in one.query)],
        "responses": {
            str(one.status): {"description": "Done.", "content": _answer_content(one, answer)},
            "default": {"description": "Refused or failed.", "content": {JSON: {"schema": error}}},
        },
    }
    if one.body is not None:
        content: dict[str, Any] = {one.sent: {"schema": _schema(one.body, known)}}
        if one.example is not None:
            content[one.sent]["example"] = one.example
        if one.yaml:
            content[YAML] = {"schema": {"type": "string", "description": "A manifest, as it is."}}
        found["requestBody"] = {"required": not one.optional_body, "content": content}
    if one.open:
        found["security"] = []
    return found


def _answer_content(one: Operation, answer: Schema) -> dict[str, Any]:
    if not one.media.endswith("json"):
        return {one.media: {"schema": {"type": "string"}}}
    if one.stream:
        line: dict[str, Any] = {"schema": {"type": "object", "properties": {"result": answer}}}
        if one.answer_example is not None:
            line["example"] = one.answer_example
        text = {"type": "string", "description": "Each line (after `data: `, as server-sent events) is one JSON object."}
        return {JSON: line, EVENT_STREAM: {"schema": text}}
    content: dict[str, Any] = {"schema": answer}
    if one.answer_example is not None:
        content["example"] = one.answer_example
    return {one.media: content} | ({one.also: {"schema": {"type": "string"}}} if one.also else {})


def _schema(kind: Any, known: Mapping[str, Schema]) -> Schema:
    return kind if isinstance(kind, dict) else known[repr(kind)]


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in _PATH_PARAMETER.findall(path)
    ]


def _query(query: Query) -> dict[str, Any]:
    found: dict[str, Any] = {"name": query.name, "in": "query", "schema": {"type": query.kind}}
    if query.about:
        found["description"] = query.about
    if query.required:
        found["required"] = True
    return found
