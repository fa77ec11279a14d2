"""Files that are near already become replicas without a transfer, once it is certain that they are what lies far away."""

import asyncio
from collections.abc import Sequence

from jitflow.dataplane.core import Core, advice
from jitflow.dataplane.twins import content_of
from jitflow.model.data import ObjectInfo, ObjectRef, ReplicaState
from jitflow.model.problems import Problem, Refused
from jitflow.model.reports import Adoption
from jitflow.planner import Bypass, Take
from jitflow.ports.errors import FixRequest, ObjectMissing, PortError, RemoteUnknown
from jitflow.ports.primary import Found, Hoard

_HASHES = ("sha256", "sha1", "md5")
_NAMED = 1000


class Adopting:
    """Adopts one hoard at a time. Room is asked for as for an output; nothing is evicted for it."""

    def __init__(self, core: Core) -> None:
        """Adopt into the primary of `core`."""
        self._core = core
        self._answers: dict[ObjectRef, asyncio.Future[bool]] = {}
        self._turn = asyncio.Lock()

    def takes(self, command: Take | Bypass) -> bool:
        """Take an answer of the planner that belongs to an adoption."""
        future = self._answers.pop(command.ref, None)
        if future is None:
            return False
        if not future.done():
            future.set_result(isinstance(command, Take))
        return True

    async def adopt(self, place: str, prefix: ObjectRef, *, move: bool) -> Adoption:
        """Adopt the files at a place as the objects of the same names below a prefix (see `PrimaryAdmin.adopt`)."""
        core = self._core
        if not prefix.is_prefix:
            prefix = ObjectRef(remote=prefix.remote, path=f"{prefix.path}/")
        hoard = core.primary.hoard(place)
        async with self._turn:
            try:
                files = await hoard.files()
                far = {info.ref: info async for info in core.storage.list(prefix, recursive=True) if not info.ref.is_prefix}
            except PortError as error:
                code = "not_found" if isinstance(error, RemoteUnknown) else "invalid"
                raise Refused(Problem(message=advice(error), remedy="check both places", code=code)) from error
            return await self._adopt(hoard, files, prefix, far, move=move)

    async def _adopt(
        self, hoard: Hoard, files: Sequence[Found], prefix: ObjectRef, far: dict[ObjectRef, ObjectInfo], *, move: bool
    ) -> Adoption:
        adopted: list[str] = []
        skipped: dict[str, str] = {}
        size = 0
        for file in files:
            ref = ObjectRef(remote=prefix.remote, path=f"{prefix.path}{file.name}")
            why = await self._one(hoard, file, ref, far.get(ref), move=move)
            if why:
                skipped[file.name] = why
            else:
                adopted.append(str(ref))
                size += file.size_bytes
        return Adoption(
            adopted=len(adopted),
            adopted_bytes=size,
            skipped=len(skipped),
            refs=tuple(adopted[:_NAMED]),
            reasons=dict(list(skipped.items())[:_NAMED]),
        )

    async def _one(self, hoard: Hoard, file: Found, ref: ObjectRef, info: ObjectInfo | None, *, move: bool) -> str:
        """Adopt one file; return why not, empty if it is a replica now."""
        core = self._core
        view = core.planner.item(ref)
        if view is not None and (view.state is not ReplicaState.ABSENT or view.uploading):
            return "it is in the primary already, or on its way"
        why = await _differs(hoard, file, info)
        if why or info is None:
            return why
        books = core.planner.bytes
        if books.used + file.size_bytes > books.capacity:
            return "the primary has no room for it"
        answer = self._answers[ref] = asyncio.get_running_loop().create_future()
        core.planner.offer(ref, file.size_bytes)
        core.pump()
        if not await answer:
            self._gave_back(ref, file.size_bytes)
            return "the primary has no room for it"
        return await self._take(hoard, file, ref, info, move=move)

    async def _take(self, hoard: Hoard, file: Found, ref: ObjectRef, info: ObjectInfo, *, move: bool) -> str:
        core = self._core
        location = core.primary.location(ref, info.version)
        core.coming.add(location)
        try:
            held = await hoard.adopt(file.name, location, move=move)
            core.put_row(core.new_row(ref, held, location, version=info.version, content=content_of(info)))
            await core.journal.durable()
        except (FixRequest, ObjectMissing, PortError, OSError) as error:
            core.drop_row(ref)
            core.planner.take_failed(ref)
            self._gave_back(ref, file.size_bytes)
            return advice(error)
        finally:
            core.coming.discard(location)
        core.know(ref, info)
        core.planner.taken(ref)
        core.came(ref)
        self._gave_back(ref, file.size_bytes)
        return ""

    def _gave_back(self, ref: ObjectRef, size_bytes: int) -> None:
        """Its far copy is there, as ever."""
        self._core.planner.uploaded(ref, size_bytes)
        self._core.pump()


async def _differs(hoard: Hoard, file: Found, info: ObjectInfo | None) -> str:
    """Return why a file may not be what lies far away: size and hash decide, the time where there is no hash."""
    if info is None:
        return "there is no such object far away"
    if info.size_bytes != file.size_bytes:
        return f"it has {file.size_bytes:,} bytes here and {info.size_bytes:,} far away"
    kind = next((kind for kind in _HASHES if info.hashes.get(kind)), "")
    if kind:
        found = file.hashes.get(kind) or await hoard.digest(file.name, kind)
        if found:
            return "" if found == info.hashes[kind] else f"its {kind} is another one than far away"
    if info.modified and info.modified == file.modified:
        return ""
    return "neither a hash nor the time of its last change shows that it is the same"
