"""One direction of the link: streams that share its rate evenly, each at most so fast."""

import heapq
from collections.abc import Hashable

NEVER = float("inf")


class Pipe:
    """Transfers in parts. Each part is a stream; the parts of one transfer are equal and end together."""

    def __init__(self, rate_Bps: float, stream_Bps: float) -> None:
        """Begin empty."""
        self._rate_Bps = rate_Bps
        self._stream_Bps = stream_Bps
        self._served = 0.0
        self._at = 0.0
        self._streams: list[tuple[float, int, int, Hashable]] = []
        self._weight = 0
        self._count = 0

    def _rate(self) -> float:
        return min(self._stream_Bps, self._rate_Bps / self._weight) if self._weight else 0.0

    def advance(self, now: float) -> None:
        """Serve all streams until now."""
        if now > self._at:
            self._served += self._rate() * (now - self._at)
            self._at = now

    def join(self, what: Hashable, size: int, parts: int = 1) -> None:
        """Begin to move bytes; call `advance` first."""
        self._count += 1
        self._weight += parts
        heapq.heappush(self._streams, (self._served + size / parts, self._count, parts, what))

    def next_end(self) -> float:
        """Return when the next transfer ends if none joins."""
        if not self._streams:
            return NEVER
        return self._at + max(0.0, self._streams[0][0] - self._served) / self._rate()

    def pop(self) -> Hashable:
        """End the transfer that is due."""
        end, _, parts, what = heapq.heappop(self._streams)
        self._served = max(self._served, end)
        self._weight -= parts
        return what

    def leave(self, what: Hashable) -> bool:
        """Give a transfer up; False if it is not under way."""
        for place, entry in enumerate(self._streams):
            if entry[3] == what:
                self._weight -= entry[2]
                del self._streams[place]
                heapq.heapify(self._streams)
                return True
        return False
