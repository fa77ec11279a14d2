"""What may not fit together in MongoDB's collections, and how it is put right."""

from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

from jitflow.ports.store import Flaw
from jitflow.stores import _mgpieces as pieces
from jitflow.stores._flaws import BACKUP, REPAIR, lost_part, miscounted, no_document, run_place
from jitflow.stores._mgschema import Database

Pending = Callable[[dict[str, Any]], Awaitable[pieces.Parts | None]]
_NAMES = {pieces.HEADER: "its document", pieces.NODE: "node", pieces.EFFECT: "effect", pieces.EVENT: "entry of its history"}


async def flaws(db: Database, pending: Pending) -> list[Flaw]:
    """Return what does not fit together; what `pending` says is still to be spread out counts as if it were."""
    runs = {head["run"]: _Run(head, await pending(head)) async for head in db.runs.find({})}
    found: list[Flaw] = []
    lost: dict[Any, int] = defaultdict(int)
    async for body in await db.pieces.aggregate(_BODIES):
        run = runs.get(body["_id"]["run"])
        if run is None:
            lost[body["_id"]["run"]] += 1
        elif not run.covers(body["_id"]):
            run.take(body["_id"])
            if _is_incomplete(body):
                found.append(_incomplete(run.place, body["_id"]["what"], body["_id"]["id"]))
    found += [lost_part("pieces", run, count) for run, count in lost.items()]
    for run in runs.values():
        found += run.flaws()
    return [*found, *await _documents(db)]


class _Run:
    """What is there of a run."""

    def __init__(self, head: dict[str, Any], waiting: pieces.Parts | None) -> None:
        self._head = head
        self._waiting = waiting
        self._headed = False
        self._numbers: set[int] = set()
        if waiting is not None:
            self._headed = waiting.header is not None
            self._numbers.update(range(waiting.first_event, waiting.first_event + len(waiting.events)))
        self._covered = _covered(waiting)

    @property
    def place(self) -> str:
        return run_place(self._head["namespace"], self._head["name"], self._head["_id"])

    def covers(self, body: dict[str, Any]) -> bool:
        """Return whether a body is still to be written anew."""
        return (body["what"], body["id"]) in self._covered

    def take(self, body: dict[str, Any]) -> None:
        if body["what"] == pieces.EVENT:
            self._numbers.add(body["id"])
        self._headed = self._headed or body["what"] == pieces.HEADER

    def flaws(self) -> list[Flaw]:
        found = [] if self._headed else [no_document(self.place)]
        said = self._head["events"]
        return found if self._numbers == set(range(1, said + 1)) else [*found, miscounted(self.place, said, len(self._numbers))]


def _covered(waiting: pieces.Parts | None) -> set[tuple[str, Any]]:
    """Return the bodies that are still to be written, or removed."""
    if waiting is None:
        return set()
    nodes = [*(name for name, _ in waiting.nodes), *waiting.nodes_removed]
    effects = [*(key for key, _ in waiting.effects), *waiting.effects_done]
    events = range(waiting.first_event, waiting.first_event + len(waiting.events))
    header = [""] if waiting.header is not None else []
    kinds = ((pieces.NODE, nodes), (pieces.EFFECT, effects), (pieces.EVENT, events), (pieces.HEADER, header))
    return {(what, one) for what, names in kinds for one in names}


async def mend(db: Database) -> None:
    """Put right what is mendable; each step may be made again. What was pending has been spread out when the store was opened."""
    runs = await db.runs.distinct("run")
    await db.pieces.delete_many({"run": {"$nin": runs}})
    async for body in await db.documents.aggregate(_DOCUMENTS):
        if _is_incomplete(body):
            await db.documents.delete_many(body["_id"])
    async for head in db.runs.find({}):
        mine = {"run": head["run"], "what": pieces.EVENT}
        async for body in await db.pieces.aggregate([{"$match": mine}, *_BODIES]):
            if _is_incomplete(body):
                await db.pieces.delete_many({**mine, "id": body["_id"]["id"]})
        numbers = sorted(await db.pieces.distinct("id", mine))
        for place, number in enumerate(numbers, start=1):
            if place != number:
                await db.pieces.update_many({**mine, "id": number}, {"$set": {"id": place}})
        await db.runs.update_one({"_id": head["_id"]}, {"$set": {"events": len(numbers)}})


_BODIES: list[dict[str, Any]] = [
    {
        "$group": {
            "_id": {"run": "$run", "what": "$what", "id": "$id"},
            "wanted": {"$max": {"$cond": [{"$eq": ["$piece", 0]}, "$pieces", 0]}},
            "there": {"$push": "$piece"},
        }
    }
]
_DOCUMENTS: list[dict[str, Any]] = [{"$group": {**_BODIES[0]["$group"], "_id": {"kind": "$kind", "id": "$id"}}}]


def _is_incomplete(body: dict[str, Any]) -> bool:
    return not body["wanted"] or not set(range(body["wanted"])) <= set(body["there"])


def _incomplete(place: str, what: str, name: object) -> Flaw:
    said = f"{_NAMES[what]} {name}".strip() if what != pieces.HEADER else _NAMES[what]
    if what == pieces.EVENT:
        return Flaw(where=place, what=f"{said} is not complete", remedy=f"{REPAIR}: it is removed")
    return Flaw(where=place, what=f"{said} is not complete", remedy=f"{BACKUP}, or delete the workflow", mendable=False)


async def _documents(db: Database) -> list[Flaw]:
    found: list[Flaw] = []
    async for body in await db.documents.aggregate(_DOCUMENTS):
        if _is_incomplete(body):
            where = f"document {body['_id']['kind']} {body['_id']['id']}"
            found.append(
                Flaw(where=where, what="it is not complete", remedy=f"{REPAIR}: what is left of it is removed; {BACKUP}")
            )
    return found
