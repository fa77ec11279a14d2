"""Objects of equal content are fetched once and stored once, whatever they are called.

Equal are two objects of which their stores give the same size and hash. Only configured remotes are believed: whoever may name a
store in a manifest could otherwise read what others have fetched, by saying its hash.
"""

import asyncio
from collections.abc import Awaitable, Callable

from jitflow.dataplane.core import Core
from jitflow.model.data import ObjectInfo, ObjectRef, Replica, ReplicaState
from jitflow.model.origins import is_made
from jitflow.ports.errors import PortError
from jitflow.ports.primary import Held, Received

_LOOK_AGAIN_S = 1.0
"""So often who waits looks whether a step waits for it by now."""
_HASHES = ("sha256", "sha1", "md5")


def content_of(info: ObjectInfo) -> str:
    """Return what names the content of an object, empty if that is not known."""
    if info.ref.is_prefix or not info.size_bytes or is_made(info.ref.remote):
        return ""
    for kind in _HASHES:
        if value := info.hashes.get(kind):
            return f"{kind}:{value}:{info.size_bytes}"
    return ""


class Twins:
    """Lets a fetch wait for another one of the same content, and take what has come of that."""

    def __init__(self, core: Core, wanted: Callable[[ObjectRef], None]) -> None:
        """Look at the catalogue of `core`; tell `wanted` of an object for whose twin a step waits."""
        self._core = core
        self._wanted = wanted
        self._coming: dict[str, tuple[ObjectRef, asyncio.Future[None]]] = {}

    async def bring(
        self, info: ObjectInfo, location: str, receive: Callable[[], Awaitable[Received]], *, urgent: Callable[[], bool]
    ) -> tuple[Received, ObjectRef | None]:
        """Return what lies at the location now, and the object from whose replica it was taken, None if it was received.

        `urgent`: whether a step waits for it, now.
        """
        content = content_of(info)
        if not content:
            return await receive(), None
        while (other := self._coming.get(content)) is not None:
            if urgent():
                self._wanted(other[0])
            await asyncio.wait({other[1]}, timeout=_LOOK_AGAIN_S)
        shared = await self._share(content, location)
        if shared is not None:
            return Received(read=info, held=shared[0]), shared[1].ref
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._coming[content] = (info.ref, mine)
        try:
            return await receive(), None
        finally:
            del self._coming[content]
            mine.set_result(None)

    async def _share(self, content: str, location: str) -> tuple[Held, Replica] | None:
        core = self._core
        for ref in core.rows.of_content(content):
            row, view = core.rows.get(ref), core.planner.item(ref)
            if row is None or view is None or view.state not in {ReplicaState.RESIDENT, ReplicaState.TRANSFERRING}:
                continue
            if row.location == location:
                continue
            try:
                held = await core.primary.share(row, location)
            except (PortError, OSError):
                continue
            return held, row
        return None
