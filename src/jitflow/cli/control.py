"""What stop, terminate, suspend, resume and retry share."""

from collections.abc import Callable

import typer

from jitflow.cli.connect import connect, resolve
from jitflow.cli.errors import CliError
from jitflow.cli.options import TableFormat
from jitflow.cli.output import Json, print_json, say
from jitflow.client import ApiError, Client


def control(
    send: Callable[[Client, str], Json],
    past: str,
    names: list[str],
    *,
    server: str,
    namespace: str,
    output: TableFormat,
    afterwards: Callable[[Client, list[Json]], None] | None = None,
) -> None:
    """Send one request for each of several workflows; say what was done. `afterwards` is given what was answered.

    Raises:
        CliError: the server refused it for some; the others were done.
    """
    refused: list[str] = []
    answers: list[Json] = []
    with connect(server) as client:
        for name in names:
            try:
                found = resolve(client, namespace, name)
                answers.append(send(client, found))
            except (ApiError, CliError) as error:
                refused.append(f"{name}: {error}")
            else:
                say(f"workflow {found} {past}")
        if output is TableFormat.JSON:
            print_json(answers)
        if refused:
            raise CliError("\n".join(refused))
        if afterwards is not None:
            afterwards(client, answers)


def confirm(question: str) -> None:
    """Ask, and leave unless the answer is yes.

    Raises:
        CliError: nobody can answer.
    """
    try:
        typer.confirm(question, abort=True, err=True)
    except typer.Abort:
        raise CliError("nothing was done (--yes answers for you)") from None
