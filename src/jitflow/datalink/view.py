"""What the control side asks of a data service beside what workflows need, and what it reads through it."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any

import msgspec

from jitflow.datalink.channel import Channel
from jitflow.datalink.plane import LinkedDataPlane
from jitflow.model.data import ObjectInfo, ObjectRef, Replica, StepId, WorkflowUid
from jitflow.model.provenance import StepSeen
from jitflow.model.reasons import StepStanding
from jitflow.model.reports import StepData, TransferRecord
from jitflow.model.spending import Spent
from jitflow.ports import datalink as link
from jitflow.ports.dataplane import Whereabouts
from jitflow.ports.errors import Unreachable

_PATIENCE_S = 2.0
"""People wait for these answers."""
_rows = msgspec.json.Decoder(list[ObjectInfo] | None)


class LinkedView:
    """Implements `DataView`."""

    def __init__(self, plane: LinkedDataPlane) -> None:
        """Ask the data service of this plane."""
        self._plane = plane

    async def _ask(self, wish: link.Ask, kind: Any) -> Any:
        return await self._plane.session.ask(wish, kind, patience_s=_PATIENCE_S)

    async def step_data(self, uid: WorkflowUid) -> Sequence[StepData]:
        """See `DataView.step_data`."""
        return await self._ask(link.StepDataOf(uid=uid), tuple[StepData, ...])

    async def standing(self, step: StepId) -> StepStanding:
        """See `DataView.standing`; while the data service is away that is what a step waits for."""
        try:
            return await self._plane.session.ask(
                link.StandingOf(step=step), StepStanding, patience_s=0.0 if self._plane.session.away else _PATIENCE_S
            )
        except Unreachable as error:
            phase = "waiting" if self._plane.waits(step) else ""
            return StepStanding(step=step, phase=phase, reason=f"waiting for data: {error}")

    async def read_bytes(self, steps: Sequence[StepId]) -> int:
        """See `DataView.read_bytes`."""
        return await self._ask(link.ReadBytesOf(steps=tuple(steps)), int)

    async def timeline(self, *, since: float = 0.0) -> tuple[Sequence[TransferRecord], Sequence[tuple[float, int]]]:
        """See `DataView.timeline`."""
        found: link.Timeline = await self._ask(link.TimelineSince(since=since), link.Timeline)
        return found.transfers, found.fill

    async def replicas_of(self, refs: Collection[ObjectRef]) -> Mapping[ObjectRef, Replica]:
        """See `DataView.replicas_of`."""
        found: tuple[Replica, ...] = await self._ask(link.ReplicasOf(refs=tuple(refs)), tuple[Replica, ...])
        return {one.ref: one for one in found}

    async def whereabouts(self, ref: ObjectRef) -> Whereabouts:
        """See `DataView.whereabouts`."""
        return await self._ask(link.WhereaboutsOf(ref=ref), Whereabouts)

    async def spent(self, namespace: str, *, since: str, until: str) -> Sequence[Spent]:
        """See `DataView.spent`."""
        return await self._ask(link.SpentOf(namespace=namespace, since=since, until=until), tuple[Spent, ...])


class LinkedWitness:
    """Implements `Witness`."""

    def __init__(self, plane: LinkedDataPlane) -> None:
        """Ask the data service of this plane."""
        self._plane = plane

    async def of(self, uid: WorkflowUid) -> Sequence[StepSeen]:
        """See `Witness.of`."""
        return await self._plane.session.ask(link.SeenOf(uid=uid), tuple[StepSeen, ...], patience_s=_PATIENCE_S)

    async def forget(self, uid: WorkflowUid) -> None:
        """See `Witness.forget`; a data service that is away hears of it later."""
        self._plane.session.say(link.ForgetSeen(uid=uid))


class LinkedFar:
    """Implements `Reading`: what is read comes through the data service, which alone has the credentials."""

    def __init__(self, channel: Channel, plane: LinkedDataPlane) -> None:
        """Read through the data service of this plane."""
        self._channel = channel
        self._plane = plane

    async def stat(self, ref: ObjectRef) -> ObjectInfo:
        """See `Storage.stat`."""
        return await self._plane.session.ask(link.StatOf(ref=ref), ObjectInfo, patience_s=_PATIENCE_S, after_all=True)

    async def list(self, ref: ObjectRef, *, recursive: bool = False) -> AsyncIterator[ObjectInfo]:
        """See `Storage.list`."""
        query = {"remote": ref.remote, "path": ref.path, "recursive": "true" if recursive else "false"}
        async with self._channel.stream(await self._path("list"), query) as response:
            async for line in response.aiter_lines():
                rows = _rows.decode(line)
                if rows is None:
                    return
                for info in rows:
                    yield info
        raise Unreachable(f"the listing of {ref} was cut off")

    async def read(self, ref: ObjectRef, *, offset: int = 0, count: int | None = None) -> AsyncIterator[bytes]:
        """See `Storage.read`."""
        query = {"remote": ref.remote, "path": ref.path, "offset": str(offset)} | ({} if count is None else {"count": str(count)})
        async with self._channel.stream(await self._path("read"), query) as response:
            async for chunk in response.aiter_raw():
                yield chunk

    async def _path(self, what: str) -> str:
        await self._plane.session.patiently(self._plane.session.settled, _PATIENCE_S)
        return f"/sessions/{self._plane.session.id}/{what}"
