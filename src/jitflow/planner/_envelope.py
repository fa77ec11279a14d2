"""What the rest of the work needs if it runs one step after another from here: the peak of live results and one footprint.

What runs ahead of the order holds room until the order has come to it. As long as the peak stays within the capacity, everything
can still end without a result having to leave the primary.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jitflow.planner._items import Item
    from jitflow.planner._steps import Step

_BLOCK = 64
_NOTHING = -(1 << 62)


class Peaks:
    """A list of numbers; adds to a range, and says the largest of a range, in blocks."""

    def __init__(self, values: Sequence[int]) -> None:
        """Begin with these numbers."""
        self._values = list(values)
        self._most = [max(self._values[at : at + _BLOCK]) for at in range(0, len(self._values), _BLOCK)]
        self._added = [0] * len(self._most)

    def add(self, start: int, end: int, amount: int) -> None:
        """Add to the numbers from `start` up to before `end`."""
        first, last = start // _BLOCK, (end - 1) // _BLOCK
        for block in {first, last} if start < end else ():
            low, high = block * _BLOCK, min((block + 1) * _BLOCK, len(self._values))
            for place in range(max(start, low), min(end, high)):
                self._values[place] += amount
            self._most[block] = max(self._values[low:high])
        for block in range(first + 1, last):
            self._added[block] += amount

    def drop(self, place: int) -> None:
        """Count a number no longer."""
        block = place // _BLOCK
        self._values[place] = _NOTHING
        self._most[block] = max(self._values[block * _BLOCK : (block + 1) * _BLOCK])

    def largest(self, start: int, end: int) -> int:
        """Return the largest number from `start` up to before `end`."""
        most = _NOTHING
        place = start
        end = min(end, len(self._values))
        while place < end:
            block, within = divmod(place, _BLOCK)
            stop = (block + 1) * _BLOCK
            if within or stop > end:
                most = max(most, self._added[block] + max(self._values[place : min(stop, end)]))
            else:
                most = max(most, self._added[block] + self._most[block])
            place = stop
        return most


class Envelope:
    """The peaks of the steps that no claim holds yet, in their order."""

    def __init__(self, steps: Sequence["Step"], held: int) -> None:
        """Take the steps in order. `held`: bytes of live results that are here or promised already."""
        self._steps = list(steps)
        self._place = {step.seq: place for place, step in enumerate(self._steps)}
        self._head = 0
        self._reached: tuple[int, int] | None = None
        """The largest need up to a place, as it was worked out last; what comes later can only need more."""
        self._last = {item: place for place, step in enumerate(self._steps) for item in step.inputs if item.transient}
        self._peaks = Peaks(_sequential(self._steps, held))

    def head(self) -> "Step | None":
        """Return the first step that no claim holds."""
        while self._head < len(self._steps) and not self._steps[self._head].awaits:
            self._head += 1
        return self._steps[self._head] if self._head < len(self._steps) else None

    def claimed(self, step: "Step") -> None:
        """Note a claim: what runs ahead of the order lies here until the order has come to it."""
        place = self._place.get(step.seq)
        if place is None:
            return
        self.head()
        self._reached = None
        self._peaks.drop(place)
        if step.leaves and self._head < place:
            self._peaks.add(self._head, place, step.leaves)

    def dead(self, item: "Item") -> None:
        """Note that a result is gone for good: the order counts on it up to its last reader there, which has run ahead."""
        self._free(item, self._last.get(item, -1) + 1)

    def left(self, item: "Item", reader: "Step") -> None:
        """Note that a result has left until `reader` needs it."""
        self._free(item, self._place.get(reader.seq, 0))

    def _free(self, item: "Item", end: int) -> None:
        self.head()
        if item.bytes and end > self._head:
            self._reached = None
            self._peaks.add(self._head, end, -item.bytes)

    def peak(self) -> int:
        """Return the need of the first unclaimed step."""
        self.head()
        return self._peaks.largest(self._head, self._head + 1)

    def reach(self, step: "Step") -> int:
        """Return the largest need from the first unclaimed step up to this one; cheap if asked of steps in their order."""
        self.head()
        place = self._place.get(step.seq, self._head)
        reached = self._reached
        if reached is not None and reached[0] <= place:
            most = max(reached[1], self._peaks.largest(reached[0] + 1, place + 1))
        else:
            most = self._peaks.largest(self._head, place + 1)
        self._reached = (place, most)
        return most

    def crowded(self, step: "Step", capacity: int) -> bool:
        """Return whether a step plainly cannot run ahead, as one before it reaches too far already."""
        reached = self._reached
        if reached is None or reached[1] + step.leaves <= capacity:
            return False
        return self._place.get(step.seq, 0) > max(reached[0], self._head)


def _sequential(steps: Sequence["Step"], held: int) -> list[int]:
    """Return what each step needs when it runs alone, after those before it."""
    left: dict[Item, int] = {}
    for step in steps:
        for item in step.inputs:
            if item.transient:
                left[item] = left.get(item, 0) + 1
    live = held
    needs: list[int] = []
    for step in steps:
        own = sum(item.bytes for item in step.inputs if not item.transient)
        needs.append(live + own + step.declared)
        live += step.leaves
        for item in step.inputs:
            if item.transient:
                left[item] -= 1
                live -= 0 if left[item] else item.bytes
    return needs
