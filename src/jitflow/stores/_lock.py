"""One server per state file: a lock beside it that the kernel drops when its holder dies."""

import contextlib
import fcntl
import os
from pathlib import Path

from jitflow.ports.errors import InUse


class FileLock:
    """An exclusive lock on `<path>.lock`, held from construction to `release`."""

    def __init__(self, path: Path) -> None:
        """Take the lock.

        Raises:
            InUse: another process holds it; the message names its process id.
        """
        self._path = path.with_name(f"{path.name}.lock")
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._fd)
            raise InUse(
                f"{path} is in use by another jitflow server (process {holder}); stop it or choose another state directory"
            ) from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the lock up; the file stays, as removing it would race with the next holder."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, 0)
        os.close(self._fd)
