"""Somebody removes, changes or adds files of the primary; the state is lost; files that are near already are adopted."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from far_store import Kit, RemoteKit, a_step, ref

from jitflow.dataplane import Tuning
from jitflow.model.data import ObjectRef
from jitflow.model.problems import Refused
from jitflow.testing.memory_store import MemoryStore

KITS = pytest.mark.parametrize("kind", [Kit, RemoteKit])


def going(kit: Kit, story: Callable[[Kit], Awaitable[None]]) -> None:
    async def run() -> None:
        await kit.start()
        try:
            await story(kit)
        finally:
            await kit.plane.close()

    asyncio.run(run())


async def read(kit: Kit, name: str, *inputs: ObjectRef) -> list[bytes]:
    """Let a step read and end; return what it read."""
    kit.events.clear()
    kit.plane.acquire("w", a_step(name, *inputs))
    await kit.until(lambda: kit.lease(name) or kit.refusal(name))
    lease = kit.lease(name)
    assert lease is not None, kit.refusal(name)
    found = [Path(lease.paths[one]).read_bytes() for one in inputs]
    kit.plane.release(f"w/{name}", [])
    return found


def spoil(kit: Kit, one: ObjectRef, data: bytes | None) -> None:
    """Change or remove a replica behind the primary's back."""
    location = kit.plane._core.rows[one].location
    if isinstance(kit, RemoteKit):
        near = ref(f"primary/{location}", "near")
        kit.far.objects.pop(near)
        if data is not None:
            kit.far.objects[near] = data
    elif data is None:
        (kit.root / location).unlink()
    else:
        (kit.root / location).write_bytes(data)
        os.utime(kit.root / location, (1, 1))


@KITS
@pytest.mark.parametrize("data", [None, b"y" * 100, b"longer" * 100])
def test_a_step_never_gets_a_changed_file(kind: type[Kit], data: bytes | None, tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        a, b = kit.far.put("a", 100), kit.far.put("b", 50)
        await kit.plane.stage(a)
        await kit.plane.stage(b)
        spoil(kit, a, data)
        assert await read(kit, "two", a, b) == [b"x" * 100, b"x" * 50]
        assert (kit.far.count("fetch", a), kit.far.count("fetch", b)) == (2, 1)
        assert kit.plane._core.planner.audit() == ()

    going(kind(tmp_path, 1000), story)


@KITS
def test_the_catalogue_follows_what_is_there(kind: type[Kit], tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        refs = [kit.far.put(name, 100) for name in "abcd"]
        await read(kit, "one", *refs)
        spoil(kit, refs[0], None)
        spoil(kit, refs[1], b"?" * 99)
        check = await kit.plane.compare()
        assert (check.replicas, check.changed) == (4, ("far:a", "far:b"))
        await kit.until(lambda: len(kit.replicas()) == 2)
        assert kit.plane.fill().used_bytes == 200
        assert (await kit.plane.compare()).changed == ()

    going(kind(tmp_path, 1000), story)


@KITS
def test_what_is_read_stays_until_it_was_read(kind: type[Kit], tmp_path: Path) -> None:
    """Another step that asks meanwhile waits for a fresh copy."""

    async def story(kit: Kit) -> None:
        a = kit.far.put("a", 100)
        kit.plane.acquire("w", a_step("one", a))
        await kit.until(lambda: kit.lease("one"))
        spoil(kit, a, b"?" * 99)
        assert (await kit.plane.compare()).changed == ("far:a",)
        kit.plane.acquire("w", a_step("two", a))
        await asyncio.sleep(0.02)
        assert kit.lease("two") is None
        assert kit.plane._core.planner.audit() == ()
        kit.plane.release("w/one", [])
        await kit.until(lambda: kit.lease("two"))
        assert kit.far.count("fetch", a) == 2

    going(kind(tmp_path, 1000), story)


def test_strangers_take_room_until_they_are_removed(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        a = kit.far.put("a", 600)
        (kit.root / "notes.txt").write_bytes(b"n" * 500)
        check = await kit.plane.compare()
        assert (check.strangers, check.strangers_bytes, check.removed) == ({"notes.txt": 500}, 500, ())
        assert kit.plane.fill().strangers_bytes == 500
        kit.plane.acquire("w", a_step("one", a))
        await asyncio.sleep(0.05)
        assert kit.lease("one") is None
        check = await kit.plane.compare(remove=True)
        assert (check.removed, check.strangers_bytes) == (("notes.txt",), 0)
        await kit.until(lambda: kit.lease("one"))
        assert not (kit.root / "notes.txt").exists()

    # The disk is compared on the wall's time, patience ends on a clock a thousand times faster.
    tuning = Tuning(draw=lambda: 0.5, check_every_s=0, disk_patience_s=1e9)
    going(Kit(tmp_path, 1000, tuning=tuning), story)


def test_hashes_show_what_times_do_not(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        a = kit.far.put("a", 100)
        kit.far.hashes = True
        await read(kit, "one", a)
        path = kit.root / kit.plane._core.rows[a].location
        seen = path.stat()
        path.write_bytes(b"y" * 100)
        os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
        assert (await kit.plane.compare()).changed == ()
        assert (await kit.plane.compare(hashes=True)).changed == ("far:a",)
        assert await read(kit, "two", a) == [b"x" * 100]

    going(Kit(tmp_path, 1000), story)


def test_it_is_compared_now_and_then(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        a = kit.far.put("a", 100)
        await read(kit, "one", a)
        spoil(kit, a, None)
        await kit.until(lambda: not kit.replicas())
        assert (kit.root / "catalogue.jsonl").exists()

    going(Kit(tmp_path, 1000, tuning=Tuning(check_every_s=120)), story)


@KITS
def test_a_primary_is_understood_without_the_state(kind: type[Kit], tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        a, b = kit.far.put("a", 100), kit.far.put("b", 50)
        kit.far.put("d/x", 10)
        await read(kit, "one", a, b)
        kit.plane.acquire("w", a_step("tree", ref("d/")))
        await kit.until(lambda: kit.lease("tree"))
        kit.plane.release("w/tree", [])
        await kit.plane.pin(a)
        await kit.plane.close()
        spoil(kit, b, None)
        kit.store = MemoryStore()
        kit.plane = kit.make()
        await kit.start()
        assert [(row.ref, row.kept) for row in kit.replicas()] == [(a, True), (ref("d/"), False)]
        assert await read(kit, "two", a) == [b"x" * 100]
        assert kit.far.count("fetch", a) == 1

    going(kind(tmp_path, 1000), story)


@pytest.mark.parametrize("move", [False, True])
def test_files_that_are_near_are_adopted(move: bool, tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        kit.far.hashes = True
        refs = [kit.far.put(f"set/{name}", 100) for name in ("a", "d/b", "other", "size")]
        old = tmp_path / "old"
        (old / "d").mkdir(parents=True)
        contents = {"a": b"x" * 100, "d/b": b"x" * 100, "other": b"y" * 100, "size": b"x" * 9, "unknown": b"x" * 100}
        for name, data in contents.items():
            (old / name).write_bytes(data)
        (old / "link").symlink_to(old / "a")
        done = await kit.plane.adopt(str(old), ref("set"), move=move)
        assert (done.adopted, done.adopted_bytes, done.refs) == (2, 200, ("far:set/a", "far:set/d/b"))
        assert {name: why.split()[0] for name, why in done.reasons.items()} == {"other": "its", "size": "it", "unknown": "there"}
        assert (old / "a").exists() is not move
        assert kit.plane.fill().used_bytes == 200
        assert await read(kit, "one", *refs[:2]) == [b"x" * 100] * 2
        assert kit.far.count("fetch", refs[0]) == 0
        again = await kit.plane.adopt(str(old), ref("set/"), move=move)
        assert again.adopted == 0
        await kit.kill()
        assert [row.ref for row in kit.replicas()] == refs[:2]

    going(Kit(tmp_path, 1000), story)


def test_no_more_is_adopted_than_there_is_room(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        kit.far.hashes = True
        (tmp_path / "old").mkdir()
        for name in "abc":
            kit.far.put(f"set/{name}", 400)
            (tmp_path / "old" / name).write_bytes(b"x" * 400)
        done = await kit.plane.adopt(str(tmp_path / "old"), ref("set/"))
        assert (done.adopted, done.skipped, set(done.reasons.values())) == (2, 1, {"the primary has no room for it"})
        assert kit.plane._core.planner.audit() == ()
        for wrong in ("old", str(kit.root / "objects"), str(tmp_path / "none")):
            with pytest.raises(Refused):
                await kit.plane.adopt(wrong, ref("set/"))

    going(Kit(tmp_path, 1000), story)


def test_a_remote_primary_adopts_objects_of_its_own_remote(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        kit.far.hashes = True
        a = kit.far.put("set/a", 100)
        kit.far.objects[ref("old/a", "near")] = b"x" * 100
        done = await kit.plane.adopt("near:old", ref("set/"), move=True)
        assert done.adopted == 1
        assert ref("old/a", "near") not in kit.far.objects
        assert await read(kit, "one", a) == [b"x" * 100]
        assert kit.far.calls.count(("fetch", a)) == 0
        for wrong in ("far:set/", "near:primary/objects/", "/tmp"):
            with pytest.raises(Refused):
                await kit.plane.adopt(wrong, ref("set/"))

    going(RemoteKit(tmp_path, 1000), story)
