"""Options that every command which talks to a server has, beside its own: which context, whose token."""

import os
from dataclasses import dataclass, fields
from typing import Annotated, Any

import typer

from jitflow.cli.loading import load


@dataclass
class Choice:
    """What this invocation's options say."""

    context: str = ""
    token_file: str = ""

    def forget(self) -> None:
        """Begin anew."""
        for one in fields(self):
            setattr(self, one.name, "")


CHOICE = Choice()


def _keep(option: typer.CallbackParam, value: str) -> str:
    if value:
        setattr(CHOICE, str(option.name), value)
    return value


def context_names(incomplete: str) -> list[str]:
    """Return what the shell offers for a context's name."""
    try:
        names = load("jitflow.cli.contexts").read().contexts
    except Exception:  # a shell must never see an error
        return []
    return [name for name in sorted(names) if name.startswith(incomplete)]


def _shared(
    context: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="A server by its name; see `jitflow context`.",
            show_default=False,
            is_eager=True,
            callback=_keep,
            autocompletion=context_names,
        ),
    ] = "",
    token_file: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="Read the token from here, instead of the context's or JITFLOW_TOKEN.",
            show_default=False,
            is_eager=True,
            callback=_keep,
        ),
    ] = "",
) -> None:
    """Hold the shared options."""


def _options() -> list[Any]:
    holder = typer.Typer(add_completion=False)
    holder.command()(_shared)
    options: list[Any] = [option for option in typer.main.get_command(holder).params if option.name != "help"]
    for option in options:
        option.expose_value = False
    return options


def extend(command: Any) -> None:
    """Give a command, or those below it, the shared options; the namespace that is not given is the context's."""
    for inner in getattr(command, "commands", {}).values():
        extend(inner)
    for option in command.params:
        if option.name == "namespace" and option.default == "default":
            option.default = default_namespace
            option.show_default = "the context's, else default"
    at = next((index for index, option in enumerate(command.params) if option.name == "server"), None)
    if at is not None:
        command.params[at + 1 : at + 1] = _options()


def default_namespace() -> str:
    """Return the namespace that is meant when none is given: the context's, else `default`."""
    return os.environ.get("JITFLOW_NAMESPACE") or load("jitflow.cli.connect").chosen_namespace() or "default"
