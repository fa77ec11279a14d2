"""The lease under which a server holds a state: who it is, and until when it may act on being the one."""

import secrets
import time
from collections.abc import Callable

from jitflow.ports.errors import Broken
from jitflow.ports.servers import LEASE_S


def boot_time() -> float:
    """Return the seconds since this machine has started; it goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def since_of(epoch: int, *, home: str, before: str, since: int) -> int:
    """Return since which epoch a home has the place that takes it now (see `Lease.taken`)."""
    return since if not home or before in {"", home} else epoch


class Lease:
    """What the store tells of the place that it holds. Without `share` there is no other server that waits for it.

    Attributes:
        id: of the one who holds it; never used again.
        home: the data home of the server.
        share: with whom the state is shared: `home`, `anywhere`, or empty for nobody.
        silent: the mark (see `Lead`) of a leader that was seen to be silent for long enough, for stores that know no time.
        epoch: how often the place has changed hands, this time included.
        continues: whether whoever held it before had the same home.
        since: the epoch since which servers of this home have held it one after the other; 0: that is not known.
        keeps: whether it is to run out, rather than to be given back, when the store is closed. Where pods end with it that is so
            until it is known that none of the home goes on: those of who held it before may, though nobody has looked yet.
        lost: why it is held no more.
        ends_by_itself: whether nothing may be done any more when it was not renewed in time, though nobody has said that it is
            lost: where pods end then, or where the database alone would not refuse what is written.
    """

    def __init__(
        self, *, home: str = "", share: str = "", member_id: str = "", silent: str = "", now: Callable[[], float] = boot_time
    ) -> None:
        """Describe the one who wants it."""
        self.id = member_id or secrets.token_hex(16)
        self.home = home
        self.share = share
        self.silent = silent
        self.epoch = 0
        self.continues = True
        self.since = 0
        self.keeps = False
        self.lost = ""
        self.ends_by_itself = share == "anywhere"
        self.until = 0.0
        self.now = now
        self._listeners: list[Callable[[], None]] = []

    def taken(self, asked_at: float, epoch: int, *, before: str, since: int = 0) -> None:
        """The place is held from now on.

        `before`: the home of who had it before, empty if that is not known; `since`: from which epoch on that home had it.
        """
        self.epoch = epoch
        self.keeps = self.ends_by_itself
        self.continues = before in {"", self.home}
        self.since = since_of(epoch, home=self.home, before=before, since=since)
        self.renewed(asked_at)

    def renewed(self, asked_at: float) -> None:
        """The database has heard of the holder; `asked_at`: the time (`now`) before it was sent word."""
        self.until = max(self.until, asked_at + LEASE_S)
        for listener in self._listeners:
            listener()

    def lose(self, why: str) -> None:
        """Another one has the place."""
        self.lost = self.lost or why

    @property
    def left_s(self) -> float:
        """How long it holds without being renewed."""
        return self.until - self.now()

    def check(self) -> None:
        """Return if what follows from holding the place may be done.

        Raises:
            Broken: it may not: nobody knows whether another server has taken the place.
        """
        if self.lost:
            raise Broken(self.lost)
        if self.ends_by_itself and self.until and self.left_s <= 0:
            raise Broken(
                f"this server was not heard of at its state for {LEASE_S:g} s: another one may have taken over; start it anew"
            )

    def on_renewal(self, listener: Callable[[], None]) -> None:
        """Call `listener` now, and whenever the lease was renewed."""
        self._listeners.append(listener)
        listener()
