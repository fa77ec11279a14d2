"""The runs that are driven: each takes its events in turn, made durable before anything follows from them."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from typing import Literal

import msgspec

from jitflow import machine
from jitflow.engine.changes import Change
from jitflow.engine.run import LiveRun, Turn, decode_effect
from jitflow.engine.tasks import Owner
from jitflow.model.objects import Objects
from jitflow.model.problems import Refused
from jitflow.model.runs import Event, Note
from jitflow.ports.clock import Clock
from jitflow.ports.errors import Broken, VersionConflict
from jitflow.ports.patience import waits
from jitflow.ports.store import RunRow, StateStore, StoredRun
from jitflow.telemetry import bind

log = logging.getLogger("jitflow.engine")

Listener = Callable[[Change], None]
Prepare = Callable[[LiveRun, Turn], Awaitable[None] | None]
"""Takes note, in the store, of what must not be forgotten once a turn is durable; None: there is nothing of that kind."""
Follow = Callable[[LiveRun, Sequence[Event], Turn], None]
"""Does what follows from events that are durable now."""

SETTLE_LOOK_S = 0.02
"""How often it is looked whether a run's events are through."""


class Runs:
    """Holds the live runs and their inboxes. One drain at a time writes a run; runs do not wait for each other."""

    def __init__(
        self,
        store: StateStore,
        clock: Clock,
        objects: Objects,
        owner: Owner,
        *,
        prepare: Prepare,
        follow: Follow,
        archives: bool,
    ) -> None:
        """Call `prepare` before and `follow` after each turn is stored. `archives`: what has ended is archived."""
        self._store = store
        self._clock = clock
        self._objects = objects
        self._owner = owner
        self._prepare = prepare
        self._follow = follow
        self._archives = archives
        self._live: dict[str, LiveRun] = {}
        self._listeners: set[Listener] = set()

    def __contains__(self, uid: object) -> bool:
        """Return whether a run is driven now."""
        return uid in self._live

    def __iter__(self) -> Iterator[LiveRun]:
        """Return the runs that are driven now."""
        return iter(tuple(self._live.values()))

    def __len__(self) -> int:
        """Return how many runs are driven now."""
        return len(self._live)

    def get(self, uid: str) -> LiveRun | None:
        """Return a run that is driven now."""
        return self._live.get(uid)

    def hold(self, run: LiveRun) -> LiveRun:
        """Drive a run from now on; return the one that is driven, which may be another copy of it."""
        return self._live.setdefault(run.uid, run)

    def drop(self, uid: str) -> None:
        """Drive a run no more."""
        self._live.pop(uid, None)

    # -- the store ----------------------------------------------------------------------------------------------------

    async def load(self, uid: str) -> LiveRun | None:
        """Read a run from the store, without driving it.

        Raises:
            Broken: what is stored of it is damaged.
        """
        stored = await self._store.load(uid)
        if stored is None:
            return None
        state = _restored(stored)
        run = LiveRun(state, stored.row)
        run.has_data = machine.has_data(state, self._objects)
        try:
            run.open_effects = {effect.key: decode_effect(effect.body) for effect in stored.effects}
        except msgspec.MsgspecError as error:
            raise _damaged(stored.row, error) from error
        return run

    async def unfinished(self) -> list[LiveRun]:
        """Read what has not ended. What is damaged stays as it is, and keeps nobody else from going on."""
        found: list[LiveRun] = []
        for row in await self._store.runs(unfinished=True):
            try:
                run = await self.load(row.uid)
            except Broken as error:
                log.error("%s; it is left alone", error)  # noqa: TRY400 - the text says all
                continue
            if run is not None:
                found.append(run)
        return found

    async def find(self, uid: str) -> LiveRun:
        """Return a run that is driven, or as the store has it.

        Raises:
            Refused: there is no such run (code `not_found`).
        """
        run = self._live.get(uid) or await self.load(uid)
        if run is None:
            raise _not_found(uid)
        return run

    async def state_of(self, uid: str) -> machine.State | None:
        """Return the last durable state of a run."""
        run = self._live.get(uid)
        if run is not None:
            return run.state
        stored = await self._store.load(uid)
        return None if stored is None else _restored(stored)

    async def existing(self, uid: str) -> machine.State:
        """Return the last durable state of a run.

        Raises:
            Refused: there is no such run (code `not_found`).
        """
        state = await self.state_of(uid)
        if state is None:
            raise _not_found(uid)
        return state

    # -- events -------------------------------------------------------------------------------------------------------

    def post(self, uid: str, event: Event) -> None:
        """Give a driven run an event; one that is driven no more does not hear of it."""
        run = self._live.get(uid)
        if run is not None:
            self._enqueue(run, event, None)

    async def deliver(self, run: LiveRun, event: Event) -> None:
        """Give a run an event and return when it is durable.

        Raises:
            Refused: it could not be taken (code `unavailable`).
            Retryable: the store is away, and the caller is one who does not wait: the run does not hear of it.
        """
        if not waits():
            await self._store.ready()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._enqueue(run, event, future)
        await future

    def note(self, uid: str, note: Note) -> None:
        """Add a line to a driven run's history, with its next turn."""
        run = self._live.get(uid)
        if run is not None:
            run.notes.append(note)

    @contextlib.asynccontextmanager
    async def settled(self, uid: str) -> AsyncGenerator[LiveRun | None]:
        """Hold a run's events back, so that its row can be changed beside them; None: it is not driven now."""
        while (run := self._live.get(uid)) is not None and run.draining:
            await self._clock.sleep(SETTLE_LOOK_S)
        if run is not None:
            run.draining = True
        try:
            yield run
        finally:
            if run is not None:
                self._drained(run)

    async def begin(self, run: LiveRun, turn: Turn) -> None:
        """Drive a new run: store its first turn, then do what follows.

        Raises:
            VersionConflict: another run has its name; it is not driven then, nor after any other error.
        """
        run.draining = True
        self._live[run.uid] = run
        try:
            await self._commit(run, turn, machine.encode_header(turn.state), kind="ADDED")
        except BaseException:
            self.drop(run.uid)
            raise
        self._follow(run, (), turn)
        self._drained(run)

    def _enqueue(self, run: LiveRun, event: Event, future: asyncio.Future[None] | None) -> None:
        run.inbox.append((event, future))
        if not run.draining:
            run.draining = True
            self._owner.spawn(self._drain(run), f"drain {run.uid}")

    async def _drain(self, run: LiveRun) -> None:
        try:
            while run.inbox and not run.broken:
                batch, run.inbox = run.inbox, []
                await self._turn(run, batch)
        except Exception as error:
            run.broken = f"{type(error).__name__}: {error}"
            _fail_all(run.inbox, Refused(f"the workflow cannot go on: {run.broken}", code="unavailable"))
            raise
        finally:
            self._drained(run)

    def _drained(self, run: LiveRun) -> None:
        run.draining = False
        if run.inbox and not run.broken:
            run.draining = True
            self._owner.spawn(self._drain(run), f"drain {run.uid}")

    async def _turn(self, run: LiveRun, batch: list[tuple[Event, asyncio.Future[None] | None]]) -> None:
        """Decide on all that has come in, store it as one change, then let follow what follows."""
        bind(run=run.uid)
        turn = Turn(run.state)
        now = self._clock.now()
        try:
            for event, _ in batch:
                turn.take(machine.decide(turn.state, event, now, self._objects))
            if turn.changed or run.notes:
                header = machine.encode_header(turn.state) if machine.header_differs(run.state, turn.state) else None
                await self._commit(run, turn, header, kind="MODIFIED")
        except Exception as error:
            if isinstance(error, VersionConflict) and await self._is_gone(run):
                _fail_all(batch, _not_found(run.uid))
                return
            _fail_all(batch, Refused(f"the event could not be taken: {error}", code="unavailable"))
            raise
        for _, future in batch:
            if future is not None and not future.done():
                future.set_result(None)
        self._follow(run, [event for event, _ in batch], turn)

    async def _is_gone(self, run: LiveRun) -> bool:
        """Return whether a run was deleted while somebody wanted it to go on, and drive it no more then."""
        stored = await self._store.load(run.uid)
        gone = stored is None or not stored.row.live
        if gone:
            self.drop(run.uid)
        return gone

    async def _commit(self, run: LiveRun, turn: Turn, header: bytes | None, *, kind: Literal["ADDED", "MODIFIED"]) -> None:
        noted = self._prepare(run, turn)
        if noted is not None:
            await noted
        ends = turn.state.run.finished_at is not None and run.row.finished_at is None
        notes, run.notes = run.notes, []
        row = self._row_of(turn.state, run.row, ends=ends)
        sequence = await self._store.commit(turn.commit(row, header, notes))
        run.row = msgspec.structs.replace(row, sequence=sequence)
        run.state = turn.state
        changed, removed = tuple(turn.nodes), tuple(turn.removed)
        self.tell(Change(kind=kind, row=run.row, ends=ends, nodes=changed, removed=removed, state=run.state))

    def _row_of(self, state: machine.State, row: RunRow, *, ends: bool) -> RunRow:
        summary = machine.summary(state)
        goes_on = summary.finished_at is None  # one of the archive too, when it is retried
        return msgspec.structs.replace(
            row,
            phase=summary.phase,
            message=summary.message,
            started_at=summary.started_at,
            finished_at=summary.finished_at,
            progress=summary.progress,
            labels=summary.labels,
            live=row.live or goes_on,
            archived=not goes_on and (row.archived or (ends and self._archives)),
            version=row.version + 1,
        )

    # -- those who watch ----------------------------------------------------------------------------------------------

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Tell `listener` of every durable change from now on; return how to stop that."""
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)

    def tell(self, change: Change) -> None:
        """Tell those who watch of a durable change."""
        for listener in tuple(self._listeners):
            listener(change)


def _restored(stored: StoredRun) -> machine.State:
    try:
        return machine.restore(stored.header, [body for _, body in stored.nodes])
    except (msgspec.MsgspecError, ValueError, KeyError, TypeError) as error:
        raise _damaged(stored.row, error) from error


def _damaged(row: RunRow, error: Exception) -> Broken:
    return Broken(
        f"what is stored of workflow {row.namespace}/{row.name} ({row.uid}) is damaged ({error}); `jitflow state verify` says "
        "more: restore it from a backup, or delete the workflow"
    )


def _not_found(uid: str) -> Refused:
    return Refused(f"there is no workflow with uid {uid!r}", code="not_found")


def _fail_all(batch: list[tuple[Event, asyncio.Future[None] | None]], refusal: Refused) -> None:
    for _, future in batch:
        if future is not None and not future.done():
            future.set_exception(refusal)
