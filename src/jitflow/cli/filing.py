"""The commands lint, create and update of templates and of schedules: the same ones, about other kinds."""

from collections.abc import Callable

import typer

from jitflow.cli.loading import load
from jitflow.cli.objects import Files
from jitflow.cli.options import ServerOption, SubmitNamespaceOption, TableFormat, TableOption


def add_commands(app: typer.Typer, kinds: str, *, things: str, also: str = "", example: str) -> None:
    """Give an application the three commands.

    Args:
        app: of `jitflow template`, for example.
        kinds: the name of what they take, in `jitflow.cli.writing`.
        things: what they are called.
        also: what else is among them.
        example: the command's place and arguments, with `{}` for its name.
    """
    checked = f"Let the server check {things} of files with what they refer to there; nothing is kept."
    for name, past, text in (
        ("lint", "is valid", f"{checked} Exit code 2 if one is refused."),
        ("create", "created", f"Keep new {things} of files{also}; one that there is is refused (`jitflow apply` replaces it)."),
        (
            "update",
            "updated",
            f"Replace {things} by those of files{also}; one that there is not is refused (`jitflow apply` keeps it).",
        ),
    ):
        app.command(name, help=text, epilog=f"Example: jitflow {example.format(name)}")(_sender(kinds, name, past))


def _sender(kinds: str, name: str, past: str) -> Callable[..., None]:
    def command(
        files: Files,
        *,
        server: ServerOption = "",
        namespace: SubmitNamespaceOption = "",
        output: TableOption = TableFormat.TABLE,
    ) -> None:
        writing = load("jitflow.cli.writing")
        groups, send = getattr(writing, kinds), getattr(writing, name)
        writing.write(files, groups, send, past, server=server, namespace=namespace, output=output)

    return command
