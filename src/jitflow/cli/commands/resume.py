"""`jitflow resume`."""

from typing import Annotated

import typer

from jitflow.cli.commands import single
from jitflow.cli.control import control
from jitflow.cli.options import (
    DEFAULT_NAMESPACE,
    NamesArgument,
    NamespaceOption,
    ServerOption,
    TableFormat,
    TableOption,
)
from jitflow.cli.output import Json
from jitflow.client import Client

app, command = single("jitflow resume @latest --node-field-selector displayName=approve")


@command
def resume(
    names: NamesArgument,
    *,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    selector: Annotated[
        str,
        typer.Option("--node-field-selector", metavar="FIELDS", help="Only these suspend steps.", show_default=False),
    ] = "",
    message: Annotated[str, typer.Option("--message", metavar="TEXT", help="Why; it is shown of them.", show_default=False)] = "",
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Let suspended workflows, or waiting suspend steps, go on."""

    def send(client: Client, found: str) -> Json:
        return client.workflows.resume.into(Json)(found, namespace=namespace, selector=selector, message=message)

    control(send, "resumed", names, server=server, namespace=namespace, output=output)
