"""The primary's directory.

    <root>/.jitflow-primary     says that the directory is ours
    <root>/objects/ab/<sha256>  complete, verified replicas: a file or a directory each
    <root>/incoming/<number>    what is on its way, in or out

Nothing partial is ever below `objects`. Nothing outside `objects` and `incoming` is ever touched.
"""

import errno
import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from jitflow.model.data import ObjectRef
from jitflow.model.problems import Problem, Refused

_MARKER = ".jitflow-primary"
_MARKER_TEXT = "This directory is a primary store of jitflow: it creates and deletes files in objects/ and incoming/.\n"


class PrimaryDirectory:
    """Files and directories below one root."""

    def __init__(self, root: Path) -> None:
        """Use this directory; `open` makes it."""
        self.root = root
        self._count = 0

    def open(self) -> None:
        """Make the directory ready, with nothing in `incoming`.

        Raises:
            Refused: it holds files and is not ours, or it cannot be made.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            marker = self.root / _MARKER
            if not marker.exists():
                stranger = next(iter(sorted(self.root.iterdir())), None)
                if stranger is not None:
                    message = f"the primary directory {self.root} is not empty ({stranger.name}) and was not made by jitflow"
                    raise Refused(Problem(message=message, remedy="name an empty or new directory"))
                marker.write_text(_MARKER_TEXT)
            self._clear_incoming()
            (self.root / "objects").mkdir(exist_ok=True)
        except OSError as error:
            reason = error.strerror or str(error)
            message = f"the primary directory {self.root} cannot be used: {reason}"
            raise Refused(Problem(message=message, remedy="name a directory that this user may write")) from error

    def _clear_incoming(self) -> None:
        incoming = self.root / "incoming"
        if incoming.is_dir() and not incoming.is_symlink():
            for entry in incoming.iterdir():
                delete(entry)
        incoming.mkdir(exist_ok=True)

    def reconcile(self, sizes: Mapping[str, int]) -> set[str]:
        """Compare `objects` with the catalogue (location -> bytes): remove what it does not know or what has another size.

        Returns the locations that are there.
        """
        present: set[str] = set()
        for shelf in (self.root / "objects").iterdir():
            entries = list(shelf.iterdir()) if shelf.is_dir() and not shelf.is_symlink() else []
            for entry in entries:
                location = f"objects/{shelf.name}/{entry.name}"
                if location in sizes and measure(entry) == sizes[location]:
                    present.add(location)
                else:
                    delete(entry)
            if not entries:
                delete(shelf)
        return present

    def location(self, ref: ObjectRef, version: str) -> str:
        """Return where a replica of this version lies, relative to the root."""
        name = hashlib.sha256(f"{ref}@{version}".encode()).hexdigest()
        return f"objects/{name[:2]}/{name}"

    def path(self, location: str) -> Path:
        """Return the path of a location."""
        return self.root / location

    def incoming(self) -> Path:
        """Return a new path for something on its way."""
        self._count += 1
        return self.root / "incoming" / str(self._count)

    def place(self, source: Path, location: str) -> None:
        """Give something complete its final name, in one step; it must lie on the primary's file system."""
        target = self.root / location
        target.parent.mkdir(exist_ok=True)
        source.rename(target)

    def take(self, source: Path, location: str) -> None:
        """Move an output in: by name where it lies on the same file system, else by a copy. Blocks."""
        try:
            self.place(source, location)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            copy = self.incoming()
            try:
                if source.is_dir():
                    shutil.copytree(source, copy, symlinks=True)
                else:
                    shutil.copyfile(source, copy)
                self.place(copy, location)
            except BaseException:
                delete(copy)
                raise
            delete(source)

    def hide(self, location: str) -> Path | None:
        """Take a replica's name away and return what is left to be deleted, None if a file could be deleted at once."""
        path = self.root / location
        try:
            path.unlink()
        except FileNotFoundError:
            return None
        except (IsADirectoryError, PermissionError):
            trash = self.incoming()
            path.rename(trash)
            return trash
        return None

    def free_bytes(self) -> int:
        """Return how much the file system has left for this user."""
        stat = os.statvfs(self.root)
        return stat.f_bavail * stat.f_frsize


def measure(path: Path) -> int:
    """Return the bytes of a file, or of all files below a directory; -1 if there is nothing.

    Symbolic links count as what they are, not as what they point to.
    """
    try:
        if path.is_symlink() or not path.is_dir():
            return path.lstat().st_size
    except OSError:
        return -1
    total = 0
    for folder, _, files in os.walk(path):
        total += sum(os.lstat(os.path.join(folder, name)).st_size for name in files)
    return total


def delete(path: Path) -> None:
    """Remove a file or a tree; nothing there is no error."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
