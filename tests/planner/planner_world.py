"""A world that obeys a planner: it performs commands in a random order, fails some, and checks every invariant at each event."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random

from msgspec.structs import replace

from jitflow.model.data import FutureInput, FutureOutput, FutureStep, ObjectRef, ReplicaState
from jitflow.planner import (
    Bypass,
    Cancel,
    Command,
    Evict,
    Fetch,
    Forget,
    Grant,
    Hurry,
    Look,
    Plan,
    Planner,
    PlannerOptions,
    Refuse,
    Store,
    Take,
    footprint,
)


def ref(name: str) -> ObjectRef:
    return ObjectRef(remote="far", path=name)


@dataclass
class Work:
    """One step of the world: what it reads and really writes, and which steps come before."""

    uid: str
    spec: FutureStep
    sizes: tuple[int, ...]
    state: str = "blocked"


@dataclass
class World:
    planner: Planner
    far: dict[ObjectRef, int]
    random: Random
    fail: float = 0.0
    lost: float = 0.0
    strict: bool = True
    shared: bool = True
    namespaces: dict[str, str] = field(default_factory=dict)
    disk: dict[ObjectRef, int] = field(default_factory=dict)
    flying: dict[ObjectRef, int] = field(default_factory=dict)
    works: dict[str, Work] = field(default_factory=dict)
    pending: list[tuple[str, ObjectRef | str]] = field(default_factory=list)
    held: dict[str, int] = field(default_factory=dict)
    dirty: set[ObjectRef] = field(default_factory=set)
    transient: set[ObjectRef] = field(default_factory=set)
    cancelling: set[ObjectRef] = field(default_factory=set)
    fetches: dict[ObjectRef, int] = field(default_factory=dict)
    now: float = 0.0
    granted: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    log: list[Command] = field(default_factory=list)

    # -- commands ------------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Decide until nothing comes out, and check."""
        for _ in range(10_000):
            commands = self.planner.decide(self.now)
            if not commands:
                self.check()
                return
            for command in commands:
                self.log.append(command)
                self.obey(command)
            self.check()
        raise AssertionError("decide never comes to rest")

    def obey(self, command: Command) -> None:  # noqa: C901 - one case per command
        match command:
            case Look(ref=one):
                self.pending.append(("look", one))
            case Fetch(ref=one, size_bytes=size):
                assert one not in self.flying, "one transfer per object"
                assert one not in self.disk, "fetched although it is here"
                assert one in self.far, "fetched although it is nowhere"
                assert self.begun.pop(one, size) == size
                self.flying[one] = size
                self.fetches[one] = self.fetches.get(one, 0) + 1
                self.pending.append(("fetch", one))
                fetching = sum(1 for kind, _ in self.pending if kind in {"fetch", "cancelled"})
                assert fetching <= self.planner.options.transfers * (2 if self.planner.options.yielding else 1)
            case Hurry(ref=one):
                assert one in self.flying
            case Forget(ref=one):
                del self.begun[one]
            case Cancel(ref=one):
                assert one in self.flying
                self.cancelling.add(one)
            case Evict(ref=one, reason=reason):
                assert one in self.disk
                self.check_harm(one, reason)
                assert one not in self.dirty or self.is_dead(one), "evicted before it was proven"
                self.dirty.discard(one)
                for work in self.works.values():
                    if work.state == "running":
                        assert all(source.ref != one for source in work.spec.inputs), "evicted under a reader"
                self.pending.append(("evict", one))
            case Take(ref=one, size_bytes=size):
                assert one not in self.disk
                self.begun.pop(one, None)
                self.flying[one] = size
                self.pending.append(("take", one))
            case Bypass(ref=one):
                self.pending.append(("upload", one))
            case Store(ref=one, size_bytes=size):
                assert one in self.transient
                assert one in self.dirty, "sent although it is proven"
                assert ("upload", one) not in self.pending, "sent twice"
                assert self.disk[one] == size
                self.pending.append(("upload", one))
            case Grant(step=name):
                work = self.works[name]
                assert work.state == "asked"
                for source in work.spec.inputs:
                    absent = source.ref in self.planner.absent(name)
                    assert (source.ref in self.disk) is not absent
                    assert not absent or source.optional
                work.state = "running"
                self.granted.append(name)
                self.held[name] = self.planner.wait(name).reserve_bytes  # type: ignore[union-attr]
                self.pending.append(("step", name))
            case Refuse(step=name, message=message):
                self.works[name].state = "refused"
                self.refused[name] = message

    def check_harm(self, victim: ObjectRef, reason: str) -> None:
        """What is evicted for something that is read ahead is read later than that."""
        if not reason.endswith(", read earlier"):
            return
        comes = reason.split("; room for ")[1].removesuffix(", read earlier")
        uses = {str(item.ref): self.planner._items.next_use(item) for item in self.planner._items}
        goes = uses.get(str(victim))
        assert goes is None or (uses[comes] is not None and goes > uses[comes]), "evicted for what is read later"

    def is_dead(self, one: ObjectRef) -> bool:
        """Return whether every step that reads a transient object has ended."""
        readers = [work for work in self.works.values() if any(source.ref == one for source in work.spec.inputs)]
        return one in self.transient and all(work.state in {"done", "refused", "withdrawn"} for work in readers)

    # -- events --------------------------------------------------------------------------------------------------------

    def happen(self) -> bool:
        """Let one pending thing happen."""
        if not self.pending:
            wake = self.planner.next_wake()
            if wake is None:
                return False
            self.now = max(self.now, wake)
            self.settle()
            return True
        kind, what = self.pending.pop(self.random.randrange(len(self.pending)))
        getattr(self, f"_{kind}")(what)
        self.advance()
        self.settle()
        return True

    def _look(self, one: ObjectRef) -> None:
        if one in self.far:
            self.planner.size_known(one, self.far[one])
        else:
            self.refuse(self.planner.missing(one))

    def _fetch(self, one: ObjectRef) -> None:
        size = self.flying.pop(one)
        if one in self.cancelling:
            self.cancelling.discard(one)
            if self.random.random() < 0.5:
                assert self.planner.fetch_failed(one, retry_at=self.now, begun=self.keeps(one, size)) == ()
                return
        if self.random.random() < self.fail:
            retry_at = self.now + self.random.random()
            self.planner.fetch_failed(one, retry_at=retry_at, begun=self.keeps(one, size))
            return
        self.planner.coming(one, size // 2)
        if self.random.random() < self.lost:
            self.refuse(self.planner.fetch_failed(one))
            return
        assert size == self.far[one]
        self.disk[one] = size
        self.planner.arrived(one)

    def keeps(self, one: ObjectRef, size: int) -> bool:
        """Return whether an interrupted transfer leaves what has come."""
        if self.random.random() < 0.5:
            self.begun[one] = size
            return True
        return False

    def refuse(self, names: Iterable[str]) -> None:
        for name in names:
            self.planner.refused(name)
            assert self.works[name].state == "asked"
            self.works[name].state = "refused"
            self.refused[name] = "cannot be had"

    def _evict(self, one: ObjectRef) -> None:
        del self.disk[one]
        self.planner.evicted(one)

    def _take(self, one: ObjectRef) -> None:
        size = self.flying.pop(one)
        if self.random.random() < self.fail:
            self.planner.take_failed(one)
        else:
            self.disk[one] = size
            self.dirty.add(one)
            self.planner.taken(one)
            if one in self.transient:
                return
        self.pending.append(("upload", one))

    def _upload(self, one: ObjectRef) -> None:
        if self.random.random() < self.fail:
            self.pending.append(("upload", one))
            return
        size = self.written[one]
        if one in self.transient and one not in self.disk and self.is_dead(one):
            return
        self.dirty.discard(one)
        self.far[one] = size
        self.planner.uploaded(one, size)

    def _step(self, name: str) -> None:
        work = self.works[name]
        work.state = "done"
        self.held.pop(name)
        outputs = [(one.ref, size) for one, size in zip(work.spec.outputs, work.sizes, strict=True)]
        self.written.update(outputs)
        self.planner.ended(name, outputs)

    begun: dict[ObjectRef, int] = field(default_factory=dict)
    written: dict[ObjectRef, int] = field(default_factory=dict)

    def advance(self) -> None:
        """Ask for every step whose parents are done."""
        for name, work in self.works.items():
            if work.state == "blocked" and all(self.works[one].state == "done" for one in work.spec.after):
                work.state = "asked"
                self.planner.ask(work.uid, work.spec)
                assert name == work.spec.id

    def announce(self, works: list[Work], plan: Plan | None = None) -> None:
        self.works.update({work.spec.id: work for work in works})
        self.transient.update(one.ref for work in works for one in work.spec.outputs if one.transient)
        self.planner.announce(works[0].uid, [work.spec for work in works], plan)
        self.settle()
        self.advance()
        self.settle()

    def withdraw(self, uid: str) -> None:
        for work in self.works.values():
            if work.uid == uid and work.state in {"blocked", "asked"}:
                work.state = "withdrawn"
        self.planner.withdraw(uid)
        self.settle()

    # -- invariants ----------------------------------------------------------------------------------------------------

    def check(self) -> None:
        books = self.planner.bytes
        capacity = books.capacity if self.strict else books.limit
        assert self.planner.audit() == ()
        assert books.used <= capacity
        assert books.fixed <= capacity
        real = sum(self.disk.values()) + sum(self.flying.values()) + sum(self.begun.values()) + sum(self.held.values())
        assert real == books.used
        if books.max_objects:
            written = sum(len(self.works[name].spec.outputs) for name in self.held)
            assert len(self.disk) + len(self.flying) + len(self.begun) + written == books.objects
            assert books.objects <= books.max_objects
        assert all(one in self.disk for one in self.dirty)
        head = self.planner._claims.head
        assert head is None or head.bypassed <= self.planner.options.bypass, "the head was passed over too often"
        self.check_quotas()

    def check_quotas(self) -> None:
        """No namespace that shares with nobody ever pays for more than its quota; what is shared is paid for once."""
        accounts = self.planner.accounts()
        accounted = [item for item in self.planner._items if item.charge is not None]
        if not accounts:
            assert not accounted
            return
        paid = sum(one.held_bytes + one.idle_bytes for one in accounts)
        reserved = sum(step.reserve for step in self.planner._steps.table.values() if step.account is not None)
        total = sum(item.bytes for item in accounted) + reserved
        sharers = sum(len(item.charge[0]) - 1 for item in accounted if item.charge is not None)
        assert total <= paid <= total + sharers
        for one in accounts:
            if one.quota_bytes is not None and not self.shared and not sharers:
                assert one.held_bytes + one.idle_bytes <= one.quota_bytes, one

    def restart(self, plans: dict[str, Plan | None]) -> None:
        """Lose the planner, as in a crash; a new one is told what the catalogue and the journal know."""
        old, self.planner = self.planner, Planner(self.planner.bytes.limit, self.planner.options)
        for one in old.accounts():
            self.planner.set_quota(one.name, one.quota_bytes, one.quota_objects)
        for uid, namespace in self.namespaces.items():
            self.planner.belong(uid, namespace)
        for view in sorted(old.items(), key=lambda view: view.ref):
            if view.ref in self.disk and view.state is not ReplicaState.EVICTING:
                uid = view.ref.path.partition("-")[0]
                self.planner.found(view.ref, self.disk[view.ref], dirty=view.ref in self.dirty, uid=uid)
        for one in [one for one in self.disk if (item := old.item(one)) is None or item.state is ReplicaState.EVICTING]:
            del self.disk[one]
        for name, reserve in self.held.items():
            spec = self.works[name].spec
            here = tuple(one for one in spec.inputs if one.ref in self.disk or not one.optional)
            self.planner.resume(self.works[name].uid, replace(spec, inputs=here), reserve)
        self.forget_transfers()
        for uid in dict.fromkeys(work.uid for work in self.works.values()):
            works = [work for work in self.works.values() if work.uid == uid and work.state in {"blocked", "asked"}]
            self.planner.announce(uid, [work.spec for work in works], plans.get(uid))
            for work in works:
                if work.state == "asked":
                    self.planner.ask(uid, work.spec)
        self.settle()

    def forget_transfers(self) -> None:
        """Drop what was under way but steps and uploads; outputs that were not taken in yet are offered again."""
        self.pending = [(kind, what) for kind, what in self.pending if kind in {"step", "upload"}]
        self.flying.clear()
        self.begun.clear()
        self.cancelling.clear()
        sent = {what for kind, what in self.pending if kind == "upload"}
        for one in self.written:
            if one not in self.disk and one in sent:
                self.planner.expected(one)
            elif one not in self.disk and one not in self.far:
                self.planner.offer(one, self.written[one], one.path.partition("-")[0])

    def finish(self, bound: int = 20_000, *, whole: bool = True) -> None:
        for _ in range(bound):
            if not self.happen():
                break
        else:
            raise AssertionError("too many events")
        states = {work.state for work in self.works.values()}
        ended = {"done", "withdrawn", "refused"} | (set() if whole else {"blocked"})
        assert states <= ended, {n: (w.state, self.planner.wait(n)) for n, w in self.works.items()}
        assert all(view.claims == 0 for view in self.planner.items())
        assert not self.dirty
        assert not self.flying
        assert self.planner.bytes.fixed == self.planner.bytes.kept
        for work in self.works.values():
            if work.state == "done":
                lost = [one.ref for one in work.spec.outputs if not one.transient and one.ref not in self.far]
                assert not lost, "an output is not far away"
        assert not [one for one in self.transient if one in self.disk], "a dead object lies in the primary"


def random_workflow(
    random: Random, uid: str, count: int, *, shared: str, sizes: tuple[int, ...], known: float, transient: bool = False
) -> tuple[list[Work], dict[ObjectRef, int]]:
    """Make a random DAG: each step reads external objects and outputs of earlier steps."""
    far = {ref(f"{shared}{n}"): random.choice(sizes) for n in range(max(1, count))}
    works: list[Work] = []
    made: list[tuple[ObjectRef, str, int]] = []
    for n in range(count):
        name = f"{uid}/{n}"
        inputs: dict[ObjectRef, FutureInput] = {}
        for one in random.sample(sorted(far), random.randint(0, min(3, len(far)))):
            size = far[one] if random.random() < known else None
            inputs[one] = FutureInput(ref=one, size_bytes=size)
        if random.random() < 0.1:
            gone = ref(f"gone{n}")
            inputs[gone] = FutureInput(ref=gone, optional=True)
        after: set[str] = set()
        for one, producer, _ in random.sample(made, random.randint(0, min(3, len(made)))):
            inputs[one] = FutureInput(ref=one)
            after.add(producer)
        outputs: list[FutureOutput] = []
        real: list[int] = []
        for k in range(random.randint(0, 2)):
            one = ref(f"{uid}-{n}-{k}")
            size = random.choice(sizes)
            choice = random.random()
            outputs.append(FutureOutput(ref=one, size_bytes=size if choice < 0.5 else None))
            real.append(size * random.choice((1, 1, 2)))
            made.append((one, name, real[-1]))
        spec = FutureStep(
            id=name, inputs=tuple(inputs.values()), outputs=tuple(outputs), after=tuple(sorted(after)), template="t"
        )
        works.append(Work(uid=uid, spec=spec, sizes=tuple(real)))
    return ([_passing(work, works) for work in works] if transient else works), far


def _passing(work: Work, works: list[Work]) -> Work:
    """Return the work with its outputs transient that others read; such a size is declared, and is what is written."""
    read = {one.ref for other in works for one in other.spec.inputs}
    outputs = tuple(
        replace(one, transient=True, size_bytes=size) if one.ref in read else one
        for one, size in zip(work.spec.outputs, work.sizes, strict=True)
    )
    return Work(uid=work.uid, spec=replace(work.spec, outputs=outputs), sizes=work.sizes)


def largest_footprint(works: list[Work], far: dict[ObjectRef, int]) -> int:
    """Return the largest footprint with the sizes that objects will really have."""
    real = dict(far)
    for work in works:
        real.update({one.ref: size for one, size in zip(work.spec.outputs, work.sizes, strict=True)})
    largest = 0
    for work in works:
        inputs = tuple(FutureInput(ref=one.ref, size_bytes=real.get(one.ref, 0)) for one in work.spec.inputs)
        largest = max(largest, footprint(FutureStep(id=work.spec.id, inputs=inputs, outputs=work.spec.outputs)))
    return largest


def a_world(capacity: int, far: dict[ObjectRef, int] | None = None, *, seed: int = 0, **options: int) -> World:
    options = {"default_output_bytes": 0, **options}
    return World(planner=Planner(capacity, PlannerOptions(**options)), far=dict(far or {}), random=Random(seed))


def is_resident(planner: Planner, one: ObjectRef) -> bool:
    view = planner.item(one)
    return view is not None and view.state is ReplicaState.RESIDENT
