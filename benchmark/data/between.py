"""Compare transfer jobs between two S3 stores with one `rclone copy`, and with one process for each file.

    python -m benchmark.data.between [--rounds 3] [--only small,large]      (or: make bench-jobs)

Two real S3 servers. All sides move the same objects with the same number of files at once, in turn, in one run; a job is timed
from the request to its end as the state store knows it. Of one process for each file, only some files are moved: the rate counts.
"""

import argparse
import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

from benchmark.data.stores import CASES, Case, SteadyServer, write
from jitflow.app.transfers import TransferJobs
from jitflow.bootstrap.system import RandomIds, SystemClock
from jitflow.model.jobs import JobPhase, JobWish
from jitflow.storage.binary import clean_environment, find_rclone
from jitflow.storage.daemon import RcloneDaemon
from jitflow.storage.lanes import Lanes
from jitflow.storage.rclone_storage import RcloneStorage
from jitflow.storage.remotes import RemoteConfig
from jitflow.stores.sqlite import SqliteStore

GOAL, EACH_GOAL = 0.95, 10.0
AT_ONCE = {"small": 32, "medium": 16, "large": 5}
EACH_FILES, EACH_AT_ONCE = 24, 4
"""The original moves a file with a process of its own, four at once by default."""


def main() -> int:
    """Run the command line; return its exit code: 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default=",".join(case.name for case in CASES), help="cases")
    parser.add_argument("--output", type=Path, default=Path("build/bench"))
    arguments = parser.parse_args()
    work = (arguments.output / "between").absolute()
    cases = [case for case in CASES if case.name in arguments.only.split(",")]
    shutil.rmtree(work / "two", ignore_errors=True)
    (work / "two/bench").mkdir(parents=True)
    for case in cases:
        write(work / "one", case)
    with SteadyServer(work / "one") as one, SteadyServer(work / "two") as two:
        rows = asyncio.run(_compare([one.remote("one"), two.remote("two")], cases, arguments.rounds, work))
    (arguments.output / "between.json").write_text(json.dumps(rows, indent=1) + "\n")
    text = _table(rows)
    (arguments.output / "between.md").write_text(text)
    print("\n" + text)
    return 0 if all(row["ratio"] >= GOAL and row["each_ratio"] >= row["each_goal"] for row in rows) else 1


async def _compare(remotes: Sequence[RemoteConfig], cases: Sequence[Case], rounds: int, work: Path) -> list[dict[str, float]]:
    rows: list[dict[str, float]] = []
    config = _config(remotes, work)
    async with _jobs(remotes, work) as jobs:
        for case in cases:
            ours: list[float] = []
            theirs: list[float] = []
            await asyncio.to_thread(_copy, config, case, f"warm-{case.name}")  # the source's hashes are known from here on
            for number in range(rounds):
                for side in ((0, 1), (1, 0))[number % 2]:
                    name = f"{case.name}-{number}-{side}"
                    if side:
                        theirs.append(await asyncio.to_thread(_copy, config, case, name))
                    else:
                        ours.append(await _job(jobs, case, name))
                print(f"{case.name}: job {ours[-1]:.2f} s, rclone copy {theirs[-1]:.2f} s", flush=True)
            each = await asyncio.to_thread(_each, config, case) if case.name == "small" else 0.0
            ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
            job = statistics.median(ours)
            rows.append(
                {
                    "count": case.count,
                    "size_bytes": case.size_bytes,
                    "job_s": job,
                    "copy_s": statistics.median(theirs),
                    "ratio": ratio,
                    "each_ratio": each * case.count / job if each else 0.0,
                    "each_goal": EACH_GOAL if each else 0.0,
                }
            )
    return rows


@asynccontextmanager
async def _jobs(remotes: Sequence[RemoteConfig], work: Path) -> AsyncGenerator[TransferJobs]:
    (work / "state.db").unlink(missing_ok=True)
    bulk = Lanes(lambda configs: RcloneStorage(RcloneDaemon(), configs), remotes)
    async with SqliteStore.open(work / "state.db") as store:
        await bulk.open()
        jobs = TransferJobs(bulk, lambda _: None, store, SystemClock(), RandomIds())
        await jobs.open()
        try:
            yield jobs
        finally:
            await jobs.close()
            await bulk.close()


async def _job(jobs: TransferJobs, case: Case, name: str) -> float:
    began = time.perf_counter()
    wish = JobWish(kind="copy", source=f"one:bench/{case.name}/", destination=f"two:bench/{name}/", transfers=AT_ONCE[case.name])
    job = await jobs.make(wish)
    while not job.phase.is_over:
        await asyncio.sleep(0.005)
        job = jobs.get(job.id)
    if job.phase is not JobPhase.SUCCEEDED or job.counts.files_done != case.count:
        raise RuntimeError(f"the job has {job.phase}: {job.message}")
    return time.perf_counter() - began


def _config(remotes: Sequence[RemoteConfig], work: Path) -> Path:
    path = work / "rclone.conf"
    path.touch(mode=0o600)
    lines = [[f"[{one.name}]", f"type = {one.type}", *(f"{k} = {v}" for k, v in one.options.items())] for one in remotes]
    path.write_text("\n".join(line for remote in lines for line in remote) + "\n")
    return path


def _copy(config: Path, case: Case, name: str) -> float:
    """Return how long one `rclone copy` takes."""
    at_once = str(AT_ONCE[case.name])
    began = time.perf_counter()
    _rclone(config, "copy", f"one:bench/{case.name}", f"two:bench/{name}", "--transfers", at_once, "--checkers", at_once)
    return time.perf_counter() - began


def _each(config: Path, case: Case) -> float:
    """Return how long a file takes where each has a process of its own."""
    paths = [path.removeprefix(f"bench/{case.name}/") for path in case.paths()[:EACH_FILES]]
    began = time.perf_counter()
    with ThreadPoolExecutor(EACH_AT_ONCE) as pool:
        list(pool.map(lambda path: _rclone(config, "copy", f"one:bench/{case.name}/{path}", "two:bench/each"), paths))
    return (time.perf_counter() - began) / len(paths)


def _rclone(config: Path, *words: str) -> None:
    command = [str(find_rclone("")), "--config", str(config), *words]
    subprocess.run(command, check=True, env=clean_environment({}), stdin=subprocess.DEVNULL)


def _table(rows: Sequence[dict[str, float]]) -> str:
    lines = [
        "| objects | job s | rclone copy s | rate ratio | goal | x one process for each file | goal |",
        "|--|--|--|--|--|--|--|",
    ]
    for row in rows:
        each = f"{row['each_ratio']:.1f} | {row['each_goal']:g}" if row["each_goal"] else "- | -"
        lines.append(
            f"| {row['count']:,} x {row['size_bytes'] / 1e6:g} MB | {row['job_s']:.2f} | {row['copy_s']:.2f} "
            f"| {row['ratio']:.2f} | {GOAL} | {each} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
