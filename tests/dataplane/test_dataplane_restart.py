"""Kill the data plane anywhere: after a restart on the same directory and store every promise still holds."""

import asyncio
from pathlib import Path

import pytest
from far_store import Kit, a_step, ref

from jitflow.model.problems import Refused
from jitflow.ports.dataplane import Lease, StagedOut


class Driver:
    """A small engine: six steps read two files each and write one that the next step reads; it remembers what it heard."""

    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        shared = kit.far.put("shared", 100, b"s")
        files = [kit.far.put(f"in{n}", 150, bytes([65 + n])) for n in range(6)]
        self.outs = [ref(f"out{n}") for n in range(6)]
        self.steps = [
            a_step(f"s{n}", shared, files[n], *([self.outs[n - 1]] if n else []), outputs=[(self.outs[n], 60)]) for n in range(6)
        ]
        self.given = {}
        self.leased: set[int] = set()
        self.ended: set[int] = set()
        self.staged: set[int] = set()

    def tell_again(self) -> None:
        """What an engine does after a restart."""
        plane = self.kit.plane
        plane.announce("w", [step for n, step in enumerate(self.steps) if n not in self.ended])
        for n in sorted(self.ended - self.staged):
            plane.release(f"w/s{n}", [self.given[n]])
        for n in range(6):
            if n not in self.ended and (n == 0 or n - 1 in self.ended):
                plane.acquire("w", self.steps[n])

    def hear(self) -> None:
        for event in self.kit.events:
            n = int(event.step[-1])
            if isinstance(event, Lease) and n not in self.ended:
                for one, path in event.paths.items():
                    assert Path(path).stat().st_size == event.sizes[one]
                self.ended.add(n)
                self.given[n] = self.kit.output(self.outs[n], 60, bytes([97 + n]))
                self.kit.plane.release(f"w/s{n}", [self.given[n]])
                if n + 1 < 6:
                    self.kit.plane.acquire("w", self.steps[n + 1])
            elif isinstance(event, StagedOut):
                assert event.error == ""
                self.staged.add(n)
        self.kit.events.clear()


@pytest.mark.parametrize("every", [1, 2, 3, 4, 5, 7, 9, 11, 14, 17, 20, 23])
def test_killed_again_and_again(tmp_path: Path, every: int) -> None:
    async def run() -> None:
        kit = Kit(tmp_path, 520, transfers=2, workers=1)
        ticks = 0

        def tick() -> None:
            nonlocal ticks
            ticks += 1
            kit.watch()

        kit.far.on_progress = tick
        await kit.start()
        driver = Driver(kit)
        driver.tell_again()
        next_kill, kills = every, 0
        for _ in range(30_000):
            driver.hear()
            if len(driver.staged) == 6:
                break
            if ticks >= next_kill and kills < 12:
                kills += 1
                next_kill = ticks + every
                await kit.kill()
                driver.tell_again()
            await asyncio.sleep(0)
        assert len(driver.staged) == 6
        assert kills
        for n, out in enumerate(driver.outs):
            assert kit.far.objects[out] == bytes([97 + n]) * 60
        kit.watch()
        await kit.plane.close()

    asyncio.run(run())


def test_what_is_resident_is_not_fetched_again(tmp_path: Path) -> None:
    async def run() -> None:
        kit = Kit(tmp_path, 1000)
        await kit.start()
        a, b = kit.far.put("a", 300), kit.far.put("b", 200)
        kit.plane.acquire("w", a_step("s", a, b))
        await kit.until(lambda: kit.lease("s"))
        lease = kit.lease("s")
        await kit.plane._core.journal.durable()
        kit.events.clear()
        await kit.kill()
        # The pod may still read: nothing that it reads can be evicted before its lease is returned.
        with pytest.raises(Refused, match=r"1 step\(s\) read it"):
            await kit.plane.evict(a)
        kit.plane.acquire("w", a_step("s", a, b))
        await kit.until(lambda: kit.lease("s") == lease)
        assert kit.far.count("fetch", a) == 1
        kit.plane.release("w/s", [])
        await kit.plane.evict(a)
        fill = kit.plane.fill()
        assert (fill.resident_bytes, fill.fetched_bytes, fill.peak_bytes) == (200, 500, 500)
        kit.plane.acquire("w", a_step("t", a))
        await kit.until(lambda: kit.lease("t"))
        assert kit.plane.fill().fetched_twice_bytes == 300
        records, samples = await kit.plane.timeline()
        assert sorted(str(record.ref) for record in records) == ["far:a", "far:a", "far:b"]
        assert max(used for _, used in samples) == 500
        await kit.plane.close()

    asyncio.run(run())


def test_leases_that_nobody_asks_for_again_expire(tmp_path: Path) -> None:
    async def run() -> None:
        kit = Kit(tmp_path, 1000)
        await kit.start()
        a = kit.far.put("a", 300)
        kit.plane.acquire("w", a_step("s", a))
        await kit.until(lambda: kit.lease("s"))
        await kit.plane._core.journal.durable()
        await kit.kill()
        await kit.until(lambda: kit.plane.fill().pinned_bytes == 0)
        await kit.plane.evict(a)
        await kit.plane.close()

    asyncio.run(run())


def test_half_files_are_removed_and_strangers_counted(tmp_path: Path) -> None:
    async def run() -> None:
        kit = Kit(tmp_path, 1000)
        await kit.start()
        a, b = kit.far.put("a", 300), kit.far.put("b", 100)
        kit.plane.acquire("w", a_step("s", a, b))
        await kit.until(lambda: kit.lease("s"))
        kit.plane.release("w/s", [])
        lease = kit.lease("s")
        assert lease is not None
        await kit.plane.close()
        Path(lease.paths[a]).write_bytes(b"short")
        (kit.root / "objects" / "zz").mkdir()
        (kit.root / "objects" / "zz" / "stranger").write_bytes(b"?")
        (kit.root / "objects" / "file").write_bytes(b"?")
        (kit.root / "incoming" / "7").mkdir()
        (kit.root / "incoming" / "7" / "part").write_bytes(b"?" * 5000)
        (kit.root / "mine.txt").write_bytes(b"not yours")
        kit.plane = kit.make()
        await kit.start()
        assert kit.plane.fill().strangers_bytes == 11
        assert (kit.root / "mine.txt").exists()
        (kit.root / "mine.txt").unlink()
        assert (await kit.plane.compare()).changed == ("far:a",), "the first look at all of them follows at once"
        await kit.until(lambda: [row.ref for row in kit.replicas()] == [b])
        assert kit.disk() == 102
        check = await kit.plane.compare(remove=True)
        assert (check.strangers, check.strangers_bytes) == ({"objects/file": 1, "objects/zz/stranger": 1}, 0)
        assert kit.disk() == 100
        await kit.plane.close()

    asyncio.run(run())


def test_a_directory_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    async def run() -> None:
        kit = Kit(tmp_path, 1000)
        kit.root.mkdir()
        (kit.root / "thesis.tex").write_text("years of work")
        with pytest.raises(
            Refused, match=r"is not empty \(thesis.tex\) and was not made by jitflow; name an empty or new directory"
        ):
            await kit.start()
        assert [path.name for path in kit.root.iterdir()] == ["thesis.tex"]
        kit.root = tmp_path / "file" / "below"
        (tmp_path / "file").write_text("")
        kit.plane = kit.make()
        with pytest.raises(Refused, match="cannot be used"):
            await kit.start()

    asyncio.run(run())


def test_a_smaller_capacity_after_a_restart_is_kept(tmp_path: Path) -> None:
    async def run() -> None:
        kit = Kit(tmp_path, 1000)
        await kit.start()
        for n in range(5):
            await kit.plane.stage(kit.far.put(f"f{n}", 150))
        await kit.plane.close()
        kit.capacity = 400
        kit.plane = kit.make()
        await kit.start()
        assert kit.disk() == 300
        assert [row.ref.path for row in kit.replicas()] == ["f3", "f4"]
        await kit.plane.close()

    asyncio.run(run())


def test_giving_outputs_again_changes_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        kit = Kit(tmp_path, 1000)
        await kit.start()
        out = ref("out")
        kit.plane.acquire("w", a_step("s", outputs=[(out, 50)]))
        given = kit.output(out, 50)
        kit.plane.release("w/s", [given])
        kit.plane.release("w/s", [given])
        await kit.until(lambda: kit.staged("s"))
        await kit.plane._core.journal.durable()
        kit.events.clear()
        await kit.kill()
        kit.plane.release("w/s", [given])
        assert kit.events == [StagedOut(step="w/s")]
        assert kit.far.count("store", out) == 1
        kit.plane.withdraw("w")
        await kit.plane._core.journal.durable()
        assert await kit.store.items("stageout") == []
        await kit.plane.close()

    asyncio.run(run())
