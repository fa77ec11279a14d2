"""The servers that share a state in MongoDB: a document for each. Ages are how long a beat has not changed before our eyes."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec
from pymongo.errors import PyMongoError

from jitflow.ports.errors import Retryable
from jitflow.ports.servers import Lead, Member, Seen
from jitflow.stores._mgfaults import translate
from jitflow.stores._mghold import NO_HOLDER, lead_in
from jitflow.stores._mgschema import migrate
from jitflow.stores._urls import shown
from jitflow.stores.lease import boot_time
from jitflow.stores.mongodb import database_of

T = TypeVar("T")

_LOOK_S = 0.25
_FORGOTTEN_S = 3600.0


class Beats:
    """Remembers since when beats are as they are."""

    def __init__(self, now: Callable[[], float] = boot_time) -> None:
        """Tell times by `now`."""
        self._now = now
        self._seen: dict[str, tuple[object, float]] = {}

    def age_s(self, name: str, beat: object) -> float:
        """Return for how long a beat is seen to be the same, 0 for one that is new."""
        now = self._now()
        before = self._seen.get(name)
        if before is None or before[0] != beat:
            self._seen[name] = (beat, now)
            return 0.0
        return now - before[1]


class MongodbServers:
    """A `Servers` in a MongoDB database; make it with `begin`."""

    def __init__(self, url: str) -> None:
        """Name the database.

        Raises:
            Broken: this is no URL of one.
        """
        self._url = url
        self._place = shown(url)
        self._client, self._db = database_of(url, self._place)
        self._beats = Beats()

    @classmethod
    async def begin(cls, url: str, patience_s: float) -> "MongodbServers":
        """Return it when the database answers; what it needs there is made.

        Raises:
            Unreachable: it is not there in that time. Broken: it refuses.
        """
        servers = cls(url)
        until = time.monotonic() + patience_s
        try:
            while True:
                try:
                    await servers._asked(lambda: migrate(servers._db, servers._place))
                except Retryable:
                    if time.monotonic() >= until:
                        raise
                    await asyncio.sleep(_LOOK_S)
                else:
                    return servers
        except BaseException:
            await servers.close()
            raise

    async def _asked(self, work: Callable[[], Awaitable[T]]) -> T:
        try:
            return await work()
        except PyMongoError as error:
            raise translate(error, self._place, self._url) from None

    async def tell(self, member: Member) -> None:
        """Say that a server lives."""
        body = msgspec.json.encode(member).decode()
        change = {"$set": {"body": body, "began_at": member.began_at}, "$inc": {"beat": 1}}
        await self._asked(lambda: self._db.servers.update_one({"_id": member.id}, change, upsert=True))

    async def members(self) -> Sequence[Seen]:
        """Return those that are there."""
        found: list[dict[str, Any]] = await self._asked(
            lambda: self._db.servers.find({}).sort([("began_at", 1), ("_id", 1)]).to_list()
        )
        seen = [
            Seen(member=msgspec.json.decode(one["body"], type=Member), age_s=self._beats.age_s(one["_id"], one["beat"]))
            for one in found
        ]
        for one in seen:
            if one.age_s > _FORGOTTEN_S:
                await self.leave(one.member.id)
        return [one for one in seen if one.age_s <= _FORGOTTEN_S]

    async def lead(self) -> Lead:
        """Return who leads."""
        held = await self._asked(lambda: self._db.meta.find_one({"_id": "holder"})) or dict(NO_HOLDER)
        return lead_in(held, age_s=self._beats.age_s("", (held["owner"], held["beat"])))

    async def leave(self, member_id: str) -> None:
        """Take a server out of the list."""
        await self._asked(lambda: self._db.servers.delete_one({"_id": member_id}))

    async def close(self) -> None:
        """Disconnect."""
        await self._client.close()
