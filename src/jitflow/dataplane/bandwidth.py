"""The limits of bandwidth: what the settings say, what was said since, and what of that is in force by the clock."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from jitflow.dataplane import records
from jitflow.dataplane.tasks import Owner
from jitflow.expr.schedules import ScheduleError, zone
from jitflow.model.bandwidth import FREE, BandwidthError, Rate, Timetable, timetable
from jitflow.model.problems import Refused
from jitflow.model.reports import ALL_REMOTES, BandwidthInfo, BandwidthLimit
from jitflow.ports.clock import Clock
from jitflow.ports.errors import PortError
from jitflow.ports.storage import Limiting
from jitflow.ports.store import StateStore

KIND: Final = "bandwidth"
_KEY = "limits"
_LOOK_EVERY_S = 30.0
"""Clocks may be set: the time table is looked at at least so often."""
_STEPS_AHEAD = 64

log = logging.getLogger("jitflow.dataplane")


class Chosen(Struct, frozen=True, kw_only=True):
    """Limits in words, by remote (`*`: all together), and the zone of their time tables; empty: none is named."""

    limits: dict[str, str] = {}
    time_zone: str = ""


class _Tables(Struct, frozen=True, kw_only=True):
    """What limits mean."""

    zone: ZoneInfo
    by_remote: dict[str, Timetable]

    def at(self, remote: str, now: float) -> Rate:
        table = self.by_remote.get(remote)
        return table.at(now, self.zone) if table is not None else FREE


class Bandwidth:
    """Implements `Bandwidths`, and tells the rest of the data plane what is in force. `open` it before use."""

    def __init__(self, settings: Chosen, storage: Limiting, store: StateStore, clock: Clock) -> None:
        """Hold limits of the settings by `storage`; those that are changed are kept in `store`.

        Raises:
            Refused: one of the settings cannot be read.
        """
        self._settings = settings
        self._storage = storage
        self._store = store
        self._clock = clock
        self._said = Chosen()
        self._tables = self._read(self._said)
        self._follower: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()
        self._owner = Owner(_task_failed)
        self._applied: tuple[Rate, dict[str, Rate]] = (FREE, {})
        self.on_change: Callable[[], None] = lambda: None
        """Called when other limits are in force."""

    async def open(self) -> None:
        """Hold what is in force now, and from now on what the clock says.

        Raises:
            PortError: it cannot be held.
        """
        body = await self._store.get(KIND, _KEY)
        if body is not None:
            self._said = msgspec.json.decode(body, type=Chosen)
            self._tables = self._read(self._said)
        await self._apply(self._tables)
        self._follow_anew()

    async def close(self) -> None:
        """Follow the clock no longer."""
        await self._owner.close()

    # -- what is in force --------------------------------------------------------------------------------------------------

    def rate(self, remote: str) -> Rate:
        """Return the limit of a remote now: the tighter of its own and that of all together."""
        return self._at(remote, self._clock.now())

    def _at(self, remote: str, now: float) -> Rate:
        return self._tables.at(remote, now).and_also(self._tables.at(ALL_REMOTES, now))

    def ahead(self, remote: str) -> tuple[tuple[float, Rate], ...]:
        """Return the limits of a remote from now on: in how many seconds each begins; empty if there never is one.

        They end with the last one that begins within a week or so; time tables repeat themselves.
        """
        tables = [self._tables.by_remote[name] for name in (remote, ALL_REMOTES) if name in self._tables.by_remote]
        if all(table.is_free for table in tables):
            return ()
        began = now = self._clock.now()
        found = [(0.0, self._at(remote, now))]
        while len(found) < _STEPS_AHEAD:
            coming = [at for table in tables if (at := table.changes(now, self._tables.zone)) is not None]
            if not coming:
                break
            now = min(coming)
            found.append((now - began, self._at(remote, now)))
        return tuple(found)

    # -- seen and changed --------------------------------------------------------------------------------------------------

    def shown(self) -> BandwidthInfo:
        """See `Bandwidths.shown`."""
        now, tables = self._clock.now(), self._tables
        limits: list[BandwidthLimit] = []
        for remote, table in sorted(tables.by_remote.items()):
            rate = table.at(now, tables.zone)
            limits.append(
                BandwidthLimit(
                    remote=remote,
                    limit=table.text,
                    source="api" if remote in self._said.limits else "settings",
                    up_Bps=rate.up_Bps,
                    down_Bps=rate.down_Bps,
                    changes_at=table.changes(now, tables.zone),
                )
            )
        return BandwidthInfo(time_zone=tables.zone.key, limits=tuple(limits))

    async def change(self, limits: Mapping[str, str | None], time_zone: str | None = None) -> BandwidthInfo:
        """See `Bandwidths.change`."""
        async with self._changing:
            named = {remote: text for remote, text in self._said.limits.items() if remote not in limits}
            named.update((remote, text) for remote, text in limits.items() if text is not None)
            said = replace(self._said, limits=named)
            if time_zone is not None:
                said = replace(said, time_zone=time_zone)
            tables = self._read(said)
            try:
                await self._apply(tables)
            except PortError as error:
                raise Refused(f"the limits cannot be held now: {error}; try again", code="unavailable") from error
            await self._store.put(KIND, [(_KEY, records.encode(said))])
            self._said, self._tables = said, tables
            if self._follower is not None:
                self._follow_anew()
            self.on_change()
        return self.shown()

    def _read(self, said: Chosen) -> _Tables:
        """Return what limits mean, those that were said before those of the settings.

        Raises:
            Refused: one cannot be read.
        """
        try:
            where = zone(said.time_zone or self._settings.time_zone)
        except ScheduleError as error:
            raise Refused(f"{error}; use a name such as Europe/Berlin or UTC") from error
        tables: dict[str, Timetable] = {}
        for remote, text in {**self._settings.limits, **said.limits}.items():
            try:
                tables[remote] = timetable(text)
            except BandwidthError as error:
                whose = "all remotes" if remote == ALL_REMOTES else f"remote {remote}"
                raise Refused(f"bandwidth of {whose}: {error}") from error
        return _Tables(zone=where, by_remote=tables)

    # -- by the clock ------------------------------------------------------------------------------------------------------

    async def _apply(self, tables: _Tables) -> None:
        """Let what tables say now be held."""
        now = self._clock.now()
        own = {
            remote: tables.at(remote, now)
            for remote, table in tables.by_remote.items()
            if remote != ALL_REMOTES and not table.is_free
        }
        wanted = tables.at(ALL_REMOTES, now), own
        if wanted != self._applied:
            await self._storage.limit(*wanted)
            self._applied = wanted

    def _follow_anew(self) -> None:
        if self._follower is not None:
            self._follower.cancel()
        self._follower = self._owner.start(self._follow(), "follow the time tables of bandwidth")

    async def _follow(self) -> None:
        while True:
            now, tables = self._clock.now(), self._tables
            coming = [at for table in tables.by_remote.values() if (at := table.changes(now, tables.zone)) is not None]
            await self._clock.sleep(min([_LOOK_EVERY_S, *(max(0.0, at - now) for at in coming)]))
            await self._step()

    async def _step(self) -> None:
        """Hold what the clock says now; if that fails, it is tried again soon."""
        async with self._changing:
            before = self._applied
            try:
                await self._apply(self._tables)
            except PortError as error:
                log.warning("the limits of bandwidth cannot be held now: %s", error)
        if self._applied != before:
            self.on_change()


def _task_failed(error: BaseException) -> None:
    log.error("the limits of bandwidth are not followed any more", exc_info=error)
