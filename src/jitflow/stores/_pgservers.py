"""The servers that share a state in PostgreSQL: a row for each, and that of the leader. The database's clock tells ages."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import psycopg

from jitflow.ports.errors import Broken, Retryable
from jitflow.ports.servers import LEASE_S, Lead, Member, Seen
from jitflow.stores import _process as processes
from jitflow.stores._connections import Connection, Connections, discard
from jitflow.stores._faults import is_lost, translate
from jitflow.stores._pgschema import QUERIES, VERSION, migrate, version_of
from jitflow.stores._urls import shown
from jitflow.stores.postgresql import one

_LOOK_S = 0.25
_SERVERS_VERSION = 2
"""The version of the schema that first knows of servers."""


class PostgresqlServers:
    """A `Servers` in a PostgreSQL database; make it with `begin`."""

    def __init__(self, url: str) -> None:
        """Name the database."""
        self._place = shown(url)
        self._connections = Connections(url, self._place)

    @classmethod
    async def begin(cls, url: str, patience_s: float) -> "PostgresqlServers":
        """Return it when the database answers; what it needs there is made, unless an older server leads.

        Raises:
            Unreachable: it is not there in that time. Broken: it refuses, or an older server leads that cannot share.
        """
        servers = cls(url)
        until = time.monotonic() + patience_s
        try:
            while True:
                try:
                    await servers._prepare()
                except Retryable:
                    if time.monotonic() >= until:
                        raise
                    await asyncio.sleep(_LOOK_S)
                else:
                    return servers
        except BaseException:
            await servers.close()
            raise

    async def _prepare(self) -> None:
        connection = await self._connections.connect()
        try:
            found = await version_of(connection, self._place)
            if 0 < found < VERSION:
                cursor = await connection.execute(
                    "SELECT owner, clock_timestamp() - renewed_at < %s * interval '1 s' FROM holder", (LEASE_S,)
                )
                row = await cursor.fetchone()
                if row is not None and row[0] and row[1]:
                    if found >= _SERVERS_VERSION:
                        return  # it is brought up to date when this server leads
                    raise Broken(
                        f"the state at {self._place} is led by an older server that cannot share it; stop that one first"
                    )
            await migrate(connection, self._place)
        except psycopg.Error as error:
            raise translate(error, self._place, lost=is_lost(error, connection)) from error
        finally:
            await discard(connection)

    async def tell(self, member: Member) -> None:
        """Say that a server lives."""
        await self._do("tell_server", (member.id, msgspec.json.encode(member).decode()))

    async def members(self) -> Sequence[Seen]:
        """Return those that are there."""

        async def work(connection: Connection) -> list[tuple[str, float]]:
            return await (await connection.execute(QUERIES["select_servers"])).fetchall()

        rows = await self._connections.read(work)
        return [Seen(member=msgspec.json.decode(body, type=Member), age_s=max(0.0, age_s)) for body, age_s in rows]

    async def lead(self) -> Lead:
        """Return who leads."""

        async def work(connection: Connection) -> Lead:
            owner, process, age_s, batch, epoch = await one(connection, "look_at_holder")
            return processes.lead_of(owner, process, epoch=epoch, age_s=max(0.0, age_s), mark=f"{owner} {batch}")

        return await self._connections.read(work)

    async def leave(self, member_id: str) -> None:
        """Take a server out of the list, with those that were not heard of for long."""
        await self._do("delete_server", (member_id,))

    async def _do(self, query: str, values: tuple[Any, ...]) -> None:
        async def work(connection: Connection) -> None:
            await connection.execute(QUERIES[query], values)

        await self._connections.read(work)

    async def close(self) -> None:
        """Disconnect."""
        await self._connections.close()
