"""The outbox: what webhooks are to be told, durably, until they have taken it or it is given up.

The engine's changes are heard on the event loop and cost a look-up; everything else happens in tasks of the outbox. What is to be
sent is written down before it is sent, so that a restart goes on with it. Between the commit of a workflow and that a kill
may fall: `open` looks for workflows that have started or ended since and tells of them then. An event may therefore come twice,
always with the same id.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from jitflow.app.cloudevents import NODE_TYPES, CloudEvent, encoded, ended, node_type, of_node, started
from jitflow.app.letters import FIRST_PAUSE_S, LONGEST_PAUSE_S, Letter, pause_after, signed
from jitflow.app.ports import Change
from jitflow.app.webhooks import Sender, Sent, Webhook, Webhooks
from jitflow.model.problems import Refused
from jitflow.model.webhooks import WebhookInfo, WebhookWish
from jitflow.ports.clock import Clock
from jitflow.ports.errors import PortError
from jitflow.ports.store import RunRow, StateStore
from jitflow.telemetry import logger

DOCUMENTS: Final = "outbox"
DEAD: Final = "dead-letter"
_POSITION: Final = "@position"
_RUN: Final = "@run/"
MAX_LETTERS: Final = 10_000
"""Of each webhook so many wait at most, and so many are kept that could not be sent; the oldest give way."""
_MAX_ERROR_CHARS: Final = 300
_GONE: Final = 410

_log = logger("webhooks")
Spawn = Callable[[Coroutine[Any, Any, Any], str], None]


class Outbox:
    """Writes letters down, sends them, and keeps those that nobody takes."""

    def __init__(
        self, webhooks: Webhooks, store: StateStore, sender: Sender, clock: Clock, spawn: Spawn, *, attempts: int = 12
    ) -> None:
        """Hold the parts. A letter is given up after so many `attempts`."""
        self.webhooks = webhooks
        self._store = store
        self._sender = sender
        self._clock = clock
        self._spawn = spawn
        self._attempts = max(attempts, 1)
        self._live: set[str] = set()
        self._phases: dict[str, dict[str, str]] = {}
        """Of live runs whose nodes somebody wants to hear of: the last phase of each node."""
        self._writes: dict[str, bytes | None] = {}
        self._new: list[Letter] = []
        self._written = asyncio.Event()
        self._queues: dict[str, deque[Letter]] = {}
        self._woken: dict[str, asyncio.Event] = {}
        self._dead: dict[str, dict[str, Letter]] = {}
        self._closed = False
        self._early: list[Change] | None = []
        """What was heard before `open`."""

    # -- beginning ----------------------------------------------------------------------------------------------------

    async def open(self, rows: Iterable[RunRow]) -> None:
        """Go on with what waits, and tell of what happened while nobody listened. `rows`: all runs there are."""
        position = await self._read()
        rows = list(rows)
        if position >= 0 and self.webhooks.any:
            for row in rows:
                self._catch_up(row, position)
            for uid in self._live - {row.uid for row in rows}:
                self._forget(uid)
        elif self.webhooks.any:
            self._start_here(rows)
        early, self._early = self._early or (), None
        for change in early:
            self.hear(change)
        self._spawn(self._write(), "write the outbox down")
        for name in self._queues:
            self._begin(name)

    async def _read(self) -> int:
        """Read what is kept; return the sequence up to which it was told what happened, -1 if nothing was ever told."""
        position = -1
        letters: list[Letter] = []
        for key, body in await self._store.items(DOCUMENTS):
            if key == _POSITION:
                position = msgspec.json.decode(body, type=int)
            elif key.startswith(_RUN):
                self._live.add(key.removeprefix(_RUN))
            else:
                letters.append(msgspec.json.decode(body, type=Letter))
        for letter in sorted(letters, key=lambda letter: letter.created_at):
            self._queue(letter.webhook).append(letter)
        for _, body in await self._store.items(DEAD):
            letter = msgspec.json.decode(body, type=Letter)
            self._dead.setdefault(letter.webhook, {})[letter.id] = letter
        return position

    def _start_here(self, rows: Sequence[RunRow]) -> None:
        """Take for told what has happened before there was anybody to tell."""
        running = {row.uid for row in rows if row.started_at is not None and row.finished_at is None}
        for uid in self._live - running:
            self._note(_RUN + uid, None)
        for uid in running - self._live:
            self._note(_RUN + uid, b"")
        self._live = running
        self._note(_POSITION, msgspec.json.encode(max((row.sequence for row in rows), default=0)))

    def close(self) -> None:
        """Hear of nothing any more."""
        self._closed = True

    def _catch_up(self, row: RunRow, position: int) -> None:
        if row.finished_at is not None:
            if row.uid in self._live or row.sequence > position:
                self._run_ended(row)
        elif row.started_at is not None and row.uid not in self._live and row.sequence > position:
            self._run_started(row)

    # -- hearing ------------------------------------------------------------------------------------------------------

    def hear(self, change: Change) -> None:
        """Take in what the engine tells."""
        if self._early is not None:
            self._early.append(change)
        elif not self._closed and self.webhooks.any:
            self._take(change)

    def _take(self, change: Change) -> None:
        row = change.row
        if change.kind == "DELETED":
            self._forget(row.uid)
            return
        if row.started_at is not None and row.finished_at is None and row.uid not in self._live:
            self._run_started(row)
        self._hear_nodes(change)
        if change.ends:
            self._run_ended(row)

    def _run_started(self, row: RunRow) -> None:
        self._live.add(row.uid)
        self._note(_RUN + row.uid, b"")
        self._tell(row, started(row))

    def _run_ended(self, row: RunRow) -> None:
        self._forget(row.uid)
        self._tell(row, ended(row))

    def _forget(self, uid: str) -> None:
        self._phases.pop(uid, None)
        if uid in self._live:
            self._live.discard(uid)
            self._note(_RUN + uid, None)

    def _hear_nodes(self, change: Change) -> None:
        row = change.row
        if not change.nodes or not any(self.webhooks.wanting(row.namespace, kind) for kind in NODE_TYPES):
            return
        known = self._phases.setdefault(row.uid, {})
        for node in change.views(change.nodes):
            phase = node.phase or ""
            if node_type(phase) and known.get(node.id) != phase:
                known[node.id] = phase
                self._tell(row, of_node(row, node, self._clock.now()))

    def _tell(self, row: RunRow, event: CloudEvent) -> None:
        for hook in self.webhooks.wanting(row.namespace, event.type):
            body = encoded(event).decode()
            letter = Letter(id=event.id, webhook=hook.name, type=event.type, body=body, created_at=self._clock.now())
            if letter.key in self._writes:
                continue  # told by `open` already
            self._new.append(letter)
            self._note(letter.key, msgspec.json.encode(letter))
        self._note(_POSITION, msgspec.json.encode(row.sequence))

    def _note(self, key: str, body: bytes | None) -> None:
        self._writes[key] = body
        self._written.set()

    # -- writing ------------------------------------------------------------------------------------------------------

    async def _write(self) -> None:
        """Write down what has gathered, again and again; what is written may be sent."""
        while True:
            await self._written.wait()
            self._written.clear()
            writes, self._writes = self._writes, {}
            letters, self._new = self._new, []
            try:
                await self._store.put(DOCUMENTS, list(writes.items()))
            except PortError as error:
                _log.error("outbox cannot be written down", error)
                self._writes, self._new = {**writes, **self._writes}, [*letters, *self._new]
                self._written.set()
                await self._clock.sleep(FIRST_PAUSE_S)
                continue
            for letter in letters:
                await self._post(letter)

    async def _post(self, letter: Letter) -> None:
        queue = self._queue(letter.webhook)
        if len(queue) >= MAX_LETTERS:
            await self._give_up(queue.popleft(), "too many events wait for this webhook")
        queue.append(letter)
        self._begin(letter.webhook)

    def _queue(self, name: str) -> deque[Letter]:
        return self._queues.setdefault(name, deque())

    def _begin(self, name: str) -> None:
        """Let somebody send a webhook's letters."""
        woken = self._woken.get(name)
        if woken is None:
            self._woken[name] = asyncio.Event()
            self._spawn(self._send_all(name), f"send to webhook {name}")
        else:
            woken.set()

    # -- sending ------------------------------------------------------------------------------------------------------

    async def _send_all(self, name: str) -> None:
        """Send a webhook's letters, those that are due first, until none is left."""
        woken, queue = self._woken[name], self._queue(name)
        try:
            while queue:
                letter = min(queue, key=lambda one: one.next_at)
                pause_s = letter.next_at - self._clock.now()
                if pause_s > 0:
                    woken.clear()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(woken.wait(), pause_s)
                    continue
                await self._send(name, letter)
        finally:
            del self._woken[name]

    async def _send(self, name: str, letter: Letter) -> None:
        queue = self._queue(name)
        hook = self.webhooks.find(name)
        if hook is None:
            queue.remove(letter)
            await self._store.put(DOCUMENTS, [(letter.key, None)])
            return
        sent, error = await self._attempt(hook, letter)
        if letter not in queue:
            return  # the webhook was removed meanwhile
        queue.remove(letter)
        if sent is not None and sent.is_taken:
            await self._store.put(DOCUMENTS, [(letter.key, None)])
            return
        tried = replace(letter, attempts=letter.attempts + 1, error=error[:_MAX_ERROR_CHARS])
        if tried.attempts >= self._attempts or (sent is not None and sent.status == _GONE):
            await self._give_up(tried, tried.error)
            return
        wanted_s = sent.retry_after_s if sent is not None else 0.0
        tried = replace(tried, next_at=self._clock.now() + max(pause_after(tried.attempts), min(wanted_s, LONGEST_PAUSE_S)))
        queue.append(tried)
        await self._store.put(DOCUMENTS, [(tried.key, msgspec.json.encode(tried))])

    async def _attempt(self, hook: Webhook, letter: Letter) -> tuple[Sent | None, str]:
        headers = signed(hook.secret, letter.body.encode(), int(self._clock.now()))
        try:
            sent = await self._sender.send(hook.url, headers, letter.body.encode())
        except (Refused, OSError) as error:
            return None, str(error) or type(error).__name__
        return sent, f"the receiver answered {sent.status}"

    async def _give_up(self, letter: Letter, error: str) -> None:
        _log.warning("webhook given up", webhook=letter.webhook, letter=letter.id, reason=error)
        dead = self._dead.setdefault(letter.webhook, {})
        dead[letter.id] = replace(letter, error=error)
        oldest = [next(iter(dead))] if len(dead) > MAX_LETTERS else []
        writes: list[tuple[str, bytes | None]] = [(letter.key, msgspec.json.encode(dead[letter.id]))]
        await self._store.put(DEAD, [*writes, *((dead.pop(key).key, None) for key in oldest)])
        await self._store.put(DOCUMENTS, [(letter.key, None)])

    # -- for administrators -------------------------------------------------------------------------------------------

    def describe(self, hook: Webhook) -> WebhookInfo:
        """Return a webhook as it may be shown."""
        return WebhookInfo(
            name=hook.name,
            url=hook.url,
            namespace=hook.namespace,
            events=hook.events,
            source=hook.source,
            waiting=len(self._queues.get(hook.name, ())),
            failed=len(self._dead.get(hook.name, ())),
        )

    def failures(self, name: str) -> list[Letter]:
        """Return what a webhook could not be told, oldest first."""
        return list(self._dead.get(name, {}).values())

    async def replay(self, name: str, ids: Iterable[str] = ()) -> int:
        """Send again what could not be sent, all or those of some ids; return how many.

        Raises:
            Refused: there is no such webhook or letter (`not_found`).
        """
        self.webhooks.get(name)
        dead = self._dead.get(name, {})
        wanted = list(ids) or list(dead)
        missing = next((one for one in wanted if one not in dead), None)
        if missing is not None:
            raise Refused(f"the webhook {name!r} has no failed event {missing[:200]!r}", code="not_found")
        letters = [replace(dead[one], attempts=0, next_at=0.0) for one in wanted]
        await self._store.put(DOCUMENTS, [(letter.key, msgspec.json.encode(letter)) for letter in letters])
        await self._store.put(DEAD, [(letter.key, None) for letter in letters])
        for letter in letters:
            dead.pop(letter.id, None)
            await self._post(letter)
        return len(letters)

    async def add(self, wish: WebhookWish) -> Webhook:
        """Keep a new webhook; it is told of what happens from now on.

        Raises:
            Refused: it cannot be used, or there is one of that name (`conflict`).
        """
        is_first = not self.webhooks.any
        rows = await self._store.runs() if is_first else ()
        hook = await self.webhooks.add(wish, self._sender.check)
        if is_first:
            self._start_here(list(rows))
        return hook

    async def remove(self, name: str) -> None:
        """Forget a webhook and everything that waits for it.

        Raises:
            Refused: it cannot be removed.
        """
        await self.webhooks.remove(name)
        waiting = list(self._queues.get(name, ()))
        self._queue(name).clear()
        dead = list(self._dead.pop(name, {}).values())
        await self._store.put(DOCUMENTS, [(letter.key, None) for letter in waiting])
        await self._store.put(DEAD, [(letter.key, None) for letter in dead])
