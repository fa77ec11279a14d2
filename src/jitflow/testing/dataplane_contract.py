"""What every DataPlane must do: inherit `DataPlaneContract` and say how to make a world."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from jitflow.model.data import FutureInput, FutureOutput, FutureStep, ObjectRef, ReplicaState
from jitflow.model.pods import CollectedArtifact
from jitflow.model.problems import Refused
from jitflow.ports.dataplane import (
    DataEvent,
    DataView,
    Lease,
    LeaseRefused,
    OutputObject,
    SharedDataPlane,
    StagedOut,
    Waiting,
    Witness,
)
from jitflow.ports.errors import ObjectMissing
from jitflow.ports.storage import Reading

CAPACITY_BYTES = 10_000
_PATIENCE_S = 20.0
_LOOK_S = 0.005


def content(path: str) -> bytes:
    """Return what a small file holds."""
    return Path(path).read_bytes()


@dataclass(kw_only=True)
class DataPlaneWorld:
    """A data plane, open, of `CAPACITY_BYTES` over an empty primary, with what is asked and read beside it.

    `far`: a prefix of a far store; `seed` writes below it and `held` reads it, behind the plane's back. `fetched`: how often an
    object was fetched from it. `again`: ends the plane as a kill would and opens it again on what is left.
    """

    plane: SharedDataPlane
    view: DataView
    witness: Witness
    reading: Reading
    far: ObjectRef
    pods: Path
    events: list[DataEvent]
    seed: Callable[[Mapping[str, bytes]], Awaitable[None]]
    held: Callable[[], dict[str, bytes]]
    again: Callable[[], Awaitable[None]]
    others: list[DataEvent] = field(default_factory=list[DataEvent])

    def ref(self, name: str) -> ObjectRef:
        """Return an object below the far prefix."""
        return ObjectRef(remote=self.far.remote, path=self.far.path + name)

    def step(
        self, name: str, *reads: str, writes: tuple[str, ...] = (), optional: tuple[str, ...] = (), uid: str = "w"
    ) -> FutureStep:
        """Return a step that reads and writes objects below the far prefix."""
        inputs = [FutureInput(ref=self.ref(one)) for one in reads]
        inputs += [FutureInput(ref=self.ref(one), optional=True) for one in optional]
        outputs = tuple(FutureOutput(ref=self.ref(one), size_bytes=100) for one in writes)
        return FutureStep(id=f"{uid}/{name}", inputs=tuple(inputs), outputs=outputs, template="t")

    def output(self, name: str, data: bytes) -> OutputObject:
        """Return an output that a pod has left."""
        source = self.pods / name.replace("/", "_")
        source.write_bytes(data)
        return OutputObject(ref=self.ref(name), artifact=CollectedArtifact(name="out", source=str(source), size_bytes=len(data)))

    async def until(self, holds: Callable[[], object]) -> None:
        """Return when something holds."""
        loop = asyncio.get_running_loop()
        limit = loop.time() + _PATIENCE_S
        while not holds():
            assert loop.time() < limit, f"it never happened; the last events: {self.events[-5:]}"
            await asyncio.sleep(_LOOK_S)

    async def event(self, kind: type[DataEvent], step: FutureStep, *, after: int = 0) -> DataEvent:
        """Return the newest event of a kind for a step, once there is one after so many of all events."""

        def found() -> list[DataEvent]:
            return [one for one in self.events[after:] if isinstance(one, kind) and one.step == step.id]

        await self.until(found)
        return found()[-1]

    async def leased(self, step: FutureStep, *, after: int = 0) -> Lease:
        """Return the lease of a step that has asked."""
        found = await self.event(Lease, step, after=after)
        assert isinstance(found, Lease)
        return found

    async def run(self, step: FutureStep, *outputs: OutputObject, uid: str = "w") -> None:
        """Let a step ask, run and end; return when its outputs are out."""
        self.plane.acquire(uid, step)
        await self.leased(step)
        self.plane.release(step.id, outputs)
        if outputs:
            found = await self.event(StagedOut, step)
            assert isinstance(found, StagedOut)
            assert not found.error


class DataPlaneContract:
    """Numbered as `D1` … so that documents can cite a rule."""

    def world(self, tmp_path: Path) -> AbstractAsyncContextManager[DataPlaneWorld]:
        """Return a world."""
        raise NotImplementedError

    def _play(self, tmp_path: Path, scenario: Callable[[DataPlaneWorld], Awaitable[None]]) -> None:
        async def play() -> None:
            async with self.world(tmp_path) as world:
                await scenario(world)

        asyncio.run(play())

    def test_d1_a_lease_names_files_that_hold_the_inputs(self, tmp_path: Path) -> None:
        """With their sizes; optional inputs that do not exist are told; a step without data starts at once."""

        async def scenario(world: DataPlaneWorld) -> None:
            await world.seed({"a": b"alpha", "größe-中文 1.txt": b"two"})
            step = world.step("one", "a", "größe-中文 1.txt", optional=("none",))
            world.plane.belongs("w", "team")
            await world.plane.admit("w", [step], "team")
            world.plane.announce("w", [step])
            world.plane.acquire("w", step)
            lease = await world.leased(step)
            assert {ref.path.rpartition("/")[2]: content(path) for ref, path in lease.paths.items()} == {
                "a": b"alpha",
                "größe-中文 1.txt": b"two",
            }
            assert lease.sizes[world.ref("a")] == 5
            assert lease.absent == (world.ref("none"),)
            bare = world.step("bare")
            world.plane.acquire("w", bare)
            assert (await world.leased(bare)).paths == {}

        self._play(tmp_path, scenario)

    def test_d2_what_cannot_be_is_refused(self, tmp_path: Path) -> None:
        """Missing inputs, unknown remotes and what never fits: at admission, and for a step that asks all the same."""

        async def scenario(world: DataPlaneWorld) -> None:
            missing = world.step("missing", "nothing/here")
            with pytest.raises(Refused, match="nothing/here"):
                await world.plane.admit("w", [missing])
            world.plane.acquire("w", missing)
            refusal = await world.event(LeaseRefused, missing)
            assert isinstance(refusal, LeaseRefused)
            assert "nothing/here" in refusal.message
            stranger = FutureStep(id="w/s", inputs=(FutureInput(ref=ObjectRef(remote="nowhere", path="a")),))
            with pytest.raises(Refused, match="nowhere"):
                await world.plane.admit("w", [stranger])
            await world.seed({"large": b"x" * (CAPACITY_BYTES + 1)})
            with pytest.raises(Refused, match=r"10,001|10001"):
                await world.plane.admit("w", [world.step("large", "large")])

        self._play(tmp_path, scenario)

    def test_d3_outputs_reach_their_far_stores(self, tmp_path: Path) -> None:
        """And are read by later steps; what was handed over again is told again, once more and not sent twice."""

        async def scenario(world: DataPlaneWorld) -> None:
            await world.seed({"a": b"alpha"})
            first = world.step("first", "a", writes=("made/b",))
            second = world.step("second", "made/b")
            world.plane.belongs("w", "team")
            world.plane.announce("w", [first, second])
            output = world.output("made/b", b"beta")
            await world.run(first, output)
            assert world.held()["made/b"] == b"beta"
            seen = len(world.events)
            world.plane.release(first.id, [output])
            told = await world.event(StagedOut, first, after=seen)
            assert told == StagedOut(step=first.id)
            world.plane.acquire("w", second)
            (path,) = (await world.leased(second)).paths.values()
            assert content(path) == b"beta"

        self._play(tmp_path, scenario)

    def test_d4_asking_twice_is_harmless(self, tmp_path: Path) -> None:
        """The lease is told again, and nothing is fetched again."""

        async def scenario(world: DataPlaneWorld) -> None:
            await world.seed({"a": b"alpha"})
            step = world.step("one", "a")
            world.plane.acquire("w", step)
            lease = await world.leased(step)
            seen = len(world.events)
            world.plane.acquire("w", step)
            assert await world.leased(step, after=seen) == lease
            transfers, _ = await world.view.timeline()
            assert [one.direction for one in transfers] == ["in"]

        self._play(tmp_path, scenario)

    def test_d5_who_has_no_room_waits_and_is_told_why(self, tmp_path: Path) -> None:
        """Until another step has ended."""

        async def scenario(world: DataPlaneWorld) -> None:
            await world.seed({"a": b"a" * 6000, "b": b"b" * 6000})
            first, second = world.step("first", "a"), world.step("second", "b")
            world.plane.acquire("w", first)
            await world.leased(first)
            world.plane.acquire("w", second)
            waiting = await world.event(Waiting, second)
            assert isinstance(waiting, Waiting)
            assert waiting.message
            assert (await world.view.standing(second.id)).reason
            world.plane.release(first.id, [])
            await world.leased(second)

        self._play(tmp_path, scenario)

    def test_d6_withdrawn_workflows_are_forgotten(self, tmp_path: Path) -> None:
        """Until then they are known, over a restart too; what waits of them gets nothing."""

        async def scenario(world: DataPlaneWorld) -> None:
            await world.seed({"a": b"a" * 6000, "b": b"b" * 6000})
            world.plane.belongs("w", "team")
            world.plane.belongs("v", "team")
            first, second = world.step("first", "a"), world.step("second", "b", uid="v")
            world.plane.acquire("w", first)
            await world.leased(first)
            world.plane.acquire("v", second)
            await world.event(Waiting, second)
            world.plane.withdraw("v", good=False)
            world.plane.release(first.id, [])
            await world.run(world.step("third", "a"))
            await world.again()
            assert set(world.plane.workflows()) == {"w"}
            assert not [one for one in world.events if isinstance(one, Lease) and one.step == second.id]

        self._play(tmp_path, scenario)

    def test_d7_leases_and_promises_outlast_a_kill(self, tmp_path: Path) -> None:
        """Told again, a step has its files where they were; outputs handed over are out in the end."""

        async def scenario(world: DataPlaneWorld) -> None:
            await world.seed({"a": b"alpha", "b": b"beta"})
            reads, writes = world.step("reads", "a"), world.step("writes", "b", writes=("out",))
            world.plane.belongs("w", "team")
            for step in (reads, writes):
                world.plane.acquire("w", step)
            lease = await world.leased(reads)
            await world.leased(writes)
            output = world.output("out", b"gamma")
            world.plane.release(writes.id, [output])
            await world.again()
            seen = len(world.events)
            world.plane.belongs("w", "team")
            world.plane.acquire("w", reads)
            world.plane.release(writes.id, [output])
            assert await world.leased(reads, after=seen) == lease
            told = await world.event(StagedOut, writes)
            assert isinstance(told, StagedOut)
            assert not told.error
            assert world.held()["out"] == b"gamma"
            transfers, _ = await world.view.timeline()
            assert sorted(str(one.ref) for one in transfers if one.direction == "in") == [
                str(world.ref("a")),
                str(world.ref("b")),
            ]

        self._play(tmp_path, scenario)

    def test_d8_what_is_asked_before_a_run(self, tmp_path: Path) -> None:
        """`check` looks and says what it takes, `outlook` what is left; `discard` deletes far and near."""

        async def scenario(world: DataPlaneWorld) -> None:
            await world.seed({"a": b"alpha", "dir/b": b"beta", "dir/c": b"c"})
            steps = [world.step("one", "a", "dir/")]
            found = await world.plane.check("explain", steps)
            assert (found.objects, found.distinct_bytes, found.capacity_bytes) == (2, 10, CAPACITY_BYTES)
            assert (await world.plane.outlook([("w", steps)])).objects == 2
            await world.plane.discard(world.ref("dir/"))
            await world.plane.discard(world.ref("a"))
            assert world.held() == {}
            await world.plane.discard(world.ref("a"))

        self._play(tmp_path, scenario)

    def test_d9_others_hear_of_their_own_workflows(self, tmp_path: Path) -> None:
        """By how their uids begin."""

        async def scenario(world: DataPlaneWorld) -> None:
            await world.seed({"a": b"alpha"})
            world.plane.share("foreign.", world.others.append)
            step = world.step("one", "a", uid="foreign.1")
            world.plane.acquire("foreign.1", step)
            await world.until(lambda: [one for one in world.others if isinstance(one, Lease)])
            assert not [one for one in world.events if one.step == step.id]

        self._play(tmp_path, scenario)

    def test_d10_what_is_seen_of_it(self, tmp_path: Path) -> None:
        """Where objects are, what steps have read, and what was moved."""

        async def scenario(world: DataPlaneWorld) -> None:
            await world.seed({"a": b"alpha", "dir/b": b"beta"})
            step = world.step("one", "a", writes=("out",))
            world.plane.belongs("w", "team")
            world.plane.announce("w", [step])
            world.plane.acquire("w", step)
            await world.leased(step)
            assert [one.step for one in await world.view.step_data("w")] == [step.id]
            rows = await world.view.replicas_of([world.ref("a"), world.ref("dir/b")])
            assert {ref: row.state for ref, row in rows.items()} == {world.ref("a"): ReplicaState.RESIDENT}
            where = await world.view.whereabouts(world.ref("a"))
            assert content(where.local) == b"alpha"
            world.plane.release(step.id, [world.output("out", b"o")])
            await world.event(StagedOut, step)
            assert await world.view.read_bytes([step.id, "w/none"]) == 5
            transfers, fill = await world.view.timeline()
            assert {one.direction for one in transfers} == {"in", "out"}
            assert fill
            seen = {one.step: one for one in await world.witness.of("w")}
            assert [one.ref for one in seen[step.id].read] == [str(world.ref("a"))]
            await world.witness.forget("w")

        self._play(tmp_path, scenario)

    def test_d11_far_stores_are_read_through_it(self, tmp_path: Path) -> None:
        """Stats, listings and ranges of objects, and what is missing."""

        async def scenario(world: DataPlaneWorld) -> None:
            await world.seed({"a": b"0123456789", "dir/b": b"beta", "dir/sub/c": b"c"})
            assert (await world.reading.stat(world.ref("a"))).size_bytes == 10
            with pytest.raises(ObjectMissing):
                await world.reading.stat(world.ref("none"))
            listed = [info.ref async for info in world.reading.list(world.far, recursive=True)]
            found = [ref.path.removeprefix(world.far.path) for ref in listed if not ref.is_prefix]
            assert sorted(found) == ["a", "dir/b", "dir/sub/c"]
            assert b"".join([part async for part in world.reading.read(world.ref("a"))]) == b"0123456789"
            assert b"".join([part async for part in world.reading.read(world.ref("a"), offset=3, count=4)]) == b"3456"
            with pytest.raises(ObjectMissing):
                async for _ in world.reading.read(world.ref("none")):
                    pass

        self._play(tmp_path, scenario)

    def test_d12_namespaces_pay_and_those_without_budget_wait(self, tmp_path: Path) -> None:
        """What was moved for a namespace is told; `tight`, which may move 5 bytes, gets no more and is told why."""

        async def scenario(world: DataPlaneWorld) -> None:
            await world.seed({"a": b"alpha", "b": b"beta"})
            world.plane.belongs("w", "tight", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
            await world.run(world.step("one", "a"))
            rows = await world.view.spent("tight", since="", until="")
            assert [(row.namespace, row.remote, row.down_bytes) for row in rows] == [("tight", world.far.remote, 5)]
            assert not await world.view.spent("team", since="", until="")
            assert not await world.view.spent("tight", since="", until="2020-01-01")
            with pytest.raises(Refused, match="is no day"):
                await world.view.spent("tight", since="yesterday", until="")
            more = world.step("more", "b")
            world.plane.acquire("w", more)
            # On a busy machine it is told first that it is looked up.
            await world.until(
                lambda: any(
                    isinstance(one, Waiting) and one.step == more.id and "used up its budget of 5 bytes" in one.message
                    for one in world.events
                )
            )
            world.plane.belongs("v", "team")
            await world.run(world.step("other", "b", uid="v"), uid="v")
            await world.leased(more)

        self._play(tmp_path, scenario)
