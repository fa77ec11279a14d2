"""What was moved, how full the primary was, how fast the links are: kept over restarts, bounded."""

from collections import Counter, deque
from collections.abc import Callable, Container, Sequence

import msgspec

from jitflow.dataplane import records
from jitflow.dataplane.journal import Journal
from jitflow.dataplane.rates import Rates
from jitflow.dataplane.records import Counters, ReadDoc
from jitflow.model.data import ObjectRef, StepId
from jitflow.model.reports import TransferRecord
from jitflow.ports.store import StateStore

_KEPT = 20_000
_SAMPLE_EVERY_S = 0.2
_FETCHED_KEPT = 200_000


class History:
    """Counters, finished transfers, samples of the fill, and the rate of each remote's link."""

    def __init__(
        self, journal: Journal, now: Callable[[], float], moved: Callable[[TransferRecord], None] = lambda _record: None
    ) -> None:
        """Begin empty; `load` reads what was kept. `moved` is told of each transfer that has ended."""
        self._tell = moved
        self._journal = journal
        self._now = now
        self.counters = Counters()
        self.rates = Rates(now, self.counters.rates)
        """Of the remotes' links, by name: of what comes over it, and of what leaves over it with ` (out)` after that."""
        self._transfers: deque[tuple[int, TransferRecord]] = deque()
        self._fill: deque[tuple[int, float, int]] = deque()
        self._fetched: dict[str, None] = {}
        self._read: dict[StepId, ReadDoc] = {}
        self._number = 0
        self.ended: Counter[tuple[str, str, str]] = Counter()
        """How many transfers have ended, by remote, direction and outcome, since the start."""
        self.ended_bytes: Counter[tuple[str, str]] = Counter()
        """Bytes of those that ended well, by remote and direction."""

    async def load(self, store: StateStore) -> None:
        """Read what earlier lives kept."""
        body = await store.get(records.COUNTERS, "counters")
        if body is not None:
            self.counters = msgspec.json.decode(body, type=Counters)
            self.rates.known = self.counters.rates
        for key, row in await store.items(records.TRANSFER):
            self._transfers.append((int(key), msgspec.json.decode(row, type=TransferRecord)))
        for key, row in await store.items(records.FILL):
            self._fill.append((int(key), *msgspec.json.decode(row, type=tuple[float, int])))
        self._fetched = dict.fromkeys(key for key, _ in await store.items(records.FETCHED))
        read = [(step, msgspec.json.decode(row, type=ReadDoc)) for step, row in await store.items(records.READ)]
        self._read = dict(sorted(read, key=lambda one: one[1].granted_at))
        self._number = max((entries[-1][0] for entries in (self._transfers, self._fill) if entries), default=0)

    def _next(self) -> tuple[int, str]:
        self._number += 1
        return self._number, f"{self._number:015d}"

    def _save(self) -> None:
        self._journal.put(records.COUNTERS, "counters", self._encoded)

    def _encoded(self) -> bytes:
        return records.encode(self.counters)

    def finished(self, record: TransferRecord, version: str | None = "") -> None:
        """Note a transfer that has ended; a fetch of the same version for the second time is counted as such.

        `version` None: nothing was fetched, for an equal object was here.
        """
        number, key = self._next()
        self.ended[record.ref.remote, record.direction, record.outcome] += 1
        if record.outcome == "ok":
            self.ended_bytes[record.ref.remote, record.direction] += record.size_bytes
        self._transfers.append((number, record))
        self._tell(record)
        self._journal.put(records.TRANSFER, key, records.encode(record))
        if len(self._transfers) > _KEPT:
            self._journal.put(records.TRANSFER, f"{self._transfers.popleft()[0]:015d}", None)
        if record.outcome == "ok" and record.direction == "in":
            if version is not None:
                self._count_fetch(record, version)
        elif record.outcome == "ok":
            self.counters.stored_bytes += record.size_bytes
        self._save()

    def shared(self, size_bytes: int) -> None:
        """Count what had not to be fetched, for an object of equal content was here."""
        self.counters.shared_bytes += size_bytes

    def _count_fetch(self, record: TransferRecord, version: str) -> None:
        self.counters.fetched_bytes += record.size_bytes
        name = f"{record.ref}@{version}"
        if name in self._fetched:
            self.counters.fetched_twice_bytes += record.size_bytes
            return
        self._fetched[name] = None
        self._journal.put(records.FETCHED, name, b"")
        if len(self._fetched) > _FETCHED_KEPT:
            oldest = next(iter(self._fetched))
            del self._fetched[oldest]
            self._journal.put(records.FETCHED, oldest, None)

    def used(self, used_bytes: int, peak_bytes: int) -> None:
        """Note how full the primary is; within a short time the fullest moment stands."""
        if peak_bytes > self.counters.peak_bytes:
            self.counters.peak_bytes = peak_bytes
            self._save()
        now = self._now()
        if self._fill and now - self._fill[-1][1] < _SAMPLE_EVERY_S:
            number, at, before = self._fill[-1]
            if used_bytes > before:
                self._fill[-1] = (number, at, used_bytes)
                self._journal.put(records.FILL, f"{number:015d}", records.encode((at, used_bytes)))
            return
        if self._fill and self._fill[-1][2] == used_bytes:
            return
        number, key = self._next()
        self._fill.append((number, now, used_bytes))
        self._journal.put(records.FILL, key, records.encode((now, used_bytes)))
        if len(self._fill) > _KEPT:
            self._journal.put(records.FILL, f"{self._fill.popleft()[0]:015d}", None)

    def since(self, time: float) -> tuple[Sequence[TransferRecord], Sequence[tuple[float, int]]]:
        """Return transfers that ended and fill samples that were taken since a time."""
        transfers = [record for _, record in self._transfers if record.finished_at >= time]
        return transfers, [(at, used) for _, at, used in self._fill if at >= time]

    # -- what steps read ---------------------------------------------------------------------------------------------------

    def read(self, step: StepId, doc: ReadDoc) -> None:
        """Note what a step has read."""
        self._read.pop(step, None)
        self._read[step] = doc
        self._journal.put(records.READ, step, records.encode(doc))
        if len(self._read) > _KEPT:
            oldest = next(iter(self._read))
            del self._read[oldest]
            self._journal.put(records.READ, oldest, None)

    def what_read(self, step: StepId) -> ReadDoc | None:
        """Return what a step that has ended had read, None if that is not known (any more)."""
        return self._read.get(step)

    def last_moves(self, refs: Container[ObjectRef], until: float) -> dict[ObjectRef, TransferRecord]:
        """Return for each object the last transfer that was in time for a step that began at `until`.

        That is the last one that had brought it here, or, of an output, that had begun to take it away.
        """
        found: dict[ObjectRef, TransferRecord] = {}
        for _, one in self._transfers:
            at = one.finished_at if one.direction == "in" else one.started_at
            if one.ref in refs and at <= until and (one.outcome == "ok" or one.direction == "out"):
                found[one.ref] = one
        return found
