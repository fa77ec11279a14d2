"""What staging objects would take, told before it is done, and then done."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from far_store import Kit, a_step, ref

from jitflow.model.data import ObjectRef
from jitflow.model.problems import Refused
from jitflow.model.staging import StagingEstimate


def going(tmp_path: Path, capacity: int, story: Callable[[Kit], Awaitable[None]]) -> None:
    async def run() -> None:
        kit = Kit(tmp_path, capacity)
        await kit.start()
        await story(kit)
        await kit.plane.close()

    asyncio.run(run())


def sums(found: StagingEstimate) -> tuple[int, int, int, int, int]:
    return found.objects, found.resident_bytes, found.to_move_bytes, found.free_bytes, found.evict_bytes


def test_what_is_told_is_what_then_happens(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        a, b, old = kit.far.put("a", 40), kit.far.put("d/b", 30), kit.far.put("old", 50)
        folder = ref("d/")
        first = await kit.plane.explain([a, folder, a])
        assert (sums(first), first.fits, first.capacity_bytes) == ((2, 0, 70, 100, 0), True, 100)
        assert first.rows == (("far:a", 40, "absent"), ("far:d/", 30, "absent"))
        assert first.transfer_s is None, "nothing was measured yet"
        assert not kit.replicas(), "and nothing was fetched"
        await kit.plane.stage(old)
        await kit.plane.stage(a)
        second = await kit.plane.explain([a, folder])
        assert sums(second) == (2, 40, 30, 10, 20), "the older replica has to go, for the other one is meant itself"
        assert (second.evictable_bytes, second.fits) == (50, True)
        await kit.plane.stage(folder)
        assert {one.ref for one in kit.replicas()} == {a, folder}
        assert sums(await kit.plane.explain([a, folder, b]))[:3] == (3, 70, 30)

    going(tmp_path, 100, story)


def test_what_does_not_fit_is_said_with_why(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        kept, read, wanted = kit.far.put("kept", 30), kit.far.put("read", 30), kit.far.put("wanted", 50)
        await kit.plane.stage(kept)
        await kit.plane.pin(kept)
        kit.plane.acquire("w", a_step("s", read))
        await kit.until(lambda: kit.lease("s"))
        found = await kit.plane.explain([wanted])
        assert (found.fits, found.evict_bytes, found.evictable_bytes) == (False, 0, 0)
        assert "10 bytes are lacking now" in found.message
        assert (await kit.plane.explain([kept, read])).fits, "they are here"
        kit.plane.release("w/s", ())
        later = await kit.plane.explain([wanted])
        assert (later.fits, later.evict_bytes) == (True, 10)
        large = await kit.plane.explain([kit.far.put("large", 101)])
        assert (large.fits, "101 bytes, and the primary 100" in large.message) == (False, True)

    going(tmp_path, 100, story)


def test_what_cannot_be_had_is_refused(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        here = kit.far.put("here", 10)
        with pytest.raises(Refused, match="none") as refusal:
            await kit.plane.explain([here, ObjectRef(remote="far", path="none")])
        assert refusal.value.code == "not_found"

    going(tmp_path, 100, story)
