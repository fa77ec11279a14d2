"""Packed rows say what was put in, old ones are understood, and lists come in pages."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from far_store import Kit, a_step, ref

from jitflow.dataplane.catalogue import Catalogue, Reading, pack, same_place, unpack
from jitflow.dataplane.names import location_of
from jitflow.model.data import ObjectRef, Replica, ReplicaState


def a_row(path: str, *, content: str = "", **more: object) -> Replica:
    one = ref(path)
    values = {"version": "v1", "stamp": "mtime:1", "last_used_at": 1.5, **more}
    return Replica(ref=one, size_bytes=7, state=ReplicaState.RESIDENT, location=location_of(one, "v1"), content=content, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "row",
    [
        a_row("a"),
        a_row("d/with:colon and ü", dirty=True, content="md5:0:7"),
        a_row("kept", kept=True, keepers=("", "lab")),
        msgspec.structs.replace(a_row("odd"), location="somewhere/else", stamp=""),
        Replica(ref=ObjectRef(remote="s3@store-0123456789ab", path=""), size_bytes=0, state=ReplicaState.RESIDENT, location="x"),
    ],
)
def test_a_row_comes_out_as_it_went_in(row: Replica):
    body = pack(row)
    assert unpack(str(row.ref), body) == row
    assert len(body) < 200
    assert same_place(row, body)
    assert not same_place(msgspec.structs.replace(row, stamp="mtime:2"), body)
    assert not same_place(row, None)
    assert unpack(str(row.ref), msgspec.json.encode(row)) == row, "rows of earlier versions are JSON"


def test_a_row_is_touched_and_measured_without_another_change():
    rows = Catalogue()
    row = a_row("a", content="md5:1:7", dirty=True, kept=True, keepers=("lab",))
    rows.put(row)
    rows.touch(row.ref, 9.5)
    rows.touch(ref("gone"), 9.5)
    assert rows.get(row.ref) == msgspec.structs.replace(row, last_used_at=9.5)
    assert (rows.size(row.ref), rows.size(ref("gone")), len(rows)) == (7, None, 1)
    assert rows.has_content("md5:1:7")
    assert not rows.has_content("md5:2:7")


def test_equal_contents_are_found_and_forgotten_with_their_rows():
    rows = Catalogue()
    for name in ("b", "a", "c"):
        rows.put(a_row(name, content="md5:1:7"))
    rows.load([("far:d", msgspec.json.encode(a_row("d", content="md5:1:7")))], Reading())
    assert rows.of_content("md5:1:7") == tuple(ref(name) for name in "abcd")
    rows.put(a_row("b", content="md5:2:7"))
    rows.pop(ref("a"))
    rows.pop(ref("a"))
    rows.pop(ref("c"))
    assert (rows.of_content("md5:1:7"), rows.of_content("md5:2:7")) == ((ref("d"),), (ref("b"),))
    rows.pop(ref("d"))
    assert (rows.of_content("md5:1:7"), len(rows)) == ((), 1)


def test_a_snapshot_stays_as_it_was():
    rows = Catalogue()
    rows.put(a_row("a"))
    before = rows.snapshot()
    rows.put(a_row("b"))
    rows.put(a_row("a", last_used_at=2.0))
    assert [row.ref for row in before] == [ref("a")]
    assert {row.ref for row in rows.newer(before)} == {ref("a"), ref("b")}
    marked, others = rows.standing(rows.reading(), ["far:b"])
    assert ([row.ref for row in marked], others) == ([ref("b")], [("far:a", 7)])


def test_replicas_are_listed_in_pages_with_what_is_on_its_way(tmp_path: Path) -> None:
    async def run() -> None:
        kit = Kit(tmp_path, 10_000)
        plane = await kit.start()
        for n in range(7):
            await plane.stage(kit.far.put(f"o{n}", 10))
        coming = kit.far.put("o35", 10)
        gate = kit.far.gates["fetch", coming] = asyncio.Event()
        plane.acquire("w", a_step("s", coming))
        await kit.until(lambda: plane.replica(coming))
        names: list[list[str]] = []
        after = ""
        while True:
            page = await plane.replicas(after=after, limit=3)
            names.append([row.ref.path for row in page.items])
            after = page.next
            if not after:
                break
        assert names == [["o0", "o1", "o2"], ["o3", "o35", "o4"], ["o5", "o6"]]
        assert (await plane.replicas(after="far:o3", limit=1)).items[0].state is ReplicaState.TRANSFERRING
        gate.set()
        await kit.until(lambda: kit.lease("s"))
        await plane.close()

    asyncio.run(run())


def test_what_an_earlier_version_has_kept_becomes_a_pin(tmp_path: Path) -> None:
    async def run() -> None:
        kit = Kit(tmp_path, 1000)
        plane = await kit.start()
        a = kit.far.put("a", 10)
        await plane.stage(a)
        row = plane.replica(a)
        assert row is not None
        await plane.close()
        await kit.store.put("replica", [(str(a), msgspec.json.encode(msgspec.structs.replace(row, kept=True)))])
        kit.plane = kit.make()
        plane = await kit.start()
        assert [(str(pin.ref), pin.namespace, pin.objects) for pin in plane.pins()] == [("far:a", "", 1)]
        await plane.unpin(a)
        await plane.close()
        kit.plane = kit.make()
        plane = await kit.start()
        assert plane.pins() == ()
        await plane.evict(a)
        await plane.close()

    asyncio.run(run())
