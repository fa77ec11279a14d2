"""The I/O of rclone's remote control: one HTTP client over a unix socket."""

from types import TracebackType
from typing import Any, Self

import httpx
import msgspec

from jitflow.ports.errors import Broken, PortError, Unreachable
from jitflow.storage.faults import shorten, translate
from jitflow.storage.redact import Redactor
from jitflow.storage.wire import Failure

CONNECT_S = 5.0
IDLE_CONNECTIONS = 32


class RcClient:
    """Calls methods of one `rclone rcd`.

    A call ends when the method has ended: copies may take hours, so there is no limit here; whoever calls watches the progress.
    Giving a call up closes its connection, and rclone then cancels the work.
    """

    def __init__(self, socket_path: str, user: str, password: str, redact: Redactor) -> None:
        """Prepare; nothing is connected before the first call."""
        transport = httpx.AsyncHTTPTransport(
            uds=socket_path,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=IDLE_CONNECTIONS, keepalive_expiry=30),
        )
        self._http = httpx.AsyncClient(
            transport=transport,
            base_url="http://rclone",
            auth=(user, password),
            timeout=httpx.Timeout(None, connect=CONNECT_S),
            trust_env=False,
        )
        self._redact = redact

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close all connections."""
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def call(self, method: str, params: dict[str, Any], *, subject: str) -> bytes:
        """Return the answer of a method, undecoded.

        `subject` names in error messages what the call is about.

        Raises:
            PortError: what rclone said, translated; `Unreachable` when rclone itself does not answer.
        """
        body = msgspec.json.encode(params)
        try:
            answer = await self._http.post(f"/{method}", content=body, headers={"Content-Type": "application/json"})
        except httpx.HTTPError as error:
            raise Unreachable(
                f"{subject}: rclone stopped before it answered ({type(error).__name__}); it is started again"
            ) from error
        if answer.status_code == 200:
            return answer.content
        raise self._failure(method, answer, subject)

    def _failure(self, method: str, answer: httpx.Response, subject: str) -> PortError:
        try:
            failure = msgspec.json.decode(answer.content, type=Failure)
        except msgspec.MsgspecError:
            said = shorten(self._redact(answer.text))
            return Broken(f"{subject}: rclone's {method} answered {answer.status_code}: {said}")
        return translate(self._redact(failure.error), failure.status, subject)
