"""Checksums of what lies near, where no store tells one."""

import hashlib
import os
import tarfile
from pathlib import Path
from typing import IO

from msgspec import Struct

_MAGIC_AT, _MAGIC = 257, b"ustar"
_PACKED = b"\x1f\x8b"
_CHUNK_BYTES = 1 << 20


class Checksum(Struct, frozen=True):
    """`whole`: of the bytes, `sha256:…`. `contents`: of what a tar holds, empty for other files."""

    whole: str = ""
    contents: str = ""


def checksum(path: Path, *, whole: bool = True) -> Checksum:
    """Return the SHA-256 of a file or directory (`whole`), and of what a tar holds. What is gone meanwhile has none."""
    try:
        if path.is_dir():
            return Checksum(f"sha256:{_of_tree(path)}") if whole else Checksum()
        with path.open("rb") as file:
            contents = _of_tar(file) if _is_tar(file) else ""
            file.seek(0)
            return Checksum(f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}" if whole else "", contents)
    except OSError:
        return Checksum()


def _is_tar(file: IO[bytes]) -> bool:
    head = file.read(_MAGIC_AT + len(_MAGIC))
    file.seek(0)
    return head.startswith(_PACKED) or head[_MAGIC_AT:] == _MAGIC


def _of_tar(file: IO[bytes]) -> str:
    """Return the digest of the names, kinds, modes and bytes in a tar, empty for what is packed and no tar."""
    digest = hashlib.sha256()
    try:
        with tarfile.open(fileobj=file, mode="r|*") as archive:
            for member in archive:
                digest.update(f"{member.name}\0{member.type!r}\0{member.mode:o}\0{member.linkname}\0{member.size}\n".encode())
                content = archive.extractfile(member) if member.isreg() else None
                while content is not None and (chunk := content.read(_CHUNK_BYTES)):
                    digest.update(chunk)
    except (tarfile.TarError, EOFError):
        return ""
    return f"sha256:{digest.hexdigest()}"


def _of_tree(folder: Path) -> str:
    files = sorted(
        os.path.relpath(os.path.join(at, name), folder) for at, _, names in os.walk(folder, followlinks=False) for name in names
    )
    digest = hashlib.sha256()
    for name in files:
        with (folder / name).open("rb") as file:
            digest.update(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {name}\n".encode())
    return digest.hexdigest()
