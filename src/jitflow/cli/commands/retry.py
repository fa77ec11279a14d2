"""`jitflow retry`."""

from typing import Annotated

import typer

from jitflow.cli.commands import single
from jitflow.cli.control import control
from jitflow.cli.manifests import checked_parameters
from jitflow.cli.options import (
    DEFAULT_NAMESPACE,
    NamesArgument,
    NamespaceOption,
    ParameterOption,
    ServerOption,
    TableFormat,
    TableOption,
)

app, command = single("jitflow retry train-x7k2p -p epochs=20")


@command
def retry(
    names: NamesArgument,
    *,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    parameters: ParameterOption = None,
    successful: Annotated[
        bool, typer.Option("--restart-successful", help="Run the selected steps again although they succeeded.")
    ] = False,
    selector: Annotated[
        str, typer.Option("--node-field-selector", metavar="FIELDS", help="Which successful steps.", show_default=False)
    ] = "",
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Run failed workflows again from where they failed; what succeeded is kept."""
    given = [f"{name}={value}" for name, value in checked_parameters(parameters or [])]
    options = {"parameters": given, "restartSuccessful": successful, "nodeFieldSelector": selector}
    control("retry", "retried", names, server=server, namespace=namespace, output=output, **options)
