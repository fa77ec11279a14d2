"""Quotas and pins of namespaces: who waits, what goes first, what is refused, and what a restart remembers."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from far_store import Kit, a_step, ref

from jitflow.model.data import ObjectRef
from jitflow.model.problems import Refused
from jitflow.ports.dataplane import Quota, QuotaView


def going(kit: Kit, story: Callable[[Kit], Awaitable[None]]) -> None:
    async def run() -> None:
        await kit.start()
        try:
            await story(kit)
            assert kit.plane._core.planner.audit() == ()
        finally:
            await kit.plane.close()

    asyncio.run(run())


def a_kit(tmp_path: Path, **quotas: Quota) -> Kit:
    return Kit(tmp_path, 1000, quotas=quotas)


def quota(kit: Kit, namespace: str) -> QuotaView:
    return next(one for one in kit.plane.quotas() if one.namespace == namespace)


async def read(kit: Kit, uid: str, name: str, *inputs: ObjectRef) -> None:
    kit.plane.acquire(uid, a_step(name, *inputs))
    await kit.until(lambda: kit.lease(name))
    kit.plane.release(f"w/{name}", [])


def test_a_namespace_over_its_quota_waits_and_others_go_on(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        objects = [kit.far.put(name, 100) for name in "abcd"]
        kit.plane.belongs("w", "small")
        kit.plane.belongs("v", "free")
        kit.plane.acquire("w", a_step("one", objects[0], objects[1]))
        await kit.until(lambda: kit.lease("one"))
        kit.plane.acquire("w", a_step("two", objects[2]))
        kit.plane.acquire("v", a_step("other", objects[3]))
        await kit.until(lambda: kit.lease("other"))
        await kit.until(lambda: any("in the quota of namespace small" in text for text in kit.waits("two")))
        assert (quota(kit, "small").held_bytes, quota(kit, "small").waiting_steps) == (200, 1)
        assert "quota of namespace small" in kit.plane.standing("w/two").objects[0].message
        kit.plane.release("w/one", [])
        await kit.until(lambda: kit.lease("two"))
        assert quota(kit, "small").used_bytes <= 250
        assert {row.ref.path for row in kit.replicas()} in ({"b", "c", "d"}, {"a", "c", "d"}), "its own went first"

    going(a_kit(tmp_path, small=Quota(bytes=250)), story)


def test_what_is_shared_is_paid_for_in_equal_parts_and_what_lies_idle_by_the_last_who_held_it(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        a = kit.far.put("a", 100)
        kit.plane.belongs("w", "one")
        kit.plane.belongs("v", "two")
        kit.plane.acquire("w", a_step("x", a))
        kit.plane.acquire("v", a_step("y", a))
        await kit.until(lambda: kit.lease("x") and kit.lease("y"))
        assert [(quota(kit, name).held_bytes, quota(kit, name).idle_bytes) for name in ("one", "two")] == [(50, 0), (50, 0)]
        kit.plane.release("w/x", [])
        assert [quota(kit, name).used_bytes for name in ("one", "two")] == [0, 100]
        kit.plane.release("w/y", [])
        assert [(quota(kit, name).held_bytes, quota(kit, name).idle_bytes) for name in ("one", "two")] == [(0, 0), (0, 100)]

    going(a_kit(tmp_path), story)


def test_a_step_that_no_quota_has_room_for_is_refused_at_once(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        objects = [kit.far.put(name, 200) for name in "ab"]
        step = a_step("big", *objects)
        for namespace in ("lab", "any"):
            with pytest.raises(Refused, match=rf"needs 400 bytes .* of which namespace {namespace} may have 300 bytes"):
                await kit.plane.check("w", [step], namespace)
        await kit.plane.admit("w", [step], "wide")
        kit.plane.belongs("w", "any")
        kit.plane.acquire("w", step)
        await kit.until(lambda: kit.refusal("big"))
        assert "make namespaces.any.quota at least 400" in kit.refusal("big")
        many = [kit.far.put(f"m{n}", 1) for n in range(4)]
        with pytest.raises(Refused, match=r"needs 4 objects .* namespace few may have 3 objects"):
            await kit.plane.check("v", [a_step("many", *many)], "few")
        kit.plane.belongs("v", "few")
        kit.plane.acquire("v", a_step("many", *many))
        await kit.until(lambda: kit.refusal("many"))

    quotas = {"lab": Quota(bytes=300), "*": Quota(bytes=300), "wide": Quota(), "few": Quota(objects=3)}
    going(a_kit(tmp_path, **quotas), story)


def test_reading_ahead_stays_within_the_quota(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        steps = [a_step(f"s{n}", kit.far.put(f"o{n}", 100)) for n in range(6)]
        kit.plane.belongs("w", "lab")
        await kit.plane.admit("w", steps, "lab")
        kit.plane.announce("w", steps)
        await kit.until(lambda: len(kit.replicas()) >= 3)
        await asyncio.sleep(0.02)
        assert {row.ref.path for row in kit.replicas()} == {"o0", "o1", "o2"}
        for n, step in enumerate(steps):
            kit.plane.acquire("w", step)
            await kit.until(lambda n=n: kit.lease(f"s{n}"))
            assert quota(kit, "lab").used_bytes <= 300
            kit.plane.release(step.id, [])
        assert all(kit.far.count("fetch", ref(f"o{n}")) == 1 for n in range(6))

    going(a_kit(tmp_path, lab=Quota(bytes=300)), story)


def test_pins_of_objects_and_prefixes_hold_over_restarts_and_for_what_comes_later(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        objects = [kit.far.put(name, 100) for name in ("d/a", "d/e/b", "c")]
        for one in objects:
            await kit.plane.stage(one)
        pin = await kit.plane.pin(ref("d/"), "lab")
        assert (pin.objects, pin.size_bytes, pin.message) == (2, 200, "")
        await kit.plane.pin(objects[2])
        with pytest.raises(Refused, match="it is kept; unpin it first"):
            await kit.plane.evict(objects[0])
        await kit.kill()
        assert {(row.ref.path, row.keepers) for row in kit.replicas()} == {("d/a", ("lab",)), ("d/e/b", ("lab",)), ("c", ("",))}
        assert [(str(one.ref), one.namespace, one.objects) for one in kit.plane.pins()] == [
            ("far:c", "", 1),
            ("far:d/", "lab", 2),
        ]
        assert quota(kit, "lab").pinned_bytes == 200
        later = kit.far.put("d/later", 100)
        await kit.plane.stage(later)
        assert [row.keepers for row in kit.replicas() if row.ref == later] == [("lab",)]
        assert (await kit.plane.unpin(ref("d/"), "lab")).kept is False
        assert [str(one.ref) for one in kit.plane.pins()] == ["far:c"]
        with pytest.raises(Refused, match="is not pinned"):
            await kit.plane.unpin(ref("d/"), "lab")
        await kit.plane.evict(later)

    going(a_kit(tmp_path, lab=Quota(bytes=400)), story)


def test_what_is_pinned_counts_against_the_quota(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        objects = [kit.far.put(name, 100) for name in ("d/a", "d/b", "d/c", "e")]
        for one in objects:
            await kit.plane.stage(one)
        pin = await kit.plane.pin(ref("d/"), "lab")
        assert (pin.objects, pin.size_bytes) == (2, 200)
        assert "the quota of namespace lab has no room for it" in pin.message
        with pytest.raises(Refused, match="far:e cannot be kept now: the quota of namespace lab has no room"):
            await kit.plane.pin(objects[3], "lab")
        kit.plane.belongs("w", "lab")
        kit.plane.acquire("w", a_step("s", objects[3]))
        await kit.until(lambda: any("are pinned (jitflow data pins)" in text for text in kit.waits("s")))
        await kit.plane.unpin(ref("d/"), "lab")
        await kit.until(lambda: kit.lease("s"))

    going(a_kit(tmp_path, lab=Quota(bytes=250)), story)


def test_a_restart_knows_whose_leases_and_results_are(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        objects = [kit.far.put(name, 100) for name in "abc"]
        kit.plane.belongs("w", "lab")
        kit.plane.acquire("w", a_step("one", objects[0], objects[1]))
        await kit.until(lambda: kit.lease("one"))
        await kit.plane._core.journal.durable()
        await kit.kill()
        assert quota(kit, "lab").held_bytes == 200
        kit.events.clear()
        kit.plane.acquire("w", a_step("one", objects[0], objects[1]))
        kit.plane.acquire("w", a_step("two", objects[2]))
        await kit.until(lambda: any("in the quota of namespace lab" in text for text in kit.waits("two")))
        kit.plane.release("w/one", [])
        await kit.until(lambda: kit.lease("two"))
        kit.plane.release("w/two", [])
        kit.plane.withdraw("w")
        await kit.plane._core.journal.durable()
        assert not await kit.store.items("owner")

    going(a_kit(tmp_path, lab=Quota(bytes=250)), story)
