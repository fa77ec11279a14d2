"""Answers in JSON, and those that are asked for over and over: kept while what they were made of is the same."""

from collections import OrderedDict

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from jitflow.control_api.direct import WHOLE

MAX_KEPT = 256
MAX_KEPT_BYTES = 16 * 1024
"""So many answers are kept, none longer than that."""


_JSON = (b"content-type", b"application/json")


class Json(Response):
    """An answer of status 200: JSON that is text already, with the two headers that say so."""

    def __init__(self, body: bytes) -> None:
        """Answer with a body; there is nothing to be worked out of it as `Response` does."""
        self.status_code = 200
        self.background = None
        self.body = body
        self.raw_headers = [(b"content-length", b"%d" % len(body)), _JSON]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it: at once where the server can, else as messages."""
        whole = scope.get(WHOLE)
        if whole is None or not whole(self.body):
            await super().__call__(scope, receive, send)


class KnownAnswers:
    """Encoded answers by what was asked for. What they are made of never changes: something new takes its place."""

    def __init__(self) -> None:
        """Know none."""
        self._known: OrderedDict[tuple[str, ...], tuple[tuple[object, ...], bytes]] = OrderedDict()

    def find(self, asked: tuple[str, ...], made_of: tuple[object, ...]) -> bytes | None:
        """Return the answer to what was asked, if it was made of these very objects."""
        known = self._known.get(asked)
        if known is None or any(old is not new for old, new in zip(known[0], made_of, strict=True)):
            return None
        self._known.move_to_end(asked)
        return known[1]

    def keep(self, asked: tuple[str, ...], made_of: tuple[object, ...], body: bytes) -> bytes:
        """Take note of an answer, and return it."""
        if len(body) <= MAX_KEPT_BYTES and sum(map(len, asked)) <= MAX_KEPT_BYTES:
            self._known[asked] = (made_of, body)
            self._known.move_to_end(asked)
            if len(self._known) > MAX_KEPT:
                self._known.popitem(last=False)
        return body
