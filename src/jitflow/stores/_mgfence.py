"""Transactions that only the server can make to which the state belongs."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pymongo import ReadPreference, ReturnDocument, WriteConcern
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from jitflow.ports.errors import Broken, Busy, Retryable
from jitflow.stores._mgfaults import is_away, is_in_the_way, is_open, was_sent
from jitflow.stores._mghold import Hold
from jitflow.stores._mgschema import Database
from jitflow.stores.lease import Lease

T = TypeVar("T")

_ATTEMPTS = 8
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.02, 2.0
_ABORT_S = 1.0


class Again(Exception):
    """What a transaction was built on is not what is stored: it has to be built anew."""


class Fence:
    """Makes transactions, one at a time.

    Each begins with the document of the holder: it is found only as long as we are the holder, and from then on nobody else can
    change it before the transaction has ended. The number of the batch in it tells afterwards whether the transaction was made.
    """

    def __init__(
        self,
        db: Database,
        hold: Hold,
        session: AsyncClientSession,
        lease: Lease,
        *,
        translated: Callable[[Exception], Exception],
        lost: Callable[[], Broken],
        is_closed: Callable[[], bool],
    ) -> None:
        """Make them in one session.

        Args:
            db: the database.
            hold: our place.
            session: all transactions are made in it, so that one that was left open ends when the next one begins.
            lease: is told that we were heard of.
            translated: returns the port's error for a database's.
            lost: is called when another server has our place, and returns what to raise.
            is_closed: whether nobody waits for answers any more.
        """
        self._db = db
        self._hold = hold
        self._session = session
        self._lease = lease
        self.translated = translated
        self._lost = lost
        self._is_closed = is_closed
        self._batch = 0

    async def transaction(self, work: Callable[[AsyncClientSession], Awaitable[T]]) -> T:
        """Return what `work` returns, when all that it wrote in the session is durable. It may be called several times.

        Raises:
            Retryable: the database cannot be reached, or others are in the way: nothing was changed.
            Broken: another server holds the state.
            Exception: what `work` raises; nothing was changed.
        """
        wait_s = _FIRST_WAIT_S
        for attempt in range(_ATTEMPTS):
            asked_at = self._lease.now()
            try:
                found = await self._begun(work)
            except BaseException as error:
                await self._abort()
                if not isinstance(error, Exception) or not _may_go_better(error, attempt):
                    raise self._told(error) from None  # the original could show the password
            else:
                if await self._committed():
                    self._lease.renewed(asked_at)
                    return found
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
        raise Busy("the state store was changed by others again and again while it was written to; it is tried again")

    def _told(self, error: BaseException) -> BaseException:
        """Return what a caller is told: the port's error if it is about the database, else the error itself."""
        told = self.translated(error) if isinstance(error, Exception) else error
        return told if isinstance(told, Retryable) else error

    async def _begun(self, work: Callable[[AsyncClientSession], Awaitable[T]]) -> T:
        self._batch += 1
        await self._session.start_transaction(
            read_concern=ReadConcern("snapshot"),
            write_concern=WriteConcern("majority", j=True),
            read_preference=ReadPreference.PRIMARY,
        )
        change = {"$set": {"batch": self._batch}, "$inc": {"beat": 1}}
        held = await self._db.meta.update_one(self._hold.mine, change, session=self._session)
        if not held.matched_count:
            raise self._lost()
        return await work(self._session)

    async def _abort(self) -> None:
        """End what was begun. Where that does not reach the database, the session's next one ends it, or who follows us."""
        if not self._session.in_transaction:
            return
        try:
            async with asyncio.timeout(_ABORT_S):
                await self._session.abort_transaction()
        except (PyMongoError, TimeoutError):
            return

    async def _committed(self) -> bool:
        """Commit, and return whether that was done; where the answer is lost, find out."""
        try:
            await self._session.commit_transaction()
        except PyMongoError:
            return await self._find_out()
        return True

    async def _find_out(self) -> bool:
        """Return whether the last transaction was made; the answer is final.

        Committing again ends it one way or the other. Then the document of the holder is written to, which is not possible
        while anything of ours is still on its way; what it says of the last batch holds from then on.
        """
        wait_s = _FIRST_WAIT_S
        while not self._is_closed():
            try:
                try:
                    await self._session.commit_transaction()
                except PyMongoError as error:
                    if is_open(error):
                        raise
                held = await self._db.meta.find_one_and_update(
                    self._hold.mine, {"$inc": {"beat": 1}}, {"batch": 1}, return_document=ReturnDocument.AFTER
                )
            except PyMongoError as error:
                if not (is_away(error) or is_in_the_way(error) or is_open(error)):
                    raise self.translated(error) from None
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
                continue
            if held is None:
                raise self._lost()
            return bool(held["batch"] >= self._batch)
        raise Broken("the state store was closed while it could not be reached: the last changes may not have been stored")

    async def surely(self, work: Callable[[AsyncClientSession], Awaitable[T]]) -> T:
        """Make a transaction that follows from what is decided already, as often as it takes."""
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                return await self.transaction(work)
            except Retryable:
                if self._is_closed():
                    raise
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)


def _may_go_better(error: Exception, attempt: int) -> bool:
    """Return whether a transaction that failed may be made again at once."""
    if is_away(error):
        return attempt == 0 and was_sent(error)  # a connection that a restart of the database has cut
    return isinstance(error, Again) or is_in_the_way(error)
