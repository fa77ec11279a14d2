"""`jitflow set`."""

from typing import Annotated

import typer

from jitflow.cli.commands import single
from jitflow.cli.connect import connect, resolve
from jitflow.cli.errors import InputRefused
from jitflow.cli.manifests import checked_parameters
from jitflow.cli.options import DEFAULT_NAMESPACE, NameArgument, NamespaceOption, ServerOption, TableFormat, TableOption
from jitflow.cli.output import Json, print_json, say

app, command = single("jitflow set @latest --node-field-selector displayName=approve --output-parameter answer=yes")


@command
def set_(
    name: NameArgument,
    *,
    selector: Annotated[
        str, typer.Option("--node-field-selector", metavar="FIELDS", help="Which suspend steps.", show_default=False)
    ],
    outputs: Annotated[
        list[str] | None,
        typer.Option("--output-parameter", "-p", metavar="NAME=VALUE", help="What they give (repeatable).", show_default=False),
    ] = None,
    message: Annotated[str, typer.Option("--message", metavar="TEXT", help="What is shown of them.", show_default=False)] = "",
    phase: Annotated[
        str, typer.Option("--phase", metavar="PHASE", help="End them in this phase: Succeeded, Failed …", show_default=False)
    ] = "",
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Give suspended steps of a workflow the output parameters that are supplied from outside, or end them."""
    if not (outputs or message or phase):
        raise InputRefused("say what to set: --output-parameter NAME=VALUE, --message TEXT or --phase PHASE")
    given = dict(checked_parameters(outputs or (), "--output-parameter"))
    with connect(server) as client:
        found = resolve(client, namespace, name)
        write = client.workflows.set.into(Json)
        answer = write(found, selector, namespace=namespace, outputs=given, message=message, phase=phase)
    say(f"workflow {found}: set")
    if output is TableFormat.JSON:
        print_json(answer)
