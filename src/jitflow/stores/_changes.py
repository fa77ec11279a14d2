"""Changes as they wait for a transaction, and what many of them amount to."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from jitflow.ports.errors import VersionConflict
from jitflow.ports.store import Commit, RunRow, StoredRun
from jitflow.stores._bodies import pack


class Removal(Struct, frozen=True):
    """Delete a run."""

    uid: str


class Documents(Struct, frozen=True):
    """Write documents of one kind."""

    kind: str
    rows: tuple[tuple[str, bytes | None], ...]


class Restoration(Struct, frozen=True):
    """Write a run as another store had it."""

    run: StoredRun
    events: tuple[bytes, ...]


Update = Commit | Removal | Documents | Restoration


class Position(Struct):
    """Where a run stands in the store: its number there (what its parts are kept under), its version, lines of its history."""

    number: Any
    version: int
    events: int


def already_there(row: RunRow) -> VersionConflict:
    """Return the error of a run that cannot be restored."""
    return VersionConflict(f"run {row.name!r} ({row.uid}) is there already")


def does_not_follow(row: RunRow, stored: int) -> VersionConflict:
    """Return the error of a commit to another version; 0: the run is not there."""
    was = f"at version {stored}" if stored else "unknown"
    return VersionConflict(f"run {row.name!r} ({row.uid}) is {was}, version {row.version} does not follow; load it again")


def name_taken(row: RunRow) -> VersionConflict:
    """Return the error of a second live run of one name."""
    return VersionConflict(f"namespace {row.namespace!r} holds a live run named {row.name!r} already")


class Fold:
    """What a batch amounts to: of several writes to one row the last one stands."""

    def __init__(
        self,
        positions: Mapping[str, Position],
        live: Mapping[tuple[str, str], str],
        sequence: int,
        *,
        number: Callable[[int], Any] = int,
    ) -> None:
        """Begin with what the store holds of the runs and names that the batch is about.

        Args:
            positions: where runs stand, by uid.
            live: which run holds a name of a namespace.
            sequence: the last that was given.
            number: returns the number of a new run; it is told the run's first sequence.
        """
        self.positions = {uid: copy(position) for uid, position in positions.items()}
        """Where the runs stand after all that was taken in."""
        self.live = dict(live)
        """Who holds the names then."""
        self.sequence = sequence
        """The last that is given."""
        self.rows: dict[Any, tuple[RunRow, int]] = {}
        """Number of a run -> its row and how many lines its history has."""
        self.headers: dict[Any, bytes] = {}
        self.nodes: dict[tuple[Any, str], bytes | None] = {}
        self.effects: dict[tuple[Any, str], bytes | None] = {}
        self.events: list[tuple[Any, int, bytes]] = []
        self.documents: dict[tuple[str, str], bytes | None] = {}
        self.removed: list[Any] = []
        self._number = number

    def take(self, update: Update) -> object:
        """Take in the next change and return its outcome; one that is refused leaves nothing behind.

        Raises:
            VersionConflict: it does not fit to what is stored.
        """
        if isinstance(update, Commit):
            return self._commit(update)
        if isinstance(update, Documents):
            kind, documents = update.kind, self.documents
            for key, body in update.rows:
                documents[kind, key] = None if body is None else pack(body)
        elif isinstance(update, Restoration):
            self._restore(update)
        else:
            self._remove(update.uid)
        return None

    def _commit(self, commit: Commit) -> int:
        row = commit.row
        position = self.positions.get(row.uid)
        if row.version != (position.version if position else 0) + 1:
            raise does_not_follow(row, position.version if position else 0)
        self._claim_name(row)
        self.sequence += 1
        if position is None:
            position = self.positions[row.uid] = Position(number=self._number(self.sequence), version=0, events=0)
        position.version = row.version
        self._write(position, row, self.sequence, commit)
        return self.sequence

    def _restore(self, update: Restoration) -> None:
        stored = update.run
        if stored.row.uid in self.positions:
            raise already_there(stored.row)
        self._claim_name(stored.row)
        self.sequence += 1
        position = Position(number=self._number(self.sequence), version=stored.row.version, events=0)
        self.sequence = max(self.sequence, stored.row.sequence)
        self.positions[stored.row.uid] = position
        self._write(position, stored.row, stored.row.sequence, whole_of(update))

    def _claim_name(self, row: RunRow) -> None:
        name = (row.namespace, row.name)
        if row.finished_at is None and self.live.get(name, row.uid) != row.uid:
            raise name_taken(row)
        if row.finished_at is None:
            self.live[name] = row.uid
        elif self.live.get(name) == row.uid:
            del self.live[name]

    def _write(self, position: Position, row: RunRow, sequence: int, commit: Commit) -> None:
        run = position.number
        for number, body in enumerate(commit.events, start=position.events + 1):
            self.events.append((run, number, pack(body)))
        position.events += len(commit.events)
        self.rows[run] = (replace(row, sequence=sequence), position.events)
        if commit.header is not None:
            self.headers[run] = pack(commit.header)
        for node in commit.nodes_removed:
            self.nodes[run, node] = None
        for node, body in commit.nodes:
            self.nodes[run, node] = pack(body)
        for key in commit.effects_done:
            self.effects[run, key] = None
        for effect in commit.effects:
            self.effects.pop((run, effect.key), None)  # it comes behind those that were added before
            self.effects[run, effect.key] = pack(effect.body)

    def _remove(self, uid: str) -> None:
        position = self.positions.pop(uid, None)
        if position is not None:
            self.removed.append(position.number)
            for name in [name for name, holder in self.live.items() if holder == uid]:
                del self.live[name]


def whole_of(update: Restoration) -> Commit:
    """Return a run that is restored as one commit."""
    run = update.run
    return Commit(row=run.row, header=run.header, nodes=run.nodes, effects=run.effects, events=update.events)


def uids_of(updates: Iterable[Update]) -> list[str]:
    """Return the runs that changes are about."""
    found: dict[str, None] = {}
    for update in updates:
        if isinstance(update, Commit):
            found[update.row.uid] = None
        elif isinstance(update, Restoration):
            found[update.run.row.uid] = None
        elif isinstance(update, Removal):
            found[update.uid] = None
    return list(found)


def rows_of(updates: Iterable[Update]) -> list[RunRow]:
    """Return the rows that changes write."""
    rows = [
        update.row if isinstance(update, Commit) else update.run.row if isinstance(update, Restoration) else None
        for update in updates
    ]
    return [row for row in rows if row is not None]


def first_part(updates: Sequence[Update]) -> int:
    """Return how many changes from the first on can be folded into one: a removal takes no part of what the same fold writes."""
    written: set[str] = set()
    for count, update in enumerate(updates):
        if isinstance(update, Commit):
            written.add(update.row.uid)
        elif isinstance(update, Restoration):
            written.add(update.run.row.uid)
        elif isinstance(update, Removal) and update.uid in written:
            return count
    return len(updates)
