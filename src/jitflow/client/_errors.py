"""What goes wrong between a program and its server. Each class says what its catcher should do.

ClientError
├── ApiError            the server answered with an error
│   ├── InvalidRequest    what was asked for cannot be done: correct it (400, 413, 422)
│   ├── Unauthenticated   the token is missing, wrong or expired (401)
│   ├── PermissionDenied  the token may not do this (403)
│   ├── NotFound          there is no such thing (404)
│   ├── Conflict          it exists already, or is not in a state for this (409)
│   ├── TooManyRequests   later (429); `retry_after_s` says when
│   └── ServerFault       the server failed, or something before it (5xx)
├── Unreadable          the answer is none of a jitflow server's, or of one that is much newer
├── ServerLost          the server does not answer, or the connection broke: the same call may work later
├── Untrusted           the file of authorities cannot be used
└── WaitTimeout         a workflow had not ended in the time that was given
"""

from http import HTTPStatus

import msgspec
from msgspec import Struct

_MAX_CHARS = 2_000
_UNKNOWN = 2


class ClientError(Exception):
    """Any failure of a call. `where`: method and path of the request, as far as there was one."""

    where: str = ""


class ApiError(ClientError):
    """The server refused. `code`: gRPC's number in its answer; `status`: HTTP's; `remedy`: what to do, if the client knows."""

    def __init__(self, code: int, message: str, status: int, *, remedy: str = "", retry_after_s: float = 0.0) -> None:
        """Hold the answer."""
        super().__init__(f"{message}; {remedy}" if remedy else message)
        self.code = code
        self.message = message
        self.status = status
        self.remedy = remedy
        self.retry_after_s = retry_after_s


class InvalidRequest(ApiError):
    """What was asked for cannot be done."""


class Unauthenticated(ApiError):
    """The token is missing, wrong or expired."""


class PermissionDenied(ApiError):
    """The token may not do this."""


class NotFound(ApiError):
    """There is no such thing."""


class Conflict(ApiError):
    """It exists already, or is not in a state for this."""


class TooManyRequests(ApiError):
    """The server wants fewer requests."""


class ServerFault(ApiError):
    """The server failed, or something before it."""


class Unreadable(ClientError):
    """The answer is none of a jitflow server's."""


class ServerLost(ClientError):
    """The server does not answer or the connection broke. `sent`: whether it may have got the request."""

    def __init__(self, message: str, *, sent: bool = True) -> None:
        """Hold what is known."""
        super().__init__(message)
        self.sent = sent


class Untrusted(ClientError):
    """The file of authorities cannot be used."""


class WaitTimeout(ClientError):
    """A workflow had not ended in the time that was given."""


class _Failure(Struct, frozen=True):
    code: int = _UNKNOWN
    message: str = ""


_KINDS: dict[int, type[ApiError]] = {
    400: InvalidRequest,
    401: Unauthenticated,
    403: PermissionDenied,
    404: NotFound,
    409: Conflict,
    413: InvalidRequest,
    422: InvalidRequest,
    429: TooManyRequests,
}


def check(status: int, body: bytes, *, where: str = "", retry_after: str = "") -> None:
    """Return if an answer's status means success. `where` names the request in the error.

    Raises:
        ApiError: it does not; with the answer's own message where it has one.
    """
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return
    try:
        failure = msgspec.json.decode(body, type=_Failure)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        failure = _Failure()
    error = api_error(failure.code, failure.message, status, retry_after=retry_after)
    error.where = where
    raise error


_OTHER_TOKEN = (
    "send a token of that server: the one in JITFLOW_TOKEN, or in the file or context that was named, is not "
    "(a local server's is found by itself)"
)


def api_error(code: int, message: str, status: int, *, retry_after: str = "") -> ApiError:
    """Return the error that an answer stands for."""
    kind = _KINDS.get(status) or (ServerFault if status >= HTTPStatus.INTERNAL_SERVER_ERROR else ApiError)
    text = message[:_MAX_CHARS] or f"the server answered with HTTP status {status}"
    remedy = _OTHER_TOKEN if kind is Unauthenticated else ""
    return kind(code, text, status, remedy=remedy, retry_after_s=float(retry_after) if retry_after.isdecimal() else 0.0)
