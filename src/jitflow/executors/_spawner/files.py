"""Copy files and trees: reflink where the file system can, otherwise by the kernel, never through a symbolic link."""

import errno
import fcntl
import os
import shutil
import stat

from .record import PodError

_FICLONE = 0x40049409


def copy_file(source: str, target: str) -> int:
    """Copy a regular file to a new file `target`, with its permission bits; returns its size in bytes."""
    with open(source, "rb") as reader:
        mode = os.fstat(reader.fileno()).st_mode
        if not stat.S_ISREG(mode):
            raise PodError(f"{source} is neither a file nor a directory")
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as writer:
            try:
                fcntl.ioctl(fd, _FICLONE, reader.fileno())
            except OSError:
                shutil.copyfileobj(reader, writer) if not _send(reader.fileno(), fd) else None
            os.fchmod(fd, stat.S_IMODE(mode) & 0o777)
            writer.flush()
            return os.fstat(fd).st_size


def _send(reader: int, writer: int) -> bool:
    """Copy in the kernel; False if it cannot for these files and nothing was written."""
    moved = 0
    while True:
        try:
            count = os.sendfile(writer, reader, None, 1 << 27)  # type: ignore[arg-type]
        except OSError as error:
            if moved == 0 and error.errno in (errno.EINVAL, errno.ENOSYS):
                return False
            raise
        if count == 0:
            return True
        moved += count


def copy_tree(source: str, target: str) -> None:
    """Copy a file or a directory; symbolic links stay links."""
    if not os.path.isdir(source):
        copy_file(source, target)
        return
    os.makedirs(target, exist_ok=True)
    with os.scandir(source) as entries:
        found = list(entries)
    for entry in found:
        place = os.path.join(target, entry.name)
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), place)
        elif entry.is_dir(follow_symlinks=False):
            copy_tree(entry.path, place)
        else:
            copy_file(entry.path, place)
    os.chmod(target, stat.S_IMODE(os.stat(source).st_mode) | 0o700)


def set_mode(path: str, mode: int, *, recurse: bool) -> None:
    """Set the permission bits of a file or directory, and of all that the latter holds (directories stay searchable)."""
    if os.path.islink(path):
        return
    if not os.path.isdir(path):
        os.chmod(path, mode)
        return
    for folder, folders, names in os.walk(path) if recurse else ():
        for name in names:
            if not os.path.islink(os.path.join(folder, name)):
                os.chmod(os.path.join(folder, name), mode)
        for name in folders:
            if not os.path.islink(os.path.join(folder, name)):
                os.chmod(os.path.join(folder, name), mode | 0o700)
    os.chmod(path, mode | 0o700)


def remove(path: str) -> None:
    """Remove a file, link or tree if it is there."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
        return
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
