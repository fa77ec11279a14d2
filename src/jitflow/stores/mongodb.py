"""State in MongoDB: one writer, and readers beside it. How is written depends on what the deployment can.

With transactions (a replica set, or `mongos`; see `_mgtransactions`) what callers hand in while one is on its way becomes the
next one. Each updates the document of the holder first: that fences off a server whose place another one has taken, and tells
after a lost answer whether the last one was made.

Without (see `_mgwriting`) one document of a run decides. A commit is one update of the run's document (`runs`), which takes the
new row and, packed as `pending`, all else that the commit changes. That update is made or not, and only if the version fits. Then
the parts are spread out to their places (`pieces`); doing that again is harmless. Who reads lays what is still pending over what
it finds; who opens the store after a crash spreads it out. Several documents of one `put`, and runs that are removed or restored,
are announced in `journal` first, and finished from there.

Both write the same documents, so that a state is opened by either.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

from pymongo import ASCENDING, AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import InvalidURI, PyMongoError

from jitflow.ports.errors import Broken, PortError, Retryable
from jitflow.ports.store import EffectRow, Flaw, RunRow, StoredRun
from jitflow.stores import _mgflaws
from jitflow.stores import _mgpieces as pieces
from jitflow.stores import _process as processes
from jitflow.stores._batched import BatchedStore
from jitflow.stores._bodies import unpack
from jitflow.stores._changes import Documents, Update
from jitflow.stores._mgfaults import translate
from jitflow.stores._mgfence import Fence
from jitflow.stores._mghold import Hold
from jitflow.stores._mgleft import pending
from jitflow.stores._mgschema import Database, migrate, present
from jitflow.stores._mgtransactions import Transactions
from jitflow.stores._mgwriting import Writing
from jitflow.stores._queue import Ticket
from jitflow.stores.lease import Lease
from jitflow.telemetry import logger

T = TypeVar("T")

_log = logger("state")
_DATABASE = "jitflow"
_SELECTION_MS = 3000
_CLOSE_PATIENCE_S = 5.0
_TRIES = 1000
_WIRE_VERSION = 9
"""MongoDB 4.4: transactions are not limited to 16 MiB, on shards too, and may be the first to write to a collection."""
TRANSACTIONS, SINGLE_DOCUMENTS = "transactions", "single documents"
_ORDER = [("what", ASCENDING), ("id", ASCENDING), ("piece", ASCENDING)]


class MongodbStore(BatchedStore):
    """A `StateStore` in a MongoDB database; make it with `open`."""

    def __init__(self, url: str, *, reads_only: bool = False, lease: Lease | None = None, transactions: bool = True) -> None:
        """Name the database; `open` begins.

        Raises:
            Broken: this is no URL of one.
        """
        super().__init__(url, reads_only=reads_only, lease=lease)
        self._url = url
        self._client, self._db = database_of(url, self.place)
        self._hold = Hold(self._db, self.place, self._lease)
        self._may_transact = transactions
        self._session: AsyncClientSession | None = None
        self._writing: Writing | Transactions = Writing(self._db, self._translated, self._lease.check)
        self.scheme = ""
        """How is written, once it is open: `TRANSACTIONS` or `SINGLE_DOCUMENTS`."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        url: str,
        *,
        patience_s: float = 0.0,
        reads_only: bool = False,
        lease: Lease | None = None,
        transactions: bool = True,
    ) -> AsyncGenerator[Self]:
        """Use a database for the time of the context (see `BatchedStore.open`).

        `transactions`: they are made where the deployment knows them; else, and with False, one document decides.
        """
        async with cls(url, reads_only=reads_only, lease=lease, transactions=transactions)._opened(patience_s) as store:
            yield store

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
        await self._choose()
        self._owner.spawn(self._keep_hold(), "keep hold of the state")

    def _translated(self, error: Exception) -> Exception:
        return translate(error, self.place, self._url)

    async def _asked(self, work: Callable[[], Awaitable[T]]) -> T:
        try:
            return await work()
        except PyMongoError as error:
            raise self._translated(error) from None  # the original could show the password

    async def _choose(self) -> None:
        """Become the holder, and open the writer that the deployment allows."""
        hello: dict[str, Any] = await self._asked(lambda: self._client.admin.command("hello"))
        self._session = self._client.start_session(causal_consistency=False) if self._may_transact and _transacts(hello) else None
        await self._asked(lambda: self._hold.take(self._session.session_id["id"] if self._session is not None else None))
        if self._session is not None:
            self._writing = Transactions(self._db, self._fence(self._session))
        else:
            self._lease.ends_by_itself = self._lease.ends_by_itself or bool(self._lease.share)
        await self._asked(self._writing.open)
        self.scheme = TRANSACTIONS if self._session is not None else SINGLE_DOCUMENTS
        _log.info("the state in MongoDB is open", place=self.place, writes_by=self.scheme, why=self._why(hello))

    def _fence(self, session: AsyncClientSession) -> Fence:
        return Fence(
            self._db,
            self._hold,
            session,
            self._lease,
            translated=self._translated,
            lost=self._lose,
            is_closed=lambda: self._closed,
        )

    def _why(self, hello: dict[str, Any]) -> str:
        """Return what has led to the way of writing."""
        if not self._may_transact:
            return 'state.transactions is "never"'
        found = f"replica set {hello['setName']}" if "setName" in hello else "mongos"
        if "setName" not in hello and hello.get("msg") != "isdbgrid":
            return "no replica set"
        return found if _transacts(hello) else f"{found}, but older than MongoDB 4.4"

    # -- the hold ------------------------------------------------------------------------------------------------------

    async def _keep_hold(self) -> None:
        """Say that this server lives, and notice when another one has taken its place."""
        while True:
            await asyncio.sleep(processes.HEARTBEAT_S)
            if self._session is None:
                with contextlib.suppress(PyMongoError):
                    await self._beat()
            else:
                with contextlib.suppress(Retryable):
                    await self._writer.submit(Documents("", ()))

    async def _beat(self) -> None:
        if not await self._hold.beat():
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
            waiting = await pending(self._db, head)  # before the pieces: what is not there any more has been spread out
            wanted = {"run": head["run"], "what": {"$in": [pieces.HEADER, pieces.NODE, pieces.EFFECT]}}
            found = await self._db.pieces.find(wanted).sort(_ORDER).to_list()
            again = await self._db.runs.find_one({"_id": uid}, {"run": 1, "version": 1})
            if again is not None and (again["run"], again["version"]) == (head["run"], head["version"]):
                return _stored(head, found, waiting)
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
            waiting = await pending(self._db, head)
            wanted = {"run": head["run"], "what": pieces.EVENT, "id": {"$gt": after}}
            read: list[dict[str, Any]] = []
            async for piece in self._db.pieces.find(wanted).sort(_ORDER):
                if piece["id"] > after + limit:
                    break
                read.append(piece)
            found = {first["id"]: body for first, body in pieces.joined(read)}
            for number, body in enumerate(waiting.events if waiting else (), start=waiting.first_event if waiting else 0):
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
        return await self._read(lambda: _mgflaws.flaws(self._db, lambda head: pending(self._db, head)))

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
        with contextlib.suppress(PyMongoError, PortError, TimeoutError):  # it is not there: the hold runs out
            async with asyncio.timeout(_CLOSE_PATIENCE_S):
                if self._session is not None:
                    await self._session.end_session()  # with a transaction that was left open
                if self._lease.epoch and not self._lease.keeps:
                    await self._hold.give_back()
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


def _transacts(hello: dict[str, Any]) -> bool:
    """Return whether a server that greets so makes transactions over several collections of a length as we need them."""
    is_one_of_many = "setName" in hello or hello.get("msg") == "isdbgrid"
    has_sessions = hello.get("logicalSessionTimeoutMinutes") is not None
    return is_one_of_many and has_sessions and hello.get("maxWireVersion", 0) >= _WIRE_VERSION


def _stored(head: dict[str, Any], found: Sequence[dict[str, Any]], waiting: pieces.Parts | None) -> StoredRun:
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
    if waiting is not None:
        header = header if waiting.header is None else unpack(waiting.header)
        for node in waiting.nodes_removed:
            nodes.pop(node, None)
        nodes.update((node, unpack(body)) for node, body in waiting.nodes)
        for key in (*waiting.effects_done, *(key for key, _ in waiting.effects)):
            open_effects.pop(key, None)
        open_effects.update((key, unpack(body)) for key, body in waiting.effects)
    return StoredRun(
        row=pieces.row_of(head),
        header=header,
        nodes=tuple(sorted(nodes.items())),
        effects=tuple(EffectRow(key=key, body=body) for key, body in open_effects.items()),
    )
