"""What the stores of databases elsewhere have in common: their life, the place they hold, and changes handed to one writer."""

import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

from jitflow.engine.tasks import Owner
from jitflow.ports.errors import Broken
from jitflow.ports.store import Commit, StoredRun
from jitflow.stores import _process as processes
from jitflow.stores._changes import Documents, Removal, Restoration, Update
from jitflow.stores._queue import GroupWriter, Ticket
from jitflow.stores._urls import shown
from jitflow.stores.lease import Lease

_READS_ONLY = "the state store was opened for reading only"


class BatchedStore(ABC):
    """A store whose changes go to the database in batches, one on its way at a time; make it with `open`."""

    def __init__(self, url: str, *, reads_only: bool = False, lease: Lease | None = None) -> None:
        """Name the database; `open` begins."""
        self.place = shown(url)
        self.found_version = 0
        """The version of the schema that was found; 0: none."""
        self._writer = GroupWriter[Update](self._write, name="store-writer")
        self._owner = Owner(lambda _name, _error: None)
        self._lease = lease or Lease()
        self._owner_id = self._lease.id
        self._reads_only = reads_only
        self._closed = False
        self._lost = ""

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, *, patience_s: float = 0.0, reads_only: bool = False, lease: Lease | None = None
    ) -> AsyncGenerator[Self]:
        """Use a database for the time of the context; what it needs for the state is made or brought up to date.

        Args:
            url: where it is, as its own programs take it.
            patience_s: so long a database that cannot be reached is waited for.
            reads_only: another server may hold the state; nothing is written, not even its schema.
            lease: who wants to hold it, and what is told of that; None: a server that shares it with nobody.

        Raises:
            Unreachable: it is not there in that time.
            Broken: it is newer than this program, another program's, refuses, or another server holds it.
        """
        async with cls(url, reads_only=reads_only, lease=lease)._opened(patience_s) as store:
            yield store

    @asynccontextmanager
    async def _opened(self, patience_s: float) -> AsyncGenerator[Self]:
        try:
            await self._begin(time.monotonic() + patience_s)
            yield self
        finally:
            await self.close()

    @abstractmethod
    async def _begin(self, until: float) -> None:
        """Connect by a time of the monotonic clock, bring the schema up to date, and become the server that holds this state."""

    @abstractmethod
    async def _write(self, batch: Sequence[Ticket[Update]]) -> None:
        """Make changes durable and tell each caller what became of its own."""

    @abstractmethod
    async def close(self) -> None:
        """Write what was handed in, give the place up, and disconnect."""

    async def _submit(self, update: Update) -> Any:
        self._check()
        if self._reads_only:
            raise Broken(_READS_ONLY)
        return await self._writer.submit(update)

    def _check(self) -> None:
        if self._closed:
            raise Broken("the state store is closed")
        if self._lost:
            raise Broken(self._lost)

    def _lose(self) -> Broken:
        """Another server has taken the place."""
        self._lost = processes.taken_over(self.place)
        self._lease.lose(self._lost)
        return Broken(self._lost)

    async def commit(self, commit: Commit) -> int:
        """Apply one change (see `StateStore.commit`)."""
        return await self._submit(commit)

    async def remove(self, uid: str) -> None:
        """Delete a run and all that belongs to it."""
        await self._submit(Removal(uid))

    async def restore(self, run: StoredRun, events: Sequence[bytes]) -> None:
        """Write a run as another store had it (see `StateStore.restore`)."""
        await self._submit(Restoration(run, tuple(events)))

    async def put(self, kind: str, documents: Iterable[tuple[str, bytes | None]]) -> None:
        """Write small documents, all or none."""
        await self._submit(Documents(kind, tuple(documents)))

    async def put_all(self, documents: Mapping[str, Iterable[tuple[str, bytes | None]]]) -> None:
        """Write small documents of several kinds in one transaction, if there is room in it."""
        self._check()
        if self._reads_only:
            raise Broken(_READS_ONLY)
        await self._writer.submit_all([Documents(kind, tuple(rows)) for kind, rows in documents.items()])
