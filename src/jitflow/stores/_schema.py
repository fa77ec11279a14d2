"""The schema's versions and the statements, both kept in files below `sql/`."""

import re
import sqlite3
from importlib import resources

from jitflow.ports.errors import Broken

VERSION = 2
"""The version this program writes; `sql/NNN_*.sql` leads from version NNN - 1 to NNN."""

_SQL = resources.files("jitflow.stores") / "sql"
_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def _read_queries() -> dict[str, str]:
    parts = _NAME.split((_SQL / "queries.sql").read_text(encoding="utf-8"))
    return {name: text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}


QUERIES = _read_queries()
"""Every statement by its name in `queries.sql`."""


def migrate(connection: sqlite3.Connection, path: str) -> None:
    """Bring the database to `VERSION`.

    Raises:
        Broken: the file was written by a newer program that this one must not touch, or it is another program's database.
    """
    found, oldest_compatible = _versions(connection, path)
    if oldest_compatible > VERSION:
        raise Broken(
            f"{path} has schema version {found}, this jitflow knows {VERSION}: it was written by a newer jitflow; "
            "use that version, or another state directory"
        )
    for file in sorted(_SQL.iterdir(), key=lambda entry: entry.name):
        number = re.match(r"(\d+)_", file.name)
        if number and int(number[1]) > found:
            connection.executescript(f"BEGIN IMMEDIATE;\n{file.read_text(encoding='utf-8')}\nCOMMIT;")


def _versions(connection: sqlite3.Connection, path: str) -> tuple[int, int]:
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        return 0, 0
    if "schema_version" not in tables:
        raise Broken(f"{path} is a database of another program; choose another state file")
    row = connection.execute("SELECT version, oldest_compatible FROM schema_version").fetchone()
    return (row[0], row[1]) if row else (0, 0)
