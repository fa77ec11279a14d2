"""Compare transfer jobs between two S3 stores with one `rclone copy`, and with one process for each file.

    python -m benchmark.data.between [--rounds 5] [--only small,large]      (or: make bench-jobs)

Two real S3 servers. All sides move the same objects with the same number of files at once, in turn, in one run; a job is timed
from the request to its end as the state store knows it. What the disk still has to write is written before the next one begins.
Of one process for each file, only some files are moved: the rate counts.
"""

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

from benchmark.data.movers import Sample, children_cpu, cpu_of
from benchmark.data.rounds import empty
from benchmark.data.stores import CASES as ALL_CASES
from benchmark.data.stores import Case, SteadyServer, write
from jitflow.app.transfers import TransferJobs
from jitflow.bootstrap.system import RandomIds, SystemClock
from jitflow.model.jobs import JobPhase, JobWish
from jitflow.storage.binary import clean_environment, find_rclone
from jitflow.storage.daemon import RcloneDaemon
from jitflow.storage.lanes import Lanes
from jitflow.storage.rclone_storage import RcloneStorage
from jitflow.storage.remotes import RemoteConfig
from jitflow.stores.sqlite import SqliteStore

CASES = tuple(case for case in ALL_CASES if not case.files)
GOAL, EACH_GOAL = 0.95, 10.0
AT_ONCE = {"small": 32, "medium": 16, "large": 5}
EACH_FILES, EACH_AT_ONCE = 24, 4
"""The original moves a file with a process of its own, four at once by default."""


def main() -> int:
    """Run the command line; return its exit code: 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
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
    shutil.rmtree(work / "two")
    (arguments.output / "between.json").write_text(json.dumps(rows, indent=1) + "\n")
    text = _table(rows)
    (arguments.output / "between.md").write_text(text)
    print("\n" + text)
    return 0 if all(row["ratio"] >= GOAL and row["each_ratio"] >= row["each_goal"] for row in rows) else 1


async def _compare(remotes: Sequence[RemoteConfig], cases: Sequence[Case], rounds: int, work: Path) -> list[dict[str, float]]:
    rows: list[dict[str, float]] = []
    config = _config(remotes, work)
    async with _jobs(remotes, work) as (jobs, daemon):
        for case in cases:
            ours: list[Sample] = []
            theirs: list[Sample] = []
            for number in range(-1, rounds):  # the first round warms: the source's hashes are known from then on
                for side in ((0, 1), (1, 0))[number % 2]:
                    name = f"{case.name}-{number}-{side}"
                    if side:
                        theirs.append(await asyncio.to_thread(_copy, config, case, name))
                    else:
                        ours.append(await _measured(jobs, daemon, case, name))
                    await asyncio.to_thread(_tidy, work / "two/bench" / name)
                print(f"{case.name}: job {_words(ours[-1])}, rclone copy {_words(theirs[-1])}", flush=True)
            each = await asyncio.to_thread(_each, config, case) if case.name == "small" else 0.0
            rows.append(_row(case, ours[1:], theirs[1:], each))
    return rows


def _words(sample: Sample) -> str:
    return f"{sample.wall_s:.2f} s ({sample.cpu_s:.2f} s of processor)"


def _row(case: Case, ours: Sequence[Sample], theirs: Sequence[Sample], each_s: float) -> dict[str, float]:
    job = statistics.median(sample.wall_s for sample in ours)
    pairs = list(zip(ours, theirs, strict=True))
    return {
        "count": case.count,
        "size_bytes": case.size_bytes,
        "job_s": job,
        "copy_s": statistics.median(sample.wall_s for sample in theirs),
        "ratio": statistics.median(copy.wall_s / mine.wall_s for mine, copy in pairs),
        "cpu_ratio": statistics.median(mine.cpu_s / copy.cpu_s for mine, copy in pairs),
        "each_ratio": each_s * case.count / job,
        "each_goal": EACH_GOAL if each_s else 0.0,
    }


@asynccontextmanager
async def _jobs(remotes: Sequence[RemoteConfig], work: Path) -> AsyncGenerator[tuple[TransferJobs, RcloneDaemon]]:
    (work / "state.db").unlink(missing_ok=True)
    daemon = RcloneDaemon()
    bulk = Lanes(lambda configs: RcloneStorage(daemon, configs), remotes)
    async with SqliteStore.open(work / "state.db") as store:
        await bulk.open()
        jobs = TransferJobs(bulk, lambda _: None, store, SystemClock(), RandomIds())
        await jobs.open()
        try:
            yield jobs, daemon
        finally:
            await jobs.close()
            await bulk.close()


def _tidy(copied: Path) -> None:
    """Take the bytes away, and let the disk come to rest."""
    empty(copied)
    os.sync()


async def _measured(jobs: TransferJobs, daemon: RcloneDaemon, case: Case, name: str) -> Sample:
    rclone, mine = cpu_of(daemon.pid), time.process_time()
    wall = await _job(jobs, case, name)
    used = cpu_of(daemon.pid) - rclone
    return Sample(wall_s=wall, cpu_s=time.process_time() - mine + used, rclone_cpu_s=used)


async def _job(jobs: TransferJobs, case: Case, name: str) -> float:
    began = time.perf_counter()
    wish = JobWish(kind="copy", source=f"one:bench/{case.name}/", destination=f"two:bench/{name}/", transfers=AT_ONCE[case.name])
    job = await jobs.make(wish)
    while not job.phase.is_over:
        await asyncio.sleep(0.01)
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


def _copy(config: Path, case: Case, name: str) -> Sample:
    """Return what one `rclone copy` takes."""
    at_once = str(AT_ONCE[case.name])
    before, began = children_cpu(), time.perf_counter()
    _rclone(config, "copy", f"one:bench/{case.name}", f"two:bench/{name}", "--transfers", at_once, "--checkers", at_once)
    wall, used = time.perf_counter() - began, children_cpu() - before
    return Sample(wall_s=wall, cpu_s=used, rclone_cpu_s=used)


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
        "| objects | job s | rclone copy s | rate ratio | goal | processor ratio | x one process for each file | goal |",
        "|--|--|--|--|--|--|--|--|",
    ]
    for row in rows:
        each = f"{row['each_ratio']:.1f} | {row['each_goal']:g}" if row["each_goal"] else "- | -"
        lines.append(
            f"| {row['count']:,} x {row['size_bytes'] / 1e6:g} MB | {row['job_s']:.2f} | {row['copy_s']:.2f} "
            f"| {row['ratio']:.2f} | {GOAL} | {row['cpu_ratio']:.2f} | {each} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
