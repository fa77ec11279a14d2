"""What goes wrong far away or on the disk: tried again where that helps, else refused in words that say what to do."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from far_store import Kit, a_step, ref
from msgspec.structs import replace

from jitflow.dataplane import Tuning
from jitflow.model.problems import Refused
from jitflow.ports.dataplane import Lease, Waiting
from jitflow.ports.errors import AccessRefused, Corrupt, DiskFull, Retryable, Stalled, Unreachable


def going(tmp_path: Path, capacity: int, story: Callable[[Kit], Awaitable[None]], **options: object) -> None:
    async def run() -> None:
        kit = Kit(tmp_path, capacity, **options)
        await kit.start()
        await story(kit)
        await kit.plane.close()

    asyncio.run(run())


@pytest.mark.parametrize("error", [Unreachable("cut"), Stalled("no progress for 60 s"), Corrupt("hash differs")])
def test_a_passing_fault_is_tried_again(tmp_path: Path, error: Exception) -> None:
    async def story(kit: Kit) -> None:
        a = kit.far.put("a", 300)
        kit.far.faults["fetch", a] = [error, error]
        kit.plane.acquire("w", a_step("s", a))
        await kit.until(lambda: kit.lease("s"))
        assert kit.far.count("fetch", a) == 3
        assert kit.plane.fill().fetched_bytes == 300

    going(tmp_path, 400, story)


def test_a_remote_that_stalls_for_ever_is_given_up(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        a = kit.far.put("a", 300)
        kit.far.faults["fetch", a] = [Stalled("no progress for 60 s") for _ in range(20)]
        steps = [a_step("s", a), a_step("t", a)]
        kit.plane.announce("w", steps)
        for step in steps:
            kit.plane.acquire("w", step)
        await kit.until(lambda: kit.refusal("s") and kit.refusal("t"))
        assert kit.refusal("s") == (
            "input far:a: no progress for 60 s; see whether remote far works (jitflow remote test far) and retry"
        )
        assert kit.plane.fill().used_bytes == 0
        assert kit.disk() == 0
        kit.far.faults.clear()
        kit.plane.acquire("w", a_step("u", a))
        await kit.until(lambda: kit.lease("u"))

    going(tmp_path, 400, story)


def test_refusals_name_the_object_and_what_to_do(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        secret = kit.far.put("secret", 10)
        kit.far.faults["fetch", secret] = [AccessRefused("far refuses: 403 Forbidden")]
        cases = {
            "gone": (ref("gone"), "far:gone does not exist; check its name, or put it there, and submit again"),
            "odd": (ref("x", "nowhere"), "no remote named nowhere: is configured"),
            "secret": (secret, "far refuses: 403 Forbidden; check remote far (jitflow remote test far) and retry"),
        }
        for name, (one, text) in cases.items():
            kit.plane.acquire("w", a_step(name, one))
            await kit.until(lambda name=name: kit.refusal(name))
            assert text in kit.refusal(name)
        big = kit.far.put("big", 401)
        kit.plane.acquire("w", a_step("big", big))
        await kit.until(lambda: kit.refusal("big"))
        assert "needs 401 bytes in the primary, which has 400" in kit.refusal("big")

    going(tmp_path, 400, story)


def test_check_refuses_everything_at_once_and_fetches_nothing(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        a, b = kit.far.put("a", 300), kit.far.put("b", 200)
        with pytest.raises(Refused) as missing:
            await kit.plane.check("w", [a_step("s", a, ref("gone1"), ref("gone2"))])
        assert [problem.code for problem in missing.value.problems] == ["not_found", "not_found"]
        with pytest.raises(Refused, match="no remote named other"):
            await kit.plane.admit("w", [a_step("s", ref("x", "other"))])
        with pytest.raises(
            Refused, match=r"step w/s needs 500 bytes .* has 400; the smallest capacity that would do is 500 bytes"
        ):
            await kit.plane.check("w", [a_step("s", a, b)])
        estimate = await kit.plane.check(
            "w", [a_step("s", a, optional=[ref("gone")]), a_step("t", a, ref("o"), outputs=[(ref("o"), 5)])]
        )
        assert estimate.smallest_capacity_bytes == 305
        assert ("far:a", 300, "absent", 2) in estimate.rows
        assert estimate.expected_s is None
        kit.far.gates["stat", b] = asyncio.Event()
        with pytest.raises(Refused, match=r"remote far did not answer within 0\.05 s") as slow:
            await kit.plane.check("w", [a_step("s", b)])
        assert slow.value.code == "unavailable"
        assert not [call for call in kit.far.calls if call[0] == "fetch"]

    going(tmp_path, 400, story, tuning=Tuning(look_timeout_s=0.05))


def test_a_remote_that_cannot_be_looked_at_is_tried_again_then_refused(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        a = kit.far.put("a", 300)
        kit.far.faults["stat", a] = [Unreachable("connection refused")]
        kit.plane.acquire("w", a_step("s", a))
        await kit.until(lambda: kit.lease("s"))
        b = kit.far.put("b", 300)
        kit.far.faults["stat", b] = [Unreachable("connection refused") for _ in range(20)]
        kit.plane.release("w/s", [])
        kit.plane.acquire("w", a_step("t", optional=[b]))
        await kit.until(lambda: kit.refusal("t"))
        assert "connection refused" in kit.refusal("t")
        assert any("waiting to learn the size of far:b" in text for text in kit.waits("t"))

    going(tmp_path, 400, story)


@pytest.mark.parametrize("size", [300, 350, 200])
def test_a_source_that_changed_is_fetched_anew(tmp_path: Path, size: int) -> None:
    async def story(kit: Kit) -> None:
        a = kit.far.put("a", 300, b"1")
        await kit.plane.check("w", [a_step("s", a)])
        kit.far.put("a", size, b"2")
        kit.plane.acquire("w", a_step("s", a))
        await kit.until(lambda: kit.lease("s"))
        lease = kit.lease("s")
        assert lease is not None
        assert Path(lease.paths[a]).read_bytes() == b"2" * size
        assert lease.sizes[a] == size

    going(tmp_path, 400, story)


def test_a_source_that_keeps_changing_is_refused(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        a = kit.far.put("a", 300)
        kit.far.before_fetch = lambda one: kit.far.objects.update({one: kit.far.objects[one][:-1] + bytes([len(kit.far.calls)])})
        kit.plane.acquire("w", a_step("s", a))
        await kit.until(lambda: kit.refusal("s"))
        assert "far:a changes while it is read" in kit.refusal("s")
        assert "wait until nobody writes it and retry" in kit.refusal("s")
        assert kit.far.count("fetch", a) == 2
        assert kit.disk() == 0

    going(tmp_path, 400, story)


def test_a_source_that_grew_beyond_the_capacity_is_refused(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        a = kit.far.put("a", 300)
        await kit.plane.check("w", [a_step("s", a)])
        kit.far.put("a", 500)
        kit.plane.acquire("w", a_step("s", a))
        await kit.until(lambda: kit.refusal("s"))
        assert "needs 500 bytes" in kit.refusal("s")

    going(tmp_path, 400, story)


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        a = kit.far.put("a", 300)
        kit.far.faults["fetch", a] = [DiskFull("no space left on device") for _ in range(20)]
        kit.plane.acquire("w", a_step("s", a))
        await kit.until(lambda: kit.refusal("s"))
        assert "no space is left on the disk of the primary" in kit.refusal("s")
        assert str(kit.root) in kit.refusal("s")

    going(tmp_path, 400, story)


def test_a_disk_smaller_than_the_capacity_makes_steps_wait_and_then_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(kit: Kit) -> None:
        free = [100]
        monkeypatch.setattr(kit.plane._core.primary, "free_bytes", lambda: free[0])
        kit.clock.time += 1
        a, b = kit.far.put("a", 300), kit.far.put("b", 50)
        kit.plane.acquire("w", a_step("s", a))
        await kit.until(lambda: kit.waits("s"))
        kit.plane.acquire("w", a_step("t", b))
        await kit.until(lambda: kit.lease("t"))
        kit.plane.release("w/t", [])
        await kit.until(lambda: kit.refusal("s"))
        assert "no space is left on the disk" in kit.refusal("s")
        free[0] = 10_000
        kit.plane.acquire("w", a_step("u", a))
        await kit.until(lambda: kit.lease("u"))

    going(tmp_path, 400, story)


def test_a_disk_that_was_full_when_the_clock_was_set_back_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(kit: Kit) -> None:
        free = [0]
        monkeypatch.setattr(kit.plane._core.primary, "free_bytes", lambda: free[0])
        kit.clock.time += 10_000
        kit.plane.acquire("w", a_step("s", kit.far.put("a", 300)))
        await kit.until(lambda: kit.waits("s"))
        kit.clock.time -= 3600
        free[0] = 10_000
        await kit.until(lambda: kit.lease("s") or kit.refusal("s"))
        assert not kit.refusal("s")

    going(tmp_path, 400, story)


def test_a_transfer_that_is_given_up_before_it_has_begun_is_begun_for_the_next_who_wants_it(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        a = kit.far.put("a", 300)
        await kit.plane.check("w", [a_step("s", a)])
        kit.plane.acquire("w", a_step("s", a))
        assert a in kit.plane._transfers.flights
        kit.plane.withdraw("w", good=False)
        kit.plane.acquire("v", a_step("v/t", a))
        await kit.until(lambda: any(isinstance(event, Lease) and event.step == "v/t" for event in kit.events))

    going(tmp_path, 400, story)


def test_an_output_that_cannot_be_stored_is_told_and_tried_again_on_request(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        out = ref("out")
        kit.far.faults["store", out] = [AccessRefused("far refuses: 403 Forbidden")]
        kit.plane.acquire("w", a_step("s", outputs=[(out, 100)]))
        given = kit.output(out, 100)
        kit.plane.release("w/s", [given])
        await kit.until(lambda: kit.staged("s"))
        staged = kit.staged("s")
        assert staged is not None
        assert "output far:out could not be stored: far refuses: 403 Forbidden; check remote far" in staged.error
        assert kit.plane.fill().dirty_bytes == 100
        with pytest.raises(Refused, match="not been proven"):
            await kit.plane.evict(out)
        kit.plane.withdraw("w", good=False)
        assert kit.plane.fill().dirty_bytes == 100
        with pytest.raises(Refused, match="no output that could not be sent"):
            kit.plane.retry_uploads(ref("other"))
        kit.far.faults["store", out] = [AccessRefused("far refuses: 403 Forbidden")]
        assert kit.plane.retry_uploads() == [out]
        await kit.until(lambda: [row.state for row in kit.plane.uploads()] == ["failed"])
        kit.plane.acquire("v", a_step("v/big", kit.far.put("big", 350)))
        await kit.until(
            lambda: any("100 B are outputs that could not be sent" in e.message for e in kit.events if isinstance(e, Waiting))
        )
        await kit.kill()
        # The next start tries again.
        await kit.until(lambda: not kit.plane.uploads() and not kit.plane._stageout.obligations)
        assert kit.far.objects[out] == b"o" * 100

    going(tmp_path, 400, story)


def test_an_output_without_a_place_in_the_primary_is_kept_beside_it(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        out, other, a = ref("out"), ref("other"), kit.far.put("a", 250)
        for one in (out, other):
            kit.far.faults["store", one] = [AccessRefused("far refuses")] * 2
        kit.plane.acquire("w", a_step("s", outputs=[(out, 10), (other, 10)]))
        kit.plane.acquire("w", a_step("h", a))
        await kit.until(lambda: kit.lease("s") and kit.lease("h"))
        given = [kit.output(out, 200), kit.output(other, 210)]
        kit.plane.release("w/s", given)
        await kit.until(lambda: kit.staged("s"))
        assert "it is kept, and is sent by `jitflow data retry-uploads`" in kit.staged("s").error  # type: ignore[union-attr]
        kit.plane.withdraw("w", good=False)
        assert not any(Path(one.artifact.source).exists() for one in given)
        assert sorted(path.stat().st_size for path in (tmp_path / "unsent").iterdir()) == [200, 210]
        await kit.plane.drop_upload(other)
        with pytest.raises(Refused, match="no output that could not be sent"):
            await kit.plane.drop_upload(other)
        await kit.kill()
        await kit.until(lambda: [row.state for row in kit.plane.uploads()] == ["failed"])
        kit.plane.release("w/h", [])
        kit.plane.retry_uploads(out)
        await kit.until(lambda: not kit.plane.uploads())
        assert kit.far.objects[out] == b"o" * 200
        assert not list((tmp_path / "unsent").iterdir())

    going(tmp_path, 300, story, unsent_dir=tmp_path / "unsent")


def test_a_passing_fault_of_an_upload_is_tried_again(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        out = ref("out")
        kit.far.faults["store", out] = [Retryable("busy"), Corrupt("size differs")]
        kit.plane.acquire("w", a_step("s", outputs=[(out, 100)]))
        kit.plane.release("w/s", [kit.output(out, 100)])
        await kit.until(lambda: kit.staged("s"))
        assert kit.staged("s").error == ""  # type: ignore[union-attr]
        records, _ = await kit.plane.timeline()
        assert [record.outcome for record in records] == ["failed", "failed", "ok"]

    going(tmp_path, 400, story)


def test_an_output_that_is_gone_is_told(tmp_path: Path) -> None:
    async def story(kit: Kit) -> None:
        out = ref("out")
        given = kit.output(out, 10)
        Path(given.artifact.source).unlink()
        kit.plane.acquire("w", a_step("s", outputs=[(out, 10)]))
        kit.plane.release("w/s", [given, replace(given, ref=ref("other"))])
        await kit.until(lambda: kit.staged("s"))
        assert "the file is gone" in kit.staged("s").error  # type: ignore[union-attr]
        kit.plane.withdraw("w", good=False)
        assert kit.plane._stageout.obligations == {}

    going(tmp_path, 400, story)
