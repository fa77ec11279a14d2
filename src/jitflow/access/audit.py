"""The audit log: who did what, one JSON line each, in files that are only appended to."""

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
    ) -> None:
        """Go on with the newest file.

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

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def write(self, entry: AuditEntry) -> None:
        """Append an entry; refusals of nobody in particular only so many, or they would push everything else out.

        That is one write into the page cache, a microsecond or two: to gather entries would take longer.
        """
        if entry.status in {401, 403} and not self._may_write_refusal():
            self._left_out += 1
            return
        if self._left_out:
            entry = msgspec.structs.replace(entry, left_out=self._left_out)
            self._left_out = 0
        line = _encode(entry) + b"\n"
        try:
            if self._size and self._size + len(line) > self._file_bytes:
                self._rotate()
            self._append(line)
        except OSError as error:
            _log.error("audit entry lost", error, subject=entry.subject, action=entry.action)

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
