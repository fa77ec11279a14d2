"""Run a program as an ordinary user, from root.

The interpreter and the sources may lie where that user cannot look, below the home of root. So, in a mount namespace of
its own, each directory on the way that is closed to others is covered by an open one that shows only what is needed.

Run as a script: `executors_as_user.py UID NEEDED_PATH... -- ARGV...`
"""

import os
import stat
import sys
from pathlib import Path

from jitflow.executors._spawner import syscalls as sc


def main() -> None:
    """Enter the namespace, open the way, become the user, run the program."""
    split = sys.argv.index("--")
    uid, needed, argv = int(sys.argv[1]), [Path(path) for path in sys.argv[2:split]], sys.argv[split + 1 :]
    sc.unshare(sc.CLONE_NEWNS)
    sc.mount("none", "/", "", sc.MS_REC | sc.MS_PRIVATE)
    closed = sorted({folder for path in needed for folder in path.parents if not _is_open(folder)})
    for folder in closed:
        if not _is_open(folder):  # not below one that is open by now
            _open_way(folder, [path for path in needed if folder in path.parents])
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
    os.execv(argv[0], argv)


def _is_open(folder: Path) -> bool:
    return bool(folder.stat().st_mode & stat.S_IXOTH)


def _open_way(folder: Path, needed: list[Path]) -> None:
    kept = {path: os.open(path, os.O_PATH) for path in needed}
    sc.mount("way", str(folder), "tmpfs", 0, "mode=755")
    for path, fd in kept.items():
        path.mkdir(parents=True, exist_ok=True)
        sc.mount(f"/proc/self/fd/{fd}", str(path), "", sc.MS_BIND | sc.MS_REC)


if __name__ == "__main__":
    main()
