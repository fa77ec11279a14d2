"""Jobs and what they did with each file, in the state store.

A job is one small document, its files are pages of a thousand each: written when the plan is made, before anything moves, and
when an attempt has ended. What happens in between a restart finds out from the stores.
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

import msgspec
from msgspec import Struct

from jitflow.model.jobs import JobCounts, JobFile, JobFiles, JobPhase, JobWish
from jitflow.ports.store import StateStore

JOBS = "transfer-job"
FILES = "transfer-job-files"
PAGE = 1_000
_PAGES_AT_ONCE = 64
_decode = msgspec.msgpack.Decoder(list[JobFile]).decode


class Job(Struct, frozen=True, kw_only=True):
    """A job as it is kept."""

    id: str
    wish: JobWish
    phase: JobPhase = JobPhase.QUEUED
    created_at: float
    started_at: float | None = None
    finished_at: float | None = None
    message: str = ""
    attempts: int = 0
    counts: JobCounts = JobCounts()
    trace: str = ""
    """The request that made it, as a W3C `traceparent`; empty: nobody traces."""


class Kept:
    """The documents of all jobs."""

    def __init__(self, store: StateStore) -> None:
        """Keep them in `store`."""
        self._store = store
        self._pages: dict[str, int] = {}

    async def jobs(self) -> list[Job]:
        """Return all jobs, and learn how many pages each has."""
        return [msgspec.json.decode(body, type=Job) for _, body in await self._store.items(JOBS)]

    async def put(self, jobs: Iterable[Job]) -> None:
        """Write jobs; durable when this returns."""
        await self._store.put(JOBS, [(job.id, msgspec.json.encode(job)) for job in jobs])

    async def forget(self, ids: Sequence[str]) -> None:
        """Remove jobs and their files."""
        await self._store.put(JOBS, [(one, None) for one in ids])
        for one in ids:
            keys = [key for key, _ in await self._store.items(FILES, after=f"{one}/") if key.startswith(f"{one}/")]
            await self._store.put(FILES, [(key, None) for key in keys])

    async def put_files(self, job: str, files: Mapping[str, JobFile]) -> None:
        """Write what is known of a job's files, in the order of their paths."""
        rest = iter(sorted(files.values(), key=lambda file: file.path))
        number = 0
        batch: list[tuple[str, bytes | None]] = []
        while page := list(islice(rest, PAGE)):
            batch.append((_key(job, number), zlib.compress(msgspec.msgpack.encode(page), 1)))
            number += 1
            if len(batch) == _PAGES_AT_ONCE:
                await self._store.put(FILES, batch)
                batch = []
        was = self._pages.get(job, 0)
        batch += [(_key(job, old), None) for old in range(number, was)]
        await self._store.put(FILES, batch)
        self._pages[job] = number

    async def files(self, job: str) -> dict[str, JobFile]:
        """Return what is known of a job's files."""
        found: dict[str, JobFile] = {}
        number = 0
        while (body := await self._store.get(FILES, _key(job, number))) is not None:
            found.update((file.path, file) for file in unpack(body))
            number += 1
        self._pages[job] = number
        return found

    async def page(self, job: str, *, state: str, after: str, limit: int) -> JobFiles:
        """Return a page of a job's files in a state (empty: any), from a cursor on."""
        first, _, place = after.partition("-")
        number, skip = (int(first), int(place)) if after else (0, 0)
        items: list[JobFile] = []
        while (body := await self._store.get(FILES, _key(job, number))) is not None:
            page = unpack(body)
            for index in range(skip, len(page)):
                if state and page[index].state != state:
                    continue
                if len(items) == limit:
                    return JobFiles(items=tuple(items), next=f"{number}-{index}")
                items.append(page[index])
            number, skip = number + 1, 0
        return JobFiles(items=tuple(items))


def unpack(body: bytes) -> list[JobFile]:
    """Return the files of a page.

    Raises:
        ValueError, zlib.error: it is damaged.
    """
    return _decode(zlib.decompress(body))


def _key(job: str, number: int) -> str:
    return f"{job}/{number:06d}"
