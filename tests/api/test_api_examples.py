"""The examples of both descriptions: every operation has some, and they have the forms that are described."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from jitflow.control_api.describe import control_document
from jitflow.data_api.describe import data_document

pytestmark = pytest.mark.pure

JSON = "application/json"
DOCUMENTS = {"control": control_document(), "data": data_document()}
WITHOUT = {"openapi"}
"""Answers with the very document that has the examples."""


def described() -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Yield document, operation, `body` or `answer`, and its description, of all that is JSON."""
    for document, found in DOCUMENTS.items():
        for operation in (one for methods in found["paths"].values() for one in methods.values()):
            name, body = operation["operationId"], operation.get("requestBody", {"content": {}})
            answers = [answer for status, answer in operation["responses"].items() if status != "default"]
            for what, part in (("body", body), *(("answer", answer) for answer in answers)):
                media = part["content"].get(JSON)
                if media is not None and name not in WITHOUT:
                    yield document, name, what, media


CASES = list(described())


def test_every_operation_has_examples() -> None:
    missing = [case[:3] for case in CASES if "example" not in case[3]]
    assert not missing, "add them to examples.json beside the description"
    assert len(CASES) > 200


def test_no_example_is_of_an_operation_that_is_not_there() -> None:
    import jitflow.control_api.describe as control
    import jitflow.data_api.describe as data

    for room, operations in ((control, control.operations()), (data, data.operations())):
        assert set(json.loads(room._EXAMPLES.read_text())) <= {one.id for one in operations}


def test_what_is_sent_as_it_is_is_described_as_bytes_and_forms_as_forms() -> None:
    paths = DOCUMENTS["data"]["paths"]
    bodies = {
        one["operationId"]: one["requestBody"]["content"] for m in paths.values() for one in m.values() if "requestBody" in one
    }
    raw = {"schema": {"type": "string", "format": "binary"}}
    assert bodies["upload"] == bodies["putPart"] == {"application/octet-stream": raw}
    (form,) = bodies["oldUpload"].items()
    assert form[0] == "multipart/form-data"
    assert form[1]["schema"]["properties"]["file"] == raw["schema"]
    others = {name for name, content in bodies.items() if JSON not in content}
    assert others == {"upload", "putPart", "oldUpload"}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_examples_have_the_described_forms(document: str) -> None:
    components = DOCUMENTS[document]["components"]
    for _, name, what, media in (case for case in CASES if case[0] == document):
        schema = {**media["schema"], "components": components}
        problems = [error.message for error in jsonschema_rs.validator_for(schema).iter_errors(media["example"])]
        assert not problems, (name, what, problems)
        assert not list(unknown(media["example"], media["schema"], components["schemas"])), (name, what)


def unknown(value: Any, schema: dict[str, Any], named: dict[str, Any]) -> Iterator[str]:
    """Yield the fields of a value that its schema does not name."""
    while "$ref" in schema:
        schema = named[schema["$ref"].rpartition("/")[2]]
    choices = [one for one in schema.get("anyOf", ()) if "$ref" in one or one.get("type") in {"object", "array"}]
    if len(choices) == 1:
        yield from unknown(value, choices[0], named)
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for one in value:
            yield from unknown(one, schema["items"], named)
    elif isinstance(value, dict) and (known := schema.get("properties")) and not schema.get("additionalProperties"):
        yield from sorted(value.keys() - known.keys())
        for key in value.keys() & known.keys():
            yield from unknown(value[key], known[key], named)
