"""The versions of PostgreSQL's schema."""

import psycopg

from jitflow.ports.errors import Broken
from jitflow.stores._connections import Connection
from jitflow.stores._statements import another_program, check_present, migrations, read_queries, too_new

VERSION = 2
"""The version this program writes."""

QUERIES = {name: text.encode() for name, text in read_queries("postgresql").items()}
"""Every statement by its name."""

_LOCK = 0x6A697466
"""Two servers that start at once bring the schema up to date one after the other."""


async def migrate(connection: Connection, place: str) -> int:
    """Bring the database to `VERSION` and return the version that it had.

    Raises:
        Broken: it was written by a newer program, is another program's, or its user may not make tables.
    """
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        found, oldest_compatible = await _versions(connection, place)
        if oldest_compatible > VERSION:
            raise too_new(place, found, VERSION)
        try:
            for script in migrations(found, "postgresql"):
                await connection.execute(script.encode())
        except psycopg.errors.InsufficientPrivilege as error:
            raise Broken(
                f"the user of {place} may not make tables there ({error.diag.message_primary}); grant it, for example "
                "with GRANT CREATE ON SCHEMA public TO …"
            ) from error
    return found


async def present(connection: Connection, place: str) -> int:
    """Return the version of a database that is only read.

    Raises:
        Broken: it has another version than this program's, or holds no state.
    """
    found, _ = await _versions(connection, place)
    check_present(place, found, VERSION)
    return found


async def version_of(connection: Connection, place: str) -> int:
    """Return the version of a database, 0 if it is empty.

    Raises:
        Broken: it was written by a newer program, or is another program's.
    """
    found, oldest_compatible = await _versions(connection, place)
    if oldest_compatible > VERSION:
        raise too_new(place, found, VERSION)
    return found


async def _versions(connection: Connection, place: str) -> tuple[int, int]:
    cursor = await connection.execute(
        "SELECT c.relname FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace"
    )
    tables = {row[0] for row in await cursor.fetchall()}
    if "schema_version" not in tables:
        if tables & {"runs", "nodes", "events", "documents", "counters", "headers", "effects", "holder"}:
            raise another_program(place)
        return 0, 0
    cursor = await connection.execute("SELECT version, oldest_compatible FROM schema_version")
    row = await cursor.fetchone()
    return (row[0], row[1]) if row else (0, 0)
