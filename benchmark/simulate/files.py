"""Files whose first bytes say what they are; the rest are zeros that take no space."""

import os
from pathlib import Path

HEAD_BYTES = 4096
NOTE = "note"
"""What a transfer that is kept says of itself; no part of an object."""


def write_file(path: Path, data: bytes, size: int) -> None:
    """Write a new file: `data`, then zeros."""
    os.makedirs(path.parent, exist_ok=True)
    with open(path, "wb") as file:
        file.write(data[:size])
        file.truncate(size)


def read_file(path: str | Path) -> bytes:
    """Return what a file begins with, without the zeros at the end, and its size."""
    with open(path, "rb") as file:
        head = file.read(HEAD_BYTES).rstrip(b"\0")
        return head + f" {os.fstat(file.fileno()).st_size}".encode()


def read_tree(path: Path) -> dict[str, bytes]:
    """Return the files of a tree, or of a file by an empty name; empty if nothing is there."""
    if path.is_file():
        return {"": read_file(path)}
    return {str(file.relative_to(path)): read_file(file) for file in sorted(path.rglob("*")) if file.is_file()}


def used_bytes(folder: str) -> int:
    """Return the bytes of the objects' files below a directory; a file with two names counts once, notes of transfers do not."""
    total, seen, folders = 0, set[int](), [folder]
    while folders:
        try:
            entries = list(os.scandir(folders.pop()))
        except FileNotFoundError:
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            elif entry.name != NOTE:
                found = entry.stat(follow_symlinks=False)
                if found.st_ino not in seen:
                    seen.add(found.st_ino)
                    total += found.st_size
    return total
