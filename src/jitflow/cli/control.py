"""What stop, terminate, suspend, resume and retry share."""

from typing import Any

import typer

from jitflow.cli.client import ApiError
from jitflow.cli.connect import connect, resolve
from jitflow.cli.errors import CliError
from jitflow.cli.options import TableFormat
from jitflow.cli.output import print_json, say


def control(
    action: str, past: str, names: list[str], *, server: str, namespace: str, output: TableFormat, **options: Any
) -> None:
    """Send one action to several workflows; say what was done.

    Raises:
        CliError: the server refused it for some; the others were done.
    """
    refused: list[str] = []
    answers: list[dict[str, Any]] = []
    with connect(server) as client:
        for name in names:
            try:
                found = resolve(client, namespace, name)
                answers.append(client.control_workflow(action, namespace, found, **options))
            except (ApiError, CliError) as error:
                refused.append(f"{name}: {error}")
            else:
                say(f"workflow {found} {past}")
    if output is TableFormat.JSON:
        print_json(answers)
    if refused:
        raise CliError("\n".join(refused))


def confirm(question: str) -> None:
    """Ask, and leave unless the answer is yes.

    Raises:
        CliError: nobody can answer.
    """
    try:
        typer.confirm(question, abort=True, err=True)
    except typer.Abort:
        raise CliError("nothing was done (--yes answers for you)") from None
