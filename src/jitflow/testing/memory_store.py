"""A `StateStore` in memory: the model that others are compared with, and the store of fast tests."""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

import msgspec

from jitflow.ports.errors import Broken, VersionConflict
from jitflow.ports.store import Commit, EffectRow, RunRow, StoredRun


class _Run:
    """What is kept of one run."""

    def __init__(self, row: RunRow) -> None:
        self.row = row
        self.header = b""
        self.nodes: dict[str, bytes] = {}
        self.effects: dict[str, bytes] = {}
        self.events: list[bytes] = []


class MemoryStore:
    """Keeps everything in dictionaries; durable for as long as the object lives."""

    def __init__(self) -> None:
        """Begin empty."""
        self._runs: dict[str, _Run] = {}
        self._documents: dict[str, dict[str, bytes]] = {}
        self._sequence = 0
        self._closed = False

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncGenerator["MemoryStore"]:
        """Make a store for the time of the context."""
        store = cls()
        try:
            yield store
        finally:
            await store.close()

    def _check(self) -> None:
        if self._closed:
            raise Broken("the state store is closed")

    async def commit(self, commit: Commit) -> int:
        """Apply one change (see `StateStore.commit`)."""
        self._check()
        row = commit.row
        run = self._runs.get(row.uid)
        stored = run.row.version if run else 0
        if row.version != stored + 1:
            raise VersionConflict(f"run {row.name!r} ({row.uid}) is at version {stored}, not {row.version - 1}")
        if row.finished_at is None and self._live(row) not in {None, row.uid}:
            raise VersionConflict(f"namespace {row.namespace!r} holds a live run named {row.name!r} already")
        self._sequence += 1
        run = run or self._runs.setdefault(row.uid, _Run(row))
        run.row = msgspec.structs.replace(row, sequence=self._sequence, labels=dict(row.labels))
        run.header = run.header if commit.header is None else commit.header
        for node in commit.nodes_removed:
            run.nodes.pop(node, None)
        run.nodes.update(commit.nodes)
        for key in commit.effects_done:
            run.effects.pop(key, None)
        run.effects.update((effect.key, effect.body) for effect in commit.effects)
        run.events.extend(commit.events)
        return self._sequence

    def _live(self, row: RunRow) -> str | None:
        for run in self._runs.values():
            if (run.row.namespace, run.row.name) == (row.namespace, row.name) and run.row.finished_at is None:
                return run.row.uid
        return None

    async def load(self, uid: str) -> StoredRun | None:
        """Return a run with its nodes and open effects."""
        self._check()
        run = self._runs.get(uid)
        if run is None:
            return None
        return StoredRun(
            row=_copy(run.row),
            header=run.header,
            nodes=tuple(sorted(run.nodes.items())),
            effects=tuple(EffectRow(key=key, body=body) for key, body in run.effects.items()),
        )

    async def runs(self, *, namespace: str = "", name: str = "", unfinished: bool = False) -> Sequence[RunRow]:
        """Return rows, newest first."""
        self._check()
        rows = [run.row for run in reversed(self._runs.values())]
        rows.sort(key=lambda row: row.created_at, reverse=True)
        return [
            _copy(row)
            for row in rows
            if (not namespace or row.namespace == namespace)
            and (not name or row.name == name)
            and not (unfinished and row.finished_at is not None)
        ]

    async def events(self, uid: str, *, after: int = 0, limit: int = 1000) -> Sequence[tuple[int, bytes]]:
        """Return the run's history in order."""
        self._check()
        run = self._runs.get(uid)
        history = list(enumerate(run.events, start=1)) if run else []
        return history[after : after + limit]

    async def remove(self, uid: str) -> None:
        """Delete a run and all that belongs to it."""
        self._check()
        self._runs.pop(uid, None)

    async def restore(self, run: StoredRun, events: Sequence[bytes]) -> None:
        """Write a run as another store had it."""
        self._check()
        row = run.row
        if row.uid in self._runs:
            raise VersionConflict(f"run {row.name!r} ({row.uid}) is there already")
        if row.finished_at is None and self._live(row) is not None:
            raise VersionConflict(f"namespace {row.namespace!r} holds a live run named {row.name!r} already")
        kept = self._runs[row.uid] = _Run(_copy(row))
        kept.header, kept.nodes, kept.events = run.header, dict(run.nodes), list(events)
        kept.effects = {effect.key: effect.body for effect in run.effects}
        self._sequence = max(self._sequence, row.sequence)

    async def put(self, kind: str, documents: Iterable[tuple[str, bytes | None]]) -> None:
        """Write small documents in one step."""
        self._check()
        kept = self._documents.setdefault(kind, {})
        for key, body in tuple(documents):
            if body is None:
                kept.pop(key, None)
            else:
                kept[key] = body

    async def put_all(self, documents: Mapping[str, Iterable[tuple[str, bytes | None]]]) -> None:
        """Write small documents of several kinds in one step."""
        for kind, rows in documents.items():
            await self.put(kind, rows)

    async def get(self, kind: str, key: str) -> bytes | None:
        """Return one document."""
        self._check()
        return self._documents.get(kind, {}).get(key)

    async def items(self, kind: str, *, after: str = "", limit: int = 0) -> Sequence[tuple[str, bytes]]:
        """Return the documents of a kind, by key."""
        self._check()
        found = sorted(item for item in self._documents.get(kind, {}).items() if not after or item[0] > after)
        return found[:limit] if limit else found

    async def kinds(self) -> Sequence[str]:
        """Return the kinds of which there are documents."""
        self._check()
        return sorted(kind for kind, kept in self._documents.items() if kept)

    async def ready(self) -> None:
        """Return: memory is always there."""
        self._check()

    async def close(self) -> None:
        """Refuse everything from now on; harmless to repeat."""
        self._closed = True


def _copy(row: RunRow) -> RunRow:
    return msgspec.structs.replace(row, labels=dict(row.labels))
