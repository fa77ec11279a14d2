"""The floor: a bare Starlette application that writes one row for each submission, with group commit, and reads one row.

python -m benchmark.api.bare DATABASE PORT
"""

import asyncio
import json
import sqlite3
import sys
import threading
from queue import SimpleQueue
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_SCHEMA = "CREATE TABLE IF NOT EXISTS run (id INTEGER PRIMARY KEY, body BLOB NOT NULL)"


class Writer(threading.Thread):
    """One thread that writes what has gathered since its last commit."""

    def __init__(self, path: str) -> None:
        """Write to a database."""
        super().__init__(daemon=True)
        self._path = path
        self._queue: SimpleQueue[tuple[bytes, asyncio.Future[int]]] = SimpleQueue()

    async def add(self, body: bytes) -> int:
        """Return the row's number when it is durable."""
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._queue.put((body, done))
        return await done

    def run(self) -> None:
        """Write until the process ends."""
        database = connect(self._path)
        while True:
            batch = [self._queue.get()]
            while not self._queue.empty() and len(batch) < 1000:
                batch.append(self._queue.get())
            with database:
                numbers = [database.execute("INSERT INTO run (body) VALUES (?)", (body,)).lastrowid for body, _ in batch]
            loop = batch[0][1].get_loop()
            loop.call_soon_threadsafe(_tell, [done for _, done in batch], numbers)


def _tell(waiting: list[asyncio.Future[int]], numbers: list[Any]) -> None:
    for done, number in zip(waiting, numbers, strict=True):
        if not done.done():
            done.set_result(number)


def connect(path: str) -> sqlite3.Connection:
    """Return a connection to the database, made if it is not there."""
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    database.execute(_SCHEMA)
    return database


def make_app(path: str) -> Starlette:
    """Return the application."""
    writer, reads = Writer(path), connect(path)
    writer.start()

    async def submit(request: Request) -> Response:
        body = await request.body()
        json.loads(body)
        return Response(b'{"id":%d}' % await writer.add(body), media_type="application/json")

    async def status(request: Request) -> Response:
        row = reads.execute("SELECT body FROM run WHERE id = ?", (int(request.path_params["id"]),)).fetchone()
        return Response(row[0] if row else b"{}", status_code=200 if row else 404, media_type="application/json")

    return Starlette(routes=[Route("/runs", submit, methods=["POST"]), Route("/runs/{id}", status)])


if __name__ == "__main__":
    # The same loop, parser and headers as those of the server that it is compared with.
    uvicorn.run(
        make_app(sys.argv[1]),
        host="127.0.0.1",
        port=int(sys.argv[2]),
        loop="asyncio",
        http="httptools",
        ws="none",
        lifespan="off",
        log_level="error",
        access_log=False,
        server_header=False,
        date_header=False,
    )
