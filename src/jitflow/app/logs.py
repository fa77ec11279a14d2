"""Logs of one or all pods of a workflow, merged by time, with bounded memory."""

import asyncio
import heapq
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime

from msgspec import Struct

from jitflow.app.grep import line_filter
from jitflow.app.selectors import instant
from jitflow.model.logs import LogEntry
from jitflow.model.pods import LogLine

IDLE_S = 0.1
"""A followed pod that is silent for so long does not hold back the lines of the others."""
MAX_OPEN = 128
"""Logs that are read at once."""
_BUFFERED_LINES = 64
_MAX_BATCH = 128
_SECONDS = 19
"""Length of the part of a time down to its seconds."""


class LogQuery(Struct, frozen=True, kw_only=True):
    """What a client wants of the logs, as Kubernetes' logOptions and Argo's `grep`. Limits hold for each pod."""

    pod: str = ""
    container: str = "main"
    follow: bool = False
    timestamps: bool = False
    since_s: float | None = None
    since_time: str = ""
    tail_lines: int | None = None
    limit_bytes: int | None = None
    grep: str = ""
    selector: str = ""
    """Labels of the pods that are meant, in all forms that Kubernetes knows."""
    previous: bool = False


LogSink = Callable[[Sequence[LogEntry]], Awaitable[None]]
"""Takes some entries in order; returns when the client can take more."""


class PodLog(Struct, frozen=True, kw_only=True):
    """Where a pod's lines come from. `started_at`: RFC 3339, not later than its first line; empty when not known."""

    pod: str
    started_at: str
    lines: Callable[[], AsyncIterator[LogLine]]


class LineFilter:
    """Applies a query to the lines of one pod."""

    def __init__(self, query: LogQuery, now: float) -> None:
        """Check the query; `now` is what `since_s` counts from.

        Raises:
            Refused: a value cannot be used.
        """
        self._query = query
        self._matches = line_filter(query.grep) if query.grep else None
        after = instant(query.since_time) if query.since_time else None
        if query.since_s is not None:
            after = max(after or 0.0, now - query.since_s, 0.0)
        self._after = datetime.fromtimestamp(after, UTC).strftime("%Y-%m-%dT%H:%M:%S") if after is not None else ""

    async def read(self, open_log: Callable[..., AsyncIterator[LogLine]]) -> AsyncGenerator[LogLine]:
        """Yield the wanted lines; `open_log(follow=…)` may be called twice."""
        lines = self._tail(open_log) if self._query.tail_lines is not None else open_log(follow=self._query.follow)
        budget = self._query.limit_bytes
        async for line in lines:
            if not self._wanted(line):
                continue
            if budget is None:
                yield line
                continue
            if budget <= 0:
                return
            cut, budget = _cut(line, budget)
            yield cut

    async def _tail(self, open_log: Callable[..., AsyncIterator[LogLine]]) -> AsyncGenerator[LogLine]:
        """Yield the last lines and, when following, those that come after them."""
        wanted = self._query.tail_lines or 0
        if not self._query.follow:
            last: deque[LogLine] = deque(maxlen=wanted)
            async for line in open_log(follow=False):
                last.append(line)
            for line in last:
                yield line
            return
        skip = -wanted
        async for _ in open_log(follow=False):
            skip += 1
        async for line in open_log(follow=True):
            skip -= 1
            if skip < 0:
                yield line

    def _wanted(self, line: LogLine) -> bool:
        if line.time[:_SECONDS] < self._after:
            return False
        return self._matches is None or self._matches(line.content)

    def entry(self, pod: str, line: LogLine) -> LogEntry:
        """Return what the client sees of a line."""
        return LogEntry(f"{line.time} {line.content}" if self._query.timestamps else line.content, pod)


def _cut(line: LogLine, budget: int) -> tuple[LogLine, int]:
    """Return the line cut to the bytes that are left, and what is left after it."""
    data = line.content.encode(errors="surrogatepass")
    if len(data) + 1 > budget:
        line = LogLine(time=line.time, stream=line.stream, content=data[:budget].decode(errors="ignore"))
    return line, budget - len(data) - 1


class _Reader:
    """One open log: at most a few lines ahead of the merge."""

    def __init__(self, source: PodLog) -> None:
        self.source = source
        self.lines: asyncio.Queue[LogLine | None] = asyncio.Queue(_BUFFERED_LINES)

    async def run(self, arrived: asyncio.Event) -> None:
        lines = self.source.lines()
        try:
            async for line in lines:
                await self.lines.put(line)
                arrived.set()
        finally:
            if isinstance(lines, AsyncGenerator):
                await lines.aclose()
        await self.lines.put(None)
        arrived.set()


class Merge:
    """Merges logs by time. Sources may be added until `seal`; each is opened no sooner than its time has come."""

    def __init__(self, sink: Callable[[Sequence[tuple[str, LogLine]]], Awaitable[None]], *, follow: bool) -> None:
        """Begin without sources."""
        self._sink = sink
        self._follow = follow
        self._arrived = asyncio.Event()
        self._waiting: list[tuple[str, int, PodLog]] = []
        self._heads: list[tuple[str, int, LogLine, _Reader]] = []
        self._empty: set[_Reader] = set()
        self._silent: set[_Reader] = set()
        self._number = 0
        self._sealed = False

    def add(self, source: PodLog) -> None:
        """Take one more log in."""
        self._number += 1
        heapq.heappush(self._waiting, (source.started_at[:_SECONDS], self._number, source))
        self._arrived.set()

    def seal(self) -> None:
        """No further log comes."""
        self._sealed = True
        self._arrived.set()

    async def run(self) -> None:
        """Send everything to the sink; returns when all logs have ended and the merge is sealed."""
        async with asyncio.TaskGroup() as readers:
            while True:
                self._open(readers)
                self._take()
                if self._may_open():
                    continue
                if self._may_send():
                    await self._send()
                elif self._sealed and not (self._waiting or self._heads or self._empty):
                    return
                else:
                    await self._await_lines()

    def _open(self, readers: asyncio.TaskGroup) -> None:
        while self._may_open():
            reader = _Reader(heapq.heappop(self._waiting)[2])
            self._empty.add(reader)
            readers.create_task(reader.run(self._arrived))

    def _may_open(self) -> bool:
        return self._is_due() and len(self._heads) + len(self._empty) < MAX_OPEN

    def _is_due(self) -> bool:
        """Return whether the next log may hold a line that comes before every line at hand."""
        if not self._waiting:
            return False
        if self._heads:
            return self._waiting[0][0] <= self._heads[0][0][:_SECONDS]
        return self._follow or not self._empty

    def _take(self) -> None:
        """Move the next line of each reader without one to the heap."""
        self._arrived.clear()
        for reader in tuple(self._empty):
            if reader.lines.empty():
                continue
            self._empty.discard(reader)
            self._silent.discard(reader)
            line = reader.lines.get_nowait()
            if line is not None:
                self._number += 1
                heapq.heappush(self._heads, (line.time, self._number, line, reader))

    def _may_send(self) -> bool:
        return bool(self._heads) and self._empty <= self._silent

    async def _send(self) -> None:
        batch: list[tuple[str, LogLine]] = []
        while len(batch) < _MAX_BATCH and self._may_send():
            _, _, line, reader = heapq.heappop(self._heads)
            batch.append((reader.source.pod, line))
            self._empty.add(reader)
            self._take()
            if self._is_due():
                break
        await self._sink(batch)

    async def _await_lines(self) -> None:
        timeout_s = IDLE_S if self._follow and self._heads else None
        try:
            async with asyncio.timeout(timeout_s):
                await self._arrived.wait()
        except TimeoutError:
            self._silent |= self._empty
