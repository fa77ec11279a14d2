"""Where each round writes: a new folder, on a disk at rest."""

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

FEW_FILES = 100
"""A folder with so many is removed when its round ends, a larger one when all rounds are over.

ext4 without a journal gives no inode again that was freed in the last minute (`recently_deleted`, five minutes more while that is
not on the disk): whoever makes a file looks past all of them, one by one. Rounds that removed thousands of files would let those
behind them wait, and the more, the later they come.
"""


class Rounds:
    """Folders below one root, which nobody else uses."""

    def __init__(self, root: Path) -> None:
        """Begin with an empty root."""
        shutil.rmtree(root, ignore_errors=True)
        self._root = root
        self._count = 0

    @contextmanager
    def folder(self, files: int) -> Generator[Path]:
        """Give a round that makes so many files an empty folder; what was written before has reached the disk."""
        self._count += 1
        folder = self._root / str(self._count)
        folder.mkdir(parents=True)
        os.sync()
        try:
            yield folder
        finally:
            if files <= FEW_FILES:
                shutil.rmtree(folder)

    def close(self) -> None:
        """Remove what is left."""
        shutil.rmtree(self._root, ignore_errors=True)
