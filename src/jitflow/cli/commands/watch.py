"""`jitflow watch`."""

import sys
from typing import Annotated

import msgspec
import typer

from jitflow.cli import views
from jitflow.cli.commands import single
from jitflow.cli.connect import connect, resolve
from jitflow.cli.displays import choose
from jitflow.cli.errors import CliError
from jitflow.cli.follow import follow
from jitflow.cli.options import (
    DEFAULT_NAMESPACE,
    NameArgument,
    NamespaceOption,
    ServerOption,
    TableFormat,
    TableOption,
)
from jitflow.client import Client

app, command = single("jitflow watch @latest")


@command
def watch(
    name: NameArgument,
    *,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    no_tree: Annotated[bool, typer.Option("--no-tree", help="Plain lines, one for each change.")] = False,
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Show a workflow live until it ends; exit code 0 if it succeeded. With -o json, one JSON line for each change."""
    with connect(server) as client:
        found = resolve(client, namespace, name)
        if output is TableFormat.JSON:
            phase = _stream(client, namespace, found)
        else:
            phase = follow(client, namespace, found, choose(client, namespace, found, tree=not no_tree)).status.phase
    raise typer.Exit(0 if phase == "Succeeded" else 1)


def _stream(client: Client, namespace: str, name: str) -> str:
    for event in client.workflows.follow(name, namespace=namespace):
        if event.type == "DELETED":
            raise CliError(f"workflow {name} was deleted")
        typer.echo(msgspec.json.encode(event).decode())
        sys.stdout.flush()
        view = views.workflow(event.object)
        if view.is_done:
            return view.status.phase
    raise CliError(f"the server said nothing more of workflow {name}")
