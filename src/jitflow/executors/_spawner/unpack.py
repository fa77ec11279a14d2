"""Unpack an artifact: a tar (plain, gzip, bzip2, xz) or a zip. No member leaves the target; links are made last."""

import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from typing import IO, NamedTuple

from .files import copy_tree
from .record import PodError

_MAX_MEMBERS = 1_000_000
_RESERVE_BYTES = 32 * 1024 * 1024
_MOST_TIMES = 500
_ALWAYS_BYTES = 1 << 30
"""An archive may unfold to so many times its size, and to a gibibyte in any case: what unfolds to more is made to fill disks."""
_CHUNK_BYTES = 1 << 20
_SCRATCH = ".jitflow-unpack"


class _Member(NamedTuple):
    name: str
    kind: str  # file, directory, symlink, hardlink
    mode: int
    size: int
    link: str
    content: IO[bytes] | None


def unpack(source: str, target: str, *, links_outside: bool, always_bytes: int = _ALWAYS_BYTES) -> None:
    """Unpack `source` so that its only entry becomes `target`, or else its entries are in the directory `target`.

    A source that is no archive is copied as it is.

    Args:
        source: the archive.
        target: a path that does not exist, or a directory.
        links_outside: whether symbolic links may lead out of the target (they are resolved in the pod only).
        always_bytes: so much an archive may hold however small it is.

    Raises:
        PodError: a member has a hostile name or kind, the archive is damaged, unfolds to too much, or there is no room.
    """
    into = os.path.isdir(target) and not os.path.islink(target)
    folder = target if into else os.path.dirname(target)
    scratch = os.path.join(folder, f"{_SCRATCH}-{os.getpid()}")
    os.makedirs(folder, exist_ok=True)
    os.mkdir(scratch, 0o755)
    try:
        limit = max(always_bytes, _MOST_TIMES * os.stat(source).st_size)
        if not _extract_any(source, scratch, limit, links_outside=links_outside):
            copy_tree(source, os.path.join(scratch, "content"))
        _settle(scratch, target, into=into)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
        raise PodError(f"the archive for {target} is damaged or of an unknown kind: {error}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _settle(scratch: str, target: str, *, into: bool) -> None:
    names = os.listdir(scratch)
    only = os.path.join(scratch, names[0]) if len(names) == 1 else ""
    if into:
        origin = only if only and os.path.isdir(only) and not os.path.islink(only) else scratch
        for name in os.listdir(origin):
            os.rename(os.path.join(origin, name), os.path.join(target, name))
        return
    if os.path.lexists(target):
        os.unlink(target)
    os.rename(only or scratch, target)


def _extract_any(source: str, scratch: str, limit: int, *, links_outside: bool) -> bool:
    with open(source, "rb") as file:
        head = file.read(4)
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        with zipfile.ZipFile(source) as archive:
            _extract(_zip_members(archive), scratch, limit, links_outside=links_outside)
        return True
    try:
        archive = tarfile.open(source, "r:*", errorlevel=2)  # noqa: SIM115 - closed below
    except (tarfile.ReadError, EOFError):
        return False
    with archive:
        _extract(_tar_members(archive), scratch, limit, links_outside=links_outside)
    return True


def _tar_members(archive: tarfile.TarFile) -> Iterator[_Member]:
    for member in archive:
        if member.isreg():
            yield _Member(member.name, "file", member.mode, member.size, "", archive.extractfile(member))
        elif member.isdir():
            yield _Member(member.name, "directory", member.mode, 0, "", None)
        elif member.issym():
            yield _Member(member.name, "symlink", 0, 0, member.linkname, None)
        elif member.islnk():
            yield _Member(member.name, "hardlink", 0, 0, member.linkname, None)
        else:
            raise PodError(f"the archive holds {member.name!r}, which is neither a file, a directory nor a link")


def _zip_members(archive: zipfile.ZipFile) -> Iterator[_Member]:
    for info in archive.infolist():
        mode = info.external_attr >> 16
        if info.is_dir():
            yield _Member(info.filename, "directory", mode or 0o755, 0, "", None)
        elif stat.S_ISLNK(mode):
            if info.file_size > 4096:
                raise PodError(f"the archive's link {info.filename!r} is too long")
            yield _Member(info.filename, "symlink", 0, 0, archive.read(info).decode(errors="replace"), None)
        else:
            with archive.open(info) as content:
                yield _Member(info.filename, "file", mode or 0o644, info.file_size, "", content)


def _inside(name: str) -> str:
    """Return a member's name as a clean relative path, or raise if it leads out of the archive."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in name:
        raise PodError(f"the archive's member {name!r} leads out of it")
    return "/".join(parts)


def _extract(members: Iterator[_Member], scratch: str, limit: int, *, links_outside: bool) -> None:
    space = os.statvfs(scratch)
    room = space.f_bavail * space.f_frsize - _RESERVE_BYTES
    written = 0
    symlinks: dict[str, str] = {}
    modes: list[tuple[str, int]] = []
    for number, member in enumerate(members):
        if number >= _MAX_MEMBERS:
            raise PodError(f"the archive has more than {_MAX_MEMBERS} members")
        name = _inside(member.name)
        place = os.path.join(scratch, name)
        if member.kind == "directory":
            os.makedirs(place, exist_ok=True)
            modes.append((place, member.mode))
        elif not name:
            raise PodError("the archive has a member without a name")
        elif member.kind == "symlink":
            symlinks[name] = member.link
        else:
            symlinks.pop(name, None)
            written += _make(member, scratch, place, min(room, limit) - written)
    for name, link in symlinks.items():
        _link(scratch, name, link, links_outside=links_outside)
    for place, mode in reversed(modes):
        os.chmod(place, mode & 0o777 | 0o700)


def _make(member: _Member, scratch: str, place: str, room: int) -> int:
    """Make a file or hard link; returns the bytes it took."""
    os.makedirs(os.path.dirname(place), exist_ok=True)
    if os.path.lexists(place):
        os.unlink(place)
    if member.content is not None:
        return _write(member.content, member.mode, place, room)
    os.link(os.path.join(scratch, _inside(member.link)), place, follow_symlinks=False)
    return 0


def _write(content: IO[bytes], mode: int, place: str, room: int) -> int:
    fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    size = 0
    with open(fd, "wb") as writer:
        while chunk := content.read(_CHUNK_BYTES):
            size += len(chunk)
            if size > room:
                raise PodError("the archive unfolds to more than the space that is free, or than an honest one of its size")
            writer.write(chunk)
        writer.flush()
        os.fchmod(fd, mode & 0o777 | 0o400)
    return size


def _link(scratch: str, name: str, link: str, *, links_outside: bool) -> None:
    if not links_outside:
        leads_to = os.path.normpath(os.path.join(os.path.dirname(name), link))
        if link.startswith("/") or leads_to == ".." or leads_to.startswith("../"):
            raise PodError(f"the archive's link {name!r} leads out of it, to {link!r}")
    place = os.path.join(scratch, name)
    os.makedirs(os.path.dirname(place), exist_ok=True)
    if os.path.isdir(place) and not os.path.islink(place):
        raise PodError(f"the archive holds {name!r} both as a link and as a directory")
    if os.path.lexists(place):
        os.unlink(place)
    os.symlink(link, place)
