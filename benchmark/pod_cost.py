"""What a pod costs beside a bare process: ms of wall time for each, in a chain and in a fan-out.

    python benchmark/pod_cost.py [--chain 100] [--fan-out 500] [--parallel 2] [--home DIR]

A pod is counted from `start` until its end has been heard and it has been told to be forgotten. The loop over
`posix_spawn` in the same run tells how busy the machine is: compare ratios.
"""

import argparse
import asyncio
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from jitflow.executors import PodExecutor, ProcessExecutor, SandboxExecutor
from jitflow.model.pods import Pod, PodEnd, PodImage

COMMAND = ("/bin/true",)


def bare(count: int, parallel: int) -> float:
    """Return ms for each of `count` processes started by posix_spawn, `parallel` at a time."""
    begun = time.perf_counter()
    running = 0
    for _ in range(count):
        if running == parallel:
            os.wait()
            running -= 1
        os.posix_spawn(COMMAND[0], COMMAND, {})
        running += 1
    while running:
        os.wait()
        running -= 1
    return (time.perf_counter() - begun) / count * 1000


class Runner:
    """Runs pods one after another in several lanes."""

    def __init__(self, executor: PodExecutor) -> None:
        self._executor = executor
        self._waiting: dict[str, asyncio.Future[PodEnd]] = {}
        self._number = 0

    def on_end(self, end: PodEnd) -> None:
        """Wake the lane that waits for this pod."""
        self._waiting.pop(end.key).set_result(end)

    async def one(self) -> None:
        """Run one pod from start to forgotten."""
        self._number += 1
        key = f"pod.{self._number}"
        ended = self._waiting[key] = asyncio.get_running_loop().create_future()
        await self._executor.start(Pod(key=key, name=key, image=PodImage(name="host"), command=COMMAND))
        end = await ended
        if end.exit_code != 0:
            raise SystemExit(f"{key}: {end}")
        await self._executor.forget(key)
        await self._executor.delete_logs([key])

    async def measure(self, count: int, parallel: int) -> float:
        """Return ms for each pod."""
        todo = iter(range(count))

        async def lane() -> None:
            for _ in todo:
                await self.one()

        begun = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(parallel):
                group.create_task(lane())
        return (time.perf_counter() - begun) / count * 1000


async def pods(make: Callable[[Path], PodExecutor], folder: str | None, chain: int, fan_out: int, parallel: int) -> list[float]:
    """Return ms for each pod in the chain, at the median of the chain, and in the fan-out."""
    home = Path(tempfile.mkdtemp(prefix="jitflow-pod-cost-", dir=folder))
    executor = make(home)
    runner = Runner(executor)
    await executor.open(runner.on_end)
    try:
        await runner.measure(3, 1)
        chain_ms = [await runner.measure(1, 1) for _ in range(chain)]
        fan_out_ms = await runner.measure(fan_out, parallel)
    finally:
        await executor.close()
        shutil.rmtree(home, ignore_errors=True)
    return [statistics.mean(chain_ms), statistics.median(chain_ms), fan_out_ms]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chain", type=int, default=100)
    parser.add_argument("--fan-out", type=int, default=500)
    parser.add_argument("--parallel", type=int, default=2)
    parser.add_argument("--home", help="where pods live (default: the temporary directory)")
    args = parser.parse_args()
    makes: dict[str, Callable[[Path], PodExecutor]] = {"process": ProcessExecutor, "sandbox": SandboxExecutor}
    if os.geteuid() == 0:
        makes["sandbox, binds"] = lambda home: SandboxExecutor(home, mode="binds")
    print(f"ms a pod           chain of {args.chain} (median)   fan-out of {args.fan_out} @{args.parallel}")
    print(f"{'posix_spawn':<18} {bare(args.chain, 1):8.2f}             {bare(args.fan_out, args.parallel):12.2f}")
    for name, make in makes.items():
        chain, median, fan_out = asyncio.run(pods(make, args.home, args.chain, args.fan_out, args.parallel))
        print(f"{name:<18} {chain:8.2f}  ({median:6.2f})   {fan_out:12.2f}")


if __name__ == "__main__":
    main()
