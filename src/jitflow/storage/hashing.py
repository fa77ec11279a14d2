"""The hash of a file that is still being written: computed behind the bytes as they come, so that little is left at the end."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Lock

_BLOCK_BYTES = 2**20


class RunningHash:
    """One file, written by others from its beginning on and in gaps. Its methods may be called from any thread.

    Nobody waits in a thread of the pool for somebody who needs one: `advance` leaves work there that ends by itself.
    """

    def __init__(self, path: Path, kind: str, pool: ThreadPoolExecutor) -> None:
        """Compute this kind of hash; the file is there.

        Raises:
            OSError: it is not.
        """
        self._made = hashlib.new(kind, usedforsecurity=False)
        self._pool = pool
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._working = Lock()
        """Held by whoever hashes."""
        self._at = 0
        self._ready = 0
        self._failed = False

    def advance(self, ready: int) -> None:
        """The first `ready` bytes are right now."""
        if ready > self._ready:
            self._ready = ready
            with suppress(RuntimeError):  # the pool has ended, and so will this
                self._pool.submit(self._catch_up)

    def finish(self, size_bytes: int) -> str:
        """Return the hash in hexadecimal digits, all bytes being there; empty if the file could not be read. Blocking."""
        with self._working:
            self._ready = size_bytes
            self._hash()
            return "" if self._failed or self._at < size_bytes else self._made.hexdigest()

    def close(self) -> None:
        """Stop. Blocking, for a moment."""
        self._failed = True
        with self._working:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    def _catch_up(self) -> None:
        if self._working.acquire(blocking=False):  # else somebody does it, or the next one will
            try:
                self._hash()
            finally:
                self._working.release()

    def _hash(self) -> None:
        buffer = memoryview(bytearray(_BLOCK_BYTES))
        while self._at < self._ready and not self._failed:
            try:
                count = os.preadv(self._file, [buffer[: min(_BLOCK_BYTES, self._ready - self._at)]], self._at)
            except OSError:
                count = 0
            if not count:
                self._failed = True
                return
            self._made.update(buffer[:count])
            self._at += count
