"""The data plane over the real thing: rclone, a state store on disk, a kill in the middle."""

import asyncio
import os
import time
from pathlib import Path

from far_store import Kit, a_step, ref

from jitflow.dataplane import LocalDataPlane, PrimaryDirectory
from jitflow.ports.dataplane import DataEvent, Lease, LeaseRefused, OutputObject, StagedOut
from jitflow.storage.daemon import RcloneDaemon
from jitflow.storage.rclone_storage import RcloneStorage
from jitflow.storage.remotes import RemoteConfig
from jitflow.stores.sqlite import SqliteStore

CAPACITY = 6_000_000


class WallClock:
    def now(self) -> float:
        return time.time()

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)


def test_a_workflow_over_rclone_and_sqlite(tmp_path: Path) -> None:  # noqa: C901 - one story
    """Eight steps read 2 MB each and a shared directory through a primary that holds two of them; restarted after the third."""
    far = tmp_path / "far"
    (far / "shared").mkdir(parents=True)
    for n in range(3):
        (far / "shared" / f"part{n}").write_bytes(os.urandom(100_000))
    for n in range(8):
        (far / f"in{n}").write_bytes(os.urandom(2_000_000))
    kit = Kit(tmp_path, CAPACITY)
    steps = [a_step(f"s{n}", ref(f"in{n}"), ref("shared/"), outputs=[(ref(f"out{n}"), 200_000)]) for n in range(8)]

    ended: dict[str, OutputObject] = {}
    staged: set[str] = set()

    async def life(plane: LocalDataPlane, stop_after: int) -> int:
        events: asyncio.Queue[DataEvent] = asyncio.Queue()
        await plane.open(events.put_nowait)
        todo = [step for step in steps if step.id not in ended]
        await plane.check("w", todo)
        plane.announce("w", todo)
        for step in set(ended) - staged:
            plane.release(step, [ended[step]])
        for step in todo:
            plane.acquire("w", step)
        while len(staged) < stop_after:
            event = await asyncio.wait_for(events.get(), 60)
            assert not isinstance(event, LeaseRefused), event
            if isinstance(event, Lease):
                n = int(event.step[-1])
                assert Path(event.paths[ref(f"in{n}")]).read_bytes() == (far / f"in{n}").read_bytes()
                assert len(list(Path(event.paths[ref("shared/")]).iterdir())) == 3
                assert kit.disk() <= CAPACITY
                ended[event.step] = kit.output(ref(f"out{n}"), 200_000, bytes([n]))
                plane.release(event.step, [ended[event.step]])
            elif isinstance(event, StagedOut):
                assert event.error == ""
                staged.add(event.step)
        fill = plane.fill()
        assert fill.peak_bytes <= CAPACITY
        await plane.close()
        return fill.fetched_twice_bytes

    async def run() -> None:
        storage = RcloneStorage(
            RcloneDaemon(tmp_path / "run"), [RemoteConfig(name="far", type="local", options={"root": str(far)})]
        )
        await storage.open()
        try:
            async with SqliteStore.open(tmp_path / "state.db") as store:
                plane = LocalDataPlane(
                    PrimaryDirectory(tmp_path / "primary", storage), CAPACITY, storage, store, WallClock(), transfers=2, workers=2
                )
                await life(plane, 3)
            async with SqliteStore.open(tmp_path / "state.db") as store:
                plane = LocalDataPlane(
                    PrimaryDirectory(tmp_path / "primary", storage), CAPACITY, storage, store, WallClock(), transfers=2, workers=2
                )
                twice = await life(plane, 8)
            assert twice == 0
            for n in range(8):
                assert (far / f"out{n}").read_bytes() == bytes([n]) * 200_000
        finally:
            await storage.close()

    asyncio.run(run())
