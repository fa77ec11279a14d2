"""Who holds a state in MongoDB: the document `holder`."""

import asyncio
import contextlib
import time
from typing import Any

import pymongo
from pymongo.errors import OperationFailure, PyMongoError

from jitflow.ports.servers import Lead
from jitflow.stores import _process as processes
from jitflow.stores._mgfaults import is_in_the_way
from jitflow.stores._mgschema import Database
from jitflow.stores.lease import Lease

HOLDER = {"_id": "holder"}
NO_HOLDER = {"owner": "", "beat": 0, "process": ""}
_LOOK_S = 0.25
_SEIZE_S = 2.0
"""So long the document may be kept by a transaction that has not ended, before it is looked at again."""


class Hold:
    """The place of the one server to which a state belongs."""

    def __init__(self, db: Database, place: str, lease: Lease) -> None:
        """Describe who wants it; `place`: the database, as people are shown it."""
        self._db = db
        self._place = place
        self._lease = lease

    @property
    def mine(self) -> dict[str, Any]:
        """What finds the document for as long as the place is ours."""
        return {**HOLDER, "owner": self._lease.id, "epoch": self._lease.epoch}

    async def take(self, session: object = None) -> None:
        """Become the server to which this state belongs. One whose beats stop for `HOLD_S` has lost it.

        `session`: the number of the session in which we make transactions, so that whoever follows us can end them.

        Raises:
            InUse: another server lives and holds it.
        """
        first: dict[str, Any] | None = None
        before: dict[str, Any] = dict(NO_HOLDER)
        asked_at: float | None = None
        until = time.monotonic() + processes.HOLD_S
        while True:
            held = await self._db.meta.find_one(HOLDER) or dict(NO_HOLDER)
            holder = processes.decode(held["process"])
            if held["owner"] == self._lease.id and asked_at is not None and holder is not None:
                self._lease.taken(asked_at, held["epoch"], before=lead_in(before, age_s=0.0).home, since=holder.since)
                return
            was_heard = first is not None and (held["owner"], held["beat"]) != (first["owner"], first["beat"])
            is_silent = time.monotonic() > until and not was_heard
            if processes.may_take(lead_in(held, age_s=0.0), self._lease) or is_silent:
                before = held
                # First: if this process dies now, whoever comes next has to know of it too.
                await processes.end(holder if held["owner"] else None, self._lease)
                asked_at = self._lease.now() if asked_at is None else asked_at
                await self._seize(held, session)
                continue
            if processes.lives(holder) or was_heard:
                raise processes.in_use(self._place, holder)
            first = first or held
            await asyncio.sleep(_LOOK_S)

    async def _seize(self, held: dict[str, Any], session: object) -> None:
        """Put us in the place of whoever `held` it. A transaction that it has not ended is ended first: it has our document."""
        if held.get("session") is not None:
            with contextlib.suppress(OperationFailure):  # not allowed: it ends by itself, after the database's own time
                await self._db.command("killSessions", [{"id": held["session"]}])
        epoch = held.get("epoch", 0) + 1
        process = processes.this_process(self._lease, processes.decode(held["process"]), epoch=epoch)
        own = {
            "owner": self._lease.id,
            "process": processes.encode(process),
            "beat": held["beat"] + 1,
            "epoch": epoch,
            "batch": 0,
            "session": session,
        }
        place = {**HOLDER, "owner": held["owner"], "beat": held["beat"]}
        try:
            with pymongo.timeout(_SEIZE_S):
                await self._db.meta.update_one(place, {"$set": own})
        except PyMongoError as error:
            if not is_in_the_way(error):
                raise

    async def beat(self) -> bool:
        """Say that we live; return whether the place is still ours."""
        asked_at = self._lease.now()
        kept = (await self._db.meta.update_one(self.mine, {"$inc": {"beat": 1}})).matched_count > 0
        if kept:
            self._lease.renewed(asked_at)
        return kept

    async def give_back(self) -> None:
        """Let anybody have it, if it is still ours."""
        await self._db.meta.update_one(self.mine, {"$set": {"owner": "", "session": None}})


def lead_in(held: dict[str, Any], *, age_s: float) -> Lead:
    """Return who leads, as the document of the holder says it."""
    owner, beat = held["owner"], held["beat"]
    return processes.lead_of(owner, held["process"], epoch=held.get("epoch", 0), age_s=age_s, mark=f"{owner} {beat}")
