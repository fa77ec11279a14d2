"""What goes wrong in a run, drawn from the seed: a list, so that a failing one can be made shorter."""

import random
from collections.abc import Sequence

from msgspec import Struct

TROUBLED_S = 150.0
"""Things go wrong until then; afterwards everything has to come to its end."""

LENIENT_S = 6.0
"""Trouble that lasts longer than this may end a step for want of attempts."""


TRIED_AGAIN = {"cut", "stall", "wrong bytes", "busy", "link down", "disk full"}
ATTEMPTS, SPELL_TRIES = 6, 4
"""All that goes wrong may hit one transfer, which has so many attempts; trouble that lasts takes up to so many of them."""


class Fault(Struct, frozen=True, kw_only=True):
    """One thing that goes wrong.

    `kind` `kill`: at the effect number `at`, `before` or `after` it (`how`). All other kinds begin at the time `at` and last for
    `for_s`, or happen to one call (`count` calls) from then on.
    """

    kind: str
    at: float
    how: str = ""
    for_s: float = 0.0
    by_s: float = 0.0
    count: int = 1

    @property
    def hurts(self) -> bool:
        """Whether a step may fail for it that would have succeeded."""
        return self.kind in {"refused", "pod lost", "pod not started", "source changed"} or self.for_s > LENIENT_S


class Plan:
    """The faults of a run, as those ask for them to whom they happen."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        self.hurts_more = False
        """Whether something else has happened for which steps may fail."""
        self.crashes = {int(fault.at): fault.how for fault in faults if fault.kind == "kill"}
        self.timed = [fault for fault in faults if fault.kind != "kill"]
        self._left = {index: fault.count for index, fault in enumerate(self.timed) if not fault.for_s}
        self.happened: set[Fault] = set()
        self._healed = False

    def heal(self) -> None:
        """Let nothing go wrong any more, but for kills."""
        self._healed = True

    def trouble(self, now: float) -> bool:
        """Return whether somebody who is refused now may blame what goes wrong."""
        recent = any(fault.at <= now <= fault.at + fault.for_s + 60 or fault.kind == "taker killed" for fault in self.timed)
        return recent and bool(self.timed)

    def spell(self, kind: str, since: float, until: float) -> bool:
        """Return whether a trouble of a kind lasted in a time."""
        return any(fault.kind == kind and fault.at < until and since < fault.at + fault.for_s for fault in self.timed)

    def takes(self, kind: str, now: float) -> Fault | None:
        """Return the fault of a kind that happens to a call now, if one does."""
        if self._healed:
            return None
        for index, fault in enumerate(self.timed):
            if fault.kind != kind or fault.at > now:
                continue
            if fault.for_s:
                if now < fault.at + fault.for_s:
                    self.happened.add(fault)
                    return fault
            elif self._left[index]:
                self._left[index] -= 1
                self.happened.add(fault)
                return fault
        return None

    @property
    def hurt(self) -> bool:
        """Whether something has happened for which steps may fail."""
        tries = sum(SPELL_TRIES if fault.for_s else fault.count for fault in self.happened if fault.kind in TRIED_AGAIN)
        return self.hurts_more or any(fault.hurts for fault in self.happened) or tries >= ATTEMPTS


CALLS = ("cut", "stall", "wrong bytes", "busy", "refused", "source changed", "pod lost", "pod not started", "end told twice")
"""Faults of single calls."""
SPELLS = ("store away", "link down", "disk full", "slow link")
"""Faults that last."""


class Group(Struct, frozen=True, kw_only=True):
    """Servers that share a state: how many, and how (`home` or `anywhere`)."""

    count: int
    share: str


LEADER = ("leader killed", "leader hangs", "leader cut off", "leader stopped", "machine lost", "standby killed", "taker killed")
"""What happens to servers that share a state. `taker killed`: at its effect number `at` after it began to take over."""


def draw_group(seed: int) -> Group | None:
    """Return which servers share the state of a seed; None: there is one, and nobody else."""
    rng = random.Random(f"servers {seed}")
    if rng.random() >= 1 / 3:
        return None
    return Group(count=rng.choice((2, 2, 3)), share=rng.choice(("home", "anywhere")))


def _of_group(seed: int) -> list[Fault]:
    rng = random.Random(f"faults of servers {seed}")
    faults: list[Fault] = []
    for _ in range(rng.choice((1, 2, 2, 3, 4))):
        kind = rng.choice(LEADER)
        at = 1 + int(80 * rng.random() ** 2) if kind == "taker killed" else rng.uniform(2, TROUBLED_S - 10)
        for_s = rng.choice((rng.uniform(0.5, 12), rng.uniform(12, 40))) if kind in {"leader hangs", "leader cut off"} else 0.0
        faults.append(Fault(kind=kind, at=at, for_s=for_s, how=rng.choice(("before", "after"))))
        if kind == "taker killed":  # there has to be something to take over
            faults.append(Fault(kind=rng.choice(LEADER[:3]), at=rng.uniform(2, TROUBLED_S - 40), for_s=rng.uniform(12, 40)))
    return faults


def draw(seed: int) -> list[Fault]:
    """Return the faults of a seed: none for a few, many for a few."""
    return _of_one(seed) + (_of_group(seed) if draw_group(seed) is not None else [])


def _of_one(seed: int) -> list[Fault]:
    rng = random.Random(f"faults {seed}")
    faults: list[Fault] = []
    for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 4, 6))):
        faults.append(Fault(kind="kill", at=1 + int(600 * rng.random() ** 2), how=rng.choice(("before", "after"))))
    harmless = rng.random() < 0.5
    for _ in range(rng.choice((0, 0, 1, 2, 3, 5))):
        kind = rng.choice(CALLS[:4] + CALLS[8:] if harmless else CALLS)
        faults.append(Fault(kind=kind, at=rng.uniform(0, TROUBLED_S), count=rng.choice((1, 1, 2))))
    for _ in range(rng.choice((0, 0, 1, 2))):
        for_s = rng.uniform(0.1, LENIENT_S) if harmless or rng.random() < 0.5 else rng.uniform(LENIENT_S, 60)
        faults.append(Fault(kind=rng.choice(SPELLS), at=rng.uniform(0, TROUBLED_S), for_s=for_s))
    if rng.random() < 0.2:
        faults.append(Fault(kind="replica lost", at=rng.uniform(0, TROUBLED_S), how=rng.choice(("gone", "short"))))
    if rng.random() < 0.25:
        faults.append(Fault(kind="clock jump", at=rng.uniform(0, TROUBLED_S), by_s=rng.choice((-3600, -5, 5, 90, 86400))))
    return faults
