"""What is really in the primary, compared with the catalogue: at the start, now and then, and when somebody asks.

Somebody may have removed, changed or added files. The catalogue follows: what is not what it was is given to nobody any more, and
what jitflow did not put there counts as room that is used.
"""

import asyncio
import logging
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from itertools import islice

from jitflow.dataplane import records
from jitflow.dataplane.catalogue import Reading, Snapshot, place_of, ref_of, same_place, unpack
from jitflow.dataplane.core import Core
from jitflow.dataplane.lookups import stat_all
from jitflow.dataplane.pins import Pins
from jitflow.dataplane.primary import same
from jitflow.model.collector import collector_paused
from jitflow.model.data import ObjectInfo, ObjectRef, Replica, ReplicaState, WorkflowUid
from jitflow.model.reports import PrimaryCheck
from jitflow.ports.errors import PortError
from jitflow.ports.primary import Held
from jitflow.ports.store import StateStore

log = logging.getLogger("jitflow.dataplane")

_HASHES = ("sha256", "sha1", "md5")
_ROWS_AT_ONCE = 1000
_PAGE = 20_000
_UNSEEN = Held(size_bytes=-1)
_REMEMBER_EVERY_S = 60.0
_ROWS_PER_S = 2000
"""The catalogue beside the replicas is written the more seldom the larger it is."""
_FILES_PER_S = 50_000
"""The first look at what is there begins the later the longer it takes."""
_NAMED = 1000


class Reality:
    """Keeps the catalogue true."""

    def __init__(self, core: Core) -> None:
        """Look at the primary of `core`."""
        self._core = core
        self._remembered = -1
        self._only_names = False
        """Whether sizes and times were not looked at when the names were."""
        self._told: Mapping[str, int] = {}
        """The strangers that were told of last."""
        self._turn = asyncio.Lock()
        self._unpromised: list[ObjectRef] = []

    # -- at the start ------------------------------------------------------------------------------------------------------

    async def load(self, store: StateStore, promised: Mapping[str, WorkflowUid], pins: Pins) -> None:
        """Take what is there into the catalogue, and remove what is left of unfinished transfers.

        `promised`: locations of outputs that are still on their way out, with their workflows. Where the state store knows
        nothing of replicas, the catalogue beside them does. Names are compared now; sizes and times only where that takes no
        time: nobody gets a file that is not what it was in any case, and `watch` begins with a look at all of them.
        """
        core = self._core
        with collector_paused():
            reading = await self._read(store)
            unknown, strangers = await self._absent(reading.places)
        if not core.rows and unknown:
            unknown = await self._found_again(unknown, strangers)
            reading = core.rows.reading()
        for location in unknown:
            await core.remove(location)
        await pins.load(store, list(core.rows.named(reading.kept)))
        kept = pins.refs()
        marked, others = core.rows.standing(reading, (str(ref) for ref in kept))
        core.planner.found_asleep(others)
        for row in sorted(marked, key=lambda row: row.last_used_at):
            keepers, uid = kept.get(row.ref, ()), promised.get(row.location, "")
            core.planner.found(row.ref, row.size_bytes, dirty=row.dirty, keepers=keepers, uid=uid)
            if row.dirty and row.location not in promised:
                self._unpromised.append(row.ref)
        self._count_strangers(strangers)

    def let_go(self) -> None:
        """Let go of outputs that nobody promises to send any more; when it is known which steps still read them."""
        unpromised, self._unpromised = self._unpromised, []
        for ref in unpromised:
            self._core.planner.abandoned(ref)

    async def _read(self, store: StateStore) -> Reading:
        """Read the catalogue, a page at a time: as documents of the store it would be too large."""
        reading = Reading()
        last = ""
        while page := await store.items(records.REPLICA, after=last, limit=_PAGE):
            self._core.rows.load(page, reading)
            last = page[-1][0]
        return reading

    async def _absent(self, places: dict[str, str]) -> tuple[dict[str, Held], dict[str, int]]:
        """Drop the rows of what is not there; return what is there without a row, and what is not ours.

        `places`: the name of the object at each location; those that are there are taken out.
        """
        core = self._core
        unknown: dict[str, Held] = {}
        strangers: dict[str, int] = {}
        async for part in core.primary.contents(quick=True):
            strangers.update(part.strangers)
            for location, held in part.held.items():
                name = places.get(location)
                if name is None:
                    unknown[location] = held or _UNSEEN
                elif held is None or same(core.rows[ref_of(name)], held):
                    del places[location]
            self._only_names |= None in part.held.values()
            await asyncio.sleep(0)
        for name in places.values():
            row = core.rows[ref_of(name)]
            core.drop_row(row.ref)
            await core.remove(row.location)
        return unknown, strangers

    async def _found_again(self, unknown: dict[str, Held], strangers: dict[str, int]) -> dict[str, Held]:
        """Enter the replicas that the primary itself remembers; return what it does not remember either.

        Outputs that had not reached their far stores then are nobody's now, but may be all that is left of somebody's work: they
        are left alone, as strangers.
        """
        core = self._core
        found: list[Replica] = []
        async for part in core.primary.contents():
            unknown.update((location, held) for location, held in part.held.items() if held is not None and location in unknown)
        for row in await core.primary.remembered():
            held = unknown.get(row.location)
            if held is None:
                continue
            if row.dirty:
                strangers[row.location] = unknown.pop(row.location).size_bytes
            elif same(row, held):
                del unknown[row.location]
                found.append(row)
        for row in found:
            core.put_row(row)
        if found:
            log.warning("the state store knows nothing of the primary; %d replicas were found again there", len(found))
        return unknown

    # -- now and then ------------------------------------------------------------------------------------------------------

    async def watch(self, every_s: float) -> None:
        """Compare now and then, at the start where only names were compared yet, and keep the catalogue beside the replicas."""
        core = self._core
        slept = every_s if self._only_names else 0.0
        await core.clock.sleep(len(core.rows) / _FILES_PER_S)  # a look at very many files does not delay the first answers
        while True:
            if slept >= every_s:
                slept = 0.0
                with suppress(PortError, OSError):
                    await self.compare()
            pause_s = min(every_s, max(_REMEMBER_EVERY_S, len(core.rows) / _ROWS_PER_S))
            await core.clock.sleep(pause_s)
            slept += pause_s
            with suppress(PortError, OSError):
                await self.remember()

    async def remember(self) -> None:
        """Keep the catalogue beside the replicas, if it has changed."""
        core = self._core
        if self._remembered != core.changes:
            self._remembered = core.changes
            rows = core.rows.snapshot()
            rows.keepers = {str(view.ref): view.keepers for view in core.planner.kept()}
            await core.primary.remember(rows)

    async def compare(self, *, remove: bool = False, hashes: bool = False) -> PrimaryCheck:
        """Compare the catalogue with the primary; `remove` strangers; with `hashes`, compare contents with the far stores.

        Raises:
            PortError: the primary cannot be listed.
        """
        async with self._turn:
            core = self._core
            before = core.rows.snapshot()
            suspects, strangers = await self._suspects(before)
            changed = [
                row for row in core.rows.named(sorted(suspects)) if same_place(row, before.get(str(row.ref))) and self._rests(row)
            ]
            if hashes:
                changed += await self._compare_hashes(before, {row.ref for row in changed})
            removed = await self._remove(strangers) if remove else ()
            self._count_strangers({name: size for name, size in strangers.items() if name not in removed})
            unproven = tuple(str(row.ref) for row in changed if row.dirty)
            for row in changed:
                log.warning("%s in %s is not what it was any more", row.ref, core.primary.label)
                core.planner.damaged(row.ref)
            core.pump()
            return PrimaryCheck(
                replicas=len(before),
                changed=tuple(str(row.ref) for row in changed if not row.dirty)[:_NAMED],
                unproven=unproven,
                strangers=dict(list(sorted(strangers.items()))[:_NAMED]),
                strangers_bytes=sum(size for name, size in strangers.items() if name not in removed),
                removed=tuple(removed)[:_NAMED],
            )

    def _rests(self, row: Replica) -> bool:
        view = self._core.planner.item(row.ref)
        return view is not None and view.state is ReplicaState.RESIDENT

    async def _suspects(self, before: Snapshot) -> tuple[list[str], dict[str, int]]:
        """Return the names of rows that are not as they were, and what is there and is not ours.

        That is also what has a name of ours, but no replica and no transfer goes by it.
        """
        core = self._core
        places = await asyncio.to_thread(before.places)
        suspects: list[str] = []
        strangers: dict[str, int] = {}
        unknown: dict[str, int] = {}
        async for part in core.primary.contents():
            strangers.update(part.strangers)
            for location, held in part.held.items():
                name = places.pop(place_of(location), None)
                if held is None:
                    continue
                if name is None:
                    unknown[location] = held.size_bytes
                elif not same(unpack(name, before.get(name) or b""), held):
                    suspects.append(name)
            await asyncio.sleep(0)
        ours = {row.location for row in core.rows.newer(before)} | core.coming if unknown else set[str]()
        strangers.update((name, size) for name, size in unknown.items() if name not in ours)
        return [*suspects, *places.values()], strangers

    async def _remove(self, strangers: Mapping[str, int]) -> Sequence[str]:
        for name in strangers:
            await self._core.remove(name)
        return tuple(strangers)

    def _count_strangers(self, strangers: Mapping[str, int]) -> None:
        core = self._core
        total = sum(strangers.values())
        if total != core.strangers_bytes:
            core.strangers_bytes = total
            core.measure_disk()
        if strangers and strangers != self._told:
            names = ", ".join(sorted(strangers)[:3])
            log.warning("%s holds %d bytes that are not jitflow's: %s", core.primary.label, total, names)
        self._told = dict(strangers)

    async def _compare_hashes(self, before: Snapshot, but: Container[ObjectRef]) -> list[Replica]:
        """Return the replicas whose content is not what the far store says of the same version."""
        wrong: list[Replica] = []
        clean = (row for row in before if not row.dirty and not row.ref.is_prefix and row.ref not in but)
        while rows := {row.ref: row for row in islice(clean, _ROWS_AT_ONCE)}:
            wrong += [row for ref, answer in (await stat_all(self._core, list(rows), fresh=True)).items()
                      if await self._is_wrong(row := rows[ref], answer)]  # fmt: skip
        return wrong

    async def _is_wrong(self, row: Replica, answer: ObjectInfo | Exception) -> bool:
        core = self._core
        now = core.rows.get(row.ref)
        if not isinstance(answer, ObjectInfo) or now is None or now.location != row.location or not self._rests(row):
            return False
        core.know(row.ref, answer)
        if row.version and answer.version and row.version != answer.version:
            core.planner.changed(row.ref)
            return False
        kind = next((kind for kind in _HASHES if answer.hashes.get(kind)), "")
        found = await core.primary.digest(row.location, kind) if kind else ""
        return bool(found and found != answer.hashes[kind])
