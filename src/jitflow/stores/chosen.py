"""The store that a URL names."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from jitflow.ports.errors import Broken
from jitflow.ports.servers import Servers
from jitflow.ports.store import StateStore
from jitflow.stores._urls import MONGODB, POSTGRESQL, kind_of, path_of
from jitflow.stores.lease import Lease
from jitflow.stores.sqlite import SqliteStore


@asynccontextmanager
async def open_store(
    url: str,
    *,
    synchronous: str = "NORMAL",
    patience_s: float = 0.0,
    reads_only: bool = False,
    lease: Lease | None = None,
    transactions: bool = True,
) -> AsyncGenerator[StateStore]:
    """Open the state of a URL for the time of the context; its schema is made or brought up to date.

    Args:
        url: `sqlite:///PATH`, `postgresql://…` or `mongodb://…`.
        synchronous: SQLite's, see `SqliteStore.open`.
        patience_s: so long a database that cannot be reached is waited for.
        reads_only: another server may hold it; nothing is written.
        lease: see `BatchedStore.open`; SQLite has none.
        transactions: whether MongoDB is written to by transactions where it knows them.

    Raises:
        Unreachable: it cannot be reached.
        Broken: it cannot be used, is newer than this program, another server holds it, or its driver is not installed.
    """
    kind = kind_of(url)
    if kind == POSTGRESQL:
        try:
            from jitflow.stores.postgresql import PostgresqlStore  # noqa: PLC0415 - a driver that few need
        except ImportError as error:
            raise Broken(f"a state in PostgreSQL needs psycopg ({error}); install `jitflow[postgresql]`") from error
        async with PostgresqlStore.open(url, patience_s=patience_s, reads_only=reads_only, lease=lease) as store:
            yield store
    elif kind == MONGODB:
        try:
            from jitflow.stores.mongodb import MongodbStore  # noqa: PLC0415 - a driver that few need
        except ImportError as error:
            raise Broken(f"a state in MongoDB needs pymongo ({error}); install `jitflow[mongodb]`") from error
        opened = MongodbStore.open(url, patience_s=patience_s, reads_only=reads_only, lease=lease, transactions=transactions)
        async with opened as store:
            yield store
    else:
        async with SqliteStore.open(path_of(url), synchronous=synchronous, reads_only=reads_only) as store:
            yield store


@asynccontextmanager
async def open_servers(url: str, *, patience_s: float = 0.0) -> AsyncGenerator[Servers]:
    """Open the list of the servers that share the state of a URL, for the time of the context.

    Raises:
        Unreachable: it cannot be reached.
        Broken: it cannot be used, or one server has it for itself (SQLite).
    """
    kind = kind_of(url)
    if kind == POSTGRESQL:
        try:
            from jitflow.stores._pgservers import PostgresqlServers  # noqa: PLC0415 - a driver that few need
        except ImportError as error:
            raise Broken(f"a state in PostgreSQL needs psycopg ({error}); install `jitflow[postgresql]`") from error
        servers: Servers = await PostgresqlServers.begin(url, patience_s)
    elif kind == MONGODB:
        try:
            from jitflow.stores._mgservers import MongodbServers  # noqa: PLC0415 - a driver that few need
        except ImportError as error:
            raise Broken(f"a state in MongoDB needs pymongo ({error}); install `jitflow[mongodb]`") from error
        servers = await MongodbServers.begin(url, patience_s)
    else:
        raise Broken("a state in SQLite has one server; put it into PostgreSQL or MongoDB to share it (state.url)")
    try:
        yield servers
    finally:
        await servers.close()
