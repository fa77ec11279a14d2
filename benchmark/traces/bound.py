"""A makespan that no policy can beat in the model, however clairvoyant. Each term alone is a bound; the largest counts.

Heads and tails: a step cannot start before its `head` (its inputs' first transfers, its parents), and after its end at least its
`tail` passes (the steps that follow, the last upload).
"""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from benchmark.traces.workloads import LATENCY_S, STREAM_SHARE, TRANSFERS, WORKERS, Task, Trace

_LEVELS = 600
_FEW_LEVELS = 12
_PIGEONS = 5


@dataclass(frozen=True)
class Paths:
    """Heads and tails of the steps."""

    trace: Trace
    head: Mapping[str, float]
    tail: Mapping[str, float]
    rate_Bps: float
    latency_s: float = LATENCY_S

    def moving(self, size: float) -> float:
        """Return the least time in which bytes cross the idle link."""
        return self.latency_s + size / self.rate_Bps


def bound(trace: Trace, rate_Bps: float, capacity: int, latency_s: float = LATENCY_S) -> float:
    """Return the bound for one workflow alone in an empty store."""
    return together([(trace, 0.0)], rate_Bps, capacity, latency_s=latency_s)


def together(
    arrivals: Sequence[tuple[Trace, float]],
    rate_Bps: float,
    capacity: int,
    *,
    shared: bool = False,
    latency_s: float = LATENCY_S,
) -> float:
    """Return the bound for workflows that arrive at given times; with `shared` inputs of equal name are the same."""
    first = min(at for _, at in arrivals)
    flows = [(paths(trace, rate_Bps, at, first if shared else at, latency_s), at) for trace, at in arrivals]
    terms = [critical(flow) for flow, _ in flows]
    terms.append(work([flow for flow, _ in flows]))
    terms.append(downlink(flows, rate_Bps, shared=shared))
    terms.append(uplink([flow for flow, _ in flows], rate_Bps))
    terms.append(area([flow for flow, _ in flows], shared=shared) / capacity)
    if len(flows) == 1:
        terms.append(forced_spill(flows[0][0], capacity))
    return max(terms)


def paths(
    trace: Trace, rate_Bps: float, arrival_s: float = 0.0, fetched_from_s: float = 0.0, latency_s: float = LATENCY_S
) -> Paths:
    """Return the heads and tails of a workflow's steps; its inputs may be on their way before it arrives."""
    external = set(trace.external)
    finals = set(trace.finals)
    head: dict[str, float] = {}
    tail: dict[str, float] = {}
    for task in trace.tasks:
        first = sum(trace.sizes[file] for file in task.inputs if file in external)
        missing = any(file in external for file in task.inputs)
        ready = max(arrival_s, fetched_from_s + (latency_s + first / rate_Bps if missing else 0.0))
        head[task.name] = max(ready, max((head[name] + trace.table[name].run_s for name in task.parents), default=0.0))
    children: dict[str, list[Task]] = {}
    for task in trace.tasks:
        for name in task.parents:
            children.setdefault(name, []).append(task)
    for task in reversed(trace.tasks):
        results = [trace.sizes[file] for file in task.outputs if file in finals]
        upload = latency_s + sum(results) / rate_Bps if results else 0.0
        after = max((child.run_s + tail[child.name] for child in children.get(task.name, ())), default=0.0)
        tail[task.name] = max(upload, after)
    return Paths(trace=trace, head=head, tail=tail, rate_Bps=rate_Bps, latency_s=latency_s)


def critical(flow: Paths) -> float:
    """Return the longest chain: first transfers, steps, last upload."""
    return max(flow.head[task.name] + task.run_s + flow.tail[task.name] for task in flow.trace.tasks)


def work(flows: Sequence[Paths]) -> float:
    """Return the bound of the places: steps with late heads and long tails share them, and one gets several of many."""
    rows = [(flow.head[task.name], task.run_s, flow.tail[task.name]) for flow in flows for task in flow.trace.tasks]
    rows.sort(reverse=True)
    best = 0.0
    for least in _levels((tail for _, _, tail in rows), _LEVELS):
        total = 0.0
        for head, run_s, tail in rows:
            if tail >= least:
                total += run_s
                best = max(best, head + total / WORKERS + least)
    for least in _levels((tail for _, _, tail in rows), _FEW_LEVELS):
        chosen = [row for row in rows if row[2] >= least]
        for head in _levels((row[0] for row in chosen), _FEW_LEVELS):
            best = max(best, head + _pigeonhole(sorted(row[1] for row in chosen if row[0] >= head)) + least)
    return best


def _pigeonhole(runs: Sequence[float]) -> float:
    """Return what one place has to run at least: of k * W + 1 steps some place gets k + 1."""
    best = 0.0
    for count in range(1, _PIGEONS):
        start = len(runs) - ((count - 1) * WORKERS + 1)
        if start < 0:
            break
        best = max(best, sum(runs[start : start + count]))
    return best


def _levels(values: Iterable[float], most: int) -> list[float]:
    """Return at most so many of the values, the least among them."""
    distinct = sorted(set(values))
    if len(distinct) <= most:
        return distinct
    return [distinct[place * len(distinct) // most] for place in range(most)]


def downlink(flows: Sequence[tuple[Paths, float]], rate_Bps: float, *, shared: bool) -> float:
    """Return the bound of the first transfers one after another, those first behind which most is to come."""
    jobs: dict[str, tuple[float, float, int]] = {}
    for number, (flow, arrival) in enumerate(flows):
        for file in flow.trace.external:
            tail = max(task.run_s + flow.tail[task.name] for task in flow.trace.readers[file])
            name = file if shared else f"{number}/{file}"
            known = jobs.get(name, (arrival, 0.0, 0))
            jobs[name] = (min(arrival, known[0]), max(tail, known[1]), flow.trace.sizes[file])
    by_link = [(release, tail, size / rate_Bps) for release, tail, size in jobs.values()]
    slot_Bps = rate_Bps / STREAM_SHARE
    latency_s = min(flow.latency_s for flow, _ in flows)
    by_slot = [(release, tail, (latency_s + size / slot_Bps) / TRANSFERS) for release, tail, size in jobs.values()]
    return max(latency_s + jackson(by_link), jackson(by_slot))


def uplink(flows: Sequence[Paths], rate_Bps: float) -> float:
    """Return the bound of the last transfers one after another, each after its step."""
    slot_Bps = rate_Bps / STREAM_SHARE
    by_link: list[tuple[float, float, float]] = []
    by_slot: list[tuple[float, float, float]] = []
    for flow in flows:
        for file in flow.trace.finals:
            task = flow.trace.producers[file]
            release = flow.head[task.name] + task.run_s
            size = flow.trace.sizes[file]
            by_link.append((release, 0.0, size / rate_Bps))
            by_slot.append((release, 0.0, (flow.latency_s + size / slot_Bps) / TRANSFERS))
    latency_s = min(flow.latency_s for flow in flows)
    return max(latency_s + jackson(by_link) if by_link else 0.0, jackson(by_slot))


def jackson(jobs: Iterable[tuple[float, float, float]]) -> float:
    """Return the least time in which one machine ends (release, tail, length) jobs, when they may be interrupted."""
    pending = sorted(jobs)
    open_jobs: list[list[float]] = []
    now = best = 0.0
    place = 0
    while place < len(pending) or open_jobs:
        if not open_jobs:
            now = max(now, pending[place][0])
        while place < len(pending) and pending[place][0] <= now:
            heapq.heappush(open_jobs, [-pending[place][1], pending[place][2]])
            place += 1
        job = open_jobs[0]
        until = pending[place][0] if place < len(pending) else float("inf")
        if now + job[1] <= until:
            now += job[1]
            best = max(best, now - job[0])
            heapq.heappop(open_jobs)
        else:
            job[1] -= until - now
            now = until
    return best


def area(flows: Sequence[Paths], *, shared: bool) -> float:
    """Return bytes times seconds that files must lie in the store: under way, being written, read by as many as can run."""
    stays: dict[str, list[float]] = {}
    for number, flow in enumerate(flows):
        trace = flow.trace
        finals = set(trace.finals)
        for file, size in trace.sizes.items():
            readers = [task.run_s for task in trace.readers.get(file, ())]
            producer = trace.producers.get(file)
            name = file if shared and producer is None else f"{number}/{file}"
            stay = stays.setdefault(name, [float(size), 0.0, 0.0, 0.0])
            stay[1] = max([stay[1], *readers])
            stay[2] += sum(readers)
            moved = producer is None or file in finals
            stay[3] = (producer.run_s if producer else 0.0) + (flow.moving(size) if moved else 0.0)
    return sum(size * (once + max(longest, total / WORKERS)) for size, longest, total, once in stays.values())


def forced_spill(flow: Paths, capacity: int) -> float:
    """Return the bound of what must leave the store before a step and come back after it, for the worst step."""
    trace = flow.trace
    best = 0.0
    for task, files in zip(trace.tasks, cuts(trace), strict=True):
        own = sum(trace.sizes[file] for file in {*task.inputs, *task.outputs})
        excess = own + sum(trace.sizes[file] for file, _ in files) - capacity
        if excess <= 0:
            continue
        earliest = min(flow.head[(writer := trace.producers[file]).name] + writer.run_s for file, _ in files)
        shortest = min(max(one.run_s + flow.tail[one.name] for one in later) for _, later in files)
        start = max(flow.head[task.name], earliest + flow.moving(excess))
        best = max(best, start + task.run_s + flow.moving(excess) + shortest)
    return best


@lru_cache(maxsize=8)
def cuts(trace: Trace) -> list[list[tuple[str, list[Task]]]]:
    """Return for each step the files that exist while it runs, whatever the order, with those who read them afterwards."""
    place = {task.name: number for number, task in enumerate(trace.tasks)}
    before: list[int] = []
    for task in trace.tasks:
        bits = 0
        for name in task.parents:
            bits |= before[place[name]] | 1 << place[name]
        before.append(bits)
    after = [0] * len(before)
    for number, bits in enumerate(before):
        for other in _ones(bits):
            after[other] |= 1 << number
    found: list[list[tuple[str, list[Task]]]] = [[] for _ in before]
    for file, producer in trace.producers.items():
        readers = trace.readers.get(file, [])
        ahead = 0
        for reader in readers:
            ahead |= before[place[reader.name]]
        for number in _ones(ahead & after[place[producer.name]]):
            if file not in trace.tasks[number].inputs:
                later = [one for one in readers if before[place[one.name]] >> number & 1]
                found[number].append((file, later))
    return found


def _ones(bits: int) -> Iterable[int]:
    """Iterate over the places of the ones."""
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low
