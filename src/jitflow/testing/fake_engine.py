"""An engine without pods, and fakes of what else the use-cases need: for tests of the APIs and of clients."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import gettempdir

import msgspec
from msgspec.structs import replace

from jitflow.app.arrivals import Arrivals
from jitflow.app.dataservice import DataService
from jitflow.app.files import FileService
from jitflow.app.ports import Change
from jitflow.app.present import is_finished
from jitflow.app.service import Service
from jitflow.app.transfers import TransferJobs
from jitflow.dataplane import Bandwidth, Chosen, Inventory, LocalView, SpendingKeeper
from jitflow.model import argo, runs
from jitflow.model.bandwidth import Rate
from jitflow.model.data import ObjectInfo, ObjectRef, Replica, ReplicaState, StepId
from jitflow.model.pods import LogLine, Pod, PodKey
from jitflow.model.problems import Refused
from jitflow.model.reasons import NodeReason, ObjectStanding, Obstacle, StepStanding
from jitflow.model.reports import (
    Adoption,
    Estimate,
    LinkInfo,
    OptionInfo,
    PinView,
    PrimaryCheck,
    PrimaryFill,
    ProviderDetail,
    ProviderInfo,
    QuotaView,
    RemoteInfo,
    ReplicaPage,
    StepData,
    TransferRecord,
    Upload,
)
from jitflow.model.staging import StagingEstimate
from jitflow.objects import ObjectStore
from jitflow.ports.errors import FixRequest, ObjectMissing
from jitflow.ports.executor import EndListener, NewsListener
from jitflow.ports.storage import Copied, Progress
from jitflow.ports.store import Commit, RunRow, StateStore
from jitflow.testing.fake_bulk import FakeBulk
from jitflow.testing.memory_store import MemoryStore

START = 1_700_000_000.0


class FakeClock:
    """A clock that stands still until it is moved."""

    def __init__(self, at: float = START) -> None:
        """Begin at a time."""
        self.at = at

    def now(self) -> float:
        """Return the time."""
        return self.at

    async def sleep(self, delay_s: float) -> None:
        """Move the clock."""
        self.at += delay_s


class FakeIds:
    """Names that can be foreseen."""

    def __init__(self) -> None:
        """Begin with the first."""
        self._number = 0

    def uid(self) -> str:
        """Return the next uid."""
        self._number += 1
        return f"00000000-0000-4000-8000-{self._number:012d}"

    def suffix(self) -> str:
        """Return the next five letters or digits."""
        self._number += 1
        return f"{self._number:05d}"


class FakeChange(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine tells its listeners."""

    kind: str
    row: RunRow
    ends: bool = False
    nodes: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    all_nodes: Mapping[str, argo.NodeStatus] = {}

    def views(self, ids: Iterable[str]) -> Sequence[argo.NodeStatus]:
        """Return some nodes as they are after the change."""
        return [self.all_nodes[node_id] for node_id in ids if node_id in self.all_nodes]


class FakeEngine:
    """Keeps workflows in a store and changes them when told: by events as the API sends them, by `move` as pods would."""

    def __init__(self, store: StateStore, clock: FakeClock, ids: FakeIds) -> None:
        """Hold the store."""
        self._store = store
        self._clock = clock
        self._ids = ids
        self._workflows: dict[str, argo.Workflow] = {}
        self._rows: dict[str, RunRow] = {}
        self._listeners: list[Callable[[Change], None]] = []
        self.events: list[tuple[str, runs.Event]] = []
        self.keeps_archive = False
        self.fail: Exception | None = None
        """What the next call raises, as a store or data plane that is out of order would."""

    def _check(self) -> None:
        if self.fail is not None:
            error, self.fail = self.fail, None
            raise error

    async def create(self, workflow: argo.Workflow, *, invalid: str = "", after: str = "", like: str = "") -> RunRow:
        """Take a workflow; it is Running at once."""
        self._check()
        metadata = workflow.metadata or argo.ObjectMeta()
        row = RunRow(
            uid=self._ids.uid(),
            namespace=metadata.namespace or "default",
            name=metadata.name or "",
            phase="Running",
            created_at=self._clock.now(),
            started_at=self._clock.now(),
            labels=dict(metadata.labels),
            version=1,
        )
        status = argo.WorkflowStatus(phase="Running", started_at="2023-11-14T22:13:20Z", progress="0/1")
        return await self._commit(replace(workflow, status=status), row, "ADDED")

    async def _commit(self, workflow: argo.Workflow, row: RunRow, kind: str, nodes: Sequence[argo.NodeStatus] = ()) -> RunRow:
        before = self._rows.get(row.uid)
        ends = row.finished_at is not None and (before is None or before.finished_at is None)
        told = runs.Note(at=row.finished_at or 0.0, reason=f"Workflow{row.phase}", message="Workflow completed")
        events = (msgspec.json.encode(told),) if ends else ()
        commit = Commit(row=row, header=msgspec.json.encode(workflow), events=events)
        row = replace(row, sequence=await self._store.commit(commit))
        self._workflows[row.uid] = workflow
        self._rows[row.uid] = row
        found = workflow.status.nodes if workflow.status is not None else {}
        self._tell(FakeChange(kind=kind, row=row, ends=ends, nodes=tuple(node.id or "" for node in nodes), all_nodes=found))
        return row

    def _tell(self, change: FakeChange) -> None:
        for listener in tuple(self._listeners):
            listener(change)

    async def move(self, uid: str, phase: str, *, message: str = "", nodes: Sequence[argo.NodeStatus] = ()) -> RunRow:
        """Bring a workflow to a phase, with these nodes added or replaced."""
        workflow, row = self._workflows[uid], self._rows[uid]
        ends = phase in {"Succeeded", "Failed", "Error"}
        status = workflow.status or argo.WorkflowStatus()
        status = replace(
            status,
            phase=phase,
            message=message or None,
            finished_at="2023-11-14T22:14:20Z" if ends else None,
            nodes={**status.nodes, **{node.id: node for node in nodes}},
        )
        finished_at = self._clock.now() if ends else None
        row = replace(row, phase=phase, message=message, finished_at=finished_at, version=row.version + 1)
        row = replace(row, live=row.live or not ends, archived=ends and self.keeps_archive)
        return await self._commit(replace(workflow, status=status), row, "MODIFIED", nodes)

    async def send(self, uid: str, event: runs.Event) -> None:
        """Keep the event and do to the phase or spec what it does at once."""
        self._check()
        row, workflow = self._rows[uid], self._workflows[uid]
        if isinstance(event, runs.RetryRequested):
            if row.phase not in {"Failed", "Error"}:
                raise Refused(f"Cannot retry a workflow in phase {row.phase}")
        elif is_finished(row):
            raise Refused("cannot change a completed workflow")
        self.events.append((uid, event))
        match event:
            case runs.SuspendRequested() | runs.ResumeRequested():
                suspend = isinstance(event, runs.SuspendRequested) or None
                self._workflows[uid] = replace(workflow, spec=replace(workflow.spec, suspend=suspend))
                await self.move(uid, row.phase)
            case runs.ShutdownRequested(strategy=strategy):
                await self.move(uid, "Failed", message=f"Stopped with strategy '{strategy}'")
            case _:
                await self.move(uid, "Running")

    async def fetch(self, uid: str) -> argo.Workflow | None:
        """Return a workflow."""
        self._check()
        return self._workflows.get(uid)

    async def delete(self, uid: str, *, force: bool = False, from_archive: bool = False) -> None:
        """Remove a workflow, or its record in the archive; what is left of it stays."""
        self._check()
        row = self._rows[uid]
        row = replace(row, archived=False) if from_archive else replace(row, live=False)
        if row.live or row.archived:
            row = replace(row, version=row.version + 1)
            row = replace(row, sequence=await self._store.commit(Commit(row=row)))
            self._rows[uid] = row
        else:
            self._workflows.pop(uid)
            await self._store.remove(uid)
            del self._rows[uid]
        self._tell(FakeChange(kind="MODIFIED" if row.live else "DELETED", row=row))

    async def check(self, workflow: argo.Workflow) -> Estimate:
        """Return an estimate that tells the number of templates."""
        self._check()
        return Estimate(
            objects=len(workflow.spec.templates),
            distinct_bytes=10,
            resident_bytes=0,
            to_move_bytes=10,
            peak_bytes=10,
            capacity_bytes=100,
            smallest_capacity_bytes=10,
            rows=(("far:a", 10, "absent", 1),),
        )

    async def outlook(self, uids: Sequence[str] = ()) -> Estimate:
        """Return an estimate that tells how many runs are meant."""
        self._check()
        return Estimate(
            objects=len(uids) or len(self._rows),
            distinct_bytes=20,
            resident_bytes=10,
            to_move_bytes=10,
            peak_bytes=20,
            capacity_bytes=100,
            smallest_capacity_bytes=10,
        )

    def subscribe(self, listener: Callable[[Change], None]) -> Callable[[], None]:
        """Tell the listener of changes."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def pod_key(self, uid: str, node_id: str) -> str:
        """Return a pod's key."""
        return f"{uid}.{node_id}"

    async def locate(self, uid: str, artifact: argo.Artifact) -> ObjectRef | None:
        """Return the key of an `s3` location as an object of the remote `far`."""
        self._check()
        return ObjectRef(remote="far", path=artifact.s3.key or "") if artifact.s3 is not None else None

    async def why(self, uid: str, node: str) -> NodeReason:
        """Return a pod that waits for its data, unless it is called `none`."""
        self._check()
        if node == "none":
            raise Refused(f'no node "{node}"', code="not_found")
        name = f"{self._rows[uid].name}.{node}"
        waits = (Obstacle(kind="data", message="waits for its data"),)
        return NodeReason(node_id="node", name=name, display_name=node, phase="Pending", is_pod=True, obstacles=waits)

    def name_of(self, step: str) -> str:
        """Return the node's id."""
        return step.partition("/")[2]

    async def notes(self, uid: str) -> Sequence[runs.Note]:
        """Return one note."""
        self._check()
        return (runs.Note(at=START, reason="WorkflowRunning", message=f"run {self._rows[uid].name}"),)


class FakeExecutor:
    """Pods that are only their logs; `write` adds a line, `end` ends followers."""

    def __init__(self) -> None:
        """Begin without pods."""
        self._lines: dict[PodKey, list[LogLine]] = {}
        self._ended: set[PodKey] = set()
        self.following = 0

    def write(self, key: PodKey, time: str, content: str) -> None:
        """Add a line to a pod's log."""
        self._lines.setdefault(key, []).append(LogLine(time=time, stream="stdout", content=content))

    def end(self, key: PodKey) -> None:
        """Let followers of the pod end."""
        self._ended.add(key)

    async def logs(self, key: PodKey, *, container: str = "main", follow: bool = False) -> AsyncIterator[LogLine]:
        """Yield the pod's lines."""
        place = 0
        self.following += 1
        try:
            while True:
                lines = self._lines.get(key, [])
                while place < len(lines):
                    yield lines[place]
                    place += 1
                if not follow or key in self._ended:
                    return
                await asyncio.sleep(0.005)
        finally:
            self.following -= 1

    async def open(self, on_end: EndListener, on_news: NewsListener | None = None) -> None:
        """Nothing to open."""

    async def adopt(self) -> Sequence[PodKey]:
        """Return no pods."""
        return ()

    async def start(self, pod: Pod) -> None:
        """Refuse: there are no pods here.

        Raises:
            FixRequest: always.
        """
        raise FixRequest("this executor runs nothing")

    async def terminate(self, key: PodKey, grace_s: float | None = None) -> None:
        """End the pod's log."""
        self.end(key)

    async def forget(self, key: PodKey) -> None:
        """Nothing to forget."""

    async def delete_logs(self, keys: Sequence[PodKey]) -> None:
        """Remove logs."""
        for key in keys:
            self._lines.pop(key, None)

    async def close(self) -> None:
        """Nothing to close."""


class FakeStorage:
    """Objects that are only their sizes."""

    def __init__(self, sizes: Mapping[ObjectRef, int]) -> None:
        """Hold the sizes."""
        self._sizes = dict(sizes)

    async def stat(self, ref: ObjectRef) -> ObjectInfo:
        """Return an object's size."""
        if ref not in self._sizes:
            raise ObjectMissing(f"{ref} does not exist")
        return ObjectInfo(ref=ref, size_bytes=self._sizes[ref])

    async def stat_many(self, refs: Sequence[ObjectRef]) -> dict[ObjectRef, ObjectInfo | Exception]:
        """Return the sizes of those that exist."""
        return {ref: await self.stat(ref) for ref in refs if ref in self._sizes}

    async def list(self, ref: ObjectRef, *, recursive: bool = False) -> AsyncIterator[ObjectInfo]:
        """Yield everything below a prefix."""
        for known, size in sorted(self._sizes.items()):
            if known.remote == ref.remote and known.path.startswith(ref.path):
                yield ObjectInfo(ref=known, size_bytes=size)

    async def fetch(
        self,
        info: ObjectInfo,
        target: Path | str,
        progress: Progress,
        *,
        parts: int = 1,
        kept: Path | None = None,
        scratch: str = "",
    ) -> ObjectInfo:
        """Refuse: there are no bytes here."""
        raise FixRequest("this storage holds no bytes")

    async def read(self, ref: ObjectRef, *, offset: int = 0, count: int | None = None) -> AsyncIterator[bytes]:
        """Yield as many zeros as the object has bytes."""
        size = (await self.stat(ref)).size_bytes
        yield bytes(size)[offset:][:count]

    async def store(self, source: Path, ref: ObjectRef, progress: Progress) -> ObjectInfo:
        """Refuse: there are no bytes here."""
        raise FixRequest("this storage holds no bytes")

    async def copy(self, info: ObjectInfo, target: ObjectRef, progress: Progress, *, parts: int = 1) -> Copied:
        """Copy an object's size."""
        self._sizes[target] = info.size_bytes
        return Copied(read=info, written=await self.stat(target))

    async def make_folder(self, ref: ObjectRef) -> bool:
        """There are no folders here."""
        del ref
        return False

    async def remove_folder(self, ref: ObjectRef) -> None:
        """There are no folders here."""

    async def link(self, ref: ObjectRef, expires_s: float | None) -> str:
        """Refuse: nobody else can read here."""
        raise FixRequest(f"{ref}: this storage makes no links")

    async def verify(self, source: Path, ref: ObjectRef) -> ObjectInfo | None:
        """Return None: there are no bytes here."""
        del source, ref
        return None

    async def delete(self, ref: ObjectRef) -> None:
        """Forget an object."""
        self._sizes.pop(ref, None)

    async def test(self, remote: str) -> None:
        """Every remote answers."""


class FakePrimary:
    """A primary that is only its catalogue."""

    def __init__(self, storage: FakeStorage) -> None:
        """Begin empty."""
        self._storage = storage
        self._replicas: dict[ObjectRef, Replica] = {}
        self.unsent: dict[ObjectRef, Upload] = {}
        """Outputs that are not at their far stores."""

    def fill(self) -> PrimaryFill:
        """Return the sum of the replicas."""
        used = sum(replica.size_bytes for replica in self._replicas.values())
        return PrimaryFill(
            capacity_bytes=100,
            used_bytes=used,
            resident_bytes=used,
            pinned_bytes=0,
            dirty_bytes=0,
            peak_bytes=used,
            fetched_bytes=used,
            fetched_twice_bytes=0,
            stored_bytes=0,
        )

    async def replicas(self, *, after: str = "", limit: int = 1000) -> ReplicaPage:
        """Return a page of the catalogue."""
        rows = [self._replicas[ref] for ref in sorted(self._replicas, key=str) if str(ref) > after]
        return ReplicaPage(items=tuple(rows[:limit]), next=str(rows[limit - 1].ref) if len(rows) > limit else "")

    def replica(self, ref: ObjectRef) -> Replica | None:
        """Return a row of the catalogue."""
        return self._replicas.get(ref)

    def step_data(self, uid: str) -> Sequence[StepData]:
        """Return one row."""
        return (StepData(step=f"{uid}/node", phase="fetching", bytes_total=10, bytes_done=3),)

    def standing(self, step: str) -> StepStanding:
        """Return a step that waits for one object."""
        one = ObjectStanding(
            ref="far:a", state="transferring", message="3 B of 10 B", size_bytes=10, done_bytes=3, expected_s=7.0
        )
        reason = "waiting for data: far:a"
        return StepStanding(step=step, phase="fetching", reason=reason, objects=(one,), expected_s=7.0, waited_s=3.0)

    def read_bytes(self, step: str) -> int:
        """Return the size of the one object that every step reads."""
        return 10 if step else 0

    async def timeline(self, *, since: float = 0.0) -> tuple[Sequence[TransferRecord], Sequence[tuple[float, int]]]:
        """Return one transfer, if it is late enough."""
        ref = ObjectRef(remote="far", path="a")
        record = TransferRecord(ref=ref, direction="in", size_bytes=10, started_at=START, finished_at=START + 1)
        return ((record,) if record.finished_at > since else (), ((START, 0), (START + 1, 10)))

    async def stage(self, ref: ObjectRef) -> Replica:
        """Take an object in."""
        info = await self._storage.stat(ref)
        replica = Replica(ref=ref, size_bytes=info.size_bytes, state=ReplicaState.RESIDENT, location=ref.path)
        return self._replicas.setdefault(ref, replica)

    async def explain(self, refs: Sequence[ObjectRef]) -> StagingEstimate:
        """Look objects up; there is room for all of them."""
        sizes = {ref: (await self._storage.stat(ref)).size_bytes for ref in refs}
        here = sum(size for ref, size in sizes.items() if ref in self._replicas)
        whole = sum(sizes.values())
        states = {ref: ReplicaState.RESIDENT if ref in self._replicas else ReplicaState.ABSENT for ref in sizes}
        return StagingEstimate(
            objects=len(sizes), distinct_bytes=whole, resident_bytes=here, to_move_bytes=whole - here, free_bytes=100,
            evict_bytes=0, evictable_bytes=here, capacity_bytes=100, fits=True,
            rows=tuple((str(ref), sizes[ref], states[ref]) for ref in sizes),
        )  # fmt: skip

    async def pin(self, ref: ObjectRef, namespace: str = "") -> PinView:
        """Keep an object."""
        if ref not in self._replicas:
            raise Refused(f"{ref} is not in the primary", code="not_found")
        self._replicas[ref] = replace(self._replicas[ref], kept=True, keepers=(namespace,))
        return self._pin(ref)

    async def unpin(self, ref: ObjectRef, namespace: str = "") -> PinView:
        """Keep an object no longer."""
        if ref not in self._replicas:
            raise Refused(f"{ref} is not pinned", code="not_found")
        self._replicas[ref] = replace(self._replicas[ref], kept=False, keepers=())
        return PinView(ref=ref, namespace=namespace, kept=False)

    def _pin(self, ref: ObjectRef) -> PinView:
        one = self._replicas[ref]
        return PinView(ref=ref, namespace=one.keepers[0], since=START, objects=1, size_bytes=one.size_bytes)

    def pins(self) -> Sequence[PinView]:
        """Return what is kept."""
        return tuple(self._pin(ref) for ref in sorted(self._replicas) if self._replicas[ref].kept)

    def quotas(self) -> Sequence[QuotaView]:
        """Return two namespaces, of which one has a quota."""
        return tuple(
            QuotaView(
                namespace=name, quota_bytes=quota, quota_objects=0, used_bytes=30, held_bytes=20, idle_bytes=10, pinned_bytes=5,
                objects=3, waiting_steps=1,
            )
            for name, quota in (("argo", 100), ("other", None))
        )  # fmt: skip

    def near(self, ref: ObjectRef) -> ObjectRef | None:
        """See `PrimaryAdmin.near`."""
        return None

    def local(self, ref: ObjectRef) -> Path | None:
        """Return None: replicas are only names here."""
        return None

    def links(self) -> Sequence[LinkInfo]:
        """Return one link."""
        return (
            LinkInfo(remote="far", rate_Bps=1e6, latency_s=0.04, streams=16, most_streams=64, active=2, stalls=1, down_Bps=2**20),
        )

    def uploads(self) -> Sequence[Upload]:
        """Return the outputs that a test put here."""
        return tuple(self.unsent.values())

    def retry_uploads(self, ref: ObjectRef | None = None) -> Sequence[ObjectRef]:
        """Send at once what could not be sent."""
        failed = [one.ref for one in self.unsent.values() if one.state == "failed" and ref in (None, one.ref)]
        if ref is not None and not failed:
            raise Refused(f"{ref} is no output that could not be sent", code="not_found")
        for one in failed:
            del self.unsent[one]
        return failed

    async def drop_upload(self, ref: ObjectRef) -> None:
        """Forget an output that could not be sent."""
        self.retry_uploads(ref)

    def freed_output_of(self, ref: ObjectRef) -> StepId:
        """Return nothing: no output is let go here."""
        return ""

    async def compare(self, *, remove: bool = False, hashes: bool = False) -> PrimaryCheck:
        """Return one stranger."""
        removed = ("notes.txt",) if remove else ()
        changed = tuple(str(ref) for ref in self._replicas) if hashes else ()
        return PrimaryCheck(replicas=len(self._replicas), changed=changed, strangers={"notes.txt": 4}, removed=removed)

    async def adopt(self, place: str, prefix: ObjectRef, *, move: bool = False) -> Adoption:
        """Adopt one object, and leave one file alone."""
        if not place.startswith("/"):
            raise Refused(f"{place!r} is no absolute path")
        return Adoption(
            adopted=1, adopted_bytes=10, skipped=1, refs=(f"{prefix}a",), reasons={"b": "moved" if move else "no hash"}
        )

    async def evict(self, ref: ObjectRef) -> None:
        """Remove a replica."""
        if ref not in self._replicas:
            raise Refused(f"{ref} is not in the primary", code="not_found")
        if self._replicas[ref].kept:
            raise Refused(f"{ref} is kept; unpin it first", code="conflict")
        del self._replicas[ref]


class FakeRemotes:
    """A registry that knows which options are secret: those with `secret` in their name."""

    def __init__(self) -> None:
        """Begin with one remote of the settings."""
        self._remotes = {"far": RemoteInfo(name="far", type="s3", options={"endpoint": "http://far"})}

    def list(self) -> Sequence[RemoteInfo]:
        """Return the remotes by name."""
        return tuple(self._remotes[name] for name in sorted(self._remotes))

    def describe(self, name: str) -> RemoteInfo:
        """Return one remote."""
        if name not in self._remotes:
            raise Refused(f"no remote is called {name!r}", code="not_found")
        return self._remotes[name]

    async def add(self, name: str, kind: str, options: Mapping[str, str]) -> RemoteInfo:
        """Keep a remote."""
        if name in self._remotes:
            raise Refused(f"a remote called {name!r} exists", code="conflict")
        shown = {key: "***" if "secret" in key else value for key, value in options.items()}
        self._remotes[name] = RemoteInfo(name=name, type=kind, options=shown, source="api")
        return self._remotes[name]

    async def change(self, name: str, kind: str, options: Mapping[str, str | None], *, whole: bool) -> RemoteInfo:
        """Give a remote other options."""
        before = self.describe(name)
        if before.source == "settings":
            raise Refused(f"remote {name!r} is in the settings file; change it there", code="conflict")
        del self._remotes[name]
        kept = {} if whole else before.options
        left = {key: value for key, value in {**kept, **options}.items() if value is not None}
        return await self.add(name, kind or before.type, left)

    async def providers(self) -> Sequence[ProviderInfo]:
        """Return the one type that there is."""
        return (ProviderInfo(type="s3", about="Object stores"),)

    async def provider(self, kind: str) -> ProviderDetail:
        """Return the one type that there is."""
        if kind != "s3":
            raise Refused(f"there is no type {kind!r}", code="not_found")
        return ProviderDetail(type="s3", options=(OptionInfo(name="endpoint"),))

    async def remove(self, name: str) -> None:
        """Forget a remote."""
        if self.describe(name).source == "settings":
            raise Refused(f"remote {name!r} is in the settings file; remove it there", code="conflict")
        del self._remotes[name]

    async def test(self, name: str, path: str = "") -> None:
        """Return if there is such a remote."""
        self.describe(name)


class FakeLimiting:
    """Remembers the limits that are to be held."""

    def __init__(self) -> None:
        """Begin without any."""
        self.held: tuple[Rate, dict[str, Rate]] = (Rate(), {})

    async def limit(self, total: Rate, remotes: Mapping[str, Rate]) -> None:
        """See `Limiting.limit`."""
        self.held = total, dict(remotes)


class PlainSealer:
    """Seals by turning the bytes around: what was sealed is not found in clear."""

    def seal(self, plain: bytes) -> bytes:
        """Return the sealed form."""
        return plain[::-1]

    def open(self, sealed: bytes) -> bytes:
        """Return the plain form."""
        return sealed[::-1]


class World:
    """A `Service` and a `DataService` over fakes, and the fakes."""

    def __init__(self, store: StateStore | None = None) -> None:
        """Put them together; `open` the service before use."""
        self.store = store or MemoryStore()
        self.clock = FakeClock()
        self.ids = FakeIds()
        self.engine = FakeEngine(self.store, self.clock, self.ids)
        self.objects = ObjectStore(self.store, PlainSealer(), self.clock, self.ids)
        self.executor = FakeExecutor()
        self.storage = FakeStorage({ObjectRef(remote="far", path=path): 10 for path in ("a", "dir/b", "dir/c")})
        self.primary = FakePrimary(self.storage)
        self.limiting = FakeLimiting()
        self.bulk = FakeBulk("far", "near")
        self.spending = SpendingKeeper(self.store, self.clock)
        remotes = FakeRemotes()
        self.data = DataService(
            primary=self.primary,
            storage=self.storage,
            remotes=remotes,
            bandwidth=Bandwidth(Chosen(), self.limiting, self.store, self.clock),
            spending=self.spending,
            inventory=Inventory(self.storage, self.clock),
        )
        self.service = Service(
            engine=self.engine,
            store=self.store,
            executor=self.executor,
            view=LocalView(self.primary),
            far=self.storage,
            remote_types=lambda: {one.name: one.type for one in remotes.list()},
            clock=self.clock,
            ids=self.ids,
            objects=self.objects,
        )
        self.jobs = TransferJobs(self.bulk, self.data.remote, self.store, self.clock, self.ids, spending=self.spending)
        arrivals = Arrivals(Path(gettempdir()) / "jitflow-fake-arrivals", 0, self.clock, self.ids)
        self.files = FileService(self.storage, self.data.remote, arrivals, self.spending)
