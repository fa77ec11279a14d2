"""What others do: private copies, a shared store on demand, the original system's prefetching, prefetching everything.

They are idealised: dead files are deleted at once and for nothing, no request costs anything but the link's latency.
"""

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.traces.workloads import TRANSFERS, WORKERS, Point, Task, Trace
from benchmark.traces.world import Clock

POLICIES = ("private", "on-demand", "original", "prefetch-all")


@dataclass(frozen=True)
class Result:
    """What came of a run."""

    makespan_s: float
    bytes_down: int
    bytes_up: int
    finished: bool


def run(policy: str, trace: Trace, point: Point) -> Result:
    """Run a workflow under a policy."""
    if policy == "private":
        return Private(trace, point).run()
    if policy == "on-demand":
        return OnDemand(trace, point).run()
    if policy == "original":
        return OnDemand(trace, point, ahead=last_that_fit(trace, point.capacity), streams=1).run()
    return OnDemand(trace, point, ahead=trace.external, streams=TRANSFERS).run()


def last_that_fit(trace: Trace, capacity: int) -> list[str]:
    """Return the inputs that are left when the oldest are thrown out until the rest fits."""
    files = deque(trace.external)
    total = sum(trace.sizes[file] for file in files)
    while total > capacity:
        total -= trace.sizes[files.popleft()]
    return list(files)


class _Run:
    """Steps that become ready in the order of the listing, and take the first free place."""

    def __init__(self, trace: Trace, point: Point) -> None:
        self.trace = trace
        self.sizes = trace.sizes
        self.capacity = point.capacity
        self.clock = Clock(point.rate_Bps)
        self.used = 0
        self.free = WORKERS
        self.left = len(trace.tasks)
        self.last = 0.0
        self._blockers = {task.name: len(task.parents) for task in trace.tasks}
        self._children: dict[str, list[Task]] = {}
        for task in trace.tasks:
            for name in task.parents:
                self._children.setdefault(name, []).append(task)
        self.ready = deque(task for task in trace.tasks if not task.parents)

    def run(self) -> Result:
        self.pump()
        while self.clock.step():
            self.pump()
        down, up = self.clock.down.moved, self.clock.up.moved
        return Result(makespan_s=self.last, bytes_down=down, bytes_up=up, finished=not self.left)

    def pump(self) -> None:
        raise NotImplementedError

    def done(self, task: Task) -> None:
        """Count a step as done and list those that can follow."""
        self.free += 1
        self.left -= 1
        self.last = self.clock.now
        for child in self._children.get(task.name, ()):
            self._blockers[child.name] -= 1
            if not self._blockers[child.name]:
                self.ready.append(child)


class Private(_Run):
    """Each step loads its inputs and stores its outputs one after another, in its place; nothing is shared."""

    def pump(self) -> None:
        """Give places to steps whose files fit."""
        while self.ready and self.free:
            task = self.ready[0]
            need = sum(self.sizes[file] for file in (*task.inputs, *task.outputs))
            if self.used + need > self.capacity:
                return
            self.ready.popleft()
            self.used += need
            self.free -= 1
            self._load(task, deque(task.inputs))

    def _load(self, task: Task, files: deque[str]) -> None:
        if files:
            file = files.popleft()
            self.clock.down.queue((task.name, file), self.sizes[file], lambda: self._load(task, files))
        else:
            self.clock.after(task.run_s, lambda: self._store(task, deque(task.outputs)))

    def _store(self, task: Task, files: deque[str]) -> None:
        if files:
            file = files.popleft()
            self.clock.up.queue((task.name, file), self.sizes[file], lambda: self._store(task, files))
        else:
            self.used -= sum(self.sizes[file] for file in (*task.inputs, *task.outputs))
            self.done(task)


class OnDemand(_Run):
    """One shared store with least-recently-used victims; a step fetches when it has its place, and waits there.

    With `ahead`, files are fetched in that order into free room, `streams` at once.
    """

    def __init__(self, trace: Trace, point: Point, *, ahead: Sequence[str] = (), streams: int = 0) -> None:
        """Begin with an empty store."""
        super().__init__(trace, point)
        self._ahead = deque(ahead)
        self._streams = streams
        self._prefetching = 0
        self._waiting: deque[Task] = deque()
        self._here: OrderedDict[str, None] = OrderedDict()
        """Resident files, used longest ago first."""
        self._coming: dict[str, list[Task]] = {}
        self._lacking: dict[str, int] = {}
        self._pins: dict[str, int] = {}
        self._uses = {file: len(tasks) for file, tasks in trace.readers.items()}
        self._far = set(trace.external)
        self._finals = set(trace.finals)
        self._writing: dict[str, int] = {}

    def pump(self) -> None:
        """Give places to steps, room to those that wait for it, and use what is left of the link."""
        while self.ready and self.free:
            self.free -= 1
            self._waiting.append(self.ready.popleft())
        while self._waiting and self._room(self._need(self._waiting[0]), set(self._waiting[0].inputs)):
            self._claim(self._waiting.popleft())
        self._prefetch()

    # -- room --------------------------------------------------------------------------------------------------------------

    def _need(self, task: Task) -> int:
        lacking = [file for file in task.inputs if file not in self._here and file not in self._coming]
        return sum(self.sizes[file] for file in (*lacking, *task.outputs))

    def _room(self, need: int, spared: set[str]) -> bool:
        """Evict until there is room; live files without a far copy are written back first, which takes time."""
        missing = self.used + need - self.capacity
        if missing <= 0:
            return True
        missing -= sum(self.sizes[file] for file in self._writing if not self._pins.get(file) and file not in spared)
        for file in list(self._here):
            if missing <= 0:
                break
            if self._pins.get(file) or file in spared or file in self._finals or file in self._writing:
                continue
            missing -= self.sizes[file]
            if file in self._far:
                self._drop(file)
            else:
                self._writing[file] = 1
                self.clock.up.queue(file, self.sizes[file], lambda file=file: self._written(file), urgent=True)
        return self.used + need <= self.capacity

    def _drop(self, file: str) -> None:
        del self._here[file]
        self.used -= self.sizes[file]

    def _written(self, file: str) -> None:
        del self._writing[file]
        self._far.add(file)
        if file in self._here and not self._pins.get(file):
            self._drop(file)

    # -- steps -------------------------------------------------------------------------------------------------------------

    def _claim(self, task: Task) -> None:
        self.used += self._need(task)
        self._lacking[task.name] = 1
        for file in task.inputs:
            self._pins[file] = self._pins.get(file, 0) + 1
            if file in self._here:
                self._here.move_to_end(file)
                continue
            self._lacking[task.name] += 1
            if file in self._coming:
                self._coming[file].append(task)
            else:
                self._coming[file] = [task]
                self.clock.down.queue(file, self.sizes[file], lambda file=file: self._arrived(file), urgent=True)
        self._progress(task)

    def _arrived(self, file: str) -> None:
        self._here[file] = None
        for task in self._coming.pop(file):
            self._progress(task)

    def _progress(self, task: Task) -> None:
        self._lacking[task.name] -= 1
        if not self._lacking[task.name]:
            self.clock.after(task.run_s, lambda: self._end(task))

    def _end(self, task: Task) -> None:
        for file in task.inputs:
            self._pins[file] -= 1
            self._uses[file] -= 1
            if not self._uses[file]:
                self._drop(file)
                if file in self._writing:
                    del self._writing[file]
                    self.clock.up.cancel(file)
        for file in task.outputs:
            self._here[file] = None
            if file in self._finals:
                self.clock.up.queue(file, self.sizes[file], lambda file=file: self._stored(file))
        self.done(task)

    def _stored(self, file: str) -> None:
        self._drop(file)
        self.last = self.clock.now

    # -- ahead -------------------------------------------------------------------------------------------------------------

    def _prefetch(self) -> None:
        while self._ahead and self._prefetching < self._streams and self.clock.down.idle > 0:
            file = self._ahead[0]
            if file in self._here or file in self._coming or not self._uses[file]:
                self._ahead.popleft()
                continue
            if self.used + self.sizes[file] > self.capacity:
                return
            self._ahead.popleft()
            self._prefetching += 1
            self.used += self.sizes[file]
            self._coming[file] = []
            self.clock.down.start(file, self.sizes[file], lambda file=file: self._prefetched(file))

    def _prefetched(self, file: str) -> None:
        self._prefetching -= 1
        self._arrived(file)
