"""Bare group-commit loops: the rows of a commit, written in batches to the same database by a loop that does nothing else."""

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

Batch = Sequence[tuple[int, int]]
"""Run and version of each commit."""
_TABLES = (
    "CREATE TABLE bare_runs (id BIGINT PRIMARY KEY, version BIGINT, phase TEXT, progress TEXT)",
    "CREATE TABLE bare_nodes (run BIGINT, id TEXT, body {blob}, PRIMARY KEY (run, id))",
    "CREATE TABLE bare_effects (run BIGINT, id TEXT, body {blob}, PRIMARY KEY (run, id))",
    "CREATE TABLE bare_events (run BIGINT, number BIGINT, body {blob}, PRIMARY KEY (run, number))",
)


def batches(commits: int, runs: int, size: int) -> Iterator[Batch]:
    """Return the commits in batches, each run's in their order."""
    everything = [(number % runs, number // runs) for number in range(commits)]
    for start in range(0, commits, size):
        yield everything[start : start + size]


def measured(write: Callable[[Batch], object], todo: Iterator[Batch]) -> float:
    """Return the seconds that it takes to write all batches."""
    began = time.perf_counter()
    for batch in todo:
        write(batch)
    return time.perf_counter() - began


def sqlite(path: Path, todo: Iterator[Batch], node: bytes, effect: bytes, events: Sequence[bytes]) -> float:
    """Return the seconds that a loop on one connection needs."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    for table in _TABLES:
        connection.execute(table.format(blob="BLOB") + (" WITHOUT ROWID" if "runs" not in table else ""))

    def write(batch: Batch) -> None:
        connection.execute("BEGIN IMMEDIATE")
        run = connection.executemany
        run("INSERT OR REPLACE INTO bare_runs VALUES (?, ?, 'Running', '1/2')", batch)
        run("INSERT OR REPLACE INTO bare_nodes VALUES (?, ?, ?)", [(run, f"n{number}", node) for run, number in batch])
        run("DELETE FROM bare_effects WHERE run = ? AND id = ?", [(run, f"n{number - 1}") for run, number in batch])
        run("INSERT INTO bare_effects VALUES (?, ?, ?)", [(run, f"n{number}", effect) for run, number in batch])
        rows = [(run, number * len(events) + place, body) for run, number in batch for place, body in enumerate(events)]
        run("INSERT INTO bare_events VALUES (?, ?, ?)", rows)
        connection.execute("COMMIT")

    try:
        return measured(write, todo)
    finally:
        connection.close()


def postgresql(url: str, todo: Iterator[Batch], node: bytes, effect: bytes, events: Sequence[bytes]) -> float:
    """Return the seconds that a loop on one connection needs, all statements of a batch sent at once."""
    import psycopg  # noqa: PLC0415 - an extra

    with psycopg.connect(url, autocommit=True) as connection:
        for table in _TABLES:
            connection.execute(table.format(blob="BYTEA").encode())

        def write(batch: Batch) -> None:
            runs = [run for run, _ in batch]
            names = [f"n{number}" for _, number in batch]
            before = [f"n{number - 1}" for _, number in batch]
            rows = [(run, number * len(events) + place, body) for run, number in batch for place, body in enumerate(events)]
            latest = dict(batch)
            with connection.pipeline(), connection.transaction():
                run = connection.execute
                run(
                    "INSERT INTO bare_runs SELECT a, b, 'Running', '1/2' FROM unnest(%s::bigint[], %s::bigint[]) AS x(a, b) "
                    "ON CONFLICT (id) DO UPDATE SET version = excluded.version",
                    (list(latest), list(latest.values())),
                )
                nodes = (
                    "INSERT INTO bare_nodes SELECT * FROM unnest(%s::bigint[], %s::text[], %b::bytea[]) ON CONFLICT DO NOTHING"
                )
                run(nodes, (runs, names, [node] * len(batch)))
                gone = (
                    "DELETE FROM bare_effects e USING unnest(%s::bigint[], %s::text[]) g(run, id) "
                    "WHERE e.run = g.run AND e.id = g.id"
                )
                run(gone, (runs, before))
                run(
                    "INSERT INTO bare_effects SELECT * FROM unnest(%s::bigint[], %s::text[], %b::bytea[])",
                    (runs, names, [effect] * len(batch)),
                )
                added = "INSERT INTO bare_events SELECT * FROM unnest(%s::bigint[], %s::bigint[], %b::bytea[])"
                run(added, tuple([row[place] for row in rows] for place in range(3)))

        return measured(write, todo)


def mongodb(url: str, todo: Iterator[Batch], node: bytes, effect: bytes, events: Sequence[bytes]) -> float:
    """Return the seconds that a loop needs that writes each batch as one document of a run each, and its parts in one call."""
    from pymongo import InsertOne, MongoClient, ReplaceOne, UpdateOne  # noqa: PLC0415 - an extra

    client: MongoClient[dict[str, Any]]
    with MongoClient(url, w="majority", journal=True) as client:
        db = client.get_default_database()

        def write(batch: Batch) -> None:
            db.bare_runs.bulk_write(
                [UpdateOne({"_id": run}, {"$set": {"version": number}}, upsert=True) for run, number in batch]
            )
            parts: list[Any] = []
            for run, number in batch:
                parts.append(ReplaceOne({"_id": f"{run}n{number}"}, {"body": node}, upsert=True))
                parts.append(ReplaceOne({"_id": f"{run}e"}, {"body": effect}, upsert=True))
                parts += [InsertOne({"_id": f"{run}v{number}-{place}", "body": body}) for place, body in enumerate(events)]
            db.bare_pieces.bulk_write(parts, ordered=False)

        return measured(write, todo)
