"""Read a pod's log: CRI lines from a file that may still grow."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

from jitflow.model.pods import LogLine

_CHUNK_BYTES = 256 * 1024
_MAX_LINE_BYTES = 1024 * 1024
_POLL_S = 0.05


class CriParser:
    """Turns bytes of a log into lines; the pieces of a long line are joined up to 1 MiB."""

    def __init__(self) -> None:
        self._rest = b""
        self._partial: dict[bytes, list[bytes]] = {}

    def feed(self, data: bytes) -> Iterator[LogLine]:
        """Yield the lines that are complete with `data`."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            fields = line.split(b" ", 3)
            if len(fields) != 4:
                continue  # cut by a full disk
            time, stream, tag, content = fields
            pieces = self._partial.get(stream)
            if tag == b"P" or pieces:
                pieces = self._partial.setdefault(stream, [])
                pieces.append(content)
                if tag == b"P" and sum(map(len, pieces)) < _MAX_LINE_BYTES:
                    continue
                content = b"".join(pieces)
                pieces.clear()
            yield LogLine(
                time=time.decode("ascii", "replace"),
                stream=stream.decode("ascii", "replace"),
                content=content.decode(errors="replace"),
            )


async def read_log(where: Callable[[], Path], running: Callable[[], bool], *, follow: bool) -> AsyncIterator[LogLine]:
    """Yield a log's lines; with `follow`, until the pod no longer runs and all it wrote is read.

    Args:
        where: returns the file's path now (it moves when the pod is forgotten; an open file goes with it).
        running: whether the pod may still write.
        follow: whether to wait for more.
    """
    parser = CriParser()
    fd = -1
    try:
        while True:
            last_look = not (follow and running())
            if fd < 0:
                fd = _open(where())
            while fd >= 0 and (data := os.read(fd, _CHUNK_BYTES)):
                for line in parser.feed(data):
                    yield line
                await asyncio.sleep(0)
            if last_look:
                return
            await asyncio.sleep(_POLL_S)
    finally:
        if fd >= 0:
            os.close(fd)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1
