"""State in MongoDB, with or without a replica set: one document of a run decides, the rest follows.

A commit is one update of the run's document (`runs`), which takes the new row and, packed as `pending`, all else that the commit
changes. That update is made or not, and only if the version fits. Then the parts are spread out to their places (`pieces`); doing
that again is harmless. Who reads lays what is still pending over what it finds; who opens the store after a crash spreads it out.
Several documents of one `put`, and runs that are removed or restored, are announced in `journal` first, and finished from there.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pymongo import ASCENDING, AsyncMongoClient
from pymongo.errors import InvalidURI, PyMongoError

from jitflow.ports.errors import Broken, PortError, Retryable
from jitflow.ports.servers import Lead
from jitflow.ports.store import EffectRow, Flaw, RunRow, StoredRun
from jitflow.stores import _mgflaws
from jitflow.stores import _mgpieces as pieces
from jitflow.stores import _process as processes
from jitflow.stores._batched import BatchedStore
from jitflow.stores._bodies import unpack
from jitflow.stores._changes import Update
from jitflow.stores._mgfaults import translate
from jitflow.stores._mgschema import Database, migrate, present
from jitflow.stores._mgwriting import Writing
from jitflow.stores._queue import Ticket
from jitflow.stores.lease import Lease

T = TypeVar("T")

_DATABASE = "jitflow"
_SELECTION_MS = 3000
_CLOSE_PATIENCE_S = 5.0
_LOOK_S = 0.25
_TRIES = 1000
NO_HOLDER = {"owner": "", "beat": 0, "process": ""}
_ORDER = [("what", ASCENDING), ("id", ASCENDING), ("piece", ASCENDING)]


class MongodbStore(BatchedStore):
    """A `StateStore` in a MongoDB database; make it with `open`."""

    def __init__(self, url: str, *, reads_only: bool = False, lease: Lease | None = None) -> None:
        """Name the database; `open` begins.

        Raises:
            Broken: this is no URL of one.
        """
        super().__init__(url, reads_only=reads_only, lease=lease)
        self._url = url
        self._client, self._db = database_of(url, self.place)
        self._lease.ends_by_itself = self._lease.ends_by_itself or bool(self._lease.share)
        self._writing = Writing(self._db, self._translated, self._lease.check)

    async def _begin(self, until: float) -> None:
        while True:
            try:
                await self._asked(lambda: self._db.command("ping"))
                break
            except Retryable:
                if time.monotonic() >= until:
                    raise
        if self._reads_only:
            self.found_version = await self._asked(lambda: present(self._db, self.place))
            return
        self.found_version = await self._asked(lambda: migrate(self._db, self.place))
        await self._asked(self._take_hold)
        await self._asked(self._writing.open)
        self._owner.spawn(self._keep_hold(), "keep hold of the state")

    def _translated(self, error: Exception) -> Exception:
        return translate(error, self.place, self._url)

    async def _asked(self, work: Callable[[], Awaitable[T]]) -> T:
        try:
            return await work()
        except PyMongoError as error:
            raise self._translated(error) from None  # the original could show the password

    # -- the hold ------------------------------------------------------------------------------------------------------

    async def _take_hold(self) -> None:
        """Become the server to which this state belongs. One whose beats stop for `HOLD_S` has lost it.

        Raises:
            Broken: another server lives and holds it.
        """
        first: dict[str, Any] | None = None
        until = time.monotonic() + processes.HOLD_S
        while True:
            held = await self._db.meta.find_one({"_id": "holder"}) or dict(NO_HOLDER)
            holder = processes.decode(held["process"])
            lead = lead_in(held, age_s=0.0)
            if processes.may_take(lead, self._lease) or time.monotonic() > until:
                # First: if this process dies now, whoever comes next has to know of it too.
                await processes.end(holder if lead.id else None, self._lease)
                asked_at = self._lease.now()
                process = processes.this_process(self._lease, holder, epoch=lead.epoch + 1)
                own = {
                    "owner": self._owner_id,
                    "process": processes.encode(process),
                    "beat": held["beat"] + 1,
                    "epoch": lead.epoch + 1,
                }
                place = {"_id": "holder", "owner": held["owner"], "beat": held["beat"]}
                if (await self._db.meta.update_one(place, {"$set": own})).matched_count:
                    self._lease.taken(asked_at, lead.epoch + 1, before=lead.home, since=process.since)
                    return
            elif processes.lives(holder) or (first is not None and held["beat"] != first["beat"]):
                raise processes.in_use(self.place, holder)
            first = first or held
            await asyncio.sleep(_LOOK_S)

    async def _keep_hold(self) -> None:
        """Say that this server lives, and notice when another one has taken its place."""
        while True:
            await asyncio.sleep(processes.HEARTBEAT_S)
            with contextlib.suppress(PyMongoError):
                await self._beat()

    async def _beat(self) -> None:
        mine = {"_id": "holder", "owner": self._owner_id}
        asked_at = self._lease.now()
        if (await self._db.meta.update_one(mine, {"$inc": {"beat": 1}})).matched_count:
            self._lease.renewed(asked_at)
        else:
            self._lose()

    async def _write(self, batch: Sequence[Ticket[Update]]) -> None:
        await self._writing.write(batch)

    # -- reads ---------------------------------------------------------------------------------------------------------

    async def _read(self, work: Callable[[], Awaitable[T]]) -> T:
        self._check()
        return await self._asked(work)

    async def load(self, uid: str) -> StoredRun | None:
        """Return a run with its nodes and open effects."""
        return await self._read(lambda: self._load(uid))

    async def _load(self, uid: str) -> StoredRun | None:
        for _ in range(_TRIES):
            head = await self._db.runs.find_one({"_id": uid})
            if head is None:
                return None
            wanted = {"run": head["run"], "what": {"$in": [pieces.HEADER, pieces.NODE, pieces.EFFECT]}}
            found = await self._db.pieces.find(wanted).sort(_ORDER).to_list()
            pending = await self._writing.pending(head)
            again = await self._db.runs.find_one({"_id": uid}, {"run": 1, "version": 1})
            if again is not None and (again["run"], again["version"]) == (head["run"], head["version"]):
                return _stored(head, found, pending)
        raise Broken(f"run {uid} changes faster than it can be read")

    async def runs(self, *, namespace: str = "", name: str = "", unfinished: bool = False) -> Sequence[RunRow]:
        """Return rows, newest first."""
        wanted: dict[str, Any] = {key: value for key, value in (("namespace", namespace), ("name", name)) if value}
        if unfinished:
            wanted["open"] = True
        order = [("created_at", -1), ("run", -1)]

        async def work() -> list[RunRow]:
            found = self._db.runs.find(wanted, {"pending": 0}).sort(order)
            return [pieces.row_of(head) async for head in found]

        return await self._read(work)

    async def events(self, uid: str, *, after: int = 0, limit: int = 1000) -> Sequence[tuple[int, bytes]]:
        """Return the run's history in order."""

        async def work() -> list[tuple[int, bytes]]:
            head = await self._db.runs.find_one({"_id": uid})
            if head is None or limit <= 0:
                return []
            wanted = {"run": head["run"], "what": pieces.EVENT, "id": {"$gt": after}}
            read: list[dict[str, Any]] = []
            async for piece in self._db.pieces.find(wanted).sort(_ORDER):
                if piece["id"] > after + limit:
                    break
                read.append(piece)
            found = {first["id"]: body for first, body in pieces.joined(read)}
            pending = await self._writing.pending(head)
            for number, body in enumerate(pending.events if pending else (), start=pending.first_event if pending else 0):
                if after < number <= after + limit:
                    found[number] = unpack(body)
            return sorted(found.items())

        return await self._read(work)

    async def get(self, kind: str, key: str) -> bytes | None:
        """Return one document."""

        async def work() -> bytes | None:
            found = await self._db.documents.find({"kind": kind, "id": key}).sort([("piece", ASCENDING)]).to_list()
            return next((body for _, body in pieces.joined(found)), None)

        return await self._read(work)

    async def items(self, kind: str, *, after: str = "", limit: int = 0) -> Sequence[tuple[str, bytes]]:
        """Return the documents of a kind, by key."""

        async def work() -> list[tuple[str, bytes]]:
            wanted = {"kind": kind, **({"id": {"$gt": after}} if after else {})}
            read: list[dict[str, Any]] = []
            begun = 0
            async for piece in self._db.documents.find(wanted).sort([("id", ASCENDING), ("piece", ASCENDING)]):
                begun += piece["piece"] == 0
                if limit and begun > limit:
                    break
                read.append(piece)
            return [(first["id"], body) for first, body in pieces.joined(read)]

        return await self._read(work)

    async def kinds(self) -> Sequence[str]:
        """Return the kinds of which there are documents."""
        return sorted(await self._read(lambda: self._db.documents.distinct("kind")))

    async def flaws(self) -> Sequence[Flaw]:
        """Return what does not fit together in the collections (see `SelfChecking`)."""
        return await self._read(lambda: _mgflaws.flaws(self._db, self._writing.pending))

    async def mend(self) -> None:
        """Put right what is mendable (see `SelfChecking`)."""
        await self._read(lambda: _mgflaws.mend(self._db))

    async def ready(self) -> None:
        """Return when the database answers."""
        await self._read(lambda: self._db.meta.find_one({"_id": "holder"}))

    async def close(self) -> None:
        """Finish what was begun and let go of the database; harmless to repeat."""
        if self._closed:
            return
        self._closed = True
        await self._owner.close()
        await self._writer.close(_CLOSE_PATIENCE_S)
        if not self._reads_only and not self._lease.keeps:
            with contextlib.suppress(PyMongoError, PortError, TimeoutError):  # it is not there: the hold runs out
                async with asyncio.timeout(_CLOSE_PATIENCE_S):
                    mine = {"_id": "holder", "owner": self._owner_id}
                    await self._db.meta.update_one(mine, {"$set": {"owner": ""}})
        await self._client.close()


def database_of(url: str, place: str) -> tuple[AsyncMongoClient[dict[str, Any]], Database]:
    """Return a client and the database that a URL names.

    Raises:
        Broken: this is no URL of one.
    """
    try:
        client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
            url,
            appname="jitflow",
            serverSelectionTimeoutMS=_SELECTION_MS,
            connectTimeoutMS=_SELECTION_MS,
            socketTimeoutMS=20_000,
            w="majority",
            journal=True,
        )
    except (InvalidURI, PyMongoError, ValueError) as error:
        raise Broken(f"{place} is no URL of a MongoDB database: {type(error).__name__}") from None
    return client, client[urlsplit(url).path.strip("/") or _DATABASE]


def lead_in(held: dict[str, Any], *, age_s: float) -> Lead:
    """Return who leads, as the document of the holder says it."""
    owner, beat = held["owner"], held["beat"]
    return processes.lead_of(owner, held["process"], epoch=held.get("epoch", 0), age_s=age_s, mark=f"{owner} {beat}")


def _stored(head: dict[str, Any], found: Sequence[dict[str, Any]], pending: pieces.Parts | None) -> StoredRun:
    """Return a run from its pieces, with what is still pending laid over them."""
    header = b""
    nodes: dict[str, bytes] = {}
    effects: list[tuple[list[int], str, bytes]] = []
    for first, body in pieces.joined(found):
        if first["what"] == pieces.HEADER:
            header = body
        elif first["what"] == pieces.NODE:
            nodes[first["id"]] = body
        else:
            effects.append((first["order"], first["id"], body))
    open_effects = {key: body for _, key, body in sorted(effects)}
    if pending is not None:
        header = header if pending.header is None else unpack(pending.header)
        for node in pending.nodes_removed:
            nodes.pop(node, None)
        nodes.update((node, unpack(body)) for node, body in pending.nodes)
        for key in (*pending.effects_done, *(key for key, _ in pending.effects)):
            open_effects.pop(key, None)
        open_effects.update((key, unpack(body)) for key, body in pending.effects)
    return StoredRun(
        row=pieces.row_of(head),
        header=header,
        nodes=tuple(sorted(nodes.items())),
        effects=tuple(EffectRow(key=key, body=body) for key, body in open_effects.items()),
    )
