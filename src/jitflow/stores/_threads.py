"""Threads that own a database connection and work for coroutines."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Final, Generic, Protocol, TypeVar

from jitflow.ports.errors import Broken, Busy, PortError

T = TypeVar("T")


class Job(Generic[T]):
    """A piece of work and the coroutine that waits for it."""

    __slots__ = ("error", "future", "loop", "result", "work")

    def __init__(self, work: Callable[[sqlite3.Connection], T]) -> None:
        """Hold the work; must be called on the event loop."""
        self.work = work
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[T] = self.loop.create_future()
        self.result: T | None = None
        self.error: Exception | None = None

    def settle(self, outcome: T | Exception) -> None:
        """Keep an outcome for the caller."""
        failed = isinstance(outcome, Exception)
        self.error, self.result = (outcome, None) if failed else (None, outcome)

    def run(self, connection: sqlite3.Connection) -> None:
        """Do the work and keep its outcome.

        Raises:
            Exception: anything but a `PortError`, which is the caller's own and does not spoil the transaction.
        """
        self.error = None
        try:
            self.result = self.work(connection)
        except PortError as error:
            self.error = error


Jobs = Sequence[Job[Any]]
"""What is handed to a thread at once."""


_MOST_TURNS: Final = 3
"""So many turns of the loop jobs wait for others, as long as in each some come: a transaction of many costs each of them less."""


class Gatherer:
    """Hands the jobs of a turn or a few of an event loop over together: who does them finds a whole batch."""

    def __init__(self, hand_over: Callable[[Jobs], None], max_batch: int) -> None:
        """Hand over by a call, at most so many jobs at once."""
        self._hand_jobs_over = hand_over
        self._max_batch = max_batch
        self._gathered: dict[asyncio.AbstractEventLoop, list[Job[Any]]] = {}

    def put(self, job: Job[Any]) -> None:
        """Take a job; its loop's next turn hands it over, with those that came meanwhile."""
        gathered = self._gathered.get(job.loop)
        if gathered is None:  # each loop has a list of its own, which no other touches
            gathered = self._gathered[job.loop] = []
            job.loop.call_soon(self._look, job.loop, 1, _MOST_TURNS)
        gathered.append(job)

    def _look(self, loop: asyncio.AbstractEventLoop, seen: int, turns: int) -> None:
        """Hand over, unless others come: then those of the next turn too, for a few turns."""
        if turns and seen < len(self._gathered.get(loop, ())) < self._max_batch:
            loop.call_soon(self._look, loop, len(self._gathered[loop]), turns - 1)
        else:
            self._hand_over(loop, self._hand_jobs_over)

    def _hand_over(self, loop: asyncio.AbstractEventLoop, hand_over: Callable[[Jobs], None]) -> None:
        jobs = self._gathered.pop(loop, ())
        for first in range(0, len(jobs), self._max_batch):
            hand_over(jobs[first : first + self._max_batch])

    def flush(self, hand_over: Callable[[Jobs], None]) -> None:
        """Hand over what is left, by another call, before the loops' next turns."""
        for loop in list(self._gathered):
            self._hand_over(loop, hand_over)


def settle(jobs: Sequence[Job[Any]]) -> None:
    """Hand outcomes to waiting coroutines; runs on their loop."""
    for job in jobs:
        if job.future.done():
            continue
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.result)


def deliver(jobs: list[Job[T]]) -> None:
    """Wake the waiting coroutines, once per loop for the whole batch."""
    loops: dict[asyncio.AbstractEventLoop, list[Job[T]]] = {}
    for job in jobs:
        loops.setdefault(job.loop, []).append(job)
    for loop, own in loops.items():
        try:
            loop.call_soon_threadsafe(settle, own)
        except RuntimeError:  # the loop is closed: nobody waits any more
            continue


def translate(error: Exception) -> Exception:
    """Return the port's error for one of SQLite's, with what to do about it."""
    if not isinstance(error, sqlite3.Error):
        return error
    # Python 3.11 knows the code of each error; what is left of it without its extension is the kind.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return Busy("the disk that holds the state store is full; free some space, then all goes on")
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return Busy(f"the state store is held by another program: {error}; it is tried again")
    return Broken(f"the state store failed: {error}")


class Worker:
    """A thread with a connection of its own and a queue; `serve` does what has gathered."""

    def __init__(
        self,
        name: str,
        connection: sqlite3.Connection,
        serve: Callable[[sqlite3.Connection, list[Job[object]]], None],
        queue: "SimpleQueue[Jobs | None]",
        *,
        max_batch: int,
    ) -> None:
        """Start the thread, which owns the connection from now on and closes it at its end."""
        self._connection = connection
        self._serve = serve
        self._queue = queue
        self._max_batch = max_batch
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait until the thread has done what was queued before the end mark."""
        self._thread.join()

    def _run(self) -> None:
        try:
            going = True
            while going:
                batch, going = self._gather()
                if batch:
                    self._serve(self._connection, batch)
                    deliver(batch)
        finally:
            self._connection.close()

    def _gather(self) -> tuple[list[Job[object]], bool]:
        """Wait for a job and return it with those that came meanwhile, and whether to go on after them."""
        first = self._queue.get()
        if first is None:
            return [], False
        batch = [*first]
        while len(batch) < self._max_batch:
            try:
                jobs = self._queue.get_nowait()
            except Empty:
                break
            if jobs is None:
                return batch, False
            batch += jobs
        return batch, True


def serve_reads(connection: sqlite3.Connection, jobs: list[Job[object]]) -> None:
    """Run each read in a transaction of its own, so that it sees one state."""
    for job in jobs:
        try:
            connection.execute("BEGIN")
            job.run(connection)
        except Exception as error:
            job.error = translate(error)
        finally:
            _end(connection, job)


def _end(connection: sqlite3.Connection, job: Job[object]) -> None:
    """End a read's transaction; in a damaged file that may fail too."""
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        job.error = job.error or translate(error)


class Write(Protocol):
    """Makes the changes of jobs and keeps their outcomes, in a transaction that is begun; returns what to do when it is durable.

    `again`: they are alone, for together with others one of them has spoiled the transaction.
    """

    def __call__(self, connection: sqlite3.Connection, jobs: Sequence[Job[Any]], *, again: bool) -> Callable[[], None]:
        """Make the changes."""
        ...


def serve_writes(connection: sqlite3.Connection, jobs: list[Job[Any]], *, write: Write) -> None:
    """Commit all changes in one transaction; if one breaks it, each in a transaction of its own."""
    try:
        commit(connection, jobs, write, again=False)
    except Exception:
        for job in jobs:
            try:
                commit(connection, [job], write, again=True)
            except Exception as error:
                job.error = translate(error)


def commit(connection: sqlite3.Connection, jobs: Sequence[Job[Any]], write: Write, *, again: bool) -> None:
    """Make changes in one transaction; if it fails, none of them is made."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        committed = write(connection, jobs, again=again)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    committed()
