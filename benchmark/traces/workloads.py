"""Recorded workflows (WfFormat 1.5), and the points at which they are run."""

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from random import Random

from jitflow.model.data import FutureInput, FutureOutput, FutureStep, ObjectRef

WORKERS = 16
TRANSFERS = 16
LATENCY_S = 0.1
STREAM_SHARE = 4
"""One transfer gets at most one part in so many of the link's rate."""
FRACTIONS = (10, 25, 50, 100)
BANDWIDTHS = ("12.5", "50", "125", "bal")
_SLACK = 1.02
_SLOWEST_BALANCED_BPS = 5e6
_MB = 1e6


@dataclass(frozen=True)
class Task:
    """One step of a recorded workflow."""

    name: str
    run_s: float
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parents: tuple[str, ...]
    kind: str = ""


@dataclass(frozen=True, eq=False)
class Trace:
    """A recorded workflow. A file that no task writes lies far away at the start; one that no task reads is a result."""

    name: str
    tasks: tuple[Task, ...]
    sizes: Mapping[str, int] = field(repr=False)

    @cached_property
    def table(self) -> dict[str, Task]:
        """Return the tasks by name."""
        return {task.name: task for task in self.tasks}

    @cached_property
    def producers(self) -> dict[str, Task]:
        """Return who writes each file."""
        return {file: task for task in self.tasks for file in task.outputs}

    @cached_property
    def readers(self) -> dict[str, list[Task]]:
        """Return who reads each file."""
        readers: dict[str, list[Task]] = {}
        for task in self.tasks:
            for file in task.inputs:
                readers.setdefault(file, []).append(task)
        return readers

    @cached_property
    def external(self) -> list[str]:
        """Return the files that lie far away at the start, in the order in which the listing reads them."""
        return [file for file in self.readers if file not in self.producers]

    @cached_property
    def finals(self) -> list[str]:
        """Return the files that must reach the far store."""
        return [file for file in self.producers if file not in self.readers]

    @cached_property
    def distinct_bytes(self) -> int:
        """Return the bytes that must cross the link: each input once, each result once."""
        return sum(self.sizes[file] for file in (*self.external, *self.finals))

    @cached_property
    def footprint(self) -> int:
        """Return the largest inputs and outputs of one step: no smaller store can run the workflow."""
        return max(sum(self.sizes[file] for file in {*task.inputs, *task.outputs}) for task in self.tasks)

    @cached_property
    def compute_s(self) -> float:
        """Return the run times together."""
        return sum(task.run_s for task in self.tasks)

    @cached_property
    def critical_s(self) -> float:
        """Return the longest chain of run times."""
        ends: dict[str, float] = {}
        for task in self.tasks:
            ends[task.name] = task.run_s + max((ends[name] for name in task.parents), default=0.0)
        return max(ends.values(), default=0.0)

    def steps(self, uid: str = "w", *, shared: bool = False, estimates: Mapping[str, float] | None = None) -> list[FutureStep]:
        """Return the workflow as it is announced. `shared`: inputs are the same for every `uid`; `estimates`: of run times."""
        external = set(self.external)
        finals = set(self.finals)

        def ref(file: str) -> ObjectRef:
            far = shared and file in external
            return ObjectRef(remote="far", path=file if far else f"{uid}/{file}")

        return [
            FutureStep(
                id=f"{uid}/{task.name}",
                inputs=tuple(
                    FutureInput(ref=ref(file), size_bytes=self.sizes[file] if file in external else None) for file in task.inputs
                ),
                outputs=tuple(
                    FutureOutput(ref=ref(file), size_bytes=self.sizes[file], transient=file not in finals)
                    for file in task.outputs
                ),
                after=tuple(f"{uid}/{name}" for name in task.parents),
                run_s=estimates[task.name] if estimates is not None else task.run_s,
                template=task.kind,
            )
            for task in self.tasks
        ]

    def noisy(self, sigma: float, seed: int) -> dict[str, float]:
        """Return run times that are off by a lognormal factor."""
        random = Random(f"{self.name} {seed}")
        return {task.name: task.run_s * random.lognormvariate(0.0, sigma) for task in self.tasks}


@dataclass(frozen=True)
class Point:
    """One place of the grid."""

    fraction: int
    bandwidth: str
    rate_Bps: float
    capacity: int


def point(trace: Trace, fraction: int, bandwidth: str) -> Point:
    """Return a place of the grid for a workflow."""
    whole = sum(trace.sizes.values())
    capacity = max(int(fraction * whole / 100), int(_SLACK * trace.footprint) + 1)
    return Point(fraction=fraction, bandwidth=bandwidth, rate_Bps=rate(trace, bandwidth), capacity=capacity)


def rate(trace: Trace, bandwidth: str) -> float:
    """Return bytes per second; `bal` is the rate at which transferring takes as long as computing."""
    if bandwidth != "bal":
        return float(bandwidth) * _MB
    moved = max(sum(trace.sizes[file] for file in files) for files in (trace.external, trace.finals))
    return balanced(moved, max(trace.critical_s, trace.compute_s / WORKERS))


def balanced(moved: int, compute_s: float) -> float:
    """Return the rate at which these bytes take as long as computing does."""
    return max(_SLOWEST_BALANCED_BPS, moved / compute_s)


def load(path: Path) -> Trace:
    """Read a trace; its tasks are listed so that each follows its parents, else in their order."""
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    workflow = json.loads(text)["workflow"]
    times = {task["id"]: float(task["runtimeInSeconds"]) for task in workflow["execution"]["tasks"]}
    sizes = {file["id"]: int(file["sizeInBytes"]) for file in workflow["specification"]["files"]}
    tasks = [
        Task(
            name=task["id"],
            run_s=times[task["id"]],
            inputs=tuple(dict.fromkeys(task.get("inputFiles", ()))),
            outputs=tuple(dict.fromkeys(task.get("outputFiles", ()))),
            parents=tuple(dict.fromkeys(task.get("parents", ()))),
            kind=task.get("name", "").rsplit("_", 1)[0],
        )
        for task in workflow["specification"]["tasks"]
    ]
    used = {file for task in tasks for file in (*task.inputs, *task.outputs)}
    return Trace(
        name=name_of(path), tasks=tuple(sorted_by_parents(tasks)), sizes={file: sizes[file] for file in sizes if file in used}
    )


def name_of(path: Path) -> str:
    """Return the name of the trace in a file."""
    return path.name.removesuffix(".gz").removesuffix(".json")


def sorted_by_parents(tasks: Sequence[Task]) -> list[Task]:
    """Return the tasks in their order, but each after its parents."""
    table = {task.name: task for task in tasks}
    order: dict[str, Task] = {}
    for root in tasks:
        stack = [root.name]
        while stack:
            task = table[stack[-1]]
            missing = [name for name in task.parents if name not in order]
            if missing and task.name not in order:
                stack.extend(reversed(missing))
            else:
                order[stack.pop()] = task
    return list(order.values())


def load_all(folder: Path, only: Sequence[str] = ()) -> list[Trace]:
    """Read every trace of a folder whose name contains one of `only` (all without)."""
    paths = sorted(path for path in folder.iterdir() if path.name.endswith((".json", ".json.gz")))
    return [load(path) for path in paths if not only or any(part in path.name for part in only)]
