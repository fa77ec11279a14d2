"""Settings as flags: `--set NAME=VALUE`."""

from collections.abc import Sequence
from typing import Annotated

import typer

from jitflow.cli.errors import InputRefused

SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A setting, as primary.transfers=8 (repeatable).", show_default=False),
]


def taken(texts: Sequence[str] | None) -> dict[str, str]:
    """Return settings by name.

    Raises:
        InputRefused: one is not of that form.
    """
    found: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InputRefused(f"--set {text}: write NAME=VALUE, as primary.transfers=8")
        found[name.strip()] = value
    return found
