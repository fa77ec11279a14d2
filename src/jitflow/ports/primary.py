"""The near store as the data plane needs it: complete objects under opaque locations, and a way to hand them to pods."""

from collections.abc import AsyncIterator, Collection, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct

from jitflow.model.data import ObjectInfo, ObjectRef, Replica, StepId
from jitflow.ports.errors import GiveUp
from jitflow.ports.storage import Progress


class Held(Struct, frozen=True, kw_only=True):
    """What lies at a location.

    `stamp`: `kind:value`, another value once somebody has changed it; empty where that cannot be told.
    """

    size_bytes: int
    stamp: str = ""


class Received(Struct, frozen=True, kw_only=True):
    """An object that has come: what was read of it far away, and what lies in the primary now."""

    read: ObjectInfo
    held: Held


class Contents(Struct, frozen=True, kw_only=True):
    """A part of what is in the primary.

    `held`: by location; None where nobody has looked closer. `strangers`: what jitflow has not put there, with its bytes.
    """

    held: Mapping[str, Held | None]
    strangers: Mapping[str, int] = {}


class Lost(GiveUp):
    """Replicas are not there any more, or somebody has changed them; `locations` says which."""

    def __init__(self, message: str, locations: Sequence[str]) -> None:
        """Say which."""
        super().__init__(message)
        self.locations = tuple(locations)


class Found(Struct, frozen=True, kw_only=True):
    """A file that is near already. `modified`: as `ObjectInfo.modified`; `hashes`: those that are known without reading it."""

    name: str
    size_bytes: int
    modified: str = ""
    hashes: Mapping[str, str] = {}


class Hoard(Protocol):
    """Files that lie near and are not the primary's, to become replicas without a transfer."""

    async def files(self) -> Sequence[Found]:
        """Return what there is, by name relative to the hoard.

        Raises:
            ObjectMissing: there is no such place.
        """
        ...

    async def digest(self, name: str, kind: str) -> str:
        """Return a file's hash in lower-case hexadecimal digits, empty if it cannot be told."""
        ...

    async def adopt(self, name: str, location: str, *, move: bool) -> Held:
        """Give a file a location in the primary: the same file by another name where that is possible; `move`: and no other."""
        ...


class Primary(Protocol):
    """The near store. Locations are relative to its root; what has one is whole and verified, or it is not there.

    The ledger of bytes is the caller's: whoever calls `receive` or `take` has reserved the space. Every method may raise
    `jitflow.ports.errors`; nothing partial is left behind under a location.
    """

    @property
    def label(self) -> str:
        """Return what people call it."""
        ...

    async def open(self, keep: Collection[str] = ()) -> None:
        """Make it ready, with nothing of unfinished transfers left, but of those to the locations in `keep`.

        Raises:
            Refused: it holds what is not ours, or cannot be used.
        """
        ...

    async def close(self) -> None:
        """End what is under way."""
        ...

    def location(self, ref: ObjectRef, token: str) -> str:
        """Return where a replica lies; another `token` (a version) gives another location."""
        ...

    def contents(self, *, quick: bool = False) -> AsyncIterator[Contents]:
        """Yield what is there now, in parts that do not overlap; `quick`: names may be enough, where looking takes long."""
        ...

    async def digest(self, location: str, kind: str) -> str:
        """Return the hash of a file that lies here, read now, empty if it cannot be told."""
        ...

    async def remember(self, rows: Iterable[Replica]) -> None:
        """Keep the catalogue beside the replicas too, for the day when nothing else knows it."""
        ...

    async def remembered(self) -> Sequence[Replica]:
        """Return what was kept last."""
        ...

    def hoard(self, place: str) -> Hoard:
        """Return the files at a place near the primary.

        Raises:
            Refused: the primary cannot take anything from there.
        """
        ...

    async def receive(self, info: ObjectInfo, location: str, progress: Progress, *, parts: int = 1) -> Received:
        """Bring an object (a prefix as a tree) from its far store, verified, a large one in so many ranges at once.

        When it does not come, a part of a large one may stay (see `begun`), from which the next call for this location goes on.

        Raises:
            SourceChanged: it is another one than `info` says. Corrupt, DiskFull, Retryable as they are.
        """
        ...

    def begun(self, location: str) -> bool:
        """Return whether a part of an object has come, or is coming; it takes the whole object's space."""
        ...

    def forget(self, location: str) -> None:
        """Remove what has come of an object that is not on its way; nothing there is fine."""
        ...

    async def share(self, replica: Replica, location: str) -> Held:
        """Give a replica a second location, where possible without storing it twice; each can be removed without the other.

        Raises:
            Lost: the replica is gone or changed. PortError, OSError: it cannot be done.
        """
        ...

    async def take(self, source: Path, location: str) -> Held:
        """Take a file or directory of this machine in; `source` may be gone afterwards."""
        ...

    async def send(self, location: str, ref: ObjectRef, progress: Progress) -> ObjectInfo:
        """Copy a replica to a far store and verify it there; return what that store says of it."""
        ...

    def remove(self, location: str) -> Coroutine[Any, Any, None] | None:
        """Take a replica's name away; None if its bytes are free, else awaiting the result frees them. Nothing there is fine."""
        ...

    def at_hand(self, replicas: Sequence[Replica]) -> dict[str, str] | None:
        """Return where a pod can read these in place, by location, if that is known without waiting.

        Raises:
            Lost: some are gone or changed.
        """
        ...

    async def deliver(self, step: StepId, replicas: Sequence[Replica]) -> dict[str, str]:
        """Put replicas where a pod can read them, until `give_back`; return where, by location.

        Raises:
            Lost: some are gone or changed.
        """
        ...

    def resume(self, step: StepId, replicas: Sequence[Replica]) -> None:
        """Note after a restart that a step's pod may still read what was delivered to it."""
        ...

    async def settle(self) -> None:
        """Remove what was delivered to pods of an earlier life, but for those of `resume`."""
        ...

    def give_back(self, step: StepId) -> None:
        """The step reads no longer."""
        ...

    def local(self, location: str) -> Path | None:
        """Return the file or directory of this machine that holds a replica, None if there is none."""
        ...

    def remote(self, location: str) -> ObjectRef | None:
        """Return the object of a remote that holds a replica, None if it lies on this machine."""
        ...

    def free_bytes(self) -> int | None:
        """Return how much more its disk could hold, None if nobody knows."""
        ...
