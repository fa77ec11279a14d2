"""Who writes: a thread, or the event loop itself where there is little to write.

To hand a change to a thread and to be woken by it takes longer than a small transaction that waits for no disk. So the loop
writes what is little, when the thread has nothing to do. All else goes to the thread: what is much, what waits for others or for
the disk, and what failed when the loop tried it.
"""

import contextlib
import sqlite3
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Final

from jitflow.stores._threads import Gatherer, Job, Jobs, Worker, Write, commit, serve_writes, settle

MAX_BATCH: Final = 512
"""Changes in one transaction: bounds how long the first caller waits for the last one's work."""
_CHECKPOINT_PAGES: Final = 4000
"""When the log is so long (16 MB) it is folded into the file: a change writes a dozen pages, most of which others write again."""
_FEWEST, _MOST = 64, 1024
"""After so many transactions of a loop, at least and at most, it is time for that."""


_CHECKPOINT: Final = "PRAGMA wal_checkpoint(PASSIVE)"


def serve_folds(connection: sqlite3.Connection, jobs: list[Job[Any]]) -> None:
    """Fold; what could not be folded now is folded with the rest the next time."""
    for job in jobs:
        with contextlib.suppress(sqlite3.Error):
            job.work(connection)


class Writer:
    """One connection with which a thread and the event loops write by turns; changes are made in the order in which they came.

    What the loops have written into the log a second thread folds into the file, while they go on.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        folding: sqlite3.Connection,
        write: Write,
        *,
        is_little: Callable[[Jobs], bool],
        patience_s: float,
    ) -> None:
        """Own the connections: one to write, one to fold the log.

        `is_little` says what a loop may write; the thread waits so long for another program's lock.
        """
        self._connection = connection
        self._write = write
        self._is_little = is_little
        self._patience_s = patience_s
        self._turn = threading.Lock()
        """Held by who uses the connection."""
        self._since_fold = 0
        self._fold_after = _FEWEST
        """After so many transactions of the loops the log is folded: about as many as it takes to `_CHECKPOINT_PAGES`."""
        self._is_folding = False
        self._is_patient = False
        """Whether the connection is set for the thread: it may wait, and fold the log."""
        self._counting = threading.Lock()
        self._with_thread = 0
        """Jobs that the thread has been given and has not done."""
        self._queue: SimpleQueue[Jobs | None] = SimpleQueue()
        self._gatherer = Gatherer(self._hand_over, MAX_BATCH)
        self._set_patient(patient=True)
        self._worker = Worker("store-writer", connection, self._serve, self._queue, max_batch=MAX_BATCH)
        self._folds: SimpleQueue[Jobs | None] = SimpleQueue()
        self._folder = Worker("store-folder", folding, serve_folds, self._folds, max_batch=1)

    def put(self, job: Job[Any]) -> None:
        """Take a job; must be called on its loop."""
        self._gatherer.put(job)

    def close(self) -> None:
        """Take no more; what was taken is still done."""
        self._gatherer.flush(self._to_thread)
        self._queue.put(None)
        self._folds.put(None)

    def join(self) -> None:
        """Wait until all is done."""
        self._worker.join()
        self._folder.join()

    def _hand_over(self, jobs: Jobs) -> None:
        """Do the jobs of this loop, or have them done."""
        if self._is_little(jobs) and self._done_here(jobs):
            settle(jobs)
        else:
            self._to_thread(jobs)

    def _to_thread(self, jobs: Jobs) -> None:
        with self._counting:
            self._with_thread += len(jobs)
        self._queue.put(jobs)

    def _done_here(self, jobs: Jobs) -> bool:
        """Make changes in one transaction at once; False: it is the thread's turn, or they could not be made."""
        if not self._turn.acquire(blocking=False):
            return False
        try:
            if self._with_thread:
                return False
            self._set_patient(patient=False)
            commit(self._connection, jobs, self._write, again=False)
            self._since_fold += 1
            if self._since_fold >= self._fold_after and not self._is_folding:
                self._is_folding = True
                self._folds.put((Job(self._fold),))
        except Exception:
            return False  # the thread tries it again, each alone, and tells what is wrong
        finally:
            self._turn.release()
        return True

    def _serve(self, connection: sqlite3.Connection, jobs: list[Job[Any]]) -> None:
        """Do what has gathered for the thread."""
        with self._turn:
            self._set_patient(patient=True)
            serve_writes(connection, jobs, write=self._write)
            with self._counting:
                self._with_thread -= len(jobs)

    def _fold(self, connection: sqlite3.Connection) -> None:
        """Fold the log into the file: most of it while others write, then the rest, so that the log begins anew."""
        pages = 0
        try:
            _, pages, _ = connection.execute(_CHECKPOINT).fetchone()
        finally:
            with self._turn:
                if pages > 0:
                    connection.execute(_CHECKPOINT).fetchone()
                    self._fold_after = max(_FEWEST, min(self._since_fold * _CHECKPOINT_PAGES // pages, _MOST))
                self._since_fold = 0
                self._is_folding = False

    def _set_patient(self, *, patient: bool) -> None:
        if patient is not self._is_patient:
            self._connection.execute(f"PRAGMA busy_timeout = {int(self._patience_s * 1e3) if patient else 0}")
            self._connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES if patient else 0}")
            self._is_patient = patient
