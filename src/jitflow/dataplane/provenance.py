"""Writes down what steps read and write, when they do: what lies far away may be another object tomorrow."""

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from jitflow.dataplane.checksums import Checksum, checksum
from jitflow.dataplane.journal import Journal
from jitflow.dataplane.tasks import Owner
from jitflow.model.data import ObjectInfo, ObjectRef, Replica, StepId, WorkflowUid
from jitflow.model.provenance import Seen, StepSeen
from jitflow.ports.store import StateStore

PROVENANCE: Final = "provenance"
_HASHES = ("sha256", "sha1", "md5")
_KNOWN = 100_000
_PAGE = 1000
_PATIENCE_S = 30.0
_AT_ONCE = 1
"""Checksums that are taken at once: they are to disturb nobody."""
_log = logging.getLogger("jitflow.provenance")


class Provenance:
    """The record of what steps have read and written, one document for each step and side, until `forget`.

    The record of a step is there when its lease is given; a checksum that has to be taken near follows. `checksums`: whether any
    are taken, or only those written down that stores tell.
    """

    def __init__(self, store: StateStore, *, checksums: bool = True) -> None:
        """Write to the store; `open` begins."""
        self._store = store
        self._checksums = checksums
        self._journal = Journal(store)
        self._owner = Owner(lambda error: _log.error("what steps read cannot be written down", exc_info=error))
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._known: dict[tuple[str, str, int], Checksum] = {}
        self._taken: dict[tuple[StepId, ObjectRef], asyncio.Future[Checksum]] = {}
        """Checksums of outputs that are on their way."""
        self._pending: dict[WorkflowUid, set[asyncio.Task[None]]] = {}
        """What is not known yet of a workflow, but will be."""

    def open(self) -> None:
        """Begin to write."""
        self._owner.start(self._journal.run(), "provenance")

    async def close(self) -> None:
        """Write what is known."""
        await self._owner.close()
        await self._journal.flush()

    # -- what happens ------------------------------------------------------------------------------------------------------

    def read(
        self,
        step: StepId,
        objects: Iterable[tuple[Replica, str, ObjectInfo | None]],
        absent: Iterable[ObjectRef] = (),
    ) -> None:
        """A step is about to read replicas: each with its path (empty: no file) and what is known of it far away."""
        found = [(_seen(row, info), row, path) for row, path, info in objects]
        doc = StepSeen(step=step, read=tuple(seen for seen, _, _ in found), absent=tuple(str(ref) for ref in absent))
        self._put(f"{step}#read", doc)
        missing = [index for index, (seen, _, path) in enumerate(found) if not seen.checksum and path]
        if missing and self._checksums:
            self._later(step, self._complete(doc, {index: found[index][1:] for index in missing}))

    async def _complete(self, doc: StepSeen, wanted: dict[int, tuple[Replica, str]]) -> None:
        read = list(doc.read)
        for index, (row, path) in wanted.items():
            taken = await self._of(Path(path), (row.location, row.version, row.size_bytes))
            read[index] = replace(read[index], checksum=taken.whole)
        self._put(f"{doc.step}#read", replace(doc, read=tuple(read)))

    def writes(self, step: StepId, ref: ObjectRef, path: Path | None) -> None:
        """An output of a step is on its way to its far store; it still lies near."""
        if self._checksums and path is not None:
            self._taken[step, ref] = taken = asyncio.get_running_loop().create_future()
            self._later(step, self._take(path, taken))

    async def _take(self, path: Path, taken: "asyncio.Future[Checksum]") -> None:
        taken.set_result(await self._of(path, None))

    def wrote(self, step: StepId, ref: ObjectRef, name: str, size_bytes: int, info: ObjectInfo | None) -> None:
        """An output is where it stays; `info`: what its far store says of it, None if only the primary has it."""
        seen = Seen(ref=str(ref), name=name, size_bytes=size_bytes)
        if info is not None:
            seen = replace(seen, ref=str(info.ref), size_bytes=info.size_bytes, version=info.version, checksum=hash_of(info))
        taken = self._taken.get((step, ref))
        self._put(_key_of(step, ref), StepSeen(step=step, wrote=(seen,)))
        if taken is not None:
            self._later(step, self._wrote_later(step, ref, seen, taken))

    async def _wrote_later(self, step: StepId, ref: ObjectRef, seen: Seen, taken: "asyncio.Future[Checksum]") -> None:
        found = await taken
        self._put(_key_of(step, ref), StepSeen(step=step, wrote=(_with(seen, found),)))

    def left(self, uid: WorkflowUid) -> None:
        """A workflow has ended: what is not on its way any more need not be kept in memory."""
        for key in [key for key, taken in self._taken.items() if key[0].startswith(f"{uid}/") and taken.done()]:
            del self._taken[key]

    async def _of(self, path: Path, key: tuple[str, str, int] | None) -> Checksum:
        known = self._known.get(key) if key is not None else None
        if known is not None:
            return known
        async with self._turn:
            taken = await asyncio.to_thread(checksum, path)
        if key is not None and taken.whole:
            self._known[key] = taken
            if len(self._known) > _KNOWN:
                del self._known[next(iter(self._known))]
        return taken

    def _later(self, step: StepId, work: Coroutine[Any, Any, None]) -> None:
        """Find something out beside the step."""
        uid = step.partition("/")[0]
        task = self._owner.start(work, f"checksums of {step}")
        if task is not None:
            self._pending.setdefault(uid, set()).add(task)
            task.add_done_callback(lambda task: self._found_out(uid, task))

    def _found_out(self, uid: WorkflowUid, task: "asyncio.Task[None]") -> None:
        pending = self._pending[uid]
        pending.discard(task)
        if not pending:
            del self._pending[uid]

    def _put(self, key: str, doc: StepSeen) -> None:
        self._journal.put(PROVENANCE, key, msgspec.json.encode(doc))

    # -- what is asked -----------------------------------------------------------------------------------------------------

    async def of(self, uid: WorkflowUid) -> Sequence[StepSeen]:
        """Return what the steps of a workflow have read and written, by step; waits a while for checksums that are taken now."""
        if pending := self._pending.get(uid):
            await asyncio.wait(tuple(pending), timeout=_PATIENCE_S)
        await self._journal.durable()
        found: dict[StepId, StepSeen] = {}
        for _, body in await self._bodies(uid):
            part = msgspec.json.decode(body, type=StepSeen)
            known = found.get(part.step)
            if known is not None:
                part = StepSeen(
                    step=part.step, read=known.read + part.read, wrote=known.wrote + part.wrote, absent=known.absent + part.absent
                )
            found[part.step] = part
        return list(found.values())

    async def _bodies(self, uid: WorkflowUid) -> list[tuple[str, bytes]]:
        found: list[tuple[str, bytes]] = []
        after = prefix = f"{uid}/"
        while True:
            page = await self._store.items(PROVENANCE, after=after, limit=_PAGE)
            found += [one for one in page if one[0].startswith(prefix)]
            if len(page) < _PAGE or not page[-1][0].startswith(prefix):
                return found
            after = page[-1][0]

    async def forget(self, uid: WorkflowUid) -> None:
        """A workflow is gone, from the archive too."""
        await self._journal.durable()
        await self._store.put(PROVENANCE, [(key, None) for key, _ in await self._bodies(uid)])


def hash_of(info: ObjectInfo) -> str:
    """Return the best hash that a store tells, as `name:value`; empty if there is none."""
    return next((f"{kind}:{info.hashes[kind]}" for kind in _HASHES if info.hashes.get(kind)), "")


def _seen(row: Replica, info: ObjectInfo | None) -> Seen:
    told = row.content.rpartition(":")[0]
    if not told and info is not None and info.version == row.version:
        told = hash_of(info)
    return Seen(ref=str(row.ref), size_bytes=row.size_bytes, version=row.version, checksum=told)


def _with(seen: Seen, taken: Checksum) -> Seen:
    return replace(seen, checksum=seen.checksum or taken.whole, contents=taken.contents)


def _key_of(step: StepId, ref: ObjectRef) -> str:
    return f"{step}#wrote#{ref}"


class Unwitnessed(Provenance):
    """Writes nothing down."""

    def __init__(self) -> None:
        """Need nothing."""

    def read(
        self,
        step: StepId,
        objects: Iterable[tuple[Replica, str, ObjectInfo | None]],
        absent: Iterable[ObjectRef] = (),
    ) -> None:
        """See nothing."""

    def writes(self, step: StepId, ref: ObjectRef, path: Path | None) -> None:
        """See nothing."""

    def wrote(self, step: StepId, ref: ObjectRef, name: str, size_bytes: int, info: ObjectInfo | None) -> None:
        """See nothing."""

    def left(self, uid: WorkflowUid) -> None:
        """Have nothing."""
