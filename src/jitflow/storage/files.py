"""Local files: hashes, inventories and private names, apart from any store. Blocking: call from a thread."""

import hashlib
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from jitflow.ports.errors import FixRequest

PARTIAL_PREFIX, PARTIAL_SUFFIX = ".jitflow-", ".partial"
"""A file or directory so named is an unfinished transfer; after a crash it can be removed."""
STRONGEST_FIRST = ("sha256", "sha1", "md5")
_BLOCK_BYTES = 2**18


def partial_path(target: Path | str, scratch: str = "") -> Path:
    """Return a new private name in `scratch`, or beside `target`, short whatever the target is called."""
    return Path(scratch or os.path.dirname(target), f"{PARTIAL_PREFIX}{secrets.token_hex(8)}{PARTIAL_SUFFIX}")


def place(source: Path | str, target: Path | str) -> None:
    """Give a file or directory its final name, in one step, on one disk; a directory that somebody has removed is made again.

    Raises:
        OSError: it cannot have it.
    """
    try:
        os.replace(source, target)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.replace(source, target)


def common_hash(hashes: Mapping[str, str]) -> str:
    """Return the hash that we compute ourselves to compare with those given, or nothing."""
    for kind in STRONGEST_FIRST:
        if hashes.get(kind):
            return kind
    return ""


def digest(path: Path | str, kind: str) -> str:
    """Return a file's hash in lower-case hexadecimal digits."""
    made = hashlib.new(kind, usedforsecurity=False)
    with open(path, "rb", buffering=0) as file:
        buffer = memoryview(bytearray(min(_BLOCK_BYTES, max(1, os.fstat(file.fileno()).st_size))))
        while count := file.readinto(buffer):
            made.update(buffer[:count])
    return made.hexdigest()


def is_right(path: str, size_bytes: int, kind: str, value: str) -> bool:
    """Return whether a small file has this size and hash: it is read at once, for each call gives the interpreter away.

    Raises:
        OSError: it cannot be read.
    """
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        data = os.read(file, size_bytes + 1)
    finally:
        os.close(file)
    return len(data) == size_bytes and hashlib.new(kind, data, usedforsecurity=False).hexdigest() == value


def inventory(root: Path) -> dict[str, int]:
    """Return the size of each regular file below a directory, by path relative to it.

    Raises:
        FixRequest: it holds something that no store can keep, such as a symbolic link.
    """
    sizes: dict[str, int] = {}
    pending = [""]
    while pending:
        at = pending.pop()
        with os.scandir(root / at) as entries:
            for entry in entries:
                path = f"{at}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    pending.append(f"{path}/")
                elif entry.is_file(follow_symlinks=False):
                    sizes[path] = entry.stat(follow_symlinks=False).st_size
                else:
                    kind = "a symbolic link" if entry.is_symlink() else "not a regular file"
                    raise FixRequest(
                        f"{root / path} is {kind}, which a store cannot keep; pack the directory with `archive: tar`"
                    )
    return sizes


def remove(path: Path) -> None:
    """Remove a file or a whole directory; nothing there is no error."""
    try:
        path.unlink(missing_ok=True)
    except IsADirectoryError:
        shutil.rmtree(path, ignore_errors=True)
