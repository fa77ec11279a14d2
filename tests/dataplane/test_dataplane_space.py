"""The primary's space: capacity to the byte, who is evicted, directories, what people do by hand, what they are told."""

import asyncio
import errno
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from far_store import Kit, a_step, ref

from jitflow.model.pods import CollectedArtifact
from jitflow.model.problems import Refused
from jitflow.ports.dataplane import OutputObject


def going(tmp_path: Path, capacity: int, story: Callable[[Kit], Awaitable[None]], **options: object) -> None:
    async def run() -> None:
        kit = Kit(tmp_path, capacity, **options)
        await kit.start()
        await story(kit)
        kit.watch()
        await kit.plane.close()

    asyncio.run(run())


def test_what_is_read_last_is_evicted_first(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        names = [kit.far.put(name, 100) for name in ("soon", "late", "never")]
        for one in reversed(names):
            await kit.plane.stage(one)
        new = kit.far.put("new", 100)
        steps = [a_step("s0", new), a_step("s1", names[0]), a_step("s2", names[1])]
        kit.plane.announce("w", steps)
        kit.plane.acquire("w", steps[0])
        await kit.until(lambda: kit.lease("s0"))
        assert {row.ref.path for row in kit.replicas()} == {"new", "soon", "late"}
        kit.plane.acquire("w", a_step("s3", kit.far.put("newer", 100)))
        await kit.until(lambda: kit.lease("s3"))
        assert {row.ref.path for row in kit.replicas()} == {"new", "soon", "newer"}

    going(tmp_path, 300, story, window=1)


def test_an_output_that_does_not_fit_goes_straight_to_its_secondary(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        a, out = kit.far.put("a", 250), ref("out")
        kit.plane.acquire("w", a_step("s", a, outputs=[(out, 50)]))
        kit.plane.acquire("w", a_step("holder", a))
        await kit.until(lambda: kit.lease("s") and kit.lease("holder"))
        kit.far.gates["store", out] = gate = asyncio.Event()
        kit.plane.release("w/s", [kit.output(out, 200)])
        reader = a_step("reader", out)
        kit.plane.acquire("w", reader)
        await kit.until(lambda: any("reached its secondary" in text for text in kit.waits("reader")))
        assert kit.plane.fill().dirty_bytes == 0
        kit.plane.release("w/holder", [])
        gate.set()
        await kit.until(lambda: kit.lease("reader"))
        assert kit.staged("s") is not None
        assert kit.far.count("fetch", out) == 1

    going(tmp_path, 300, story)


def test_an_output_evicted_after_its_proof_is_fetched_back(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        out, a = ref("out"), kit.far.put("a", 300)
        kit.plane.acquire("w", a_step("s", outputs=[(out, 200)]))
        kit.plane.release("w/s", [kit.output(out, 200, b"r")])
        kit.far.gates["store", out] = gate = asyncio.Event()
        kit.plane.acquire("w", a_step("other", a))
        await kit.until(lambda: any("waiting for room" in text for text in kit.waits("other")))
        assert kit.plane.fill().dirty_bytes == 200
        gate.set()
        await kit.until(lambda: kit.lease("other"))
        kit.plane.release("w/other", [])
        kit.plane.acquire("w", a_step("reader", out))
        await kit.until(lambda: kit.lease("reader"))
        lease = kit.lease("reader")
        assert lease is not None
        assert Path(lease.paths[out]).read_bytes() == b"r" * 200

    going(tmp_path, 300, story)


def test_an_output_written_anew_replaces_the_old_one(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        out = kit.far.put("out", 100, b"1")
        await kit.plane.stage(out)
        kit.plane.acquire("w", a_step("s", outputs=[(out, 150)]))
        kit.plane.release("w/s", [kit.output(out, 150, b"2")])
        await kit.until(lambda: kit.staged("s"))
        kit.plane.acquire("w", a_step("reader", out))
        await kit.until(lambda: kit.lease("reader"))
        # While it is read, a third version goes past it and the second one leaves when its reader has ended.
        kit.plane.acquire("w", a_step("t", outputs=[(out, 10)]))
        kit.plane.release("w/t", [kit.output(out, 10, b"3")])
        kit.plane.release("w/t2", [kit.output(out, 10, b"4")])
        await kit.until(lambda: kit.staged("t") and kit.staged("t2"))
        lease = kit.lease("reader")
        assert lease is not None
        assert Path(lease.paths[out]).read_bytes() == b"2" * 150
        kit.plane.release("w/reader", [])
        kit.plane.acquire("w", a_step("last", out))
        await kit.until(lambda: kit.lease("last"))
        assert Path(kit.lease("last").paths[out]).read_bytes() == b"4" * 10  # type: ignore[union-attr]

    going(tmp_path, 400, story)


def test_directories_come_and_go_whole(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        kit.far.put("tree/a.txt", 100, b"a")
        kit.far.put("tree/sub/b.txt", 50, b"b")
        tree, out = ref("tree/"), ref("result/")
        kit.plane.acquire("w", a_step("s", tree, outputs=[(out, None)]))
        await kit.until(lambda: kit.lease("s"))
        lease = kit.lease("s")
        assert lease is not None
        assert lease.sizes[tree] == 150
        assert (Path(lease.paths[tree]) / "sub" / "b.txt").read_bytes() == b"b" * 50
        made = tmp_path / "pods" / "result"
        (made / "deep").mkdir(parents=True)
        (made / "deep" / "x").write_bytes(b"x" * 70)
        given = OutputObject(ref=out, artifact=CollectedArtifact(name="o", source=str(made), size_bytes=70, is_directory=True))
        kit.plane.release("w/s", [given])
        kit.plane.acquire("w", a_step("reader", out))
        await kit.until(lambda: kit.lease("reader"))
        await kit.until(lambda: kit.staged("s"))
        assert kit.far.objects[ref("result/deep/x")] == b"x" * 70
        kit.plane.release("w/reader", [])
        await kit.plane.evict(tree)
        assert kit.disk() == 70

    going(tmp_path, 300, story)


def test_what_lies_in_an_output_is_read_at_every_moment_of_its_way_out(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        out, part = ref("result/"), ref("result/x")
        kit.plane.acquire("w", a_step("s", outputs=[(out, None)]))
        await kit.until(lambda: kit.lease("s"))
        made = tmp_path / "pods" / "result"
        made.mkdir()
        (made / "x").write_bytes(b"x" * 70)
        given = OutputObject(ref=out, artifact=CollectedArtifact(name="o", source=str(made), size_bytes=70, is_directory=True))
        kit.plane.release("w/s", [given])
        readers: list[str] = []
        open_readers: set[str] = set()

        def served() -> bool:
            for name in [name for name in open_readers if kit.lease(name) or kit.refusal(name)]:
                open_readers.discard(name)
                kit.plane.release(f"w/{name}", [])
            return not open_readers

        while kit.staged("s") is None:
            readers.append(f"reader-{len(readers)}")
            open_readers.add(readers[-1])
            kit.plane.acquire("w", a_step(readers[-1], part))
            await asyncio.sleep(0)
            served()
        assert len(readers) > 5
        await kit.until(served)
        assert {kit.refusal(name) for name in readers} == {""}

    going(tmp_path, 300, story)


def test_optional_inputs_may_be_missing(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        there = kit.far.put("there", 10)
        kit.plane.acquire("w", a_step("s", optional=[ref("gone"), there]))
        await kit.until(lambda: kit.lease("s"))
        lease = kit.lease("s")
        assert lease is not None
        assert (lease.absent, set(lease.paths)) == ((ref("gone"),), {there})

    going(tmp_path, 300, story)


def test_a_withdrawn_workflow_leaves_nothing_under_way(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        a, b = kit.far.put("a", 300), kit.far.put("b", 10)
        kit.far.gates["fetch", a] = asyncio.Event()
        kit.plane.announce("w", [a_step("s", a), a_step("t", b)])
        kit.plane.acquire("w", a_step("s", a))
        await kit.until(lambda: kit.far.count("fetch", a))
        kit.plane.withdraw("w")
        await kit.until(lambda: kit.plane.fill().used_bytes <= 10)
        assert kit.lease("s") is None
        assert kit.plane.step_data("w") == []
        records, _ = await kit.plane.timeline()
        assert ("far:a", "cancelled") in {(str(record.ref), record.outcome) for record in records}

    going(tmp_path, 400, story)


def test_what_people_do_by_hand(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        plane = kit.plane
        a, b = kit.far.put("a", 200), kit.far.put("b", 150)
        with pytest.raises(Refused, match="not in the primary; stage it first"):
            await plane.pin(a)
        assert (await plane.stage(a)).size_bytes == 200
        assert (await plane.pin(a)).kept
        with pytest.raises(Refused, match="it is kept; unpin it first"):
            await plane.evict(a)
        with pytest.raises(Refused, match="far:big has 301 bytes, and the primary 300"):
            await plane.stage(kit.far.put("big", 301))
        with pytest.raises(Refused) as missing:
            await plane.stage(ref("gone"))
        assert missing.value.code == "not_found"
        plane.acquire("w", a_step("s", b))
        await kit.until(lambda: any("200 B are kept by hand" in text for text in kit.waits("s")))
        await plane.unpin(a)
        await kit.until(lambda: kit.lease("s"))
        with pytest.raises(Refused, match=r"1 step\(s\) read it"):
            await plane.evict(b)
        with pytest.raises(Refused, match="is not in the primary"):
            await plane.evict(a)
        kit.far.put("b", 150, b"new")
        plane.release("w/s", [])
        await plane.evict(b)
        assert kit.replicas() == []
        assert kit.disk() == 0

    going(tmp_path, 300, story)


def test_staging_again_fetches_what_has_changed(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        a = kit.far.put("a", 200, b"1")
        await kit.plane.stage(a)
        await kit.plane.stage(a)
        assert kit.far.count("fetch", a) == 1
        kit.far.put("a", 200, b"2")
        row = await kit.plane.stage(a)
        assert (kit.root / row.location).read_bytes() == b"2" * 200
        assert kit.plane.fill().fetched_twice_bytes == 0
        kit.far.put("a", 100, b"3")
        await kit.plane.check("w", [a_step("s", a)])
        kit.plane.acquire("w", a_step("s", a))
        await kit.until(lambda: kit.lease("s"))
        assert kit.lease("s").sizes == {a: 100}  # type: ignore[union-attr]

    going(tmp_path, 300, story)


def test_a_newer_workflow_reads_no_older_copy_of_what_it_names_late_or_in_a_folder(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        inside, late = kit.far.put("d/a", 20, b"1"), kit.far.put("late", 20, b"1")
        kit.far.put("d/b", 20)
        await kit.plane.stage(ref("d/"))
        await kit.plane.stage(late)
        kit.far.put("d/a", 30, b"2")
        kit.far.put("late", 30, b"2")
        await kit.plane.admit("w", [a_step("s", inside)])
        for name, one in (("s", inside), ("t", late)):
            kit.plane.acquire("w", a_step(name, one))
            await kit.until(lambda name=name: kit.lease(name))
            lease = kit.lease(name)
            assert lease is not None
            assert Path(lease.paths[one]).read_bytes() == b"2" * 30
        looks = kit.far.count("stat", ref("d/"))
        kit.plane.acquire("w", a_step("again", inside))
        await kit.until(lambda: kit.lease("again"))
        assert kit.far.count("stat", ref("d/")) == looks, "the folder was looked up since the workflow was submitted"

    going(tmp_path, 300, story)


def test_people_see_how_far_it_is(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        a, b, out = kit.far.put("a", 200), kit.far.put("b", 50), ref("out")
        kit.far.gates["fetch", a] = asyncio.Event()
        step = a_step("s", a, b, outputs=[(out, 10)])
        kit.plane.announce("w", [step, a_step("later", out)])
        kit.plane.acquire("w", step)
        await kit.until(lambda: len(kit.plane.step_data("w")[0].objects) == 1)
        first, later = kit.plane.step_data("w")
        assert (first.phase, first.bytes_total, first.objects) == ("fetching", 250, (("far:a", "transferring", 0, 200, 0),))
        assert first.reason.startswith("waiting for data: far:a (0 B of 200 B")
        assert later.phase == "waiting"
        kit.far.gates["fetch", a].set()
        await kit.until(lambda: kit.lease("s"))
        assert kit.plane.step_data("w")[0].phase == "ready"
        kit.far.gates["store", out] = gate = asyncio.Event()
        kit.plane.release("w/s", [kit.output(out, 10)])
        await kit.until(lambda: kit.plane._stageout.flights)
        leaving = kit.plane.step_data("w")[-1]
        assert (leaving.step, leaving.phase, leaving.bytes_total, leaving.bytes_done) == ("w/s", "staging-out", 10, 0)
        gate.set()
        await kit.until(lambda: kit.staged("s"))
        assert kit.plane.step_data("w")[-1].phase == "done"
        fill = kit.plane.fill()
        assert (fill.stored_bytes, fill.fetched_bytes, fill.dirty_bytes) == (10, 250, 0)
        estimate = await kit.plane.check("v", [a_step("v/x", a, kit.far.put("c", 100))])
        assert (estimate.resident_bytes, estimate.to_move_bytes) == (200, 100)

    going(tmp_path, 300, story)


def test_the_expected_time_is_known_once_the_link_is(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        kit.plane._core.history.counters.rates["far"] = 100.0
        steps = [a_step(f"s{n}", kit.far.put(f"f{n}", 100)) for n in range(3)]
        estimate = await kit.plane.check("w", steps)
        assert (estimate.link_Bps, estimate.transfer_s, estimate.peak_bytes) == (100.0, 3.0, 200)
        assert estimate.expected_s == pytest.approx(3.0, abs=0.3)

    going(tmp_path, 200, story)


def test_an_output_on_another_file_system_is_copied_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def far_rename(source: Path, target: Path) -> Path:
        if source.parent.name == "pods":
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(source, target)

    async def story(kit: Kit) -> None:
        monkeypatch.setattr(Path, "rename", far_rename)
        out, tree = ref("out"), ref("tree/")
        made = tmp_path / "pods" / "tree"
        made.mkdir()
        (made / "x").write_bytes(b"x" * 30)
        given = [
            kit.output(out, 100),
            OutputObject(ref=tree, artifact=CollectedArtifact(name="t", source=str(made), size_bytes=30, is_directory=True)),
        ]
        kit.plane.release("w/s", given)
        await kit.until(lambda: kit.staged("s"))
        assert {row.ref for row in kit.replicas()} == {out, tree}
        assert not made.exists()
        assert kit.disk() == 130

    going(tmp_path, 300, story)


def test_an_output_that_cannot_be_moved_in_is_sent_from_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, location: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    async def story(kit: Kit) -> None:
        monkeypatch.setattr(kit.plane._core.primary, "take", refuse)
        out = ref("out")
        kit.plane.release("w/s", [kit.output(out, 100)])
        await kit.until(lambda: kit.staged("s"))
        assert kit.staged("s").error == ""  # type: ignore[union-attr]
        assert kit.plane.fill().used_bytes == 0
        assert kit.far.objects[out] == b"o" * 100

    going(tmp_path, 300, story)


def test_a_lease_that_is_never_returned_expires_after_its_workflow(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        a = kit.far.put("a", 100)
        kit.plane.acquire("w", a_step("s", a))
        await kit.until(lambda: kit.lease("s"))
        kit.plane.withdraw("w")
        assert kit.plane.fill().pinned_bytes == 100
        await kit.until(lambda: kit.plane.fill().pinned_bytes == 0)

    going(tmp_path, 300, story)


def test_a_lease_that_is_never_returned_expires_though_the_clock_is_set_back(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        a = kit.far.put("a", 100)
        kit.plane.acquire("w", a_step("s", a))
        await kit.until(lambda: kit.lease("s"))
        kit.plane.withdraw("w")
        kit.clock.time -= 3600
        await kit.until(lambda: kit.plane.fill().pinned_bytes == 0)

    going(tmp_path, 300, story)
