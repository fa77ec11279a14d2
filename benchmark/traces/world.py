"""Time and the link of the model: what every policy lives in."""

import heapq
from collections import deque
from collections.abc import Callable, Hashable

from benchmark.traces.link import NEVER, Pipe
from benchmark.traces.workloads import LATENCY_S, STREAM_SHARE, TRANSFERS

Done = Callable[[], None]


class Lane:
    """One direction: at most so many transfers at once, each of which begins to move after the latency."""

    def __init__(self, clock: "Clock", rate_Bps: float) -> None:
        """Begin empty."""
        self._clock = clock
        self.pipe = Pipe(rate_Bps, rate_Bps / STREAM_SHARE)
        self.active = 0
        self.moved = 0
        self._done: dict[Hashable, tuple[int, int, Done]] = {}
        self._queue: tuple[deque[tuple[Hashable, int, Done]], deque[tuple[Hashable, int, Done]]] = (deque(), deque())

    @property
    def idle(self) -> int:
        """Return how many transfers may be begun."""
        return TRANSFERS - self.active

    def start(self, what: Hashable, size: int, done: Done, parts: int = 1) -> None:
        """Begin a transfer now."""
        self.active += parts
        self._done[what] = (size, parts, done)
        self._clock.after(LATENCY_S, lambda: self._join(what))

    def queue(self, what: Hashable, size: int, done: Done, *, urgent: bool = False) -> None:
        """Begin a transfer as soon as there is a place for it; urgent ones first."""
        self._queue[0 if urgent else 1].append((what, size, done))
        self.pump()

    def cancel(self, what: Hashable) -> None:
        """Give a transfer up, whether it has begun or not."""
        for queue in self._queue:
            for entry in queue:
                if entry[0] == what:
                    queue.remove(entry)
                    return
        if what in self._done:
            size, parts, _ = self._done.pop(what)
            if not self.pipe.leave(what):
                self.moved -= size
            self.moved += size
            self.active -= parts
            self.pump()

    def pump(self) -> None:
        """Begin what is queued."""
        for queue in self._queue:
            while queue and self.active < TRANSFERS:
                self.start(*queue.popleft())

    def _join(self, what: Hashable) -> None:
        if what in self._done:
            size, parts, _ = self._done[what]
            self.pipe.join(what, size, parts)

    def end(self) -> None:
        """End the transfer that is due."""
        what = self.pipe.pop()
        size, parts, done = self._done.pop(what)
        self.active -= parts
        self.moved += size
        self.pump()
        done()


class Clock:
    """Time that jumps from event to event."""

    def __init__(self, rate_Bps: float) -> None:
        """Begin at 0 with an idle link."""
        self.now = 0.0
        self.events = 0
        self._timers: list[tuple[float, int, Done]] = []
        self._count = 0
        self.down = Lane(self, rate_Bps)
        self.up = Lane(self, rate_Bps)

    def after(self, delay_s: float, done: Done) -> None:
        """Call `done` later."""
        self._count += 1
        heapq.heappush(self._timers, (self.now + delay_s, self._count, done))

    def step(self) -> bool:
        """Let the next thing happen; False if there is none."""
        timer = self._timers[0][0] if self._timers else NEVER
        down, up = self.down.pipe.next_end(), self.up.pipe.next_end()
        soonest = min(timer, down, up)
        if soonest == NEVER:
            return False
        self.now = soonest
        self.events += 1
        self.down.pipe.advance(soonest)
        self.up.pipe.advance(soonest)
        if soonest == timer:
            heapq.heappop(self._timers)[2]()
        elif soonest == down:
            self.down.end()
        else:
            self.up.end()
        return True
