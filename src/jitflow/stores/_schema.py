"""The versions of SQLite's schema."""

import sqlite3

from jitflow.stores._statements import another_program, check_present, migrations, read_queries, too_new

VERSION = 3
"""The version this program writes."""

QUERIES = read_queries()
"""Every statement by its name in `queries.sql`."""


def migrate(connection: sqlite3.Connection, path: str) -> int:
    """Bring the database to `VERSION` and return the version that it had.

    Raises:
        Broken: the file was written by a newer program that this one must not touch, or it is another program's database.
    """
    found, oldest_compatible = _versions(connection, path)
    if oldest_compatible > VERSION:
        raise too_new(path, found, VERSION)
    for script in migrations(found):
        connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nCOMMIT;")
    return found


def present(connection: sqlite3.Connection, path: str) -> int:
    """Return the version of a file that is only read.

    Raises:
        Broken: it has another version than this program's, or holds no state.
    """
    found, _ = _versions(connection, path)
    check_present(path, found, VERSION)
    return found


def _versions(connection: sqlite3.Connection, path: str) -> tuple[int, int]:
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        return 0, 0
    if "schema_version" not in tables:
        raise another_program(path)
    row = connection.execute("SELECT version, oldest_compatible FROM schema_version").fetchone()
    return (row[0], row[1]) if row else (0, 0)
