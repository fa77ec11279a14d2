"""The heart of the data plane: the planner, its commands on the way to those who perform them, and what all of them share."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from jitflow.dataplane import records
from jitflow.dataplane.catalogue import Catalogue
from jitflow.dataplane.history import History
from jitflow.dataplane.inventory import Inventory
from jitflow.dataplane.journal import Journal
from jitflow.dataplane.provenance import Provenance
from jitflow.dataplane.tasks import Owner
from jitflow.model.bandwidth import FREE, Rate
from jitflow.model.data import ObjectInfo, ObjectRef, Replica, ReplicaState, StepId, WorkflowUid
from jitflow.model.origins import is_made
from jitflow.planner import Cancel, Command, Fetch, Forget, Grant, Hurry, Look, Planner
from jitflow.ports.clock import Clock
from jitflow.ports.dataplane import DataEvent
from jitflow.ports.errors import PortError
from jitflow.ports.primary import Held, Primary
from jitflow.ports.spending import Spending
from jitflow.ports.storage import Storage

log = logging.getLogger("jitflow.dataplane")

_INFOS_KEPT = 200_000
_FREED_KEPT = 20_000
_CEILING_EVERY_S = 0.5
_ANSWERED_LATER = (Look, Fetch, Hurry, Cancel, Forget, Grant)
"""The planner hears nothing while these are performed, or `Core.heard` is called: without an event it decides nothing new."""
NOBODY = "default"
"""The namespace that pays for what nobody's workflow has asked for."""


@dataclass(kw_only=True)
class Tuning:
    """Limits of patience. Seconds; `attempts` of one transfer before it is given up.

    `check_every_s`: how often the catalogue is compared with what is really there; 0: never.
    """

    attempts: int = 6
    backoff_s: float = 0.5
    backoff_most_s: float = 30.0
    look_timeout_s: float = 45.0
    disk_patience_s: float = 60.0
    restored_lease_s: float = 600.0
    check_every_s: float = 300.0
    draw: Callable[[], float] = field(default=random.random)
    stopwatch: Callable[[], float] = field(default=time.perf_counter)
    """Tells how long the data plane's own work takes."""

    def backoff(self, attempt: int) -> float:
        """Return how long to wait after a failed attempt (from 1), with jitter."""
        return min(self.backoff_most_s, self.backoff_s * 2 ** (attempt - 1)) * (0.5 + self.draw())


class Limits(Protocol):
    """What may move over links."""

    def rate(self, remote: str) -> Rate:
        """Return the limit of a remote that is in force."""
        ...

    def ahead(self, remote: str) -> tuple[tuple[float, Rate], ...]:
        """Return the limits of a remote from now on: in how many seconds each begins; empty if there never is one."""
        ...


class NoLimits:
    """As much as there is."""

    def rate(self, remote: str) -> Rate:
        """Return no limit."""
        del remote
        return FREE

    def ahead(self, remote: str) -> tuple[tuple[float, Rate], ...]:
        """Return none."""
        del remote
        return ()


class Core:
    """Shared state of the data plane's parts. Everything happens on one event loop; nothing here awaits."""

    def __init__(
        self,
        *,
        planner: Planner,
        primary: Primary,
        storage: Storage,
        journal: Journal,
        history: History,
        clock: Clock,
        owner: Owner,
        tuning: Tuning,
        emit: Callable[[DataEvent], None],
        free_floor_bytes: int,
        limits: Limits,
        provenance: Provenance,
        spending: Spending,
        inventory: Inventory | None = None,
    ) -> None:
        """Hold the parts together."""
        self.planner = planner
        self.primary = primary
        self.storage = storage
        self.journal = journal
        self.history = history
        self.clock = clock
        self.owner = owner
        self.tuning = tuning
        self.emit = emit
        self.limits = limits
        self.provenance = provenance
        self.spending = spending
        self.inventory = inventory or Inventory(storage, clock)
        """Listings of far stores, through which objects are looked up."""
        self.namespace_of: Callable[[WorkflowUid], str] = lambda _: NOBODY
        """Whose a workflow is."""
        self.rows = Catalogue()
        """The catalogue: replicas that are or will be in the primary."""
        self.infos: dict[ObjectRef, ObjectInfo] = {}
        """What far stores said of objects."""
        self.perform: Callable[[Command], None] = lambda _: None
        self.arrived_bytes: Callable[[ObjectRef], int] = lambda _: 0
        """How much of an object has come that is on its way."""
        self.moving_Bps: Callable[[str], float] = lambda _: 0.0
        """What comes now over the link of a remote, all transfers together; 0: nothing."""
        self.partial_bytes: Callable[[], int] = lambda: 0
        self.decided: Callable[[], None] = lambda: None
        """Called when the planner has nothing more to say for now."""
        self.seen_at: dict[ObjectRef, float] = {}
        """When each of these was looked at last."""
        self.came: Callable[[ObjectRef], None] = lambda _: None
        """Called when an object has come and has its row."""
        self.closing = False
        self.strangers_bytes = 0
        """Bytes in the primary that jitflow did not put there."""
        self.coming: set[str] = set()
        """Locations under which something is on its way into the primary."""
        self.changes = 0
        """How often the catalogue has changed."""
        self._free_floor_bytes = free_floor_bytes
        self._pumping = False
        self._again = False
        self._soon = False
        self._alarm_at: float | None = None
        self._ceiling_at = float("-inf")
        self._freed: dict[str, StepId] = {}

    def rate(self, remote: str) -> float | None:
        """Return what may be expected of a remote's link now, in bytes per second; None if that is not known."""
        learned, limit = self.history.rates.rate(remote), self.limits.rate(remote).down_Bps
        return learned if limit is None else float(limit) if learned is None else min(learned, limit)

    # -- the loop of decisions ---------------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Let the planner decide, and perform what it says, until it has nothing more to say."""
        self._again = True
        if self._pumping or self.closing:
            return
        self._pumping = True
        try:
            while self._again:
                self._again = False
                self._watch_disk()
                for command in self.planner.decide(self.clock.now()):
                    self.perform(command)
                    if not isinstance(command, _ANSWERED_LATER):
                        self._again = True
        finally:
            self._pumping = False
        self.decided()
        books = self.planner.bytes
        self.history.used(books.used, books.peak)
        self._set_alarm()

    def heard(self) -> None:
        """Let the planner decide once more if it was told something while its commands are performed."""
        self._again = True

    def pump_soon(self) -> None:
        """Pump once for all that happens in this turn of the event loop."""
        if not self._soon:
            self._soon = True
            asyncio.get_running_loop().call_soon(self._pump_now)

    def _pump_now(self) -> None:
        self._soon = False
        self.pump()

    def _set_alarm(self) -> None:
        wake = self.planner.next_wake()
        if wake is not None and (self._alarm_at is None or wake < self._alarm_at):
            self._alarm_at = wake
            self.owner.start(self._alarm(wake), "data plane alarm")

    async def _alarm(self, at: float) -> None:
        await self.clock.sleep(max(0.0, at - self.clock.now()))
        if self._alarm_at == at:
            self._alarm_at = None
        self.pump()

    def _watch_disk(self) -> None:
        now = self.clock.now()
        if not 0 <= now - self._ceiling_at < _CEILING_EVERY_S:  # or the clock was set back
            self.measure_disk()

    def measure_disk(self) -> None:
        """Let the planner use no more than the disk has, and than what is not jitflow's leaves, whatever the capacity is."""
        self._ceiling_at = self.clock.now()
        free = self.primary.free_bytes()
        books = self.planner.bytes
        ceiling = books.limit - self.strangers_bytes
        if free is None:
            self.planner.set_ceiling(ceiling)
            return
        written = books.resident + books.leaving + self.partial_bytes()
        self.planner.set_ceiling(min(ceiling, written + max(0, free - self._free_floor_bytes)))

    # -- what was let go ---------------------------------------------------------------------------------------------------

    def load_freed(self, documents: Sequence[tuple[str, bytes]]) -> None:
        """Read which outputs earlier lives let go."""
        self._freed = {key: body.decode() for key, body in documents}

    def note_freed(self, ref: ObjectRef, step: StepId) -> None:
        """An output of a step was let go, and is nowhere else; the last ones are remembered."""
        self._freed.pop(str(ref), None)
        self._freed[str(ref)] = step
        self.journal.put(records.FREED, str(ref), step.encode())
        if len(self._freed) > _FREED_KEPT:
            oldest = next(iter(self._freed))
            del self._freed[oldest]
            self.journal.put(records.FREED, oldest, None)

    def written_anew(self, ref: ObjectRef) -> None:
        """An output of that name is here again."""
        if self._freed.pop(str(ref), None) is not None:
            self.journal.put(records.FREED, str(ref), None)

    def freed_output_of(self, ref: ObjectRef) -> StepId:
        """Return which step wrote an output that was let go; empty if there is none of that name."""
        return self._freed.get(str(ref)) or self._freed.get(f"{ref}/") or ""

    # -- the catalogue -----------------------------------------------------------------------------------------------------

    def put_row(self, row: Replica) -> None:
        """Enter a replica into the catalogue; durable after `journal.durable`."""
        self.changes += 1
        self.journal.put(records.REPLICA, str(row.ref), self.rows.put(row))

    def drop_row(self, ref: ObjectRef) -> None:
        """Remove a replica from the catalogue."""
        if self.rows.pop(ref) is not None:
            self.changes += 1
            self.journal.put(records.REPLICA, str(ref), None)

    def new_row(
        self, ref: ObjectRef, held: Held, location: str, *, version: str = "", content: str = "", dirty: bool = False
    ) -> Replica:
        """Return the row of a replica."""
        return Replica(
            ref=ref,
            size_bytes=held.size_bytes,
            state=ReplicaState.RESIDENT,
            location=location,
            dirty=dirty,
            version=version,
            last_used_at=self.clock.now(),
            stamp=held.stamp,
            content=content,
        )

    async def remove(self, location: str) -> None:
        """Free what lies at a location of the primary."""
        rest = self.primary.remove(location)
        if rest is not None:
            await rest

    def know(self, ref: ObjectRef, info: ObjectInfo) -> None:
        """Remember what a far store said of `ref`; `info.ref` ends in `/` where it turned out to be a directory."""
        self.infos.pop(ref, None)
        self.infos[ref] = info
        self.seen_at[ref] = self.clock.now()
        if len(self.infos) > _INFOS_KEPT:
            oldest = next(iter(self.infos))
            self.infos.pop(oldest)
            self.seen_at.pop(oldest, None)


def advice(error: BaseException) -> str:
    """Return an error's words for people, never empty."""
    text = str(error).strip()
    if isinstance(error, PortError) and text:
        return text
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return text or type(error).__name__


def remedy(remote: str, then: str) -> str:
    """Return what people can do about a store that does not serve them."""
    if is_made(remote):
        return f"check the artifact's location and the Secrets that it names, or configure the store as a remote, and {then}"
    return f"check remote {remote} (jitflow remote test {remote}) and {then}"


def workflow_of(step: StepId) -> str:
    """Return the workflow of a step."""
    return step.split("/", 1)[0]
