"""A pod's log in the CRI format: `<RFC 3339 time with nanoseconds> <stream> <F|P> <text>`."""

import os
import time
from collections.abc import Iterable
from typing import IO

PIECE_BYTES = 16 * 1024
"""A longer line is written in pieces of this size: all but the last are tagged `P`."""

TAIL_BYTES = 256 * 1024
HIDDEN = b"[hidden]"
SHORTEST = 6
"""Shorter secrets are not looked for: they would be found in what is none."""
LOG_LIMIT_BYTES = 1024 * 1024 * 1024


class LogWriter:
    """Time-stamps what a pod prints and appends it to the log's file descriptor.

    Output beyond `limit_bytes` is left out; the log then says so. Secrets (`hidden`) that stand in a line as they are become
    `[hidden]`; of a line longer than a piece those that lie across its pieces do not.
    """

    def __init__(
        self, fd: int, *, keep_tail: bool = False, limit_bytes: int = LOG_LIMIT_BYTES, hidden: Iterable[str] = ()
    ) -> None:
        self._fd = fd
        self._hidden = _searched(hidden)
        self._left = limit_bytes
        self._rest = {b"stdout": b"", b"stderr": b""}
        self._tail: bytearray | None = bytearray() if keep_tail else None
        self._second = -1
        self._prefix = b""

    def feed(self, stream: bytes, data: bytes) -> None:
        """Take what was read from one of the pod's streams (`b"stdout"` or `b"stderr"`)."""
        if self._tail is not None and stream == b"stdout":
            self._tail += data
            if len(self._tail) > 4 * TAIL_BYTES:
                del self._tail[:-TAIL_BYTES]
        head = self._now() + b" " + stream
        whole, partial = head + b" F ", head + b" P "
        lines = (self._rest[stream] + data).split(b"\n")
        out: list[bytes] = []
        for line in map(self._shown, lines[:-1]):
            if len(line) <= PIECE_BYTES:
                out.append(whole + line)
            else:
                rest = _cut(line, partial, out)
                out.append(whole + rest)
        rest = lines[-1]
        self._rest[stream] = _cut(self._shown(rest), partial, out) if len(rest) > PIECE_BYTES else rest
        self._write(out)

    def _shown(self, line: bytes) -> bytes:
        return _without(line, self._hidden)

    def shown(self, text: str) -> str:
        """Return what people may see of a text: without the secrets."""
        return _without(text.encode(errors="replace"), self._hidden).decode(errors="replace") if self._hidden else text

    def note(self, text: str) -> None:
        """Write a line of the parent's own to the pod's stderr."""
        self.feed(b"stderr", text.encode(errors="replace") + b"\n")

    def finish(self) -> None:
        """Write what is left of last lines without a newline."""
        for stream, rest in self._rest.items():
            if rest:
                self._write([self._now() + b" " + stream + b" F " + self._shown(rest)])
                self._rest[stream] = b""

    def result(self) -> str | None:
        """Return the last 256 KiB of stdout without one trailing newline, if it was kept."""
        if self._tail is None:
            return None
        text = bytes(self._tail[-TAIL_BYTES:]).decode(errors="replace")
        return text.removesuffix("\n")

    def copy_plain(self, target: IO[bytes]) -> int:
        """Write what was printed so far, without times and streams, to a file; return the bytes.

        The log's descriptor must be readable.
        """
        size, at, rest = 0, 0, b""
        pieces: dict[bytes, bytes] = {}
        while chunk := os.pread(self._fd, 256 * 1024, at):
            at += len(chunk)
            lines = (rest + chunk).split(b"\n")
            rest = lines.pop()
            for line in lines:
                size += target.write(_plain(line, pieces))
        return size + target.write(b"".join(pieces.values()))

    def _now(self) -> bytes:
        second, nanosecond = divmod(time.time_ns(), 1_000_000_000)
        if second != self._second:
            self._second = second
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()
        return b"%s.%09dZ" % (self._prefix, nanosecond)

    def _write(self, lines: list[bytes]) -> None:
        if not lines or self._left < 0:
            return
        block = b"\n".join(lines) + b"\n"
        self._left -= len(block)
        if self._left < 0:
            block = self._now() + b" stderr F jitflow: the log has reached its limit; later output is left out\n"
        view = memoryview(block)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:
            self._left = -1  # the disk is full: the pod goes on without a log


def shown(text: bytes, hidden: Iterable[str]) -> bytes:
    """Return what people may see of a text: without secrets, as in the log."""
    return _without(text, _searched(hidden))


def longest(hidden: Iterable[str]) -> int:
    """Return how many bytes the longest of the secrets that are looked for has, 0 if there is none."""
    return max(map(len, _searched(hidden)), default=0)


def _without(text: bytes, secrets: Iterable[bytes]) -> bytes:
    for secret in secrets:
        if secret in text:
            text = text.replace(secret, HIDDEN)
    return text


def _searched(hidden: Iterable[str]) -> list[bytes]:
    """Return what is looked for: each line of each secret, the longest first."""
    lines = {line.strip().encode(errors="replace") for text in hidden for line in text.splitlines()}
    return sorted((line for line in lines if len(line) >= SHORTEST), key=len, reverse=True)


def _plain(line: bytes, pieces: dict[bytes, bytes]) -> bytes:
    """Return a line of the log as it was printed; a piece of one waits in `pieces` for the rest, up to a limit."""
    fields = line.split(b" ", 3)
    if len(fields) != 4:
        return b""  # cut by a full disk
    _, stream, tag, content = fields
    content = pieces.pop(stream, b"") + content
    if tag != b"P":
        return content + b"\n"
    if len(content) < TAIL_BYTES:
        pieces[stream] = content
        return b""
    return content


def _cut(line: bytes, head: bytes, out: list[bytes]) -> bytes:
    at = 0
    while len(line) - at > PIECE_BYTES:
        out.append(head + line[at : at + PIECE_BYTES])
        at += PIECE_BYTES
    return line[at:] if at else line
