"""What the Control API serves, as OpenAPI 3.1."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from msgspec import Struct

from jitflow.control_api.describe import _argo, _own
from jitflow.openapi import Operation, document, with_examples

__all__ = ["absent", "control_document", "operations"]

absent = _argo.absent

_EXAMPLES = Path(__file__).with_name("examples.json")
"""By operation: an answer as a server gave it, and a body where the table has none."""

_ABOUT = """\
Argo Server's REST API, served by jitflow, and what jitflow knows beyond it below `/api/jit/v1`.

Every call but `/healthz` needs `Authorization: Bearer <token>`. What is optional may be null or missing. An answer that is a
stream has one JSON object a line, `{"result": …}` or `{"error": …}`, or server-sent events for `Accept: text/event-stream`.
"""


class Place(Struct, frozen=True):
    """Where in a manifest."""

    line: int = 0
    column: int = 0
    path: str = ""
    source: str = ""


class Problem(Struct, frozen=True):
    """What is wrong at one place, and what to do."""

    message: str
    place: Place | None = None
    remedy: str = ""


class Failure(Struct, frozen=True):
    """An error. `code`: gRPC's number for it."""

    code: int
    message: str
    problems: tuple[Problem, ...] = ()


def operations() -> list[Operation]:
    """Return every operation of the Control API."""
    return [*_argo.operations(), *_own.operations()]


def control_document() -> dict[str, Any]:
    """Return the OpenAPI document of the Control API."""
    return document(
        with_examples(operations(), json.loads(_EXAMPLES.read_text(encoding="utf-8"))),
        title="jitflow Control API",
        version=version("jitflow"),
        about=_ABOUT,
        error=Failure,
        schemas=_argo.schemas(),
    )
