"""Large objects are read in ranges, several at once where that is asked for, and what has come is kept when the rest does not.

rclone passes the bytes on as they are; they are written here, so that every finished range is known. A range that breaks off is
asked for again from where it broke. A stream without work takes over half of what another one has still to read.
"""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from jitflow.model.data import ObjectInfo
from jitflow.ports.errors import Corrupt, RemoteUnknown, Unreachable
from jitflow.ports.storage import Progress, in_ranges
from jitflow.storage import keys
from jitflow.storage.hashing import RunningHash
from jitflow.storage.holdings import Holdings, split
from jitflow.storage.rc import RcClient
from jitflow.storage.rclone import Rclone
from jitflow.storage.remotes import RemoteConfig
from jitflow.storage.staging import disk_error
from jitflow.storage.streams import Stream, WholeObject

SMALLEST_BYTES, LEAST_BYTES = 8 * 2**20, 2**19
"""A range that is not worth a request of its own: of a large object, and of any."""
ROUNDS = 4
"""An object is divided into about so many ranges for each stream, read in order: its beginning is there, and hashed, early."""
HASHERS = max(2, os.cpu_count() or 1)
MARK_BYTES = 8 * 2**20
"""So much is noted at once: what a kill may cost of each stream."""
SHOW_EVERY_S = 0.25
RETRY_PAUSE_S = 0.2


def begun(kept: Path | None) -> bool:
    """Return whether something of an object has been kept."""
    return kept is not None and kept.is_dir()


class IgnoresRanges(Exception):
    """The store gives the whole object whatever range is asked for."""


class _Span:
    """What one stream reads: `at` is its next byte, `end` the first that is not its."""

    __slots__ = ("at", "end", "start")

    def __init__(self, start: int, end: int) -> None:
        self.start = self.at = start
        self.end = end

    @property
    def left(self) -> int:
        return max(0, self.end - self.at)


class Ranges:
    """Reads objects in ranges."""

    def __init__(self, daemon: Rclone, stall_s: float, max_streams: int) -> None:
        """Run at most `max_streams` at once, whatever objects they belong to; `stall_s` without a byte is a stall."""
        self.daemon = daemon
        self.stall_s = stall_s
        self.pool = ThreadPoolExecutor(max_streams, thread_name_prefix="range")
        self.hashers = ThreadPoolExecutor(HASHERS, thread_name_prefix="hash")
        self._unable: set[str] = set()
        self._able: set[str] = set()

    def close(self) -> None:
        """End the threads; nothing is read any more."""
        self.pool.shutdown(wait=False, cancel_futures=True)
        self.hashers.shutdown(wait=False, cancel_futures=True)

    def takes(self, remote: RemoteConfig, info: ObjectInfo, parts: int, kept: Path | None) -> bool:
        """Return whether an object is worth ranges, or has begun to come in some, and its store knows them."""
        worth = in_ranges(info, parts) or (begun(kept) and not info.ref.is_prefix)
        return worth and remote.name not in self._unable

    async def fetch(
        self, remote: RemoteConfig, info: ObjectInfo, root: Path, parts: int, progress: Progress, *, kind: str = ""
    ) -> tuple[Path, str]:
        """Read an object into a file below `root`, from where an earlier call stopped; return the file and its hash.

        `kind`: of hash; without it none is computed. What comes may still be another version's: the caller compares. The hash is
        empty where it could not be told.

        Raises:
            IgnoresRanges: the store does; it is not asked for ranges any more. PortError: what went wrong; what has come is kept.
        """
        transfer = _Transfer(self, remote, info, Holdings(root, info), progress)
        try:
            return await transfer.run(parts, kind)
        except Unreachable as error:
            # rclone breaks off a range that turns out longer than what was asked for; so does a link that fails.
            if transfer.able or remote.name in self._able:
                raise
            raise IgnoresRanges from error
        except (IgnoresRanges, WholeObject):
            self._unable.add(remote.name)
            raise IgnoresRanges from None
        except OSError as error:
            raise disk_error(error, root) from error
        finally:
            if transfer.able:
                self._able.add(remote.name)
            await transfer.close()


class _Transfer:
    """One object on its way."""

    def __init__(self, ranges: Ranges, remote: RemoteConfig, info: ObjectInfo, holdings: Holdings, progress: Progress) -> None:
        self.holdings = holdings
        self._hash: RunningHash | None = None
        self._ranges = ranges
        self._remote = remote
        self._info = info
        self._subject = str(info.ref)
        self._progress = progress
        self._pending: list[_Span] = []
        self._spans: list[_Span] = []
        self._resumed = 0
        self._smallest = SMALLEST_BYTES
        self.able = False
        """Whether a range has come that was asked for."""

    async def run(self, parts: int, kind: str) -> tuple[Path, str]:
        self._resumed = await asyncio.to_thread(self._open, kind)
        self._progress(self._resumed)
        self._smallest = min(SMALLEST_BYTES, max(LEAST_BYTES, self._info.size_bytes // parts))
        self._pending = [_Span(*one) for one in reversed(split(self.holdings.missing(), ROUNDS * parts, self._smallest))]
        show = asyncio.get_running_loop().create_task(self._show())
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(max(1, parts)):
                    group.create_task(self._work())
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from errors.exceptions[0].__cause__
        finally:
            show.cancel()
            with suppress(asyncio.CancelledError):
                await show
        if missing := self.holdings.missing():
            raise Corrupt(f"{self._subject}: bytes {missing[0][0]} to {missing[0][1]} did not come; fetch it again")
        return self.holdings.path, await self._hashed()

    def _open(self, kind: str) -> int:
        resumed = self.holdings.open()
        if kind:
            self._hash = RunningHash(self.holdings.path, kind, self._ranges.hashers)
            self._hash.advance(self.holdings.begun_bytes)
        return resumed

    async def _hashed(self) -> str:
        if self._hash is None:
            return ""
        return await asyncio.get_running_loop().run_in_executor(self._ranges.hashers, self._hash.finish, self._info.size_bytes)

    async def close(self) -> None:
        """Close the files."""
        self.holdings.close()
        if self._hash is not None:
            await asyncio.shield(asyncio.to_thread(self._hash.close))

    async def _show(self) -> None:
        while True:
            await asyncio.sleep(SHOW_EVERY_S)
            came = sum(min(span.at, span.end) - span.start for span in self._spans)
            self._progress(min(self._resumed + came, self._info.size_bytes))

    async def _work(self) -> None:
        while (span := self._next()) is not None:
            self._spans.append(span)
            failures = 0
            while span.left:
                at = span.at
                try:
                    await self._read(span)
                except Unreachable:
                    failures = failures + 1 if span.at == at else 1
                    if failures > self._remote.tuning.low_level_retries:
                        raise
                    await asyncio.sleep(RETRY_PAUSE_S * 2 ** (failures - 1))

    def _next(self) -> _Span | None:
        """Return what to read next: what nobody reads, else half of what the slowest stream has still to read."""
        if self._pending:
            return self._pending.pop()
        victim = max(self._spans, key=lambda span: span.left, default=None)
        if victim is None or victim.left < 2 * self._smallest:
            return None
        middle = victim.at + victim.left // 2
        found = _Span(middle, victim.end)
        victim.end = middle
        return found

    async def _read(self, span: _Span) -> None:
        """Read a span from where it is, in a thread; when cancelled, the thread has ended before this raises."""
        client, life = await self._ranges.daemon.client(self._subject), self._ranges.daemon.life
        where = keys.address(self._info.ref)
        stream = client.stream(where.fs, where.remote, start=span.at, end=span.end, stall_s=self._ranges.stall_s)
        thread = asyncio.get_running_loop().run_in_executor(self._ranges.pool, self._receive, client, stream, span)
        try:
            await asyncio.shield(thread)
        except RemoteUnknown as error:
            raise await self._ranges.daemon.meaning(error, life) from error
        except asyncio.CancelledError:
            stream.stop()
            while not thread.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait({thread})
            with suppress(Exception):
                thread.result()
            raise

    def _receive(self, client: RcClient, stream: Stream, span: _Span) -> None:
        """Write what comes where it belongs. Blocking."""
        start = noted = span.at

        def note() -> None:
            nonlocal noted
            self.holdings.note(noted, span.at)
            noted = span.at
            if self._hash is not None:
                self._hash.advance(self.holdings.begun_bytes)
            repeats = self.holdings.repeats(start, span.at)
            if repeats:
                raise IgnoresRanges
            self.able |= repeats is False

        def take(chunk: memoryview) -> bool:
            part = chunk[: span.left]
            try:
                self.holdings.write(part, span.at)
            except OSError as error:  # of the disk, not of the stream
                raise disk_error(error, self.holdings.path) from error
            span.at += len(part)
            if span.at - noted >= MARK_BYTES:
                note()
            return span.left > 0

        try:
            stream.run(take, lambda status, said: client.refusal(status, said, self._subject), self._subject)
        finally:
            note()
