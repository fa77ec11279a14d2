"""`jitflow stop`."""

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

app, command = single("jitflow stop train-x7k2p")


@command
def stop(
    names: NamesArgument,
    *,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    message: Annotated[str, typer.Option("--message", metavar="TEXT", help="Why; it is shown of them.", show_default=False)] = "",
    selector: Annotated[
        str, typer.Option("--node-field-selector", metavar="FIELDS", help="Only these steps, which fail.", show_default=False)
    ] = "",
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Stop workflows: running steps are ended, exit handlers still run.

    One that waits for its own mutex or semaphore stays Pending, as in Argo: its exit handler runs when it has that.
    """

    def send(client: Client, found: str) -> Json:
        return client.workflows.stop.into(Json)(found, namespace=namespace, selector=selector, message=message)

    control(send, "stopped", names, server=server, namespace=namespace, output=output)
