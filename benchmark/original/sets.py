"""The sets of files: their names and sizes are the original benchmark's, their contents are generated and do not compress."""

import csv
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from random import Random

from benchmark.service import MeasurementError

EMBEDDED = Path(__file__).with_name("sets.tsv")
_COLUMNS = {"set", "size_bytes", "name"}
_CHUNK_BYTES = 2**20


@dataclass(frozen=True, kw_only=True)
class File:
    """One file of a set."""

    name: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class FileSet:
    """The files that one workflow reads, in the order of its steps."""

    name: str
    files: tuple[File, ...]

    @property
    def size_bytes(self) -> int:
        """All bytes of the set."""
        return sum(file.size_bytes for file in self.files)

    def half(self) -> tuple[File, ...]:
        """Return every second file: what is near when the primary is half full."""
        return self.files[1::2]


def load(path: Path = EMBEDDED) -> dict[str, FileSet]:
    """Read a table of sets, tab-separated: set, size_bytes, name.

    Raises:
        MeasurementError: it is missing, or a line of it makes no sense.
    """
    found: dict[str, list[File]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as text:
            rows = csv.DictReader(text, delimiter="\t")
            if not set(rows.fieldnames or ()) >= _COLUMNS:
                raise MeasurementError(f"{path}: the first line must name the columns {', '.join(sorted(_COLUMNS))}")
            for row in rows:
                found.setdefault(row["set"], []).append(_file(row, f"{path}:{rows.line_num}"))
    except (OSError, UnicodeDecodeError) as error:
        raise MeasurementError(
            f"{path} cannot be read ({error}); name the table of the sets (SETS=FILE), or none for the one that is built in"
        ) from error
    if not found:
        raise MeasurementError(f"{path} holds no file")
    return {name: FileSet(name=name, files=tuple(files)) for name, files in found.items()}


def _file(row: dict[str, str], place: str) -> File:
    name, size = row["name"] or "", row["size_bytes"] or ""
    if not size.isdigit() or not name or name.startswith("/") or ".." in name.split("/"):
        raise MeasurementError(f"{place}: not a size in bytes and a relative name: {size!r}, {name!r}")
    return File(name=name, size_bytes=int(size))


def generate(file_set: FileSet, root: Path) -> None:
    """Write a set's files below a directory, the same bytes at every call; those that are there are left as they are."""
    for file in file_set.files:
        path = root / file.name
        if path.exists() and path.stat().st_size == file.size_bytes:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        random = Random(f"{file_set.name}/{file.name}")
        with path.open("wb") as target:
            for at in range(0, file.size_bytes, _CHUNK_BYTES):
                target.write(random.randbytes(min(_CHUNK_BYTES, file.size_bytes - at)))


def put(files: tuple[File, ...], source: Path, target: Path) -> None:
    """Let files of `source` be below `target` too; nothing else is there afterwards. Costs no space: they are hard links."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for file in files:
        path = target / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(source / file.name, path)
