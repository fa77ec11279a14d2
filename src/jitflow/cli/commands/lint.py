"""`jitflow lint`."""

from typing import Annotated

import typer

from jitflow.cli.commands import single
from jitflow.cli.errors import InputRefused
from jitflow.cli.formats import plural
from jitflow.cli.manifests import located, problems, shown
from jitflow.cli.options import TableFormat, TableOption
from jitflow.cli.output import print_json, say
from jitflow.model.problems import Problem

app, command = single("jitflow lint *.yaml")


@command
def lint(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Manifests; - for standard input.", show_default=False)],
    *,
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Check manifests as strictly as a server does, without one. One line `file:line:column: message` for each problem."""
    found: list[tuple[str, Problem]] = []
    for file in files:
        try:
            found += [(file, problem) for problem in problems(file)]
        except InputRefused as error:
            message = str(error).removeprefix(f"{shown(file)}: ")
            found.append((file, Problem(message=message, code="unreadable")))
    if output is TableFormat.JSON:
        print_json([_entry(file, problem) for file, problem in found])
    elif found:
        typer.echo("\n".join(located(problem, file) for file, problem in found))
    if found:
        wrong = len({file for file, _ in found})
        say(f"{plural(len(found), 'problem')} in {wrong} of {plural(len(files), 'file')}")
        raise typer.Exit(1)
    say(f"{plural(len(files), 'file')} without problems")


def _entry(file: str, problem: Problem) -> dict[str, object]:
    place = problem.place
    return {
        "file": shown(file),
        "line": place.line if place else None,
        "column": place.column if place else None,
        "path": place.path if place else "",
        "message": problem.message,
        "remedy": problem.remedy,
        "code": problem.code,
    }
