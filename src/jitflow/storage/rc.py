"""The I/O of rclone's remote control: HTTP to wherever it listens."""

import base64
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpcore
import msgspec

from jitflow.ports.errors import Broken, Corrupt, PortError, Stalled, Unreachable
from jitflow.storage.endpoints import CONNECT_S, Endpoint
from jitflow.storage.exchange import Exchange, Lost
from jitflow.storage.faults import shorten, translate
from jitflow.storage.redact import Redactor
from jitflow.storage.streams import Stream
from jitflow.storage.wire import Failure

_LOST = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, httpcore.ConnectionNotAvailable)


class Gone(Unreachable):
    """rclone itself does not answer, or broke off: not the store behind it."""


class NotLetIn(Broken):
    """rclone does not take the user name and password."""


class RcClient:
    """Calls methods of one `rclone rcd`.

    A call ends when the method has ended: copies may take hours, so there is no limit here; whoever calls watches the progress.
    Giving a call up closes its connection, and rclone then cancels the work.
    """

    def __init__(
        self, endpoint: Endpoint, user: str, password: str, redact: Redactor, *, after: str = "it is started again"
    ) -> None:
        """Prepare; nothing is connected before the first call.

        Args:
            endpoint: where rclone listens.
            user: who asks; empty: it asks for nobody's name.
            password: of that user.
            redact: takes secrets out of what rclone says.
            after: what happens when rclone has ended, for messages.
        """
        self.endpoint = endpoint
        self._streams = endpoint.pool()
        self._headers = [("Host", endpoint.authority), ("Content-Type", "application/json")]
        if user:
            credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
            self._headers.append(("Authorization", f"Basic {credentials}"))
        self._exchange = Exchange(endpoint, dict(self._headers))
        self._redact = redact
        self._after = after

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close all connections."""
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._exchange.close()
        await self._streams.aclose()

    def hang_up(self) -> None:
        """Give up all calls under way: they end as `Gone`."""
        self._exchange.hang_up()

    async def call(self, method: str, params: dict[str, Any], *, subject: str) -> bytes:
        """Return the answer of a method, undecoded.

        `subject` names in error messages what the call is about.

        Raises:
            PortError: what rclone said, translated; `Gone` when rclone itself does not answer.
        """
        body = msgspec.json.encode(params)
        try:
            status, answer = await self._exchange.post(method, body)
        except Lost as error:
            raise Gone(f"{subject}: rclone stopped before it answered ({error}); {self._after}") from error
        if status == 200:
            return answer
        raise self._failure(method, status, answer, subject)

    async def read(self, fs: str, remote: str, *, span: str, stall_s: float, subject: str) -> AsyncGenerator[bytes]:
        """Yield the bytes of an object.

        `span` is the value of a Range header, empty for all; nothing for `stall_s` raises `Stalled`.

        Raises:
            PortError: what rclone said, translated; `Unreachable` when the stream breaks.
        """
        headers = [*self._headers, ("Range", span)] if span else self._headers
        url = f"{self.endpoint.origin}/{quote(f'[{fs}]', safe='')}/{quote(remote, errors='surrogatepass')}"
        timeout = {"connect": CONNECT_S, "read": stall_s}
        try:
            async with self._streams.stream("GET", url, headers=headers, extensions={"timeout": timeout}) as answer:
                if answer.status not in (200, 206):
                    said = self._redact((await answer.aread()).decode(errors="replace"))
                    raise translate(said, answer.status, subject)
                async for chunk in answer.aiter_stream():
                    yield chunk
        except httpcore.ReadTimeout as error:
            raise Stalled(f"{subject}: nothing moved for {stall_s:g} s; try again later") from error
        except _LOST as error:
            raise Unreachable(f"{subject}: the stream broke ({type(error).__name__}); read it again") from error

    def stream(self, fs: str, remote: str, *, start: int, end: int, stall_s: float) -> Stream:
        """Return a request for a range of an object, to be run in a thread."""
        base = f"/{self.endpoint.base}" if self.endpoint.base else ""
        url = f"{base}/{quote(f'[{fs}]', safe='')}/{quote(remote, errors='surrogatepass')}"
        lines = [f"GET {url} HTTP/1.1", *(f"{name}: {value}" for name, value in self._headers)]
        request = "\r\n".join([*lines, f"Range: bytes={start}-{end - 1}", "Connection: close", "", ""])
        return Stream(self.endpoint, request.encode(), size_bytes=end - start, timeout_s=stall_s)

    def refusal(self, status: int, said: bytes, subject: str) -> PortError:
        """Return what a refusal to give bytes means."""
        if status == 416:
            return Corrupt(f"{subject}: it is shorter than it was said to be")
        return translate(self._redact(said.decode(errors="replace")), status, subject)

    def _failure(self, method: str, status: int, answer: bytes, subject: str) -> PortError:
        try:
            failure = msgspec.json.decode(answer, type=Failure)
        except msgspec.MsgspecError:
            said = shorten(self._redact(answer.decode(errors="replace")))
            if status == 401:
                return NotLetIn(f"{subject}: rclone does not take the user name and password")
            return Broken(f"{subject}: rclone's {method} answered {status}: {said}")
        return translate(self._redact(failure.error), failure.status, subject)
