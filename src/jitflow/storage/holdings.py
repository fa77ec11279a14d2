"""What has come of an object that is read in ranges: one file of its whole size, and a journal of the ranges that are there.

Blocking: call from a thread. Both lie in one directory, which outlives this process. What was written when the machine itself
went down may never have reached the disk, so a journal of another boot counts for nothing.
"""

import os
from contextlib import suppress
from pathlib import Path
from threading import Lock

import msgspec
from msgspec import Struct

from jitflow.model.data import ObjectInfo

DATA, JOURNAL = "data", "ranges"
_BOOT = Path("/proc/sys/kernel/random/boot_id")
HEAD_BYTES = 4096

Range = tuple[int, int]
"""The first byte, and the first one behind."""


class _Header(Struct, frozen=True):
    """The journal's first line: which version of which object it is about."""

    ref: str
    version: str
    size_bytes: int
    boot: str


class Holdings:
    """The file and its journal. Threads may write different ranges at the same time."""

    def __init__(self, root: Path, info: ObjectInfo) -> None:
        """Use this directory for this version of an object."""
        self.path = root / DATA
        self.size_bytes = info.size_bytes
        self._root = root
        self._header = _Header(str(info.ref), info.version, info.size_bytes, _boot())
        self._lock = Lock()
        self._file = -1
        self._journal = -1
        self.done: list[Range] = []

    def open(self) -> int:
        """Go on with what is there, if it is of the same version, or begin anew; return how many bytes are right already.

        Raises:
            OSError: the disk is full, or the directory cannot be used.
        """
        self._root.mkdir(parents=True, exist_ok=True)
        self.done = self._read()
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._journal = os.open(self._root / JOURNAL, flags | (0 if self.done else os.O_TRUNC), 0o600)
        if not self.done:
            os.truncate(self._file, 0)
            os.posix_fallocate(self._file, 0, self.size_bytes)
            os.write(self._journal, msgspec.json.encode(self._header) + b"\n")
        return sum(end - start for start, end in self.done)

    def close(self) -> None:
        """Close both files."""
        for number in (self._file, self._journal):
            if number >= 0:
                os.close(number)
        self._file = self._journal = -1

    def write(self, chunk: memoryview, offset: int) -> None:
        """Write bytes; they count only when they are noted."""
        while chunk:
            count = os.pwrite(self._file, chunk, offset)
            chunk, offset = chunk[count:], offset + count

    def note(self, start: int, end: int) -> None:
        """Note a range that has been written."""
        if end > start:
            with self._lock:
                os.write(self._journal, msgspec.json.encode((start, end)) + b"\n")
                self.done = merged([*self.done, (start, end)])

    @property
    def begun_bytes(self) -> int:
        """Return how many bytes are there from the beginning on."""
        done = self.done
        return done[0][1] if done and not done[0][0] else 0

    def missing(self) -> list[Range]:
        """Return the ranges that have not come."""
        gaps: list[Range] = []
        at = 0
        for start, end in [*self.done, (self.size_bytes, self.size_bytes)]:
            if start > at:
                gaps.append((at, start))
            at = end
        return gaps

    def repeats(self, start: int, end: int) -> bool | None:
        """Return whether what was read from `start` on is the object's beginning once more; None: that cannot be told (yet).

        It is where a store ignores that a range was asked for.
        """
        count = min(HEAD_BYTES, end - start)
        if not start or count <= 0 or not self.done or self.done[0][0] or self.done[0][1] < count:
            return None
        head, there = os.pread(self._file, count, 0), os.pread(self._file, count, start)
        if head != there:
            return False
        return True if len(set(head)) > 1 else None

    def _read(self) -> list[Range]:
        try:
            lines = (self._root / JOURNAL).read_bytes().split(b"\n")
            header = msgspec.json.decode(lines[0], type=_Header)
            whole = (self._root / DATA).stat().st_size == self.size_bytes
        except (OSError, msgspec.MsgspecError):
            return []
        if header != self._header or not header.boot or not whole:
            return []
        found: list[Range] = []
        for line in lines[1:-1]:  # what follows the last line's end was being written when the process died
            with suppress(msgspec.MsgspecError):
                found.append(msgspec.json.decode(line, type=Range))
        return merged([(max(0, start), min(end, self.size_bytes)) for start, end in found if start < end])


def merged(ranges: list[Range]) -> list[Range]:
    """Return the same bytes as few ranges in order."""
    result: list[Range] = []
    for start, end in sorted(ranges):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result


def split(ranges: list[Range], parts: int, smallest: int) -> list[Range]:
    """Return the same bytes as about `parts` ranges of one size, none much smaller than `smallest`."""
    total = sum(end - start for start, end in ranges)
    step = max(smallest, -(-total // max(1, parts)))
    result: list[Range] = []
    for start, end in ranges:
        count = max(1, round((end - start) / step))
        each = -(-(end - start) // count)
        result.extend((at, min(at + each, end)) for at in range(start, end, each))
    return result


def _boot() -> str:
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""
