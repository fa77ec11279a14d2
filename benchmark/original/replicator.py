"""The original's algorithm, acted again beside a workflow: what it did at each workflow event, process by process.

At an event: one listing of the primary's folder; for each requested file one listing whether it is there, and of the missing ones
one more, far away, for the size; the list of cached files, oldest first, cut to the capacity; one more listing; then
`rclone copyto` of every file of that list, one process after the other, those included that are there already. The next event is
handled when that is done. Its defects that only hurt (wrong names at eviction, a document rewritten for each file) are left out.
"""

import queue
import subprocess
import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from benchmark.original.sets import File

CAPACITY_BYTES = 10**9


@dataclass(kw_only=True)
class Replicator:
    """Copies `files` from `far` to `near` (folders, `remote:path`) whenever it is told of an event. Use as a context manager."""

    rclone: str
    environment: dict[str, str]
    files: tuple[File, ...]
    far: str
    near: str
    copies: int = 0
    _events: "queue.SimpleQueue[bool]" = field(default_factory=queue.SimpleQueue)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _process: subprocess.Popen[str] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def event(self) -> None:
        """The workflow has changed."""
        self._events.put(True)

    def __enter__(self) -> Self:
        """Begin to wait for events."""
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop, in the middle of a copy if need be."""
        self._stop.set()
        self._events.put(False)
        with self._lock:
            if self._process:
                self._process.kill()
        assert self._thread
        self._thread.join()

    def _serve(self) -> None:
        while self._events.get() and not self._stop.is_set():
            self._replicate()

    def _replicate(self) -> None:
        present = self._list(self.near)
        cached = [file for file in self.files if file.name in present]
        for file in self.files:
            if not self._list(f"{self.near}/{file.name}"):
                self._list(f"{self.far}/{file.name}")
                cached.append(file)
        while sum(file.size_bytes for file in cached) > CAPACITY_BYTES:
            cached.pop(0)
        self._list(self.near)
        for file in cached:
            self._rclone("copyto", f"{self.far}/{file.name}", f"{self.near}/{file.name}")
            self.copies += 1

    def _list(self, place: str) -> set[str]:
        lines = self._rclone("ls", place).splitlines()
        return {line.strip().partition(" ")[2] for line in lines}

    def _rclone(self, *arguments: str) -> str:
        """Run rclone as the original did, its defaults included, and return what it printed; a failure is an empty answer."""
        with self._lock:
            if self._stop.is_set():
                return ""
            self._process = process = subprocess.Popen(
                [self.rclone, "--config", "", *arguments],
                env=self.environment, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        printed, _ = process.communicate()
        return printed if process.returncode == 0 else ""
