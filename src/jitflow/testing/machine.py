"""What tests ask of the machine they run on: processes that stand still, files below a folder."""

import os
import signal
import time
from pathlib import Path


def freeze(pid: int, *, within_s: float = 10.0) -> None:
    """Stop a process and wait until it stands still.

    A signal is on its way for a while, and each thread takes notice for itself: one that was told to stop may still answer.

    Raises:
        TimeoutError: it still runs.
    """
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + within_s
    while not _stands(pid):
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {pid} goes on {within_s:g} s after it was told to stop")
        time.sleep(0.005)


def _stands(pid: int) -> bool:
    # /proc/PID/task/TID/stat: the state stands after the name, which is in parentheses and may hold any character.
    threads = list(Path(f"/proc/{pid}/task").iterdir())
    return all((thread / "stat").read_text().rpartition(")")[2].split()[0] in "Tt" for thread in threads)


def files_in(root: Path) -> dict[str, bytes]:
    """Return the files below a folder by their relative paths ("" for one file), leaving out what goes away while we look."""
    if root.is_file():
        return {"": root.read_bytes()}
    found: dict[str, bytes] = {}
    for folder, _, names in os.walk(root):  # unlike `Path.rglob`, it does not mind folders that vanish
        for path in (Path(folder, name) for name in names):
            try:
                found[path.relative_to(root).as_posix()] = path.read_bytes()
            except FileNotFoundError:
                continue
    return found
