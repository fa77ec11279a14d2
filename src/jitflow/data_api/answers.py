"""How requests of the Data API are read, and answers are written."""

from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from jitflow.app.forms import form_fault
from jitflow.model.problems import Refused

T = TypeVar("T")
_DIGITS = 9
encode = msgspec.json.Encoder().encode


def answer(value: Any, *, status: int = 200) -> Response:
    """Return a value as JSON."""
    return Response(encode(value), status_code=status, media_type="application/json")


async def read(request: Request, kind: type[T]) -> T:
    """Return the body.

    Raises:
        Refused: it is no JSON, or has another form.
    """
    try:
        return msgspec.json.decode(await request.body(), type=kind)
    except msgspec.ValidationError as error:
        raise Refused(f"the body does not have the expected form: {form_fault(error, kind)}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(f"the body is not valid JSON: {error}") from None


def number(request: Request, name: str, default: int) -> int:
    """Return a number of the query.

    Raises:
        Refused: it is none.
    """
    text = request.query_params.get(name, "") or str(default)
    if not text.isascii() or not text.isdigit():
        raise Refused(f"query parameter {name} is {text!r}; write a number")
    return int(text[:_DIGITS])


def reference(request: Request, name: str = "ref") -> str:
    """Return a reference of the query.

    Raises:
        Refused: there is none.
    """
    ref = request.query_params.get(name, "")
    if not ref:
        raise Refused(f"query parameter {name} is missing; write ?{name}=remote:path")
    return ref
