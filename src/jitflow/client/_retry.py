"""One request and its answer, tried again where that is harmless."""

from http import HTTPStatus
from typing import TypeVar

from jitflow.client._effects import Pause, Request, Script, ask
from jitflow.client._errors import ClientError, NotFound, ServerFault, ServerLost, TooManyRequests, check
from jitflow.client._requests import Call

T = TypeVar("T")

PAUSES_S = (0.1, 0.2, 0.5, 1.0, 2.0)
"""Growing pauses between attempts; the last one is repeated."""
MAX_RETRY_AFTER_S = 30.0
_AWAY = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT})


def pause_s(turn: int) -> float:
    """Return how long to wait before attempt `turn` + 1."""
    return PAUSES_S[min(turn, len(PAUSES_S) - 1)]


def exchange(call: Call[T], attempts: int) -> Script[T]:
    """Send a request and return what its answer says.

    It is sent at most `attempts` times: again when it cannot have arrived or was refused as too much, and, if repeating it is
    harmless, when the server was away or the connection broke. A deletion whose answer was lost finds nothing the second time.
    """
    request, lost, turn = call.request, False, 0
    while True:
        try:
            answer = yield from ask(request)
            check(answer.status, answer.body, where=request.name, retry_after=answer.headers.get("retry-after", ""))
            return call.reads(answer.body)
        except NotFound:
            if not (lost and request.method == "DELETE"):
                raise
            return call.reads(b"{}")
        except ClientError as error:
            error.where = request.name
            wait_s = _wait_s(error, request, turn)
            turn += 1
            if wait_s is None or turn >= attempts:
                raise
            lost = lost or isinstance(error, ServerLost)
        yield Pause(wait_s)


def _wait_s(error: ClientError, request: Request, turn: int) -> float | None:
    """Return how long to wait before the request is sent again, None if it is not to be."""
    if isinstance(error, ServerLost):
        return pause_s(turn) if request.repeatable or not error.sent else None
    if not isinstance(error, (TooManyRequests, ServerFault)) or error.retry_after_s > MAX_RETRY_AFTER_S:
        return None
    again = isinstance(error, TooManyRequests) or (request.repeatable and error.status in _AWAY)
    return max(error.retry_after_s, pause_s(turn)) if again else None
