"""What commands about templates, schedules and other small objects share."""

import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from msgspec import Struct

from jitflow.cli.errors import CliError
from jitflow.cli.formats import duration, elapsed
from jitflow.cli.options import ListFormat, ObjectFormat
from jitflow.cli.output import Column, Json, print_data, print_listing, say
from jitflow.client import ApiError

Files = Annotated[list[str], typer.Argument(metavar="FILE", help="Manifests; - for standard input.", show_default=False)]
Names = Annotated[list[str], typer.Argument(metavar="NAME", help="Their names.", show_default=False)]


class Listing(Struct, frozen=True):
    """A list of objects as they are written; an empty one may be null."""

    items: tuple[Json, ...] | None = None


def print_objects(found: Listing, output: ListFormat, columns: Sequence[Column[Json]] = (), *, empty: str) -> None:
    """Print a list of objects: their names, `columns`, how old they are; wide: their namespaces and labels too."""
    now = time.time()
    items: list[Json] = [{"spec": {}, "metadata": {}} | item if output in _TABLES else item for item in found.items or ()]
    shown: list[Column[Json]] = [
        ("NAME", _name),
        *columns,
        ("AGE", lambda one: duration(elapsed(one["metadata"].get("creationTimestamp"), None, now))),
    ]
    wide: list[Column[Json]] = [
        ("NAMESPACE", lambda one: one["metadata"].get("namespace") or "-"),
        ("LABELS", lambda one: ",".join(f"{key}={value}" for key, value in (one["metadata"].get("labels") or {}).items()) or "-"),
    ]
    print_listing(items, output, shown, wide=wide, name=_name, empty=empty)


def print_object(body: Json, output: ObjectFormat) -> None:
    """Print one object."""
    if output is ObjectFormat.NAME:
        typer.echo(_name(body))
    else:
        print_data(body, output)


def each(names: Sequence[str], what: str, past: str, send: Callable[[str], Any]) -> None:
    """Do something to each object, and say what was done.

    Raises:
        CliError: the server refused it for some; the others were done.
    """
    refused: list[str] = []
    for name in names:
        try:
            send(name)
        except ApiError as error:
            refused.append(f"{name}: {error}")
        else:
            say(f"{what} {name} {past}")
    if refused:
        raise CliError("\n".join(refused))


def _name(body: Json) -> str:
    return str(body["metadata"].get("name") or "")


_TABLES = frozenset({ListFormat.TABLE, ListFormat.WIDE, ListFormat.NAME})
