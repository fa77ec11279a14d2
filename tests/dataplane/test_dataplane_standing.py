"""Where each input of a step stands, when it is expected, and where it came from."""

import asyncio
from pathlib import Path

import pytest
from far_store import Kit, a_step, ref

from jitflow.dataplane.standing import GATHERED

RATE = 100.0


async def moved(kit: Kit, name: str, done_bytes: int, seconds: float) -> None:
    """Let the transfer of an object that waits at its gate have come so far in so long."""
    await kit.until(lambda: ref(name) in kit.plane._transfers.flights)
    kit.plane._transfers.flights[ref(name)].done_bytes = done_bytes
    kit.clock.time = kit.plane._transfers.flights[ref(name)].started_at + seconds


def test_what_moves_tells_its_bytes_and_what_is_queued_its_place_and_time(tmp_path: Path) -> None:
    async def run() -> None:
        kit = Kit(tmp_path, 5000, transfers=1)
        plane = await kit.start()
        refs = [kit.far.put(name, 1000) for name in ("a", "b", "c")]
        for one in refs:
            kit.far.gates[("fetch", one)] = asyncio.Event()
        plane._core.history.counters.rates["far"] = RATE
        plane.acquire("w", a_step("s", *refs))
        await moved(kit, "a", 400, 8.0)
        found = plane.standing("w/s")
        assert (found.phase, found.read) == ("fetching", ())
        moving, second, third = found.objects
        assert (moving.state, moving.done_bytes, moving.rate_Bps, moving.expected_s) == ("transferring", 400, 50.0, 12.0)
        assert moving.message == "400 B of 1.0 kB are here at 50 B/s, expected in about 12 s"
        assert (second.state, second.queue, second.expected_s) == ("queued", 1, pytest.approx(16.0))
        assert (third.queue, third.expected_s) == (2, pytest.approx(26.0))
        assert found.expected_s == third.expected_s
        assert found.waited_s is not None
        assert found.waited_s >= 8.0
        for gate in kit.far.gates.values():
            gate.set()
        await kit.until(lambda: kit.lease("s"))
        begun = plane.standing("w/s")
        assert (begun.phase, begun.objects, begun.expected_s) == ("running", (), 0.0)
        assert [(one.ref, one.source, one.size_bytes) for one in begun.read] == [(str(one), "waited", 1000) for one in refs]
        await plane.close()

    asyncio.run(run())


def test_without_a_measured_rate_nothing_is_expected(tmp_path: Path) -> None:
    async def run() -> None:
        kit = Kit(tmp_path, 5000, transfers=1)
        plane = await kit.start()
        a = kit.far.put("a", 1000)
        kit.far.gates[("fetch", a)] = asyncio.Event()
        plane.acquire("w", a_step("s", a))
        await kit.until(lambda: a in plane._transfers.flights)
        found = plane.standing("w/s")
        assert (found.expected_s, found.objects[0].expected_s) == (None, None)
        assert "nothing is known of the link's rate" in found.objects[0].message
        await plane.close()

    asyncio.run(run())


def test_a_step_without_room_says_how_much_it_lacks_and_expects_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        kit = Kit(tmp_path, 1000)
        plane = await kit.start()
        plane._core.history.counters.rates["far"] = RATE
        a, b = kit.far.put("a", 700), kit.far.put("b", 600)
        plane.acquire("w", a_step("first", a))
        await kit.until(lambda: kit.lease("first"))
        plane.acquire("w", a_step("second", b))
        await kit.until(lambda: plane.standing("w/second").reason.startswith("waiting for room"))
        found = plane.standing("w/second")
        assert found.reason == "waiting for room in the primary: 300 B more than the 1.0 kB allow now"
        assert (found.phase, found.expected_s) == ("waiting", None)
        assert found.objects[0].message == "not asked for yet: the primary has no room for the step"
        await plane.close()

    asyncio.run(run())


def test_a_step_to_come_names_the_writer_of_what_is_not_there_yet(tmp_path: Path) -> None:
    async def run() -> None:
        kit = Kit(tmp_path, 1000)
        plane = await kit.start()
        made, given = ref("made"), kit.far.put("given", 10)
        plane.announce("w", [a_step("maker", outputs=[(made, 5)]), a_step("reader", made, given)])
        await kit.until(lambda: plane._core.planner.item(given).state.value == "resident")
        found = plane.standing("w/reader")
        assert (found.phase, found.reason, found.waited_s) == ("waiting", "its objects are fetched ahead of it", None)
        assert [one.message for one in found.objects] == ["not there yet: w/maker will write it", "here"]
        assert plane.standing("w/nobody").phase == ""
        await plane.close()

    asyncio.run(run())


def test_what_a_step_read_is_remembered_over_a_restart(tmp_path: Path) -> None:
    async def run() -> None:
        kit = Kit(tmp_path, 1000)
        plane = await kit.start()
        ahead, made = kit.far.put("ahead", 100), ref("made")
        maker, reader = a_step("maker", outputs=[(made, 50)]), a_step("reader", ahead, made, optional=[ref("none")])
        plane.announce("w", [maker, reader])
        plane.acquire("w", maker)
        await kit.until(lambda: kit.lease("maker") and ahead in plane._core.rows)
        plane.release("w/maker", [kit.output(made, 50)])
        await kit.until(lambda: kit.staged("maker"))
        kit.clock.time += 5
        plane.acquire("w", reader)
        await kit.until(lambda: kit.lease("reader"))
        plane.release("w/reader", [])
        plane = await _again(kit)
        found = plane.standing("w/reader")
        assert found.phase == "done"
        assert [(one.ref, one.source) for one in found.read] == [
            ("far:ahead", "ahead"),
            ("far:made", "step"),
            ("far:none", "none"),
        ]
        assert found.read[1].message == "was written into the primary by w/maker"
        assert found.waited_s == pytest.approx(0.0, abs=1.0)
        other = a_step("v/other", ahead)
        plane.acquire("v", other)
        await kit.until(lambda: plane.standing("v/other").phase == "running")
        (near,) = plane.standing("v/other").read
        assert (near.source, near.message) == ("near", "was in the primary: another workflow had fetched it")
        await plane.close()

    async def _again(kit: Kit):
        await kit.plane.close()
        kit.plane = kit.make()
        return await kit.start()

    asyncio.run(run())


def test_a_reader_of_a_directory_waits_for_what_is_written_into_it(tmp_path: Path) -> None:
    async def run() -> None:
        kit = Kit(tmp_path, 1000)
        plane = await kit.start()
        part = ref("dir/part")
        kit.far.gates[("store", part)] = asyncio.Event()
        writer = a_step("writer", outputs=[(part, 5)])
        plane.acquire("w", writer)
        await kit.until(lambda: kit.lease("writer"))
        plane.release("w/writer", [kit.output(part, 5)])
        plane.acquire("w", a_step("reader", ref("dir/")))
        assert (plane.standing("w/reader").phase, plane.standing("w/reader").reason) == ("waiting", GATHERED)
        kit.far.gates[("store", part)].set()
        await kit.until(lambda: kit.lease("reader"))
        await plane.close()

    asyncio.run(run())


@pytest.mark.parametrize("restarted", [False, True], ids=["at once", "after a restart"])
def test_a_directory_is_not_read_ahead_while_parts_of_it_are_on_their_way(tmp_path: Path, restarted: bool) -> None:
    async def run() -> None:
        kit = Kit(tmp_path, 1000)
        plane = await kit.start()
        reader, last = a_step("reader", ref("dir/")), ref("dir/last")
        kit.far.gates[("store", last)] = asyncio.Event()
        for name, part in (("one", ref("dir/first")), ("two", last)):
            writer = a_step(name, outputs=[(part, 5)])
            plane.acquire("w", writer)
            await kit.until(lambda name=name: kit.lease(name))
            plane.release(f"w/{name}", [kit.output(part, 5)])
        await kit.until(lambda: kit.staged("one"))
        if restarted:
            await plane.close()
            kit.plane = kit.make()
            plane = await kit.start()
        plane.announce("w", [reader])
        await asyncio.sleep(0.1)
        assert ref("dir/") not in plane._core.infos, "it is not looked up before all of it is far away"
        plane.acquire("w", reader)
        assert plane.standing("w/reader").reason == GATHERED
        kit.far.gates[("store", last)].set()
        await kit.until(lambda: kit.lease("reader"))
        assert plane._core.rows[ref("dir/")].size_bytes == 10
        await plane.close()

    asyncio.run(run())
