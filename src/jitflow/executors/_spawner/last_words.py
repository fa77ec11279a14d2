"""What a command that failed has left for people: its termination message, as Kubernetes calls it, without secrets."""

import os
import stat

from .cri import longest, shown
from .record import Pod

_MAX_BYTES = 4096
_MAX_LOG_BYTES = 2048
_MAX_LOG_LINES = 80


def read(pod: Pod, pod_fd: int, *, sandboxed: bool) -> str:
    """Return the message, empty if there is none.

    Without a sandbox files below `/dev` are everybody's, and none is read there.
    """
    path, hidden = pod["message_path"], pod.get("hidden", ())
    data = b""
    if sandboxed or not path.startswith("/dev/"):
        # Half a secret would not be known for one: what is cut off is cut off after they are out.
        data = shown(_start_of(path, _MAX_BYTES + longest(hidden)), hidden)[:_MAX_BYTES]
    if not data and pod["message_from_log"]:
        data = _end_of_log(pod_fd)
    return data.decode(errors="replace").strip("\n")


def _start_of(path: str, size: int) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return b""
    try:
        return os.read(fd, size) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    finally:
        os.close(fd)


def _end_of_log(pod_fd: int) -> bytes:
    """Return the last lines of what was printed, without their times."""
    with open(os.open("log", os.O_RDONLY | os.O_CLOEXEC, dir_fd=pod_fd), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        lines = os.pread(file.fileno(), 65536, max(0, size - 65536)).splitlines()
    printed = [fields[3] for line in lines[-_MAX_LOG_LINES:] if len(fields := line.split(b" ", 3)) == 4]
    return b"\n".join(printed)[-_MAX_LOG_BYTES:]
