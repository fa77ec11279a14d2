"""`jitflow resume`."""

from typing import Annotated

import typer

from jitflow.cli.choosing import (
    RUNNING,
    Among,
    DryRunOption,
    EverythingOption,
    FieldSelectorOption,
    OptionalNames,
    PrefixOption,
)
from jitflow.cli.commands import single
from jitflow.cli.control import Deed, control
from jitflow.cli.options import DEFAULT_NAMESPACE, NamespaceOption, SelectorOption, ServerOption, TableFormat, TableOption
from jitflow.cli.output import Json
from jitflow.client import Client
from jitflow.model.bulk import BulkWish, Operation

app, command = single("jitflow resume @latest --node-field-selector displayName=approve")


@command
def resume(
    names: OptionalNames = None,
    *,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    message: Annotated[str, typer.Option("--message", metavar="TEXT", help="Why; it is shown of them.", show_default=False)] = "",
    nodes: Annotated[
        str, typer.Option("--node-field-selector", metavar="FIELDS", help="Only these suspend steps.", show_default=False)
    ] = "",
    selector: SelectorOption = "",
    field_selector: FieldSelectorOption = "",
    prefix: PrefixOption = "",
    everything: EverythingOption = False,
    dry_run: DryRunOption = False,
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Let suspended workflows, or waiting suspend steps, go on."""

    def send(client: Client, found: str) -> Json:
        return client.workflows.resume.into(Json)(found, namespace=namespace, selector=nodes, message=message)

    among = Among(
        namespace=namespace,
        names=tuple(names or ()),
        labels=selector,
        fields=field_selector,
        prefix=prefix,
        everything=everything,
        only=RUNNING,
    )
    deed = Deed(operation=Operation.RESUME, past="resumed", one=send, wish=BulkWish(selector=nodes, message=message))
    control(deed, among, server=server, output=output, dry_run=dry_run)
