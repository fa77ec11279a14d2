"""What decisions cost in a workflow of 10,000 steps and 100,000 files, with room and under pressure. Processor time."""

import time

from benchmark.traces.drive import Drive, Submitted, options
from benchmark.traces.tables import table
from benchmark.traces.workloads import Point, Task, Trace
from jitflow.planner import Planner, without_estimates

STEPS = 10_000
_OWN = 9
_SHARED = 200
_BEHIND = 100
_RATE_BPS = 1e6


def workflow(steps: int = STEPS) -> Trace:
    """Return chains side by side; each step reads files of its own, one that many read, and the result before it."""
    sizes: dict[str, int] = {}
    tasks: list[Task] = []
    for n in range(steps):
        own = [f"own{n}-{k}" for k in range(_OWN)]
        sizes.update((file, 100 + k) for k, file in enumerate(own))
        common = f"shared{n % _SHARED}"
        sizes[common], sizes[f"result{n}"] = 1000, 500
        before = [n - _BEHIND] if n >= _BEHIND else []
        inputs = (*own, common, *(f"result{one}" for one in before))
        tasks.append(Task(f"t{n}", 1.0, inputs, (f"result{n}",), tuple(f"t{one}" for one in before), "t"))
    return Trace(name="large", tasks=tuple(tasks), sizes=sizes)


def report(steps: int = STEPS) -> str:
    """Return the table."""
    trace = workflow(steps)
    listed = trace.steps()
    began = time.thread_time()
    plan = without_estimates(listed)
    planned_s = time.thread_time() - began
    planner = Planner(10**9, options(_RATE_BPS))
    began = time.thread_time()
    planner.announce("w", listed, plan)
    announced_s = time.thread_time() - began
    lines = [
        [f"plan of {steps:,} steps, {len(trace.sizes):,} files", "", f"{planned_s:.2f} s"],
        ["announce", "", f"{announced_s:.2f} s"],
    ]
    for name, capacity in (("with room", 300 * steps), ("under pressure", 30 * steps)):
        done = Drive([Submitted("w", trace, listed, plan)], Point(0, "", _RATE_BPS, capacity)).run()
        times = sorted(done.times_s)
        lines.append(
            [
                f"decisions {name}",
                f"{done.decisions:,}",
                f"p99 {done.p99_us:.0f} us, half below {1e6 * times[len(times) // 2]:.0f} us",
            ]
        )
    return table(["", "", "processor time"], lines)
