"""One module for each command: its options and help; what it does is in the rooms above or in `jitflow.cli`."""

from collections.abc import Callable
from typing import Any, TypeVar

import typer

Command = TypeVar("Command", bound=Callable[..., Any])


def single(example: str) -> tuple[typer.Typer, Callable[[Command], Command]]:
    """Return an application of one command and the decorator that makes a function that command."""
    app = new_app()
    return app, app.command(epilog=f"Example: {example}", context_settings=CONTEXT)


def new_app(**settings: Any) -> typer.Typer:
    """Return an application with the settings all commands share."""
    return typer.Typer(
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings=CONTEXT,
        **settings,
    )


CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
