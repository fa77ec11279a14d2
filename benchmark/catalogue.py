"""What a large catalogue costs: a primary with a million replicas is made, and a data plane is opened over it.

    python -m benchmark.catalogue [--rows 1000000] [--folder build/bench/catalogue]

Prints the seconds until the data plane has opened (the catalogue read, its names compared with the directory, entered into the
planner), until one more step has its lease, until a page from the middle is listed and until every file was looked at, how long
the event loop stood still meanwhile at most, and the most memory of the process that did all that and then kept its catalogue
beside the files. Writes build/bench/catalogue.json.
"""

import argparse
import asyncio
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from jitflow.bootstrap.system import SystemClock, calm_collector
from jitflow.dataplane import LocalDataPlane, PrimaryDirectory, records
from jitflow.dataplane.catalogue import pack
from jitflow.model.data import FutureInput, FutureStep, ObjectRef, Replica, ReplicaState
from jitflow.ports.dataplane import DataEvent
from jitflow.storage.daemon import RcloneDaemon
from jitflow.storage.rclone_storage import RcloneStorage
from jitflow.stores.sqlite import SqliteStore

SIZE_BYTES = 1000
_BATCH = 20_000


def main() -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=Path("build/bench/catalogue"), help="where the primary is made")
    parser.add_argument("--open", action="store_true", help="only open what is there, and tell")
    arguments = parser.parse_args()
    if arguments.open:
        print(json.dumps(asyncio.run(_open(arguments.folder, arguments.rows))))
        return 0
    shutil.rmtree(arguments.folder, ignore_errors=True)
    arguments.folder.mkdir(parents=True)
    asyncio.run(make(arguments.folder, arguments.rows))
    # A process of its own: what was needed to make the files does not count.
    command = [sys.executable, "-m", "benchmark.catalogue", "--open", "--rows", str(arguments.rows), "--folder", arguments.folder]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    shutil.rmtree(arguments.folder)
    print(
        f"{found['rows']:,} rows: open after {found['open_s']:.1f} s, a lease after {1000 * found['lease_s']:.0f} ms, "
        f"a page after {1000 * found['page_s']:.0f} ms, all compared after {found['compare_s']:.1f} s "
        f"(stood still for {1000 * found['still_s']:.0f} ms at most), "
        f"{found['peak_bytes'] / 2**20:.0f} MiB at most ({found['peak_bytes'] / found['rows']:.0f} bytes a row)"
    )
    (arguments.folder.parent / "catalogue.json").write_text(json.dumps(found, indent=1) + "\n")
    return 0


def _ref(number: int) -> ObjectRef:
    return ObjectRef(remote="far", path=f"collection/part-{number % 1000:03}/object-{number:07}.dat")


async def make(folder: Path, rows: int) -> None:
    """Make the primary's directory and the rows of its catalogue, each file a hole of its size."""
    async with SqliteStore.open(folder / "state.db") as store:
        primary = PrimaryDirectory(folder / "primary", RcloneStorage(RcloneDaemon(), []))
        await primary.open()
        for start in range(0, rows, _BATCH):
            batch = list(_replicas(primary, range(start, min(rows, start + _BATCH))))
            await store.put(records.REPLICA, [(str(row.ref), pack(row)) for row in batch])
        await primary.close()


def _replicas(primary: PrimaryDirectory, numbers: range) -> Iterator[Replica]:
    for number in numbers:
        ref = _ref(number)
        location = primary.location(ref, "v1")
        path = primary.root / location
        path.parent.mkdir(exist_ok=True)
        with path.open("wb") as file:
            file.truncate(SIZE_BYTES)
        yield Replica(
            ref=ref,
            size_bytes=SIZE_BYTES,
            state=ReplicaState.RESIDENT,
            location=location,
            version=f"etag-{number:032x}",
            last_used_at=1_700_000_000.0 + number,
            stamp=f"mtime:{os.lstat(path).st_mtime_ns}",
            content=f"md5:{number:032x}:{SIZE_BYTES}",
        )


async def _open(folder: Path, rows: int) -> dict[str, float]:
    """Open the data plane, let a step have its lease, and return what that took."""
    calm_collector()
    leased = asyncio.Event()

    def hear(event: DataEvent) -> None:
        leased.set()

    async with SqliteStore.open(folder / "state.db") as store:
        storage = RcloneStorage(RcloneDaemon(), [])
        primary = PrimaryDirectory(folder / "primary", storage)
        began = time.monotonic()
        plane = LocalDataPlane(primary, 2 * rows * SIZE_BYTES, storage, store, SystemClock())
        await plane.open(hear)
        opened = time.monotonic()
        assert plane.fill().resident_bytes == rows * SIZE_BYTES, "replicas were lost"
        asked = time.monotonic()
        plane.acquire("w", FutureStep(id="w/step", inputs=(FutureInput(ref=_ref(rows // 2)),)))
        await leased.wait()
        lease_s = time.monotonic() - asked
        plane.release("w/step", ())
        asked = time.monotonic()
        page = await plane.replicas(after=str(_ref(rows // 2)))
        page_s = time.monotonic() - asked
        assert len(page.items) == min(1000, rows - rows // 2 - 1) or page.next, "rows are missing"
        asked = time.monotonic()
        still: list[float] = []
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(_watch(still))
            assert (await plane.compare()).changed == ()
            watch.cancel()
        compare_s = time.monotonic() - asked
        await plane.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "rows": rows, "open_s": opened - began, "lease_s": lease_s, "page_s": page_s, "compare_s": compare_s,
        "still_s": max(still, default=0.0), "peak_bytes": peak,
    }  # fmt: skip


async def _watch(pauses: list[float]) -> None:
    """Note for how long the event loop does not come round."""
    while True:
        began = time.monotonic()
        await asyncio.sleep(0.001)
        pauses.append(time.monotonic() - began - 0.001)


if __name__ == "__main__":
    sys.exit(main())
