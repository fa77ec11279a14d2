"""How long steps run and how much they write, learned from those that succeeded: by template, over all workflows and restarts."""

from typing import Final

import msgspec
from msgspec import Struct

from jitflow import machine
from jitflow.engine.tasks import Owner
from jitflow.machine.problems import Problem
from jitflow.model.pods import PodEnd
from jitflow.ports.clock import Clock
from jitflow.ports.store import StateStore

RUN_TIME: Final = "runtime"
KEPT = 10_000
"""Templates of which something is remembered; the ones that were not seen for longest are forgotten."""

_NEW_WEIGHT = 0.2
_SAVE_AFTER_S = 1.0


class RunTime(Struct, frozen=True, kw_only=True):
    """What a template's steps took: a mean in which the newer ones count more, and when the last one ended.

    `written`: by the names of their output artifacts, how many bytes they wrote, as such means.
    """

    mean_s: float
    count: int
    seen_at: float
    written: dict[str, float] = {}


class RunTimes:
    """Learns run times. Writes late and many at once: losing the last ones in a crash does no harm."""

    def __init__(self, store: StateStore, clock: Clock, owner: Owner) -> None:
        """Keep them in `store`."""
        self._store = store
        self._clock = clock
        self._owner = owner
        self._known: dict[str, RunTime] = {}
        self._unsaved: set[str] = set()

    async def open(self) -> None:
        """Read what was learned before."""
        read = [(key, msgspec.json.decode(body, type=RunTime)) for key, body in await self._store.items(RUN_TIME)]
        self._known = dict(sorted(read, key=lambda one: one[1].seen_at))

    def learn(self, state: machine.State, node_id: str, end: PodEnd) -> str:
        """Take note of a pod that has ended, and return its template's fingerprint; of one that failed nothing is learned."""
        node = state.nodes.get(node_id)
        if node is None or end.exit_code != 0 or not 0 < end.started_at <= end.finished_at:
            return ""
        try:
            key = state.program.template(node.template).fingerprint
        except Problem:
            return ""  # a template of another object that this process has not read
        ran_s = end.finished_at - end.started_at
        old = self._known.pop(key, None)
        count = old.count + 1 if old is not None else 1
        weight = max(1 / count, _NEW_WEIGHT)
        mean_s = ran_s if old is None else old.mean_s + weight * (ran_s - old.mean_s)
        written = dict(old.written) if old is not None else {}
        for artifact in end.artifacts:
            before = written.get(artifact.name, artifact.size_bytes)
            written[artifact.name] = before + weight * (artifact.size_bytes - before)
        self._known[key] = RunTime(mean_s=mean_s, count=count, seen_at=end.finished_at, written=written)
        if not self._unsaved:
            self._owner.spawn(self._save_soon(), "save run times")
        self._unsaved.add(key)
        if len(self._known) > KEPT:
            oldest = next(iter(self._known))
            del self._known[oldest]
            self._unsaved.add(oldest)
        return key

    def of(self, fingerprint: str) -> float | None:
        """Return how long a template's steps run, None if none was seen."""
        found = self._known.get(fingerprint)
        return found.mean_s if found is not None else None

    def written(self, fingerprint: str, artifact: str) -> int | None:
        """Return how many bytes a template's steps write to an output artifact, None if none was seen."""
        found = self._known.get(fingerprint)
        size = found.written.get(artifact) if found is not None else None
        return None if size is None else round(size)

    async def save(self) -> None:
        """Write what was learned since the last time."""
        unsaved, self._unsaved = self._unsaved, set()
        rows = ((key, self._known.get(key)) for key in sorted(unsaved))
        await self._store.put(RUN_TIME, [(key, msgspec.json.encode(row) if row is not None else None) for key, row in rows])

    async def _save_soon(self) -> None:
        await self._clock.sleep(_SAVE_AFTER_S)
        await self.save()
