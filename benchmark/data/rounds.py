"""Where each round writes: a new folder, on a disk at rest, of a machine whose memory is not full of what came before."""

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


class Rounds:
    """Folders below one root, which nobody else uses.

    What a round has written is emptied when it ends, and removed when all rounds are over. ext4 without a journal gives no inode
    again that was freed in the last minute (`recently_deleted`, five minutes more while that is not on the disk): whoever makes a
    file looks past all of them, one by one. Rounds that removed their files would let those behind them wait, and the more, the
    later they come.
    """

    def __init__(self, root: Path) -> None:
        """Begin with an empty root."""
        shutil.rmtree(root, ignore_errors=True)
        self._root = root
        self._count = 0

    @contextmanager
    def folder(self) -> Generator[Path]:
        """Give a round an empty folder; what was written before has reached the disk."""
        self._count += 1
        folder = self._root / str(self._count)
        folder.mkdir(parents=True)
        os.sync()
        try:
            yield folder
        finally:
            empty(folder)

    def close(self) -> None:
        """Remove what is left."""
        shutil.rmtree(self._root, ignore_errors=True)


def empty(folder: Path) -> None:
    """Let files have no bytes any more; they stay (see `Rounds`)."""
    for at, _, names in os.walk(folder):
        for name in names:
            os.truncate(os.path.join(at, name), 0)
