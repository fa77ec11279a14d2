"""Endless answers: their lines, what to do when they break, and where to go on."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from jitflow.client._effects import Answer, Emit, Locate, Pause, Read, Request, Script, ask, now, open_
from jitflow.client._errors import ApiError, InvalidRequest, ServerFault, ServerLost, api_error, check
from jitflow.client._requests import decode
from jitflow.client._retry import pause_s

T = TypeVar("T")

HEALTH = Request(method="GET", path="/healthz", repeatable=True)
EVENTS = "text/event-stream"
_MAX_RECONNECTS = 10_000
_INTERNAL = 500


class _StreamError(Struct, frozen=True):
    grpc_code: int = 2
    http_code: int = _INTERNAL
    message: str = "the stream ended with an error"


class _Envelope(Struct, frozen=True):
    """One message of a stream: a result or an error."""

    result: msgspec.Raw = msgspec.Raw(b"")
    error: _StreamError | None = None


class Lines:
    """Cuts chunks into the JSON texts of an event stream or of newline-delimited JSON; lines may be megabytes long."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._rest: list[bytes] = []

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the texts that are whole now; an empty chunk is the end."""
        first, *others = chunk.split(b"\n") if chunk else (b"", b"")
        self._rest.append(first)
        for part in others:
            yield from _payload(b"".join(self._rest))
            self._rest = [part]


def _payload(line: bytes) -> Iterator[bytes]:
    text = line.strip()
    if text.startswith(b"data:"):
        text = text[5:].strip()
    if text and not text.startswith((b":", b"event:", b"id:", b"retry:")):
        yield text


def opened(request: Request) -> Script[Answer]:
    """Open a stream and return its answer.

    Raises:
        ApiError: the server refused it.
    """
    answer = yield from open_(request)
    check(answer.status, answer.body, where=request.name, retry_after=answer.headers.get("retry-after", ""))
    return answer


def messages(
    request: Request, take: Callable[[msgspec.Raw], T | None], told: Callable[[T], None] = lambda _: None
) -> Script[None]:
    """Emit what `take` makes of each result of a stream, to its end; what it makes None of is left out."""
    yield from opened(msgspec.structs.replace(request, accept=EVENTS))
    lines = Lines()
    while True:
        chunk: bytes = yield Read()
        for line in lines.feed(chunk):
            envelope = decode(line, _Envelope)
            if envelope.error:
                error = api_error(envelope.error.grpc_code, envelope.error.message, envelope.error.http_code)
                error.where = request.name
                raise error
            item = take(envelope.result) if envelope.result else None
            if item is not None:
                told(item)
                yield Emit(item)
        if not chunk:
            return


def reconnected(error: ServerLost, patience_s: float) -> Script[None]:
    """Return when the server answers again; raise `error` when it stays away longer than the patience."""
    waited_s = 0.0
    for turn in range(_MAX_RECONNECTS):
        waited_s += pause_s(turn)
        if waited_s > patience_s:
            break
        yield Pause(pause_s(turn))
        yield Locate()
        try:
            answer = yield from ask(HEALTH)
        except ServerLost:
            continue
        if answer.status < _INTERNAL:
            return
    raise error


class Cursor:
    """Where a follow goes on: the version it was told last."""

    def __init__(self, version: str = "") -> None:
        """Begin after a version; empty: with the present."""
        self.version = version


def persistent(
    request: Callable[[str, float | None], Request],
    take: Callable[[msgspec.Raw], T | None],
    version_of: Callable[[T], str],
    *,
    after: str,
    timeout_s: float | None,
    patience_s: float,
) -> Script[None]:
    """Emit what a stream tells from a version on, over breaks and restarts of the server, for so long.

    `request` makes the request for a version and the seconds that are left. A server that does not know the version any more is
    asked for the present.
    """
    cursor, began = Cursor(after), (yield from now())

    def told(item: T) -> None:
        cursor.version = version_of(item) or cursor.version

    while True:
        left_s = None if timeout_s is None else timeout_s - ((yield from now()) - began)
        if left_s is not None and left_s <= 0:
            return
        try:
            yield from messages(request(cursor.version, left_s), take, told)
        except ServerLost as error:
            yield from reconnected(error, patience_s)
        except InvalidRequest:
            if cursor.version == after:
                raise
            cursor.version = after = ""
        except ServerFault as error:
            yield from reconnected(_as_lost(error), patience_s)
        else:
            # It ended in order: its time is over, or the server goes down.
            yield Pause(pause_s(0))


def _as_lost(error: ApiError) -> ServerLost:
    lost = ServerLost(f"the server has failed: {error.message}")
    lost.__cause__ = error
    return lost


def drained(script: Script[None], take: Callable[[Any], bool]) -> Script[None]:
    """Run a script that emits, and give each item to `take`, until that returns True."""
    step: Callable[[Any], Any] = script.send
    value: Any = None
    try:
        while True:
            effect = step(value)
            step, value = script.send, None
            if isinstance(effect, Emit):
                if take(effect.item):
                    return
                continue
            try:
                value = yield effect
            except ServerLost as error:
                step, value = script.throw, error
    except StopIteration:
        return
    finally:
        script.close()
