"""Connections to PostgreSQL: one for the writer, a few for readers, each made anew when it was lost."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import psycopg
from psycopg import AsyncConnection

from jitflow.ports.errors import Broken
from jitflow.stores._faults import is_lost, translate

T = TypeVar("T")
Connection = AsyncConnection[tuple[Any, ...]]

_CONNECT_TIMEOUT_S = 5
_READERS = 4
_OPTIONS: dict[str, Any] = {
    "application_name": "jitflow",
    "connect_timeout": _CONNECT_TIMEOUT_S,
    # A server that is gone without a word is noticed within about ten seconds.
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
_IDLE_IN_TRANSACTION_MS = 20_000
"""A transaction whose client is gone ends by itself: until then it could still be committed."""


class Connections:
    """Makes connections to one database and lends them to readers."""

    def __init__(self, url: str, place: str) -> None:
        """Name the database: `place` is what people are shown."""
        self.place = place
        self._url = url
        self._password = urlsplit(url).password or ""
        self._idle: list[Connection] = []
        self._lent = asyncio.Semaphore(_READERS)
        self._closed = False

    async def connect(self) -> Connection:
        """Return a new connection, in autocommit mode.

        Raises:
            Unreachable, Broken: none is to be had.
        """
        try:
            connection = await AsyncConnection.connect(self._url, autocommit=True, **_OPTIONS)
            await connection.execute(f"SET idle_in_transaction_session_timeout = {_IDLE_IN_TRANSACTION_MS}".encode())
        except (psycopg.Error, OSError) as error:
            raise self._refused(error) from None  # the original could show the password
        return connection

    def _refused(self, error: Exception) -> Exception:
        said = " ".join(str(error).split())
        if self._password:
            said = said.replace(self._password, "***")
        final = ("password authentication failed", "does not exist", "no pg_hba.conf entry", "permission denied", "invalid")
        if any(word in said for word in final) and "socket" not in said:
            return Broken(f"the state store at {self.place} refuses: {said}; mend the setting state.url or the database's rights")
        return translate(psycopg.OperationalError(said), self.place, lost=True)

    async def read(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Return what `work` reads. A connection that was lost meanwhile is made anew, once.

        Raises:
            Unreachable, Broken: as the database answers.
        """
        async with self._lent:
            while True:
                if self._closed:
                    raise Broken("the state store is closed")
                is_fresh = not self._idle
                connection = self._idle.pop() if self._idle else await self.connect()
                try:
                    found = await work(connection)
                except Exception as error:
                    lost = is_lost(error, connection)
                    await discard(connection)
                    if lost and not is_fresh:
                        await self._drop_idle()
                        continue
                    raise translate(error, self.place, lost=lost) from error
                except BaseException:  # cancelled: an answer may still be on its way
                    await discard(connection)
                    raise
                self._idle.append(connection)
                return found

    async def _drop_idle(self) -> None:
        """Let go of connections that the same restart of the database has cut."""
        idle, self._idle = self._idle, []
        for connection in idle:
            await discard(connection)

    async def close(self) -> None:
        """Close what is not lent, and refuse from now on."""
        self._closed = True
        await self._drop_idle()


async def discard(connection: Connection) -> None:
    """Close a connection, whatever state it is in."""
    try:
        await connection.close()
    except (psycopg.Error, OSError):
        return
