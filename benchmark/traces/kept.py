"""Rows that were measured before: a long benchmark in pieces writes the file that it would write in one go."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Generic, Protocol, TypeAlias, TypeVar

import msgspec

Place: TypeAlias = tuple[str | float, ...]
_MEASURES = ("jitflow.model", "benchmark.traces")
_MEASURED = "jitflow.planner"
_BESIDE = {"__main__", "kept", "manifest", "plots", "real", "recipes", "tables"}
"""Modules that change no row."""


class Row(Protocol):
    """What was measured."""

    @property
    def code(self) -> str:
        """Return the `signature` of what measured it."""
        ...

    @property
    def place(self) -> Place:
        """Return what this is a row of; rows are written in the order of their places."""
        ...


class Task(Protocol):
    """What is to be measured: one or more rows."""

    @property
    def places(self) -> Sequence[Place]:
        """Return the places of its rows."""
        ...


R = TypeVar("R", bound=Row)
T = TypeVar("T", bound=Task)


def signature(*flags: object, planner: bool = True) -> str:
    """Return a short name of the code that measures and is measured, and of the flags that change what comes out.

    Without `planner`: of what does not depend on the planner.
    """
    digest = hashlib.sha256(repr(flags).encode())
    for package in (*_MEASURES, _MEASURED) if planner else _MEASURES:
        found = find_spec(package)
        for folder in (found.submodule_search_locations if found else None) or ():
            for path in sorted(Path(folder).glob("*.py")):
                digest.update(path.read_bytes() if path.stem not in _BESIDE else b"")
    return digest.hexdigest()[:12]


class Rows(Generic[R]):
    """The rows of a file, which is written anew whenever some are added."""

    def __init__(self, path: Path, kind: type[R], *codes: str, keep: bool) -> None:
        """Begin with nothing, or with `keep` with those rows of the file that the same code has measured with the same flags.

        `codes`: the signatures of all that measures rows of this file.
        """
        self._path = path
        self.all: list[R] = []
        if keep and path.is_file():
            rows = msgspec.json.decode(path.read_bytes(), type=list[kind], strict=False)
            self.all = [row for row in rows if row.code in codes]

    def missing(self, tasks: Iterable[T]) -> list[T]:
        """Return the tasks of which some row is not there."""
        there = {row.place for row in self.all}
        return [task for task in tasks if not there.issuperset(task.places)]

    def add(self, rows: Sequence[R]) -> None:
        """Add rows and write the file."""
        places = {row.place for row in rows}
        self.all = sorted([*(row for row in self.all if row.place not in places), *rows], key=lambda row: row.place)
        beside = self._path.with_suffix(".part")
        beside.write_bytes(msgspec.json.format(msgspec.json.encode(self.all), indent=1) + b"\n")
        os.replace(beside, self._path)
