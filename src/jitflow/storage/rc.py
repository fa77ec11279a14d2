"""The I/O of rclone's remote control: one HTTP client over a unix socket."""

import itertools
from types import TracebackType
from typing import Any, Self

import httpx
import msgspec

from jitflow.ports.errors import Broken, PortError, Unreachable
from jitflow.storage.faults import shorten, translate
from jitflow.storage.redact import Redactor
from jitflow.storage.wire import Failure

CONNECT_S = 5.0
POOLS = 16
"""Pools of connections, used in turn: what a request costs in one grows with the connections that it holds."""


class RcClient:
    """Calls methods of one `rclone rcd`.

    A call ends when the method has ended: copies may take hours, so there is no limit here; whoever calls watches the progress.
    Giving a call up closes its connection, and rclone then cancels the work.
    """

    def __init__(self, socket_path: str, user: str, password: str, redact: Redactor) -> None:
        """Prepare; nothing is connected before the first call."""
        self._pools = [_pool(socket_path, user, password) for _ in range(POOLS)]
        self._turn = itertools.cycle(self._pools)
        self._redact = redact

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close all connections."""
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        for pool in self._pools:
            await pool.aclose()

    async def call(self, method: str, params: dict[str, Any], *, subject: str) -> bytes:
        """Return the answer of a method, undecoded.

        `subject` names in error messages what the call is about.

        Raises:
            PortError: what rclone said, translated; `Unreachable` when rclone itself does not answer.
        """
        body = msgspec.json.encode(params)
        try:
            answer = await next(self._turn).post(f"/{method}", content=body, headers={"Content-Type": "application/json"})
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


def _pool(socket_path: str, user: str, password: str) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None, keepalive_expiry=30)
    return httpx.AsyncClient(
        transport=httpx.AsyncHTTPTransport(uds=socket_path, limits=limits, verify=False),  # no TLS: loading certificates is slow
        base_url="http://rclone",
        auth=(user, password),
        timeout=httpx.Timeout(None, connect=CONNECT_S),
        trust_env=False,
    )
