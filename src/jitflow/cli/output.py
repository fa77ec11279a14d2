"""Printing: data on stdout, messages on stderr."""

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import msgspec
import typer

from jitflow.cli.formats import columns
from jitflow.cli.loading import load
from jitflow.cli.options import ListFormat
from jitflow.cli.tree import SYMBOLS

T = TypeVar("T")

Json = dict[str, Any]
"""An object as the server writes it."""

_COLOURS = {"green": "green", "red": "red", "cyan": "cyan", "yellow": "yellow", "dim": "bright_black"}


def say(message: str) -> None:
    """Print a message for people on stderr."""
    typer.echo(message, err=True)


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_json_line(value: Any) -> None:
    """Print a value as JSON on one line, at once."""
    typer.echo(msgspec.json.encode(value).decode())
    sys.stdout.flush()


def print_yaml(value: Any) -> None:
    """Print a value as YAML, keys in the given order."""
    text = load("yaml").safe_dump(msgspec.to_builtins(value), sort_keys=False, allow_unicode=True, width=120)
    typer.echo(text, nl=False)


def print_data(value: Any, form: str) -> None:
    """Print a value as `json` or `yaml`."""
    (print_yaml if form == "yaml" else print_json)(value)


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, phase_column: int | None = None) -> None:
    """Print a table; the cells of `phase_column` are coloured as phases."""
    lines = columns(header, rows)
    if phase_column is None or not colours():
        typer.echo("\n".join(lines))
        return
    typer.echo(lines[0])
    for line, row in zip(lines[1:], rows, strict=True):
        phase = row[phase_column]
        style = SYMBOLS.get(phase.partition(" ")[0], ("", ""))[1]
        typer.echo(line.replace(phase, typer.style(phase, fg=_COLOURS.get(style)), 1) if style else line)


Column = tuple[str, Callable[[T], str]]
"""A column's head, and what stands in it for an item."""


def print_listing(
    items: Sequence[T],
    form: ListFormat,
    columns_: Sequence[Column[T]],
    *,
    name: Callable[[T], str],
    empty: str,
    wide: Sequence[Column[T]] = (),
    phase_column: int | None = None,
) -> None:
    """Print a list as it was asked for; `wide`: columns that are added then, `empty`: what to say where there is nothing."""
    if form in {ListFormat.JSON, ListFormat.YAML}:
        print_data(items, form)
    elif form is ListFormat.NAME:
        typer.echo("".join(f"{name(item)}\n" for item in items), nl=False)
    elif not items:
        say(empty)
    else:
        shown = [*columns_, *(wide if form is ListFormat.WIDE else ())]
        rows = [[cell(item) for _, cell in shown] for item in items]
        print_table([head for head, _ in shown], rows, phase_column=phase_column)


def print_lines(lines: Iterable[Sequence[tuple[str, str]]]) -> None:
    """Print styled lines, in colour where stdout is a terminal."""
    coloured = colours()
    for line in lines:
        parts = [_styled(text, style) if coloured else text for text, style in line]
        typer.echo("".join(parts).rstrip())


def colours() -> bool:
    """Whether stdout shows colours: a terminal, and nobody asked for none."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _styled(text: str, style: str) -> str:
    if style == "bold":
        return typer.style(text, bold=True)
    return typer.style(text, fg=_COLOURS[style]) if style in _COLOURS else text
