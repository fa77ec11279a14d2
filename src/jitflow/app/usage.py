"""What each namespace uses: counters by the hour, which outlive the workflows that they count.

A workflow counts when it ends: its pods, what they took and what they read. Counters are written a moment later, together with
which ends are in them, so that a restart counts those that are not, and none twice. A workflow that is retried counts as often as
it ends; of its pods each counts once.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct

from jitflow.app.names import check_namespace
from jitflow.app.ports import Change, Engine
from jitflow.model import argo
from jitflow.model.problems import Refused
from jitflow.model.runs import Note
from jitflow.model.spending import Spent
from jitflow.model.usage import Usage
from jitflow.ports.clock import Clock
from jitflow.ports.dataplane import DataView
from jitflow.ports.errors import Retryable
from jitflow.ports.store import RunRow, StateStore

Spawn = Callable[[Coroutine[Any, Any, None], str], None]

DOCUMENTS: Final = "usage"
_POSITION: Final = "@position"
HOUR_S: Final = 3600
MAX_HOURS: Final = 24 * 366
"""The longest time that is told at once."""
PAUSE_S: Final = 1.0
"""So long counters may wait to be written."""
_OVERLAP_S: Final = 60.0
"""Ends become durable in nearly the order of their times: of those of the last minute each is known."""
_PIECE: Final = 1_000
_ENDS: Final = frozenset({"WorkflowSucceeded", "WorkflowFailed", "WorkflowError"})
"""What a workflow's history says of its ends."""
_decode_note = msgspec.json.Decoder(Note).decode


class Runs(Protocol):
    """The runs that are known."""

    def by_uid(self, uid: str) -> RunRow | None:
        """Return a run's row."""
        ...

    def newest(self, namespace: str) -> Iterable[RunRow]:
        """Yield the rows of live runs."""
        ...


class Tally(Struct, kw_only=True):
    """What one namespace used in one hour."""

    workflows: dict[str, int] = {}
    pods: dict[str, int] = {}
    resources: dict[str, int] = {}
    near_bytes: int = 0
    fetched_bytes: int = 0
    sent_bytes: int = 0

    def add(self, other: "Tally") -> None:
        """Take another one's counts in."""
        for own, more in ((self.workflows, other.workflows), (self.pods, other.pods), (self.resources, other.resources)):
            for name, count in more.items():
                own[name] = own.get(name, 0) + count
        self.near_bytes += other.near_bytes
        self.fetched_bytes += other.fetched_bytes
        self.sent_bytes += other.sent_bytes


class _Position(Struct, kw_only=True):
    """What is counted: ends (uid -> when) up to `ended_at`, those of the last minute by name; transfers up to `moved_at`."""

    ended_at: float = 0.0
    ends: dict[str, float] = {}
    moved_at: float = 0.0


class UsageKeeper:
    """Counts; `hear` is told of every change."""

    def __init__(
        self,
        runs: Runs,
        engine: Engine,
        store: StateStore,
        view: DataView,
        *,
        clock: Clock,
        spawn: Spawn,
    ) -> None:
        """Hold the parts; `open` begins."""
        self._runs = runs
        self._engine = engine
        self._store = store
        self._view = view
        self._clock = clock
        self._spawn = spawn
        self._hours: dict[tuple[str, int], Tally] = {}
        self._changed: set[tuple[str, int]] = set()
        self._position = _Position()
        self._last_end: dict[str, float] = {}
        self._counted_before = _Position()
        self._going: set[str] = set()
        """Workflows that ran when this life began: they may have ended, been counted, and been retried in an earlier one."""
        self._ended: list[RunRow] = []
        self._busy = asyncio.Lock()
        self._woken = False

    async def open(self, rows: Iterable[RunRow]) -> None:
        """Read what was counted, and count what has ended since. `rows`: all runs there are."""
        for key, body in await self._store.items(DOCUMENTS):
            if key == _POSITION:
                self._position = msgspec.json.decode(body, type=_Position)
            else:
                namespace, _, hour = key.partition("/")
                self._hours[namespace, int(hour)] = msgspec.json.decode(body, type=Tally)
        self._counted_before = msgspec.structs.replace(self._position, ends=dict(self._position.ends))
        for row in rows:
            if row.finished_at is None:
                self._going.add(row.uid)
            elif self._was_counted(row.uid, row.finished_at):
                self._last_end[row.uid] = row.finished_at
            else:
                self._ended.append(row)
        if self._ended:
            self._wake()

    def _was_counted(self, uid: str, ended: float) -> bool:
        """Return whether an end of an earlier life is in the counters that this one has found."""
        before = self._counted_before
        return ended <= before.ended_at - _OVERLAP_S or before.ends.get(uid) == ended

    async def _counted_until(self, uid: str) -> float:
        """Return when a workflow ended for the last time that was counted, 0 if it has not."""
        known = self._last_end.get(uid)
        if known is not None or uid not in self._going:
            return known or 0.0
        ends, after = [0.0], 0
        while events := await self._store.events(uid, after=after):
            notes = (_decode_note(body) for _, body in events)
            ends += (note.at for note in notes if note.reason in _ENDS and self._was_counted(uid, note.at))
            after = events[-1][0]
        return max(ends)

    def hear(self, change: Change) -> None:
        """Note the end of a workflow."""
        if change.ends:
            self._ended.append(change.row)
            self._wake()
        elif change.kind == "DELETED" and change.row.uid not in self._position.ends:
            self._last_end.pop(change.row.uid, None)
            self._going.discard(change.row.uid)

    def _wake(self) -> None:
        if not self._woken:
            self._woken = True
            self._spawn(self._soon(), "count what workflows have used")

    async def _soon(self) -> None:
        await self._count()  # at once: a workflow may be deleted as soon as it has ended
        await self._clock.sleep(PAUSE_S)
        self._woken = False
        await self.save()
        if self._ended:
            self._wake()

    async def _count(self) -> None:
        async with self._busy:
            rows, self._ended = self._ended, []
            for row in rows:
                ended = row.finished_at or self._clock.now()
                if self._last_end.get(row.uid) == ended:
                    continue  # heard of, and found in the store as well
                try:
                    tally = await self._tally(row, since=await self._counted_until(row.uid))
                except Retryable:  # a data service that is away; it is counted when that is back
                    self._ended.append(row)
                    continue
                self._take(row.namespace, ended, tally)
                self._last_end[row.uid] = ended
                self._going.discard(row.uid)
                self._position.ended_at = max(self._position.ended_at, ended)
                self._position.ends[row.uid] = ended

    async def save(self) -> None:
        """Count what has ended and what was moved, and write it down."""
        await self._count()
        await self._count_transfers()
        async with self._busy:
            if not self._changed:
                return
            position, oldest = self._position, self._position.ended_at - _OVERLAP_S
            position.ends = {uid: at for uid, at in position.ends.items() if at > oldest}
            documents = [
                (f"{namespace}/{hour:010d}", msgspec.json.encode(self._hours[namespace, hour]))
                for namespace, hour in self._changed
            ]
            self._changed.clear()
            await self._store.put(DOCUMENTS, [*documents, (_POSITION, msgspec.json.encode(position))])

    def _take(self, namespace: str, at: float, tally: Tally) -> None:
        key = (namespace, int(at // HOUR_S))
        self._hours.setdefault(key, Tally()).add(tally)
        self._changed.add(key)

    async def _tally(self, row: RunRow, *, since: float) -> Tally:
        """Return what a workflow has used that has ended; of its pods only those that ended after `since` count."""
        tally = Tally(workflows={row.phase: 1})
        workflow = await self._engine.fetch(row.uid)
        nodes = workflow.status.nodes.values() if workflow is not None and workflow.status is not None else ()
        pods, resources = Counter[str](), Counter[str]()
        steps: list[str] = []
        for number, node in enumerate(nodes):
            if number % _PIECE == _PIECE - 1:
                await asyncio.sleep(0)
            if node.type == "Pod" and node.started_at and _ended_at(node) >= int(since):
                pods[node.phase or ""] += 1
                resources.update(node.resources_duration)
                steps.append(f"{row.uid}/{node.id}")
        tally.near_bytes = await self._view.read_bytes(steps) if steps else 0
        tally.pods, tally.resources = dict(pods), dict(resources)
        return tally

    async def _count_transfers(self) -> None:
        try:
            transfers, _ = await self._view.timeline(since=self._position.moved_at)
        except Retryable:
            return
        for record in transfers:
            if record.finished_at <= self._position.moved_at or record.outcome != "ok":
                continue
            row = next((row for step in record.steps if (row := self._runs.by_uid(step.partition("/")[0])) is not None), None)
            if row is not None:
                size = record.size_bytes
                tally = Tally(fetched_bytes=size) if record.direction == "in" else Tally(sent_bytes=size)
                self._take(row.namespace, record.finished_at, tally)
        self._position.moved_at = max((record.finished_at for record in transfers), default=self._position.moved_at)

    async def read(self, namespace: str, since: float | None, until: float | None) -> Usage:
        """Return what a namespace has used; without `since` in the last 24 hours, without `until` up to now.

        Raises:
            Refused: the time makes no sense.
        """
        check_namespace(namespace)
        await self.save()
        now = self._clock.now()
        end = min(now if until is None else until, now)
        begin = end - 24 * HOUR_S if since is None else since
        first, last = int(begin // HOUR_S), int(end // HOUR_S)
        if begin > end or last - first > MAX_HOURS:
            raise Refused(f"since must be before until, and not more than {MAX_HOURS // 24} days before")
        total = Tally()
        for hour in range(first, last + 1):
            if (namespace, hour) in self._hours:
                total.add(self._hours[namespace, hour])
        going = (row for row in self._runs.newest(namespace) if row.finished_at is None and row.created_at <= end)
        for phase, count in Counter(row.phase or "Pending" for row in going).items():
            total.workflows[phase] = total.workflows.get(phase, 0) + count
        spent, unknown = await self._spent(namespace, begin, end)
        return Usage(
            namespace=namespace,
            since=float(first * HOUR_S),
            until=min(float((last + 1) * HOUR_S), now),
            workflows=total.workflows,
            pods=total.pods,
            resources_duration=total.resources,
            near_bytes=total.near_bytes,
            fetched_bytes=total.fetched_bytes,
            sent_bytes=total.sent_bytes,
            spent=spent,
            spent_unknown=unknown,
        )

    async def _spent(self, namespace: str, begin: float, end: float) -> tuple[tuple[Spent, ...], str]:
        """Return what was spent, or why that cannot be told now."""
        first, last = (datetime.fromtimestamp(moment, UTC).date().isoformat() for moment in (begin, end))
        try:
            return tuple(await self._view.spent(namespace, since=first, until=last)), ""
        except Retryable as error:
            return (), str(error)


def _ended_at(node: argo.NodeStatus) -> float:
    """Return when a node ended; what has no such time has just been ended with its workflow."""
    return datetime.fromisoformat(node.finished_at).timestamp() if node.finished_at else float("inf")
