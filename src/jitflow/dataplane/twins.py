"""Objects of equal content are fetched once and stored once, whatever they are called.

Equal are two objects of which their stores give the same size and hash. Only configured remotes are believed: whoever may name a
store in a manifest could otherwise read what others have fetched, by saying its hash.
"""

import asyncio
from collections.abc import Callable
from functools import lru_cache

from jitflow.dataplane.core import Core
from jitflow.model.data import ObjectInfo, ObjectRef, ReplicaState
from jitflow.model.origins import is_made
from jitflow.ports.errors import PortError
from jitflow.ports.primary import Held

_LOOK_AGAIN_S = 1.0
"""So often who waits looks whether a step waits for it by now."""
_is_made = lru_cache(1024)(is_made)
_HASHES = ("sha256", "sha1", "md5")


def content_of(info: ObjectInfo) -> str:
    """Return what names the content of an object, empty if that is not known."""
    for kind in _HASHES:
        value = info.hashes.get(kind)
        if value and info.size_bytes and not info.ref.is_prefix and not _is_made(info.ref.remote):
            return f"{kind}:{value}:{info.size_bytes}"
    return ""


class Twins:
    """Lets a fetch wait for another one of the same content, and take what has come of that."""

    def __init__(self, core: Core, wanted: Callable[[ObjectRef], None]) -> None:
        """Look at the catalogue of `core`; tell `wanted` of an object for whose twin a step waits."""
        self._core = core
        self._wanted = wanted
        self._coming: dict[str, tuple[ObjectRef, set[asyncio.Future[None]]]] = {}
        """What is being fetched, by content, and who waits for its end."""

    def has(self, content: str) -> bool:
        """Return whether another object of a content may be here or on its way."""
        return content in self._coming or self._core.rows.has_content(content)

    def begins(self, content: str, ref: ObjectRef) -> None:
        """An object of a content that no other brings is being fetched from now on, until `ends`."""
        self._coming[content] = (ref, set())

    def ends(self, content: str) -> None:
        """It is no more."""
        for waiter in self._coming.pop(content)[1]:
            waiter.set_result(None)

    async def find(self, content: str, location: str, *, urgent: Callable[[], bool]) -> tuple[Held, ObjectRef] | None:
        """Wait for an object of the same content that is on its way, and take one that is here.

        Return what lies at the location now and the object from whose replica it was taken, None if there is none. Nobody else
        fetches that content then, until something is awaited.

        `urgent`: whether a step waits for it, now.
        """
        while True:
            while (other := self._coming.get(content)) is not None:
                await self._wait(*other, urgent=urgent())
            shared = await self._share(content, location)
            if shared is not None or content not in self._coming:
                return shared

    async def _wait(self, ref: ObjectRef, waiters: set[asyncio.Future[None]], *, urgent: bool) -> None:
        """Wait a while for the end of a fetch."""
        if urgent:
            self._wanted(ref)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiters.add(waiter)
        try:
            await asyncio.wait({waiter}, timeout=_LOOK_AGAIN_S)
        finally:
            waiters.discard(waiter)

    async def _share(self, content: str, location: str) -> tuple[Held, ObjectRef] | None:
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
            return held, ref
        return None
