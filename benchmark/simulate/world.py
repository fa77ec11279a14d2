"""The simulated world: time, chance, the processes, what goes wrong, and what must never be seen."""

import asyncio
import hashlib
import heapq
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from benchmark.simulate.loop import SimLoop
from benchmark.simulate.plan import Plan
from jitflow.ports.store import RunRow

T = TypeVar("T")

EPOCH = 1_800_000_000.0
MOST_STEPS = 600_000
"""A seed that needs more callbacks than this does not come to an end."""


class Violation(AssertionError):
    """Something was seen that must never be."""


class Life:
    """One life of a server's process, from its start until it is killed.

    `silent_until`: it hangs, and does nothing before that time. `cut_until`: it does not reach the state store before that time.
    """

    def __init__(self, world: "World", number: int) -> None:
        self.number = number
        self.loop = SimLoop(world, self)
        self.pause: Callable[[float], Coroutine[Any, Any, None]] = self.loop.pause
        self.alive = True
        self.ready = False
        self.began_at = world.now
        self.ready_at = 0.0
        self.silent_until = 0.0
        self.cut_until = 0.0
        self.member: Any = None
        """What is known of it where several servers share the state."""
        self.engine: Any = None
        self.dataplane: Any = None
        self.lost: list[Callable[[], None]] = []
        """Called when it is killed, for those who wait for an answer."""


class World:
    """Everything outside of the server's process, and what drives that."""

    def __init__(self, seed: int, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.folder = folder
        self.now = 0.0
        self._offset = EPOCH
        self._latencies = random.Random(f"latencies {seed}")
        self._happenings: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self.life: Life | None = None
        """The one that leads."""
        self.lives: list[Life] = []
        """All that are alive."""
        self.dead: list[Life] = []
        self.effects = 0
        self.steps = 0
        self.injected: Counter[str] = Counter()
        self.did: Counter[str] = Counter()
        self._trace = hashlib.sha256()
        self.log: list[str] | None = None
        self.on_death: Callable[[Life], None] = lambda life: None
        self.committed: Callable[[RunRow], None] = lambda row: None
        """Told of every row of a run that is durable now."""
        self.watchers: list[Callable[[], None]] = []
        """Invariants that are looked at after every effect."""
        self.ended = False
        self._seen: Violation | None = None
        """The first that must never be: whoever catches it in the server, the run ends with it."""

    @property
    def dataplane(self) -> Any:
        """Return the data plane of the server that runs.

        Raises:
            Violation: none runs.
        """
        if self.life is None or self.life.dataplane is None:
            self.never("no server runs")
        return self.life.dataplane

    # -- time and chance ---------------------------------------------------------------------------------------------------

    def wall(self) -> float:
        """Return the time of day, as the machine's clock shows it."""
        return self._offset + self.now

    def jump(self, by_s: float) -> None:
        """Set the clock to another time."""
        self.injected["clock jump"] += 1
        self.tell(f"clock jumps {by_s:+.1f}")
        self._offset += by_s

    def latency(self, most_s: float = 0.02) -> float:
        """Return how long something takes."""
        drawn = self._latencies.random()
        return most_s * drawn if drawn < 0.9 else most_s * 20 * (drawn - 0.9)

    def chance(self) -> float:
        """Return a number in [0, 1)."""
        return self._latencies.random()

    def at(self, time: float, work: Callable[[], None]) -> None:
        """Let something happen in the world."""
        self._count += 1
        heapq.heappush(self._happenings, (time, self._count, work))

    def after(self, delay_s: float, work: Callable[[], None]) -> None:
        """Let something happen in a while."""
        self.at(self.now + delay_s, work)

    # -- what is seen ------------------------------------------------------------------------------------------------------

    def tell(self, text: str) -> None:
        """Add a line to the trace."""
        line = f"{self.now:.6f} {text}"
        self._trace.update(line.encode())
        if self.log is not None:
            self.log.append(line)

    @property
    def trace(self) -> str:
        """Return the hash of all that has happened."""
        return self._trace.hexdigest()

    def never(self, text: str) -> NoReturn:
        """Say that something was seen that must never be.

        Raises:
            Violation: always.
        """
        self.tell(f"VIOLATION {text}")
        self._seen = self._seen or Violation(text)
        raise self._seen

    # -- effects -----------------------------------------------------------------------------------------------------------

    async def effect(self, life: Life, name: str, action: Callable[[], T], most_s: float = 0.02) -> T:
        """Do something that the world sees, some time from now; the process may be killed before and after it."""
        await life.pause(self.latency(most_s))
        kind = name.partition(" ")[0]
        self.effects += 1
        self.did[kind] += 1
        crash = self.plan.crashes.get(self.effects)
        self.tell(f"[{life.number}] {self.effects} {name}")
        if crash == "before":
            await self._die(life, f"before {kind}")
        try:
            found, error = action(), None
        except Violation:
            raise
        except Exception as raised:
            found, error = None, raised
        for watch in self.watchers:
            watch()
        if crash == "after":
            await self._die(life, f"after {kind}")
        await life.pause(self.latency(most_s))
        if error is not None:
            raise error
        return found  # type: ignore[return-value]

    async def in_thread(self, life: Life, work: Callable[[], T]) -> T:
        """Do what a thread does."""
        return await self.effect(life, "thread", work, 0.002)

    async def _die(self, life: Life, where: str) -> None:
        self.kill(life, where)
        await asyncio.get_running_loop().create_future()

    def kill(self, life: Life, where: str, kind: str = "") -> None:
        """End a process; nothing of it goes on. `kind`: what this is counted as."""
        if not life.alive:
            return
        life.alive = life.ready = False
        self.injected[kind or f"kill {where.partition(' ')[0]} an effect"] += 1
        self.tell(f"[{life.number}] killed {where}")
        self.dead.append(life)
        self.lives.remove(life)
        if self.life is life:
            self.life = None
        for lost in life.lost:
            lost()
        self.on_death(life)

    # -- the drive ---------------------------------------------------------------------------------------------------------

    def start(self, main: Callable[[Life], Coroutine[Any, Any, None]], *, leads: bool = True) -> Life:
        """Start a process; `leads`: it is the only server."""
        life = Life(self, len(self.dead) + len(self.lives) + 1)
        self.lives.append(life)
        if leads:
            self.life = life
        self.tell(f"[{life.number}] starts")
        life.loop.create_task(main(life))
        return life

    def hang(self, life: Life, for_s: float) -> None:
        """Let a process do nothing for a while."""
        life.silent_until = max(life.silent_until, self.now + for_s)
        self.after(for_s, lambda: None)  # time must not pass by its waking up

    def run(self, until: float, done: Callable[[], bool] = lambda: False) -> None:
        """Let time pass until then, or until `done`."""
        while True:
            busy = True
            while busy:
                busy = False
                for life in tuple(self.lives):
                    if life.loop.ready and life.silent_until <= self.now:
                        busy = True
                        self._drive(life)
            if self.ended or done():
                return
            self._pass(until)
            if self.now >= until:
                return

    def _drive(self, life: Life) -> None:
        """Let a process do what it can do now."""
        loop = life.loop
        ready, step, faults = loop.ready, loop.step, loop.faults
        asyncio._set_running_loop(loop)
        try:
            while ready and life.alive and life.silent_until <= self.now:
                self.steps += 1
                if self.steps > MOST_STEPS:
                    self.never(f"{MOST_STEPS} callbacks did not bring it to an end")
                step()
                if self._seen is not None:
                    raise self._seen
                if faults:
                    self.never(f"an error that nobody took: {faults[0]}")
        finally:
            asyncio._set_running_loop(None)

    def _pass(self, until: float) -> None:
        now = until
        for life in self.lives:
            timer = life.loop.next_at()
            if timer is not None and timer < now and life.silent_until <= self.now:
                now = timer
        happenings = self._happenings
        if happenings and happenings[0][0] < now:
            now = happenings[0][0]
        self.now = now = max(self.now, now)
        while happenings and happenings[0][0] <= now:
            heapq.heappop(happenings)[2]()
        for life in self.lives:
            if life.silent_until <= now:
                life.loop.wake()

    def close(self) -> None:
        """Let go of all processes."""
        self.ended = True
        for life in [*self.dead, *self.lives]:
            life.alive = False
            life.loop.abandon()
