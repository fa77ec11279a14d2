"""The state of the service: runs, their nodes and open effects, small documents."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct


class RunRow(Struct, frozen=True, kw_only=True, gc=False):
    """What lists and look-ups need of a run, as columns. Times in seconds since the epoch."""

    uid: str
    namespace: str
    name: str
    phase: str = ""
    created_at: float = 0.0
    started_at: float | None = None
    finished_at: float | None = None
    labels: dict[str, str] = {}
    message: str = ""
    progress: str = ""
    live: bool = True
    """Whether its object is there; of one that was deleted only the archive knows."""
    archived: bool = False
    """Whether it is in the archive of finished runs."""
    version: int = 0
    """Grows by one with each commit of this run, from 1."""
    sequence: int = 0
    """Grows over all runs of the store: Argo's resourceVersion."""


class EffectRow(Struct, frozen=True, kw_only=True, gc=False):
    """An effect that was decided and is not known to be performed; `key` is unique within the run."""

    key: str
    body: bytes


class Commit(Struct, frozen=True, kw_only=True, gc=False):
    """One change of one run: all of it becomes durable, or nothing.

    `row.version` must be the stored version + 1 (1 creates). `header` replaces the run's document unless None.
    `nodes` are inserted or replaced by id, `nodes_removed` deleted. `effects` are added, `effects_done` deleted by key.
    `events` are appended to the run's history.
    """

    row: RunRow
    header: bytes | None = None
    nodes: tuple[tuple[str, bytes], ...] = ()
    nodes_removed: tuple[str, ...] = ()
    effects: tuple[EffectRow, ...] = ()
    effects_done: tuple[str, ...] = ()
    events: tuple[bytes, ...] = ()


class StoredRun(Struct, frozen=True, kw_only=True):
    """Everything a restart needs of one run."""

    row: RunRow
    header: bytes
    nodes: tuple[tuple[str, bytes], ...]
    effects: tuple[EffectRow, ...]


class StateStore(Protocol):
    """Durable state.

    Atomicity: `commit`, `put`, `remove` and `restore` are all or nothing, whatever is killed and whenever the connection breaks.

    Order: commits of one run become visible in the order in which they were called; `sequence` grows in that order and is never
    given twice, not even after a restart.

    Visibility: what a finished call wrote is seen by every later call. `load` shows a run as it was at one moment.

    Durability: when a call that writes returns, a kill of any process loses nothing. Bytes and rows given or returned are copies.
    Bodies may have any length; texts hold no NUL.

    Raises (all methods):
        Retryable: the store cannot be reached, or has no room, for now: **nothing was changed**, the same call may be made again.
            A store that does not know whether a change has reached the database finds out before it answers, however long that
            takes.
        Broken: it cannot be used and a person is needed: it was closed, is damaged, or belongs to another server now.
    """

    async def commit(self, commit: Commit) -> int:
        """Apply one change and return its `sequence`.

        Raises:
            VersionConflict: the run is at another version (or exists, for version 1; or the namespace holds a live run of
                that name). Nothing was changed.
        """
        ...

    async def load(self, uid: str) -> StoredRun | None:
        """Return a run with its nodes and open effects, or None."""
        ...

    async def runs(self, *, namespace: str = "", name: str = "", unfinished: bool = False) -> Sequence[RunRow]:
        """Return rows, newest first; empty arguments match all."""
        ...

    async def events(self, uid: str, *, after: int = 0, limit: int = 1000) -> Sequence[tuple[int, bytes]]:
        """Return the run's history in order, each with its number within the run (from 1)."""
        ...

    async def remove(self, uid: str) -> None:
        """Delete a run and all that belongs to it; nothing there is no error."""
        ...

    async def restore(self, run: StoredRun, events: Sequence[bytes]) -> None:
        """Write a run as another store had it, with its version, sequence and whole history.

        Sequences that are given later are greater than its own.

        Raises:
            VersionConflict: there is a run of its uid, or a live one of its name. Nothing was changed.
        """
        ...

    async def put(self, kind: str, documents: Iterable[tuple[str, bytes | None]]) -> None:
        """Write small documents (remotes, tokens, what is to be sent) in one transaction; None deletes."""
        ...

    async def put_all(self, documents: Mapping[str, Iterable[tuple[str, bytes | None]]]) -> None:
        """Write small documents of several kinds, by kind: one after the other, in one transaction if none of them fails."""
        ...

    async def get(self, kind: str, key: str) -> bytes | None:
        """Return one document."""
        ...

    async def items(self, kind: str, *, after: str = "", limit: int = 0) -> Sequence[tuple[str, bytes]]:
        """Return the documents of a kind, by key: all, or so many of those whose keys come after `after`."""
        ...

    async def kinds(self) -> Sequence[str]:
        """Return the kinds of which there are documents, sorted."""
        ...

    async def ready(self) -> None:
        """Return when the store can be used now, else raise what its other methods would."""
        ...

    async def close(self) -> None:
        """Finish what was begun and release the store; harmless to repeat."""
        ...


class Flaw(Struct, frozen=True, kw_only=True):
    """What does not fit together in a state: where, what, and what to do. `mendable`: it can be put right without a person."""

    where: str
    what: str
    remedy: str
    mendable: bool = True

    def __str__(self) -> str:
        """Return it for people."""
        return f"{self.where}: {self.what}; {self.remedy}"


class SelfChecking(Protocol):
    """What a store of a database can tell and do beside `StateStore`: flaws below what the port shows."""

    async def flaws(self) -> Sequence[Flaw]:
        """Return what does not fit together in the tables or collections."""
        ...

    async def mend(self) -> None:
        """Put right what of `flaws` is mendable; nobody else writes meanwhile, and the store is opened anew after that.

        Doing it twice, or once more after a kill, is harmless.
        """
        ...
