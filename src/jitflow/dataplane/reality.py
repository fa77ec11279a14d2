"""What is really in the primary, compared with the catalogue: at the start, now and then, and when somebody asks.

Somebody may have removed, changed or added files. The catalogue follows: what is not what it was is given to nobody any more, and
what jitflow did not put there counts as room that is used.
"""

import asyncio
import logging
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress

from jitflow.dataplane.core import Core
from jitflow.dataplane.lookups import stat_all
from jitflow.dataplane.primary import same
from jitflow.model.data import ObjectInfo, Replica, ReplicaState
from jitflow.model.reports import PrimaryCheck
from jitflow.ports.errors import PortError
from jitflow.ports.primary import Contents, Held

log = logging.getLogger("jitflow.dataplane")

_HASHES = ("sha256", "sha1", "md5")
_ROWS_AT_ONCE = 1000
_REMEMBER_EVERY_S = 60.0
_ROWS_PER_S = 2000
"""The catalogue beside the replicas is written the more seldom the larger it is."""
_NAMED = 1000


class Reality:
    """Keeps the catalogue true."""

    def __init__(self, core: Core) -> None:
        """Look at the primary of `core`."""
        self._core = core
        self._remembered = -1
        self._turn = asyncio.Lock()

    # -- at the start ------------------------------------------------------------------------------------------------------

    async def load(self, rows: Sequence[Replica], promised: Container[str]) -> None:
        """Take what is there into the catalogue, and remove what is left of unfinished transfers.

        `promised`: locations of outputs that are still on their way out. Where the state store knows nothing of replicas, the
        catalogue beside them does.
        """
        core = self._core
        contents = await core.primary.contents()
        held = contents.held if isinstance(contents.held, dict) else dict(contents.held)
        strangers = dict(contents.strangers)
        if not rows and held:
            rows = await self._found_again(held, strangers)
        for place, row in enumerate(sorted(rows, key=lambda row: row.last_used_at)):
            if not place % _ROWS_AT_ONCE:
                await asyncio.sleep(0)
            core.enter(row)
            if row.location not in held or not same(row, held[row.location]):
                core.drop_row(row.ref)
                continue
            # What is left in the end nobody knows; there may be millions, and each takes memory.
            del held[row.location]
            core.planner.found(row.ref, row.size_bytes, dirty=row.dirty, kept=row.kept)
            if row.dirty and row.location not in promised:
                core.planner.abandoned(row.ref)
        for location in held.keys() - strangers.keys():
            await core.remove(location)
        self._count_strangers(strangers)

    async def _found_again(self, held: Mapping[str, Held], strangers: dict[str, int]) -> Sequence[Replica]:
        """Return the replicas that the primary itself remembers.

        Outputs that had not reached their far stores then are nobody's now, but may be all that is left of somebody's work: they
        are left alone, as strangers.
        """
        remembered = [row for row in await self._core.primary.remembered() if row.location in held]
        strangers.update((row.location, held[row.location].size_bytes) for row in remembered if row.dirty)
        rows = [row for row in remembered if not row.dirty]
        for row in rows:
            self._core.put_row(row)
        if rows:
            log.warning("the state store knows nothing of the primary; %d replicas were found again there", len(rows))
        return rows

    # -- now and then ------------------------------------------------------------------------------------------------------

    async def watch(self, every_s: float) -> None:
        """Compare now and then, and keep the catalogue beside the replicas; until cancelled."""
        core = self._core
        slept = 0.0
        while True:
            pause_s = min(every_s, max(_REMEMBER_EVERY_S, len(core.rows) / _ROWS_PER_S))
            await core.clock.sleep(pause_s)
            slept += pause_s
            with suppress(PortError, OSError):
                await self.remember()
                if slept >= every_s:
                    slept = 0.0
                    await self.compare()

    async def remember(self) -> None:
        """Keep the catalogue beside the replicas, if it has changed."""
        core = self._core
        if self._remembered != core.changes:
            self._remembered = core.changes
            await core.primary.remember(list(core.rows.values()))

    async def compare(self, *, remove: bool = False, hashes: bool = False) -> PrimaryCheck:
        """Compare the catalogue with the primary; `remove` strangers; with `hashes`, compare contents with the far stores.

        Raises:
            PortError: the primary cannot be listed.
        """
        async with self._turn:
            core = self._core
            before = {row.location: row for row in self._resident()}
            contents = await core.primary.contents()
            there = {row.location: row for row in self._resident()}
            changed = [
                row
                for location, row in before.items()
                if there.get(location) == row and not same(row, contents.held.get(location, Held(size_bytes=-1)))
            ]
            if hashes:
                changed += await self._compare_hashes([row for row in there.values() if row not in changed])
            strangers = self._strangers(contents)
            removed = await self._remove(strangers) if remove else ()
            self._count_strangers({name: size for name, size in strangers.items() if name not in removed})
            unproven = tuple(str(row.ref) for row in changed if row.dirty)
            for row in changed:
                log.warning("%s in %s is not what it was any more", row.ref, core.primary.label)
                core.planner.damaged(row.ref)
            core.pump()
            return PrimaryCheck(
                replicas=len(there),
                changed=tuple(str(row.ref) for row in changed if not row.dirty)[:_NAMED],
                unproven=unproven,
                strangers=dict(list(sorted(strangers.items()))[:_NAMED]),
                strangers_bytes=sum(size for name, size in strangers.items() if name not in removed),
                removed=tuple(removed)[:_NAMED],
            )

    def _resident(self) -> list[Replica]:
        core = self._core
        found: list[Replica] = []
        for ref, row in core.rows.items():
            view = core.planner.item(ref)
            if view is not None and view.state is ReplicaState.RESIDENT:
                found.append(row)
        return found

    def _strangers(self, contents: Contents) -> dict[str, int]:
        """Return what is there and is not ours: also what has a name of ours, but no replica and no transfer goes by it."""
        core = self._core
        ours = {row.location for row in core.rows.values()} | core.coming
        unknown = {name: held.size_bytes for name, held in contents.held.items() if name not in ours}
        return {**contents.strangers, **unknown}

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
        if strangers:
            names = ", ".join(sorted(strangers)[:3])
            log.warning("%s holds %d bytes that are not jitflow's: %s", core.primary.label, total, names)

    async def _compare_hashes(self, rows: Sequence[Replica]) -> list[Replica]:
        """Return the replicas whose content is not what the far store says of the same version."""
        core = self._core
        clean = {row.ref: row for row in rows if not row.dirty and not row.ref.is_prefix}
        wrong: list[Replica] = []
        for ref, answer in (await stat_all(core, list(clean))).items():
            row = clean[ref]
            if not isinstance(answer, ObjectInfo):
                continue
            core.know(ref, answer)
            if row.version and answer.version and row.version != answer.version:
                core.planner.changed(ref)
                continue
            kind = next((kind for kind in _HASHES if answer.hashes.get(kind)), "")
            found = await core.primary.digest(row.location, kind) if kind else ""
            if found and found != answer.hashes[kind]:
                wrong.append(row)
        return wrong
