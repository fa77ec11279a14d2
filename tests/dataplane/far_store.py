"""A far store in memory with scripted faults, and a small kit around a data plane."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jitflow.dataplane import LocalDataPlane, PrimaryDirectory, RemotePrimary, Scratch, Tuning
from jitflow.dataplane.inside import lies_below
from jitflow.model.data import FutureInput, FutureOutput, FutureStep, ObjectInfo, ObjectRef, Replica
from jitflow.model.pods import CollectedArtifact
from jitflow.ports.dataplane import DataEvent, Lease, LeaseRefused, OutputObject, StagedOut, Waiting
from jitflow.ports.errors import ObjectMissing, RemoteUnknown, SourceChanged
from jitflow.ports.primary import Primary
from jitflow.ports.storage import Copied
from jitflow.testing.memory_store import MemoryStore

CHUNK = 64


def ref(name: str, remote: str = "far") -> ObjectRef:
    return ObjectRef(remote=remote, path=name)


@dataclass
class FarStore:
    """Implements the Storage port over a dictionary; `faults[(operation, ref)]` are raised one after another."""

    objects: dict[ObjectRef, bytes] = field(default_factory=dict)
    remotes: set[str] = field(default_factory=lambda: {"far"})
    faults: dict[tuple[str, ObjectRef], list[Exception]] = field(default_factory=dict)
    gates: dict[tuple[str, ObjectRef], asyncio.Event] = field(default_factory=dict)
    calls: list[tuple[str, ObjectRef]] = field(default_factory=list)
    hashes: bool = False
    on_progress: Callable[[], None] = lambda: None
    before_fetch: Callable[[ObjectRef], None] = lambda _: None
    _fetches: int = 0

    def put(self, name: str, size: int, fill: bytes = b"x") -> ObjectRef:
        one = ref(name)
        self.objects[one] = fill * size
        return one

    def count(self, operation: str, one: ObjectRef) -> int:
        return self.calls.count((operation, one))

    async def _enter(self, operation: str, one: ObjectRef) -> None:
        self.calls.append((operation, one))
        if one.remote not in self.remotes:
            raise RemoteUnknown(f"no remote named {one.remote}: is configured; add it with jitflow remote add")
        await asyncio.sleep(0)
        gate = self.gates.get((operation, one))
        if gate is not None:
            await gate.wait()
        queue = self.faults.get((operation, one))
        if queue:
            raise queue.pop(0)

    def _members(self, one: ObjectRef) -> dict[str, bytes]:
        return {
            o.path[len(one.path) :]: body
            for o, body in self.objects.items()
            if o.remote == one.remote and o.path.startswith(one.path)
        }

    def _info(self, one: ObjectRef) -> ObjectInfo:
        if one.is_prefix:
            members = self._members(one)
            if not members:
                raise ObjectMissing(f"{one} does not exist")
            body = b"".join(k.encode() + v for k, v in sorted(members.items()))
            size, count = sum(map(len, members.values())), len(members)
        else:
            if one not in self.objects:
                raise ObjectMissing(f"{one} does not exist")
            body = self.objects[one]
            size, count = len(body), 1
        digest = hashlib.md5(body).hexdigest()
        hashes = {"md5": digest} if self.hashes and not one.is_prefix else {}
        return ObjectInfo(ref=one, size_bytes=size, version=digest, count=count, hashes=hashes)

    async def stat(self, one: ObjectRef) -> ObjectInfo:
        await self._enter("stat", one)
        return self._info(one)

    async def stat_many(self, refs: Sequence[ObjectRef]) -> dict[ObjectRef, ObjectInfo | Exception]:
        answers: dict[ObjectRef, ObjectInfo | Exception] = {}
        for one in refs:
            try:
                answers[one] = await self.stat(one)
            except Exception as error:
                answers[one] = error
        return answers

    async def list(self, one: ObjectRef, *, recursive: bool = False) -> AsyncIterator[ObjectInfo]:
        for other in sorted(self.objects):
            if lies_below(other, one):
                yield self._info(other)

    async def fetch(
        self,
        info: ObjectInfo,
        target: Path | str,
        progress: Callable[[int], None],
        *,
        parts: int = 1,
        kept: Path | None = None,
        scratch: str = "",
    ) -> ObjectInfo:
        self._fetches += 1
        partial = Path(scratch, f"far-{self._fetches}") if scratch else Path(target)
        try:
            now = await self._fetch(info, partial, progress)
        except BaseException:
            if scratch:
                partial.unlink(missing_ok=True)
            raise
        if scratch:
            Path(target).parent.mkdir(exist_ok=True)
            partial.replace(target)
        return now

    async def _fetch(self, info: ObjectInfo, target: Path, progress: Callable[[int], None]) -> ObjectInfo:
        self.before_fetch(info.ref)
        await self._enter("fetch", info.ref)
        now = self._info(info.ref)
        if now.version != info.version:
            raise SourceChanged(f"{info.ref} changed")
        done = 0
        files = self._members(info.ref) if info.ref.is_prefix else {"": self.objects[info.ref]}
        for name, body in files.items():
            path = target / name if name else target
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                for start in range(0, len(body), CHUNK):
                    file.write(body[start : start + CHUNK])
                    file.flush()
                    done += len(body[start : start + CHUNK])
                    progress(done)
                    self.on_progress()
                    await asyncio.sleep(0)
        return now

    async def read(self, one: ObjectRef, *, offset: int = 0, count: int | None = None) -> AsyncIterator[bytes]:
        await self._enter("read", one)
        self._info(one)
        yield self.objects[one][offset:][:count]

    async def store(self, source: Path, one: ObjectRef, progress: Callable[[int], None]) -> ObjectInfo:
        await self._enter("store", one)
        if source.is_dir():
            for file in sorted(source.rglob("*")):
                if file.is_file():
                    self.objects[ref(one.path + file.relative_to(source).as_posix(), one.remote)] = file.read_bytes()
        else:
            self.objects[one] = source.read_bytes()
        info = self._info(one)
        progress(info.size_bytes)
        self.on_progress()
        return info

    async def copy(self, info: ObjectInfo, target: ObjectRef, progress: Callable[[int], None], *, parts: int = 1) -> Copied:
        self.before_fetch(info.ref)
        await self._enter("fetch" if target.remote == "near" else "store", info.ref if target.remote == "near" else target)
        now = self._info(info.ref)
        if info.version and now.version != info.version:
            raise SourceChanged(f"{info.ref} changed")
        members = self._members(info.ref) if info.ref.is_prefix else {"": self.objects[info.ref]}
        for name, body in members.items():
            await asyncio.sleep(0)
            self.objects[ref(target.path + name, target.remote)] = body
            self.on_progress()
        progress(now.size_bytes)
        return Copied(read=now, written=self._info(target))

    async def verify(self, source: Path, one: ObjectRef) -> ObjectInfo | None:
        await self._enter("verify", one)
        if source.is_dir():
            files = {f.relative_to(source).as_posix(): f.read_bytes() for f in source.rglob("*") if f.is_file()}
        else:
            files = {"": source.read_bytes()}
        there = all(self.objects.get(ref(one.path + name, one.remote)) == body for name, body in files.items())
        return self._info(one) if there else None

    async def delete(self, one: ObjectRef) -> None:
        await self._enter("delete", one)
        for other in [o for o in self.objects if o == one or (one.is_prefix and lies_below(o, one))]:
            del self.objects[other]

    async def test(self, remote: str) -> None:
        return


class Clock:
    """A clock that runs a thousand times faster than the wall's."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(min(delay_s, 0.001))
        self.time += delay_s


def a_step(
    name: str, *inputs: ObjectRef, outputs: Sequence[tuple[ObjectRef, int | None]] = (), optional: Sequence[ObjectRef] = ()
) -> FutureStep:
    sources = tuple(FutureInput(ref=one) for one in inputs) + tuple(FutureInput(ref=one, optional=True) for one in optional)
    return FutureStep(
        id=name if "/" in name else f"w/{name}",
        inputs=sources,
        outputs=tuple(FutureOutput(ref=one, size_bytes=size) for one, size in outputs),
        template="t",
    )


class Kit:
    """A far store, a state store, and a data plane that can be killed and started again."""

    def __init__(self, tmp: Path, capacity: int, **options: object) -> None:
        self.tmp = tmp
        self.root = tmp / "primary"
        self.capacity = capacity
        self.options = options
        self.far = FarStore()
        self.store = MemoryStore()
        self.clock = Clock()
        self.events: list[DataEvent] = []
        self.most = 0
        self.far.on_progress = self.watch
        self.plane = self.make()
        (tmp / "pods").mkdir(exist_ok=True)

    def make(self) -> LocalDataPlane:
        options = {
            "default_output_bytes": 0,
            "free_floor_bytes": 0,
            "tuning": Tuning(draw=lambda: 0.5, check_every_s=0),
            **self.options,
        }
        return LocalDataPlane(self.primary(), self.capacity, self.far, self.store, self.clock, **options)  # type: ignore[arg-type]

    def replicas(self) -> list[Replica]:
        """Return what is here or coming."""
        rows = (self.plane.replica(view.ref) for view in self.plane._core.planner.items())
        return sorted((row for row in rows if row is not None), key=lambda row: row.ref)

    def primary(self) -> Primary:
        return PrimaryDirectory(self.root, self.far)

    async def start(self) -> LocalDataPlane:
        await self.plane.open(self.events.append)
        return self.plane

    async def kill(self) -> LocalDataPlane:
        """End everything as SIGKILL would: nothing is written any more, nothing tidied; then start again."""
        plane = self.plane
        plane._core.closing = True
        plane._owner._closed = True
        for task in tuple(plane._owner._tasks):
            task.cancel()
        await asyncio.sleep(0.01)
        self.plane = self.make()
        return await self.start()

    def disk(self) -> int:
        total = 0
        for file in self.root.rglob("*"):
            if file.is_file() and not file.is_symlink() and file.name not in {".jitflow-primary", "catalogue.jsonl"}:
                total += file.stat().st_size
        return total

    def watch(self) -> None:
        size = self.disk()
        self.most = max(self.most, size)
        assert size <= self.capacity, f"{size} bytes on the disk, {self.capacity} allowed"
        assert self.plane._core.planner.audit() == ()
        assert self.plane.fill().used_bytes <= self.capacity

    async def until(self, true: Callable[[], object], turns: int = 4000) -> None:
        for _ in range(turns):
            if true():
                return
            await asyncio.sleep(0.001)
        raise AssertionError(f"it never happened; events: {self.events[-5:]}")

    def lease(self, name: str) -> Lease | None:
        return next((e for e in self.events if isinstance(e, Lease) and e.step == f"w/{name}"), None)

    def refusal(self, name: str) -> str:
        return next((e.message for e in self.events if isinstance(e, LeaseRefused) and e.step == f"w/{name}"), "")

    def staged(self, name: str) -> StagedOut | None:
        return next((e for e in self.events if isinstance(e, StagedOut) and e.step == f"w/{name}"), None)

    def waits(self, name: str) -> list[str]:
        return [e.message for e in self.events if isinstance(e, Waiting) and e.step == f"w/{name}"]

    def output(self, one: ObjectRef, size: int, fill: bytes = b"o") -> OutputObject:
        path = self.tmp / "pods" / one.path.replace("/", "_")
        path.write_bytes(fill * size)
        return OutputObject(ref=one, artifact=CollectedArtifact(name="out", source=str(path), size_bytes=size))


class RemoteKit(Kit):
    """The same with a primary that is a remote of its own."""

    def primary(self) -> Primary:
        self.far.remotes.add("near")
        return RemotePrimary(ref("primary", "near"), self.far, Scratch(self.tmp / "scratch", self.capacity))

    def disk(self) -> int:
        ours = {"primary/.jitflow-primary", "primary/catalogue.jsonl"}
        return sum(len(body) for o, body in self.far.objects.items() if o.remote == "near" and o.path not in ours)
