"""What goes over the wire: errors, stream messages, log lines; pure.

ClientError
├── ApiError        the server answered with an error: code, message, HTTP status
└── ServerLost      the server does not answer, or the connection broke
"""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Struct

T = TypeVar("T")

_MAX_ERROR_CHARS = 2000
NOT_FOUND = 5
"""The gRPC number of what does not exist."""


class ClientError(Exception):
    """Any failure of a call."""


class ApiError(ClientError):
    """The server refused: `code` is the gRPC number in its answer, `status` that of HTTP."""

    def __init__(self, code: int, message: str, status: int) -> None:
        """Hold the answer."""
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


class ServerLost(ClientError):
    """The server does not answer or the connection broke; the same call may work later."""


class Endpoint(Struct, frozen=True):
    """Where a server is, and what opens it.

    `ca`: a PEM file of authorities to believe instead of the machine's; `pinned`: it holds this very server's certificate.
    """

    url: str
    token: str = ""
    ca: str = ""
    pinned: bool = False


class LogEntry(Struct, frozen=True, rename="camel"):
    """One line of a pod's log."""

    content: str = ""
    pod_name: str = ""


class WatchEvent(Struct, frozen=True):
    """A change of a workflow: `ADDED`, `MODIFIED` or `DELETED`, and its JSON."""

    type: str
    object: msgspec.Raw


class Head(Struct, frozen=True):
    """Of an object only its metadata."""

    metadata: dict[str, Any] = {}


class _StreamError(Struct, frozen=True):
    grpc_code: int = 2
    http_code: int = 500
    message: str = "the stream ended with an error"


class Envelope(Struct, frozen=True):
    """One message of a stream: a result or an error."""

    result: msgspec.Raw = msgspec.Raw(b"")
    error: _StreamError | None = None


class _Failure(Struct, frozen=True):
    code: int = 2
    message: str = ""


class Items(Struct, Generic[T], frozen=True):
    """A list as the APIs answer it; an empty one may be null."""

    items: tuple[T, ...] | None = None


class Seen:
    """Which log lines were shown: per pod the time of the last one and how many carried that time."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[str, int]] = {}
        self._again: dict[str, int] = {}

    def restart(self) -> None:
        """From now on lines come from the beginning again."""
        self._again = dict.fromkeys(self._last, 0)

    def admit(self, entry: LogEntry) -> LogEntry | None:
        """Return the entry without its time, or None when it was shown before."""
        stamp, _, text = entry.content.partition(" ")
        moment = _sortable(stamp)
        last, count = self._last.get(entry.pod_name, ("", 0))
        again = self._again.get(entry.pod_name, count)
        if moment < last:
            return None
        if moment == last and again < count:
            self._again[entry.pod_name] = again + 1
            return None
        self._last[entry.pod_name] = (moment, count + 1 if moment == last else 1)
        self._again[entry.pod_name] = self._last[entry.pod_name][1]
        return LogEntry(text, entry.pod_name)


def _sortable(stamp: str) -> str:
    """Return an RFC 3339 time so that texts sort as times: servers cut trailing zeros of the fraction."""
    whole, _, fraction = stamp.rstrip("Z").partition(".")
    return f"{whole}.{fraction:0<9}"


def decode(body: bytes | msgspec.Raw, kind: type[T]) -> T:
    """Return a JSON text as a value.

    Raises:
        ApiError: it is not of that form.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise ApiError(2, f"the server's answer cannot be read ({error}); is it a jitflow server?", 200) from error


class DirectoryEntry(Struct, frozen=True):
    """A name in a directory artifact."""

    name: str
    is_directory: bool = False


class ArtifactPlace(Struct, frozen=True):
    """An output artifact of a node of a workflow."""

    namespace: str
    workflow: str
    node: str
    name: str

    @property
    def url_path(self) -> str:
        """Return where the server serves it; what lies below it follows."""
        parts = (self.namespace, "workflows", self.workflow, self.node, "outputs", self.name)
        return "/artifact-files/" + "/".join(quote(part, safe="") for part in parts) + "/"


def check(status: int, body: bytes) -> None:
    """Return if an answer's status means success.

    Raises:
        ApiError: it does not; with the answer's own message where it has one.
    """
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return
    try:
        failure = msgspec.json.decode(body, type=_Failure)
    except msgspec.MsgspecError:
        failure = _Failure()
    message = failure.message[:_MAX_ERROR_CHARS] or f"the server answered with HTTP status {status}"
    if status == HTTPStatus.UNAUTHORIZED:
        message += "; set JITFLOW_TOKEN to the server's token (a local server's is found by itself)"
    raise ApiError(failure.code, message, status)


def lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the JSON texts of an event stream or of newline-delimited JSON; lines may be megabytes long."""
    rest: list[bytes] = []
    for chunk in chunks:
        first, *others = chunk.split(b"\n")
        rest.append(first)
        for part in others:
            yield from _payload(b"".join(rest))
            rest = [part]
    yield from _payload(b"".join(rest))


def _payload(line: bytes) -> Iterator[bytes]:
    text = line.strip()
    if text.startswith(b"data:"):
        text = text[5:].strip()
    if text and not text.startswith((b":", b"event:", b"id:", b"retry:")):
        yield text
