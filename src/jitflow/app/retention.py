"""How many finished workflows are kept: a number for each way to end, over all namespaces, as Argo's `retentionPolicy`."""

from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Protocol

from jitflow.ports.store import RunRow


class Runs(Protocol):
    """The runs that are there."""

    def finished(self, phase: str) -> Iterable[RunRow]:
        """Return the runs that have ended in a phase."""
        ...

    async def remove(self, row: RunRow) -> None:
        """Delete a run; one that is gone already is no error."""
        ...


class Retention:
    """Deletes the oldest finished workflows when there are more of their phase than are to be kept."""

    def __init__(self, limits: Mapping[str, int], runs: Runs, spawn: Callable[[Coroutine[Any, Any, None], str], None]) -> None:
        """Keep so many of each phase; 0 or no limit: all."""
        self._limits = {phase: limit for phase, limit in limits.items() if limit > 0}
        self._runs = runs
        self._spawn = spawn

    def open(self) -> None:
        """Look once at all that is there."""
        for phase in self._limits:
            self._spawn(self._tidy(phase), f"keep the newest workflows that are {phase}")

    def run_ended(self, row: RunRow) -> None:
        """A workflow has ended: an older one may have to go."""
        if row.phase in self._limits:
            self._spawn(self._tidy(row.phase), f"keep the newest workflows that are {row.phase}")

    async def _tidy(self, phase: str) -> None:
        rows = sorted(self._runs.finished(phase), key=lambda row: (row.finished_at or 0.0, row.sequence), reverse=True)
        for row in rows[self._limits[phase] :]:
            await self._runs.remove(row)
