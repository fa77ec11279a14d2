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
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Let suspended workflows, or waiting suspend steps, go on."""
    control("resume", "resumed", names, server=server, namespace=namespace, output=output, nodeFieldSelector=selector)
