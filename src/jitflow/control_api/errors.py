"""How errors look on the wire: Argo Server's bodies, gRPC's codes, HTTP's status."""

from enum import IntEnum

import msgspec
from starlette.exceptions import HTTPException

from jitflow.model.problems import Problem, Refused
from jitflow.ports import errors as port


class Code(IntEnum):
    """The gRPC codes in use."""

    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


STATUS = {
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.UNAUTHENTICATED: 401,
}

_REFUSALS = {
    "not_found": Code.NOT_FOUND,
    "conflict": Code.ALREADY_EXISTS,
    "unavailable": Code.UNAVAILABLE,
    "denied": Code.PERMISSION_DENIED,
    "exhausted": Code.RESOURCE_EXHAUSTED,
    "no_artifact": Code.INTERNAL,  # as Argo Server answers it
}

_PORT_ERRORS: tuple[tuple[type[port.PortError], Code], ...] = (
    (port.ObjectMissing, Code.NOT_FOUND),
    (port.RemoteUnknown, Code.NOT_FOUND),
    (port.VersionConflict, Code.ALREADY_EXISTS),
    (port.FixRequest, Code.INVALID_ARGUMENT),
    (port.Retryable, Code.UNAVAILABLE),
    (port.GiveUp, Code.INTERNAL),
)

_HTTP_CODES = {400: Code.INVALID_ARGUMENT, 404: Code.NOT_FOUND, 405: Code.UNIMPLEMENTED, 413: Code.INVALID_ARGUMENT}

INTERNAL_MESSAGE = "internal error; the server's log says more"
_MAX_MESSAGE_CHARS = 20_000


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """An error as it is answered. `problems` are there when a manifest was refused: each with its place and remedy.

    `retry_after_s`: when to ask again, 0 if that would change nothing.
    """

    status: int
    code: Code
    message: str
    problems: tuple[Problem, ...] = ()
    retry_after_s: int = 0

    def body(self, *, older: bool = False) -> bytes:
        """Return Argo Server's error body; `older`: it is one as the service had them, too, that jitflow comes from."""
        answer: dict[str, object] = {"code": int(self.code), "message": self.message[:_MAX_MESSAGE_CHARS]}
        if older:
            answer["error"] = answer["message"]
        if self.problems:
            answer["problems"] = [_problem(problem) for problem in self.problems]
        return _encode(answer)

    def frame(self) -> bytes:
        """Return the error as a stream carries it."""
        error = {
            "grpc_code": int(self.code),
            "http_code": self.status,
            "message": self.message[:_MAX_MESSAGE_CHARS],
            "http_status": self.code.name.replace("_", " ").title(),
        }
        return _encode({"error": error})


def failure(code: Code, message: str, *, status: int = 0, problems: tuple[Problem, ...] = ()) -> Failure:
    """Return the answer for a code, with the HTTP status that belongs to it unless another is given."""
    return Failure(status=status or STATUS[code], code=code, message=message, problems=problems)


def failure_of(error: Exception) -> Failure | None:
    """Return what a client is told of an error, None for one that nobody foresaw."""
    if isinstance(error, Refused):
        code = _REFUSALS.get(error.code, Code.INVALID_ARGUMENT)
        status = {"unimplemented": 501, "exhausted": 403}.get(error.code, 0)
        placed = tuple(problem for problem in error.problems if problem.place is not None or problem.remedy)
        return failure(Code.UNIMPLEMENTED if status == 501 else code, str(error), status=status, problems=placed)
    if isinstance(error, port.DiskFull):
        return failure(Code.RESOURCE_EXHAUSTED, str(error), status=507)
    if isinstance(error, port.StoreFailed):  # behind this server, and no fault of it
        return failure(Code.UNKNOWN, str(error), status=502)
    if isinstance(error, port.PortError):
        code = next((code for kind, code in _PORT_ERRORS if isinstance(error, kind)), Code.INTERNAL)
        return failure(code, str(error) or type(error).__name__)
    if isinstance(error, HTTPException):
        code = _HTTP_CODES.get(error.status_code, Code.UNKNOWN)
        return failure(code, str(error.detail), status=error.status_code)
    return None


def _problem(problem: Problem) -> dict[str, object]:
    row: dict[str, object] = {"message": problem.message}
    if problem.place is not None:
        place = problem.place
        fields = {"line": place.line, "column": place.column, "path": place.path, "source": place.source}
        row["place"] = {key: value for key, value in fields.items() if value}
    if problem.remedy:
        row["remedy"] = problem.remedy
    return row


def _encode(value: object) -> bytes:
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:  # what the client sent came back in the message
        text = str(value).encode("utf-8", "replace").decode()
        return msgspec.json.encode({"code": int(Code.INVALID_ARGUMENT), "message": text[:_MAX_MESSAGE_CHARS]})
