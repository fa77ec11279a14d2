"""A state as a small text or file, and back into a database: what is in it is as the version before wrote it, schema and all."""

import io
import json
import sqlite3
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import asdict

STATE = "state"
"""The member of an archive with the state, where it is not in the home."""
HOME_SQL = "home.sql"
FACTS = "facts.json"


class Facts(Struct, frozen=True, kw_only=True):
    """What a state holds: its store, schema, and the workflows with the phases they had and have to end with."""

    store: str
    version: int
    objects: dict[str, str]
    """What lies in the far store: name and text."""
    ended: dict[str, str]
    going: dict[str, str]
    suspended: tuple[str, ...]
    secret: str
    """What a step of a workflow that goes on reads from a Secret."""


def dump_sqlite(path: Path) -> bytes:
    """Return a file's content as SQL."""
    connection = sqlite3.connect(path)
    try:
        return "\n".join(connection.iterdump()).encode()
    finally:
        connection.close()


def load_sqlite(text: bytes, path: Path) -> None:
    """Make a file of what `dump_sqlite` returned."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(text.decode())
    finally:
        connection.close()


def dump_postgresql(url: str) -> bytes:
    """Return a database's content as SQL; `pg_dump` must be on the PATH."""
    command = ["pg_dump", "--inserts", "--no-owner", "--no-privileges", "--no-comments", "--dbname", url]
    text = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    # Lines for psql only, and what later versions of pg_dump set that earlier servers do not know.
    kept = [line for line in text.splitlines() if not line.startswith(("\\", "--", "SET transaction_timeout"))]
    return "\n".join(line for line in kept if line).encode()


def load_postgresql(text: bytes, url: str) -> None:
    """Fill an empty database."""
    import psycopg  # noqa: PLC0415 - an extra

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(text)


def dump_mongodb(url: str) -> bytes:
    """Return a database's documents and indexes, one BSON document after the other."""
    import bson  # noqa: PLC0415 - an extra
    from pymongo import MongoClient  # noqa: PLC0415

    parts: list[bytes] = []
    with MongoClient[dict[str, Any]](url) as client:
        database = client.get_default_database()
        for name in sorted(database.list_collection_names()):
            for index, details in database[name].index_information().items():
                if index != "_id_":
                    options = {key: value for key, value in details.items() if key not in {"key", "v", "ns"}}
                    parts.append(
                        bson.encode({"collection": name, "index": [list(one) for one in details["key"]], "options": options})
                    )
            parts += [bson.encode({"collection": name, "document": document}) for document in database[name].find()]
    return b"".join(parts)


def load_mongodb(dump: bytes, url: str) -> None:
    """Fill an empty database."""
    import bson  # noqa: PLC0415 - an extra
    from pymongo import MongoClient  # noqa: PLC0415

    with MongoClient[dict[str, Any]](url) as client:
        database = client.get_default_database()
        for entry in bson.decode_all(dump):
            collection = database[entry["collection"]]
            if "document" in entry:
                collection.insert_one(entry["document"])
            else:
                options = {
                    **entry["options"],
                    "name": entry["options"].get("name") or "_".join(str(one[0]) for one in entry["index"]),
                }
                collection.create_index([(str(key), int(way)) for key, way in entry["index"]], **options)


def pack(target: Path, facts: Facts, home: Path, members: dict[str, bytes]) -> None:
    """Write an archive: facts, dumps, and what of a home belongs to its state."""
    target.parent.mkdir(parents=True, exist_ok=True)
    files = {FACTS: json.dumps(asdict(facts), indent=1).encode(), **members}
    files |= {f"home/{path.relative_to(home)}": path.read_bytes() for path in _of_state(home)}
    with tarfile.open(target, "w:xz") as archive:
        for name, body in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(body), 0o600
            archive.addfile(entry, io.BytesIO(body))


def _of_state(home: Path) -> Iterator[Path]:
    yield home / "secret.key"
    yield home / "primary" / ".jitflow-primary"
    yield from sorted(path for path in (home / "primary" / "objects").rglob("*") if path.is_file())


def unpack(source: Path, home: Path) -> tuple[Facts, dict[str, bytes]]:
    """Lay an archive's home out and return its facts and dumps."""
    members: dict[str, bytes] = {}
    with tarfile.open(source) as archive:
        for entry in archive:
            body = archive.extractfile(entry)
            assert body is not None
            if entry.name.startswith("home/"):
                path = home / entry.name.removeprefix("home/")
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                path.write_bytes(body.read())
                path.chmod(0o600)
            else:
                members[entry.name] = body.read()
    load_sqlite(members.pop(HOME_SQL), home / "state.db")
    return msgspec.json.decode(members.pop(FACTS), type=Facts), members
