"""The audit log: who did what, one JSON line each, in files that are only appended to."""

import asyncio
import math
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from jitflow.model.access import AuditEntry
from jitflow.telemetry import logger

_log = logger("audit")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(AuditEntry).decode
_FILE: Final = re.compile(r"audit-(\d{8})\.jsonl")
_MAX_ANSWER: Final = 10_000
_REFUSED_BURST: Final = 60.0
_REFUSED_PER_S: Final = 1.0
ALONE_S: Final = 0.0003
"""An entry so long after the last one comes alone: to gather those of a turn of the loop would only cost another turn."""


class AuditQuery(Struct, frozen=True, kw_only=True):
    """Which entries are wanted; empty: all. `namespaces`: those that may be seen, None for all."""

    since: float = 0.0
    until: float = float("inf")
    subject: str = ""
    namespace: str = ""
    action: str = ""
    namespaces: frozenset[str] | None = None
    limit: int = 100

    def wants(self, entry: AuditEntry) -> bool:
        """Return whether an entry is wanted."""
        return (
            self.since <= entry.at < self.until
            and self.subject in {"", entry.subject}
            and self.namespace in {"", entry.namespace}
            and (not self.action or entry.action == self.action or entry.action.partition(".")[0] == self.action)
            and (self.namespaces is None or entry.namespace in self.namespaces)
        )


class AuditLog:
    """Files `audit-NNNNNNNN.jsonl` in a directory; the oldest go when there are too many.

    Writing never fails what is written about: a full disk is told in the log of the server.
    """

    def __init__(
        self,
        folder: Path,
        *,
        file_bytes: int = 16 * 2**20,
        files: int = 8,
        now: Callable[[], float] = time.time,
        alone_s: float = ALONE_S,
    ) -> None:
        """Go on with the newest file. `alone_s`: an entry so long after the last one is not gathered with others (`written`).

        Raises:
            OSError: the directory cannot be made or written to.
        """
        self.folder = folder
        self._file_bytes = file_bytes
        self._files = max(files, 1)
        self._now = now
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        numbers = self._numbers()
        self._number = numbers[-1] if numbers else 1
        self._file, self._size = self._open(self._number)
        self._allowance = _REFUSED_BURST
        self._allowed_at = now()
        self._left_out = 0
        self._lines: list[bytes] = []
        self._written_at = -math.inf
        self._alone_s = alone_s
        self._waiting: list[asyncio.Future[None]] = []

    def close(self) -> None:
        """Write what is left and close the file."""
        self._flush()
        os.close(self._file)

    def write(self, entry: AuditEntry) -> None:
        """Append an entry; refusals of nobody in particular only so many, or they would push everything else out."""
        if self._take(entry):
            self._flush()

    def written(self, entry: AuditEntry) -> asyncio.Future[None] | None:
        """Append an entry: one that comes alone at once, else with all others of this turn of the event loop.

        Returns None when that has been tried, else what is done when it has been.
        """
        if not self._take(entry):
            return None
        loop = asyncio.get_running_loop()
        now, before = loop.time(), self._written_at
        if not self._waiting and now - before > self._alone_s:
            self._written_at = now
            self._flush()
            return None
        if not self._waiting:
            loop.call_soon(self._flush)
        self._written_at = now
        done: asyncio.Future[None] = loop.create_future()
        self._waiting.append(done)
        return done

    def _take(self, entry: AuditEntry) -> bool:
        if entry.status in {401, 403} and not self._may_write_refusal():
            self._left_out += 1
            return False
        if self._left_out:
            entry = msgspec.structs.replace(entry, left_out=self._left_out)
            self._left_out = 0
        self._lines.append(_encode(entry) + b"\n")
        return True

    def _flush(self) -> None:
        """Write all lines that were taken, as few writes as the sizes of files allow."""
        lines, self._lines = self._lines, []
        waiting, self._waiting = self._waiting, []
        try:
            while lines:
                fitting, size = 0, self._size
                while fitting < len(lines) and (not size or size + len(lines[fitting]) <= self._file_bytes):
                    size += len(lines[fitting])
                    fitting += 1
                self._append(b"".join(lines[:fitting]))
                del lines[:fitting]
                if lines:
                    self._rotate()
        except OSError as error:
            for entry in map(_decode, lines):
                _log.error("audit entry lost", error, subject=entry.subject, action=entry.action)
        finally:
            for done in waiting:
                if not done.done():
                    done.set_result(None)

    def _append(self, text: bytes) -> None:
        while text:
            written = os.write(self._file, text)
            self._size += written
            text = text[written:]

    def _may_write_refusal(self) -> bool:
        now = self._now()
        self._allowance = min(self._allowance + max(now - self._allowed_at, 0.0) * _REFUSED_PER_S, _REFUSED_BURST)
        self._allowed_at = now
        if self._allowance < 1.0:
            return False
        self._allowance -= 1.0
        return True

    def read(self, query: AuditQuery) -> list[AuditEntry]:
        """Return the newest entries that are wanted, newest first; reads files, so call it in a thread."""
        found: list[AuditEntry] = []
        limit = min(query.limit, _MAX_ANSWER)
        for entry in self._entries():
            if len(found) >= limit:
                break
            if query.wants(entry):
                found.append(entry)
        return found

    def _entries(self) -> Iterator[AuditEntry]:
        for number in reversed(self._numbers()):
            try:
                lines = self._path(number).read_bytes().splitlines()
            except FileNotFoundError:
                continue  # it has just been rotated away
            for line in reversed(lines):
                try:
                    yield _decode(line)
                except msgspec.MsgspecError:
                    continue  # the end of a line that a power cut cut off

    def _rotate(self) -> None:
        file, size = self._open(self._number + 1)
        os.close(self._file)
        self._number += 1
        self._file, self._size = file, size
        for number in self._numbers()[: -self._files]:
            self._path(number).unlink(missing_ok=True)

    def _open(self, number: int) -> tuple[int, int]:
        file = os.open(self._path(number), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        size = os.fstat(file).st_size
        if size:
            os.write(file, b"\n")  # ends a line that was cut off; empty lines are passed over
        return file, size

    def _numbers(self) -> list[int]:
        return sorted(int(found[1]) for path in self.folder.iterdir() if (found := _FILE.fullmatch(path.name)))

    def _path(self, number: int) -> Path:
        return self.folder / f"audit-{number:08d}.jsonl"
