"""Orders of a workflow's steps, each good for something: time, space, or what is near already. All are topological."""

import heapq
from collections.abc import Callable, Sequence

from jitflow.planner._graph import Graph
from jitflow.planner._noise import Noise

_NOISE = 0.6


def listed(graph: Graph) -> list[int]:
    """Return the order of the list."""
    return list(range(len(graph)))


def by_rank(graph: Graph, ranks: Sequence[float] | None = None) -> list[int]:
    """Return the steps behind which the longest chain of run times hangs first."""
    up = upward(graph, graph.run_s) if ranks is None else ranks
    return _greedy(graph, lambda n: -up[n])


def by_key(graph: Graph, keys: Sequence[float]) -> list[int]:
    """Return the ready step of the smallest key, again and again."""
    return _greedy(graph, lambda n: keys[n])


def shuffled(graph: Graph, noise: Noise) -> list[int]:
    """Return about the order of the list: steps may move a little."""
    far = max(4.0, len(graph) / 16)
    return _greedy(graph, lambda n: n + far * noise.normal())


def upward(graph: Graph, run_s: Sequence[float]) -> list[float]:
    """Return for each step the longest chain of run times from it to an end, itself included."""
    up = [0.0] * len(graph)
    for n in range(len(graph) - 1, -1, -1):
        up[n] = run_s[n] + max((up[child] for child in graph.behind[n]), default=0.0)
    return up


def least_s(graph: Graph, *, workers: int, rate_Bps: float) -> float:
    """Return a time in which no order can end: the longest chain with what it reads first, all work, or all that is read."""
    up = upward(graph, graph.run_s)
    heads = [0.0] * len(graph)
    chain = 0.0
    for n in range(len(graph)):
        read = sum(graph.far_bytes[one] for one in graph.far[n]) / rate_Bps
        heads[n] = max(read, max((heads[one] + graph.run_s[one] for one in graph.before[n]), default=0.0))
        chain = max(chain, heads[n] + up[n])
    first = min(heads, default=0.0)
    return max(chain, first + sum(graph.run_s) / workers, sum(graph.far_bytes) / rate_Bps)


def _greedy(graph: Graph, key: Callable[[int], float]) -> list[int]:
    """Return the ready step of the smallest key, again and again; keys stay what they are."""
    left = [len(before) for before in graph.before]
    ready = [(key(n), n) for n, count in enumerate(left) if not count]
    heapq.heapify(ready)
    order: list[int] = []
    while ready:
        n = heapq.heappop(ready)[1]
        order.append(n)
        for child in graph.behind[n]:
            left[child] -= 1
            if not left[child]:
                heapq.heappush(ready, (key(child), child))
    return order


def weights(graph: Graph) -> list[float]:
    """Return the bytes that hang on each step: its own and its share of those of the steps before it."""
    total = [0.0] * len(graph)
    for n in range(len(graph)):
        own = sum(graph.far_bytes[one] for one in graph.far[n]) + sum(graph.made_bytes[one] for one in graph.made[n])
        total[n] = own + sum(total[one] / len(graph.behind[one]) for one in graph.before[n])
    return total


def depth(graph: Graph, noise: Noise | None = None) -> list[int]:
    """Return each branch whole before the next is begun; of the steps before one, those nearest to being ready come first.

    Among those the one on which most bytes hang comes first. With `noise` these bytes are off at random.
    """
    heavy = weights(graph)
    if noise is not None:
        heavy = [one * noise.factor(2 * _NOISE) for one in heavy]
    return _Walk(graph, heavy).run()


class _Walk:
    """A depth-first walk from the ends that prefers what has the fewest steps before it that are still to come."""

    def __init__(self, graph: Graph, heavy: Sequence[float]) -> None:
        self.graph = graph
        self.heavy = heavy
        self.left = [len(before) for before in graph.before]
        self.done = [False] * len(graph)
        self.order: list[int] = []
        self.open: dict[int, list[tuple[int, float, int]]] = {}

    def run(self) -> list[int]:
        ends = [self._entry(n) for n in range(len(self.graph)) if not self.graph.behind[n]]
        heapq.heapify(ends)
        self.open[-1] = ends
        while (end := self._next(-1)) is not None:
            self._finish(end)
        return self.order

    def _entry(self, n: int) -> tuple[int, float, int]:
        return (self.left[n], -self.heavy[n], n)

    def _next(self, n: int) -> int | None:
        """Return what comes next before an open step, None if nothing is left."""
        heap = self.open[n]
        while heap:
            count, _, one = heapq.heappop(heap)
            if not self.done[one] and count == self.left[one]:
                return one
        return None

    def _finish(self, end: int) -> None:
        """Walk a step and all before it."""
        stack = [end]
        self._begin(end)
        while stack:
            n = stack[-1]
            before = self._next(n)
            if before is not None:
                stack.append(before)
                self._begin(before)
                continue
            stack.pop()
            del self.open[n]
            self._visit(n)

    def _begin(self, n: int) -> None:
        heap = [self._entry(one) for one in self.graph.before[n] if not self.done[one]]
        heapq.heapify(heap)
        self.open[n] = heap

    def _visit(self, n: int) -> None:
        self.done[n] = True
        self.order.append(n)
        for child in self.graph.behind[n]:
            self.left[child] -= 1
            if child in self.open or self.done[child]:
                continue
            for reader in self.graph.behind[child] or (-1,):
                if reader in self.open:
                    heapq.heappush(self.open[reader], self._entry(child))


def lean(graph: Graph, noise: Noise | None = None) -> list[int]:
    """Return the step that lets the bytes of live results grow least, again and again."""

    def growth(n: int) -> tuple[float, int]:
        grown = sum(graph.made_bytes[one] for one in graph.made[n] if graph.readers[one])
        freed = sum(graph.made_bytes[one] for one in graph.reads[n] if left[one] == 1)
        return ((grown - freed) * factors[n], n)

    factors = _factors(graph, noise)
    left = list(graph.readers)
    touched = _touchers(graph.reads, len(graph.made_bytes))

    def done(n: int) -> list[int]:
        changed: list[int] = []
        for one in graph.reads[n]:
            left[one] -= 1
            if left[one] == 1:
                changed += touched[one]
        return changed

    return _adaptive(graph, growth, done)


def near(graph: Graph, noise: Noise | None = None) -> list[int]:
    """Return the step of which the fewest bytes are still far away, again and again."""
    factors = _factors(graph, noise)
    here = [False] * len(graph.far_bytes)
    touched = _touchers(graph.far, len(graph.far_bytes))

    def missing(n: int) -> tuple[float, int]:
        return (sum(graph.far_bytes[one] for one in graph.far[n] if not here[one]) * factors[n], n)

    def done(n: int) -> list[int]:
        changed: list[int] = []
        for one in graph.far[n]:
            if not here[one]:
                here[one] = True
                changed += touched[one]
        return changed

    return _adaptive(graph, missing, done)


def _factors(graph: Graph, noise: Noise | None) -> list[float]:
    return [1.0 if noise is None else noise.factor(_NOISE) for _ in range(len(graph))]


def _touchers(lists: Sequence[Sequence[int]], count: int) -> list[list[int]]:
    found: list[list[int]] = [[] for _ in range(count)]
    for n, numbers in enumerate(lists):
        for one in numbers:
            found[one].append(n)
    return found


def _adaptive(graph: Graph, key: Callable[[int], tuple[float, int]], done: Callable[[int], list[int]]) -> list[int]:
    """Return the ready step of the smallest key, again and again; `done` returns the steps whose keys have become smaller."""
    left = [len(before) for before in graph.before]
    taken = [False] * len(graph)
    ready = [key(n) for n, count in enumerate(left) if not count]
    heapq.heapify(ready)
    order: list[int] = []
    while ready:
        n = heapq.heappop(ready)[1]
        if taken[n]:
            continue
        taken[n] = True
        order.append(n)
        for child in graph.behind[n]:
            left[child] -= 1
            if not left[child]:
                heapq.heappush(ready, key(child))
        for other in done(n):
            if not taken[other] and not left[other]:
                heapq.heappush(ready, key(other))
    return order


def soonest(graph: Graph, ranks: Sequence[float], *, workers: int, rate_Bps: float) -> list[int]:
    """Return the ready step that could start first, its data coming next; of equals the one with the highest rank."""

    def start(n: int) -> float:
        missing = sum(graph.far_bytes[one] for one in graph.far[n] if not here[one])
        return max(ready_at[n], free[0], link + missing / rate_Bps if missing else 0.0)

    free = [0.0] * workers
    left = [len(before) for before in graph.before]
    ready_at = [0.0] * len(graph)
    here = [False] * len(graph.far_bytes)
    link = 0.0
    heap = [(start(n), -ranks[n], n) for n, count in enumerate(left) if not count]
    heapq.heapify(heap)
    order: list[int] = []
    while heap:
        at, rank, n = heapq.heappop(heap)
        now = start(n)
        if now > at:
            heapq.heappush(heap, (now, rank, n))
            continue
        for one in graph.far[n]:
            link += 0.0 if here[one] else graph.far_bytes[one] / rate_Bps
            here[one] = True
        heapq.heappop(free)
        heapq.heappush(free, now + graph.run_s[n])
        order.append(n)
        for child in graph.behind[n]:
            left[child] -= 1
            ready_at[child] = max(ready_at[child], now + graph.run_s[n])
            if not left[child]:
                heapq.heappush(heap, (start(child), -ranks[child], child))
    return order


def starts(graph: Graph, order: Sequence[int], *, workers: int, rate_Bps: float) -> list[float]:
    """Return when each step would start with this many workers and room for everything, data coming in this order."""
    free = [0.0] * workers
    ends = [0.0] * len(graph)
    here = [-1.0] * len(graph.far_bytes)
    begun = [0.0] * len(graph)
    link = 0.0
    for n in order:
        ready = max((ends[one] for one in graph.before[n]), default=0.0)
        for one in graph.far[n]:
            if here[one] < 0:
                link += graph.far_bytes[one] / rate_Bps
                here[one] = link
            ready = max(ready, here[one])
        begun[n] = max(ready, heapq.heappop(free))
        ends[n] = begun[n] + graph.run_s[n]
        heapq.heappush(free, ends[n])
    return begun


def peak(graph: Graph, order: Sequence[int]) -> int:
    """Return the room that an order needs when its steps run one after another and no result leaves before its last reader."""
    left = list(graph.readers)
    live = most = 0
    for n in order:
        made = sum(graph.made_bytes[one] for one in graph.made[n])
        most = max(most, live + made + sum(graph.far_bytes[one] for one in graph.far[n]))
        live += sum(graph.made_bytes[one] for one in graph.made[n] if graph.readers[one])
        for one in graph.reads[n]:
            left[one] -= 1
            live -= 0 if left[one] else graph.made_bytes[one]
    return most
