"""Transfer jobs over stores in memory: what is decided, kept, tried again, paused, cancelled, and gone on with."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from jitflow.app.transfers import TransferJobs, compare, wishes
from jitflow.app.transfers.compare import Limits
from jitflow.app.transfers.keeping import FILES
from jitflow.model.data import ObjectInfo, ObjectRef
from jitflow.model.jobs import JobPhase, JobView, JobWish
from jitflow.model.problems import Refused
from jitflow.ports.errors import AccessRefused, FixRequest, Unreachable
from jitflow.testing.fake_bulk import FakeBulk
from jitflow.testing.fake_engine import FakeClock, FakeIds
from jitflow.testing.memory_store import MemoryStore

pytestmark = pytest.mark.pure


class World:
    """Jobs over two remotes in memory."""

    def __init__(self, at_once: int = 4) -> None:
        self.store = MemoryStore()
        self.bulk = FakeBulk("far", "near")
        self.clock = FakeClock()
        self.ids = FakeIds()
        self.at_once = at_once
        self.jobs = self._made()

    def _made(self) -> TransferJobs:
        return TransferJobs(self.bulk, self._known, self.store, self.clock, self.ids, at_once=self.at_once)

    def _known(self, name: str) -> None:
        if name not in self.bulk.stores:
            raise Refused(f"there is no remote {name!r}", code="not_found")

    def fill(self, **files: str) -> None:
        self.bulk.stores["far"].update({f"in/{name}": data.encode() for name, data in files.items()})

    @property
    def near(self) -> dict[str, str]:
        return {path.removeprefix("out/"): data.decode() for path, data in self.bulk.stores["near"].items()}

    async def make(self, kind: Any = "copy", **more: Any) -> JobView:
        given = {"source": "far:in/", **({} if kind == "delete" else {"destination": "near:out/"})} | more
        return await self.jobs.make(msgspec.convert({"kind": kind, **given}, JobWish))

    async def run(self, kind: Any = "copy", **more: Any) -> JobView:
        return await self.jobs.wait((await self.make(kind, **more)).id)

    async def states(self, job: JobView, **query: Any) -> dict[str, str]:
        return {file.path: file.state for file in (await self.jobs.files(job.id, **query)).items}

    async def restart(self) -> None:
        await self.jobs.close()
        self.jobs = self._made()
        await self.jobs.open()


def play(scenario: Callable[[World], Awaitable[None]], **made: Any) -> None:
    async def run() -> None:
        world = World(**made)
        await world.jobs.open()
        async with asyncio.timeout(20):
            await scenario(world)
        await world.jobs.close()

    asyncio.run(run())


def test_a_copy_moves_what_is_not_there() -> None:
    async def scenario(world: World) -> None:
        world.fill(a="1", b="22", c="333")
        world.bulk.stores["near"] |= {"out/b": b"22", "out/c": b"xxx", "out/other": b"stays"}
        job = await world.run()
        assert (job.phase, job.message, job.attempts) == (JobPhase.SUCCEEDED, "", 1)
        assert world.near == {"a": "1", "b": "22", "c": "333", "other": "stays"}
        assert world.bulk.done == ["far:in/a", "far:in/c"]
        assert await world.states(job) == {"a": "done", "b": "equal", "c": "done"}
        counts = job.counts
        assert (counts.files, counts.files_done, counts.bytes_done, counts.equal, counts.moved_bytes) == (2, 2, 4, 1, 4)
        again = await world.run()
        assert (again.counts.files, len(world.bulk.done)) == (0, 2)

    play(scenario)


def test_a_dry_run_moves_nothing_and_says_what_it_would() -> None:
    async def scenario(world: World) -> None:
        world.fill(a="1")
        world.bulk.stores["near"]["out/x"] = b"x"
        job = await world.run("sync", dry_run=True)
        assert await world.states(job) == {"a": "planned", "x": "planned"}
        assert (world.near, world.bulk.done) == ({"x": "x"}, [])

    play(scenario)


def test_a_sync_deletes_what_is_not_at_the_source() -> None:
    async def scenario(world: World) -> None:
        world.fill(a="1", b="2")
        world.bulk.stores["near"] |= {"out/x": b"x", "out/y.tmp": b"y", "elsewhere": b"z"}
        job = await world.run("sync", filters={"exclude": ["*.tmp"]})
        assert job.phase is JobPhase.SUCCEEDED
        assert set(world.bulk.stores["near"]) == {"out/a", "out/b", "out/y.tmp", "elsewhere"}
        assert (job.counts.deletes, job.counts.deletes_done) == (1, 1)

    play(scenario)


def test_a_sync_that_would_delete_too_much_does_nothing() -> None:
    async def scenario(world: World) -> None:
        world.fill(a="1")
        world.bulk.stores["near"] |= {"out/x": b"x", "out/y": b"y"}
        job = await world.run("sync", max_delete=1)
        assert (job.phase, world.bulk.done) == (JobPhase.FAILED, [])
        assert "2 files would be deleted, more than max_delete (1)" in job.message
        del world.bulk.stores["far"]["in/a"]
        job = await world.run("sync")
        assert (job.phase, set(world.near)) == (JobPhase.FAILED, {"x", "y"})
        assert "is empty" in job.message
        assert (await world.run("sync", max_delete=2)).phase is JobPhase.SUCCEEDED
        assert world.near == {}

    play(scenario)


def test_limits_of_size_leave_files_alone_at_both_ends() -> None:
    async def scenario(world: World) -> None:
        world.fill(small="1", large="1234567890")
        world.bulk.stores["near"]["out/large"] = b"another"
        job = await world.run("sync", filters={"max_size": 5})
        assert await world.states(job) == {"small": "done", "large": "skipped"}
        assert world.near == {"small": "1", "large": "another"}

    play(scenario)


def test_a_sync_deletes_nothing_when_it_could_not_copy_all() -> None:
    async def scenario(world: World) -> None:
        world.fill(a="1", b="2")
        world.bulk.stores["near"]["out/x"] = b"x"
        world.bulk.failing["b"] = "permission denied"
        job = await world.run("sync")
        assert job.phase is JobPhase.FAILED
        assert world.near == {"a": "1", "x": "x"}
        assert await world.states(job, state="failed") == {"b": "failed"}
        assert [file.message for file in (await world.jobs.files(job.id, state="failed")).items] == ["permission denied"]
        world.bulk.failing.clear()
        await world.jobs.resume(job.id)
        job = await world.jobs.wait(job.id)
        assert (job.phase, world.near) == (JobPhase.SUCCEEDED, {"a": "1", "b": "2"})
        assert await world.states(job) == {"a": "done", "b": "done", "x": "done"}

    play(scenario)


def test_a_move_deletes_only_what_is_proven_at_the_destination() -> None:
    async def scenario(world: World) -> None:
        world.fill(a="1", b="2", c="3")
        world.bulk.stores["near"]["out/c"] = b"3"
        world.bulk.failing["b"] = "no"
        job = await world.run("move")
        assert (job.phase, world.near) == (JobPhase.FAILED, {"a": "1", "c": "3"})
        assert set(world.bulk.stores["far"]) == {"in/b"}
        assert await world.states(job) == {"a": "done", "b": "failed", "c": "done"}

    play(scenario)


def test_a_check_tells_differences_and_moves_nothing() -> None:
    async def scenario(world: World) -> None:
        world.fill(a="1", b="2", c="3")
        world.bulk.stores["near"] |= {"out/a": b"1", "out/b": b"x", "out/d": b"4"}
        job = await world.run("check")
        assert (job.phase, job.counts.differences, job.counts.equal) == (JobPhase.SUCCEEDED, 3, 1)
        assert await world.states(job) == {"a": "equal", "b": "differs", "c": "missing", "d": "extra"}
        assert world.bulk.done == []

    play(scenario)


def test_a_delete_takes_what_the_filters_let_through() -> None:
    async def scenario(world: World) -> None:
        world.fill(a="1", **{"b.tmp": "2", "c.tmp": "3"})
        job = await world.run("delete", filters={"include": ["*.tmp"]}, max_delete=2)
        assert (job.phase, job.counts.deletes_done, set(world.bulk.stores["far"])) == (JobPhase.SUCCEEDED, 2, {"in/a"})
        assert (await world.run("delete", max_delete=0)).phase is JobPhase.FAILED

    play(scenario)


def test_only_the_named_files_are_copied() -> None:
    async def scenario(world: World) -> None:
        world.fill(a="1", b="2", **{"[x]*": "3"})
        job = await world.run(files=["b", "[x]*"])
        assert (job.phase, world.near) == (JobPhase.SUCCEEDED, {"b": "2", "[x]*": "3"})
        job = await world.run(files=["a", "none"])
        assert (job.phase, await world.states(job)) == (JobPhase.FAILED, {"a": "done", "none": "failed"})
        assert (job.attempts, "none: there is no such file at the source" in job.message) == (1, True)

    play(scenario)


def test_failures_that_pass_are_tried_again_and_others_are_not() -> None:
    async def scenario(world: World) -> None:
        world.fill(a="1", b="2", c="3")
        world.bulk.broken = [Unreachable("cut"), Unreachable("cut")]
        world.bulk.breaks_after = 1
        job = await world.run()
        assert (job.phase, job.attempts) == (JobPhase.SUCCEEDED, 4)
        assert sorted(world.bulk.done) == ["far:in/a", "far:in/b", "far:in/c"]
        assert await world.states(job) == {"a": "done", "b": "done", "c": "done"}
        world.fill(d="4")
        world.bulk.broken = [AccessRefused("no rights")]
        job = await world.run()
        assert (job.phase, job.attempts, "no rights" in job.message) == (JobPhase.FAILED, 1, True)

    play(scenario)


def test_a_job_that_rests_is_gone_on_with_and_one_that_is_cancelled_is_not() -> None:
    async def scenario(world: World) -> None:
        world.fill(a="1", b="2")
        world.bulk.gate = asyncio.Event()
        job = await world.make()
        await asyncio.sleep(0.05)
        assert world.jobs.get(job.id).phase is JobPhase.RUNNING
        assert (await world.jobs.pause(job.id)).phase is JobPhase.PAUSED
        assert (await world.jobs.pause(job.id)).phase is JobPhase.PAUSED
        await world.restart()
        assert (world.jobs.get(job.id).phase, world.near) == (JobPhase.PAUSED, {})
        world.bulk.gate.set()
        await world.jobs.resume(job.id)
        assert (await world.jobs.wait(job.id)).phase is JobPhase.SUCCEEDED
        with pytest.raises(Refused, match="is Succeeded already"):
            await world.jobs.cancel(job.id)
        world.bulk.gate = asyncio.Event()
        world.fill(c="3")
        job = await world.make()
        await asyncio.sleep(0.05)
        cancelled = await world.jobs.cancel(job.id)
        assert (cancelled.phase, cancelled.finished_at is not None) == (JobPhase.CANCELLED, True)
        with pytest.raises(Refused, match="cannot go on"):
            await world.jobs.resume(job.id)
        await world.jobs.forget(job.id)
        with pytest.raises(Refused, match="there is no transfer job"):
            world.jobs.get(job.id)

    play(scenario)


def test_a_restart_goes_on_and_moves_nothing_twice() -> None:
    async def scenario(world: World) -> None:
        world.fill(**{f"f{number}": "x" for number in range(5)})
        world.bulk.breaks_after = 3
        world.bulk.broken = []
        gate = world.bulk.gate = asyncio.Event()
        gate.set()
        job = await world.make()
        while len(world.bulk.done) < 3:
            await asyncio.sleep(0)
        world.jobs._kept = None  # pyright: ignore - whatever this life would still write is lost, as by a kill
        await world.restart()
        job = await world.jobs.wait(job.id)
        assert (job.phase, sorted(world.bulk.done)) == (JobPhase.SUCCEEDED, [f"far:in/f{number}" for number in range(5)])
        assert set((await world.states(job)).values()) == {"done"}
        assert job.counts.files_done == 5

    play(scenario)


def test_a_thousand_jobs_wait_their_turn_and_none_is_lost() -> None:
    async def scenario(world: World) -> None:
        world.fill(a="1")
        world.bulk.gate = asyncio.Event()
        made = await asyncio.gather(*(world.make(destination=f"near:out/{number}/") for number in range(1000)))
        urgent = await world.make(destination="near:out/urgent/", priority=5)
        assert (urgent.position, world.jobs.get(made[999].id).position) == (1, 1001 - 3)
        assert world.bulk.most_working <= 3
        await world.restart()
        world.bulk.gate.set()
        await world.jobs.wait(urgent.id)
        assert "urgent/a" in list(world.near)[:5]
        for job in made:
            assert (await world.jobs.wait(job.id)).phase is JobPhase.SUCCEEDED
        assert len(world.near) == 1001
        assert len(world.bulk.done) == 1001
        page = world.jobs.list(phase="Succeeded", limit=600)
        rest = world.jobs.list(phase="Succeeded", limit=600, after=page.next)
        assert len({job.id for job in (*page.items, *rest.items)}) == 1001

    play(scenario, at_once=3)


def test_files_come_in_pages() -> None:
    async def scenario(world: World) -> None:
        world.fill(**{f"f{number:04}": "x" for number in range(2500)})
        job = await world.run()
        found: list[str] = []
        cursor = ""
        while True:
            page = await world.jobs.files(job.id, limit=700, after=cursor)
            found += [file.path for file in page.items]
            cursor = page.next
            if not cursor:
                break
        assert found == [f"f{number:04}" for number in range(2500)]
        assert len(await world.store.items(FILES)) == 3
        for wrong in ("x", "1", "-1-0", "1-", "9" * 30):
            with pytest.raises(Refused):
                await world.jobs.files(job.id, after=wrong)
        await world.jobs.forget(job.id)
        assert not await world.store.items(FILES)

    play(scenario)


def test_a_job_is_followed_to_its_end() -> None:
    async def scenario(world: World) -> None:
        world.fill(a="1")
        world.bulk.gate = asyncio.Event()
        job = await world.make()
        seen: list[JobPhase] = []
        async for view in world.jobs.follow(job.id):
            seen.append(view.phase)
            world.bulk.gate.set()
        assert (seen[0], seen[-1]) == (JobPhase.QUEUED, JobPhase.SUCCEEDED)

    play(scenario)


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({"kind": "copy", "source": "far:in/"}, "$.destination"),
        ({"kind": "delete", "source": "far:in/", "destination": "near:x/"}, "a delete has no destination"),
        ({"kind": "copy", "source": "far:../x", "destination": "near:x/"}, "$.source"),
        ({"kind": "copy", "source": "none:x", "destination": "near:x/"}, "there is no remote 'none'"),
        ({"kind": "sync", "source": "far:a/", "destination": "far:a/b/"}, "lie in each other"),
        ({"kind": "sync", "source": "far:", "destination": "far:b/"}, "lie in each other"),
        ({"kind": "copy", "source": "far:", "destination": "near:", "transfers": 0}, "$.transfers"),
        ({"kind": "copy", "source": "far:", "destination": "near:", "bandwidth": "fast"}, "$.bandwidth"),
        ({"kind": "copy", "source": "far:", "destination": "near:", "time_zone": "Mars"}, "$.time_zone"),
        ({"kind": "copy", "source": "far:", "destination": "near:", "priority": 5000}, "$.priority"),
        ({"kind": "sync", "source": "far:", "destination": "near:", "max_delete": -1}, "$.max_delete"),
        ({"kind": "copy", "source": "far:", "destination": "near:", "filters": {"min_size": "big"}}, "$.filters.min_size"),
        ({"kind": "copy", "source": "far:", "destination": "near:", "filters": {"max_age": "old"}}, "$.filters.max_age"),
        ({"kind": "copy", "source": "far:", "destination": "near:", "filters": {"include": ["a\nb"]}}, "$.filters.include"),
        ({"kind": "copy", "source": "far:", "destination": "near:", "files": ["../x"]}, "$.files"),
        ({"kind": "copy", "source": "far:", "destination": "near:", "files": ["x"], "filters": {"include": ["y"]}}, "$.files"),
    ],
)
def test_wishes_that_make_no_sense(wish: dict[str, Any], says: str) -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(Refused) as refused:
            await world.jobs.make(msgspec.convert(wish, JobWish))
        assert says in str(refused.value)
        assert world.jobs.list().items == ()

    play(scenario)


def test_filters_that_rclone_cannot_read_are_refused_at_once() -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(FixRequest):
            await world.make(filters={"exclude": ["[a"]})

    play(scenario)


def info(size: int, modified: str = "", **hashes: str) -> ObjectInfo:
    return ObjectInfo(ref=ObjectRef(remote="r", path="x"), size_bytes=size, modified=modified, hashes=hashes)


@pytest.mark.parametrize(
    ("source", "target", "proof"),
    [
        (info(1, md5="a"), info(1, md5="a"), "md5"),
        (info(1, md5="a"), info(1, md5="b"), ""),
        (info(1, md5="a", sha1="s"), info(1, md5="b", sha1="s"), "sha1"),
        (info(1, md5="a"), info(2, md5="a"), ""),
        (info(1, "2026-01-01T00:00:00Z"), info(1, "2026-01-01T00:00:00Z"), "size and time"),
        (info(1, "2026-01-01T00:00:00Z", md5="a"), info(1, "2026-01-02T00:00:00Z", sha1="b"), "size and time"),
        (info(1, "2026-01-02T00:00:00Z"), info(1, "2026-01-01T00:00:00Z"), ""),
        (info(1), info(1), ""),
    ],
)
def test_by_what_two_objects_are_the_same(source: ObjectInfo, target: ObjectInfo, proof: str) -> None:
    assert compare.same(source, target) == proof


def test_limits_of_age() -> None:
    filters = JobWish(kind="copy", source="far:").filters
    limits = wishes.limits_of(msgspec.structs.replace(filters, min_age="1d", max_age="30d"), 1_767_225_600.0)
    assert isinstance(limits, Limits)
    days = ("2025-11-30", "2025-12-03", "2025-12-30", "2025-12-31", "2026-01-01")
    assert [limits.lets_through(info(1, f"{day}T12:00:00Z")) for day in days] == [False, True, True, False, False]
    assert limits.lets_through(info(1))
