"""Until when pods may run: where several machines share a state, pods must not outlive the lease of their server.

The server writes the end of its lease, in seconds since the machine has started, to the file `lease` of the executor's directory.
"""

import os
import time

from .record import PodError
from .supervise import Supervisor

_LOOK_EVERY_S = 0.5


class Lease:
    """What a parent knows of its server's lease.

    Args:
        home_fd: the executor's directory.
        guarded: whether pods end with it; else it never ends.
    """

    def __init__(self, home_fd: int, *, guarded: bool) -> None:
        self._home_fd = home_fd
        self._guarded = guarded
        self.due = time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether pods may not run any more; without a file nobody knows of a lease."""
        if not self._guarded:
            return False
        try:
            with open(os.open("lease", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._home_fd), "rb") as file:
                return time.clock_gettime(time.CLOCK_BOOTTIME) >= float(file.read())
        except (OSError, ValueError):
            return True

    def check(self) -> None:
        """Return if a pod may be started."""
        if self.is_over:
            raise PodError("the lease of the server that wanted the pod is over")

    def run(self, supervisor: Supervisor) -> None:
        """End the pod if the lease is over."""
        self.due = time.monotonic() + _LOOK_EVERY_S
        if self.is_over:
            supervisor.end_now()

    def discard(self, name: str) -> None:
        """Put a pod's directory where it is removed: it is as if it had never been started."""
        place = {"src_dir_fd": self._home_fd, "dst_dir_fd": self._home_fd}
        os.rename(f"pods/{name}", f"trash/{name}.{os.getpid()}", **place)
