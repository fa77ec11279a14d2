"""A store that is waited for: while it is away, what the service does by itself goes on later, and requests are told so."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from time import perf_counter
from typing import Any, TypeVar

from jitflow.ports.errors import PortError, Retryable
from jitflow.ports.patience import waits
from jitflow.ports.store import Commit, RunRow, StateStore, StoredRun
from jitflow.telemetry import logger
from jitflow.telemetry.metrics import Figures, by, one

T = TypeVar("T")

_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 2.0

_log = logger("state")


class PatientStore:
    """A `StateStore` over another one. A call that changed nothing is made again, for as long as its caller can wait."""

    def __init__(self, store: StateStore) -> None:
        """Wait for this store."""
        self._store = store
        self._is_away = False
        self._calls: Counter[str] = Counter()
        self._seconds: dict[str, float] = {}
        self._retries = 0
        self.on_commit: Callable[[Commit, float, str], None] | None = None
        """Told of each commit, how many seconds it took, and why it failed (empty if it did not)."""

    def figures(self) -> Figures:
        """Return what was asked of the store, and whether it answers, for metrics."""
        return {
            "jitflow_state_calls_total": by("operation", self._calls),
            "jitflow_state_seconds_total": by("operation", self._seconds),
            "jitflow_state_retries_total": one(self._retries),
            "jitflow_state_up": one(not self._is_away),
        }

    async def _call(self, operation: str, work: Callable[..., Awaitable[T]], *asked: Any, **more: Any) -> T:
        began = perf_counter()
        try:
            try:
                found = await work(*asked, **more)
            except Retryable as error:
                return await self._patiently(error, lambda: work(*asked, **more))
            self._is_back()
            return found
        finally:
            self._calls[operation] += 1
            self._seconds[operation] = self._seconds.get(operation, 0.0) + perf_counter() - began

    async def _patiently(self, error: Retryable, work: Callable[[], Awaitable[T]]) -> T:
        """Try again and again what has failed once."""
        wait_s = _FIRST_WAIT_S
        while True:
            if not self._is_away:
                self._is_away = True
                _log.warning("the state store is away", reason=str(error))
            if not waits():
                raise error
            self._retries += 1
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
            try:
                found = await work()
            except Retryable as again:
                error = again
            else:
                self._is_back()
                return found

    def _is_back(self) -> None:
        if self._is_away:
            self._is_away = False
            _log.info("the state store is back")

    async def commit(self, commit: Commit) -> int:
        """Apply one change and return its `sequence`."""
        if self.on_commit is None:
            return await self._call("commit", self._store.commit, commit)
        began, why = perf_counter(), "it was cut off"
        try:
            sequence = await self._call("commit", self._store.commit, commit)
            why = ""
        except PortError as error:
            why = str(error)
            raise
        finally:
            self.on_commit(commit, perf_counter() - began, why)
        return sequence

    async def load(self, uid: str) -> StoredRun | None:
        """Return a run with its nodes and open effects."""
        return await self._call("load", self._store.load, uid)

    async def runs(self, *, namespace: str = "", name: str = "", unfinished: bool = False) -> Sequence[RunRow]:
        """Return rows, newest first."""
        return await self._call("runs", self._store.runs, namespace=namespace, name=name, unfinished=unfinished)

    async def events(self, uid: str, *, after: int = 0, limit: int = 1000) -> Sequence[tuple[int, bytes]]:
        """Return the run's history in order."""
        return await self._call("events", self._store.events, uid, after=after, limit=limit)

    async def remove(self, uid: str) -> None:
        """Delete a run and all that belongs to it."""
        await self._call("remove", self._store.remove, uid)

    async def restore(self, run: StoredRun, events: Sequence[bytes]) -> None:
        """Write a run as another store had it."""
        await self._call("restore", self._store.restore, run, events)

    async def put(self, kind: str, documents: Iterable[tuple[str, bytes | None]]) -> None:
        """Write small documents in one transaction."""
        rows = tuple(documents)
        await self._call("put", self._store.put, kind, rows)

    async def put_all(self, documents: Mapping[str, Iterable[tuple[str, bytes | None]]]) -> None:
        """Write small documents of several kinds in one transaction."""
        kinds = {kind: tuple(rows) for kind, rows in documents.items()}
        await self._call("put", lambda: self._store.put_all(kinds))

    async def get(self, kind: str, key: str) -> bytes | None:
        """Return one document."""
        return await self._call("get", self._store.get, kind, key)

    async def items(self, kind: str, *, after: str = "", limit: int = 0) -> Sequence[tuple[str, bytes]]:
        """Return the documents of a kind, by key."""
        return await self._call("items", self._store.items, kind, after=after, limit=limit)

    async def kinds(self) -> Sequence[str]:
        """Return the kinds of which there are documents."""
        return await self._call("kinds", self._store.kinds)

    async def ready(self) -> None:
        """Return when the store can be used."""
        await self._call("ready", self._store.ready)

    async def close(self) -> None:
        """Release the store."""
        await self._store.close()
