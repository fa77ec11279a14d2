"""Statements and migrations, kept in files: `queries.sql` and `NNN_*.sql`, which leads from version NNN - 1 to NNN."""

import re
from importlib import resources

from jitflow.ports.errors import Broken

_SQL = resources.files("jitflow.stores") / "sql"
_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def read_queries(folder: str = "") -> dict[str, str]:
    """Return every statement of a folder's `queries.sql`, and of those that are the same in all dialects, by its name."""
    own = _SQL / folder / "queries.sql" if folder else _SQL / "queries.sql"
    parts = _NAME.split(own.read_text(encoding="utf-8"))
    parts += _NAME.split((_SQL / "soundness.sql").read_text(encoding="utf-8"))[1:]
    return {name: text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def migrations(found: int, folder: str = "") -> list[str]:
    """Return the scripts that lead from version `found` to the newest, in order."""
    place = _SQL / folder if folder else _SQL
    files = [(int(number[1]), file) for file in place.iterdir() if (number := re.match(r"(\d+)_", file.name))]
    return [file.read_text(encoding="utf-8") for number, file in sorted(files, key=lambda pair: pair[0]) if number > found]


def too_new(place: str, found: int, known: int) -> Broken:
    """Return the refusal of what a newer program has written."""
    return Broken(
        f"{place} has schema version {found}, this jitflow knows {known}: it was written by a newer jitflow; "
        "use that version, or another state"
    )


def check_present(place: str, found: int, known: int) -> None:
    """Check the version of a state that is only read.

    Raises:
        Broken: it is another than this program's, or there is no state.
    """
    if found > known:
        raise too_new(place, found, known)
    if found < known:
        was = f"has schema version {found}, this jitflow reads {known}" if found else "holds no state yet"
        raise Broken(f"{place} {was}; run `jitflow state migrate` first")


def another_program(place: str) -> Broken:
    """Return the refusal of a database that is not jitflow's."""
    return Broken(f"{place} is a database of another program; choose another one for the state")
