"""`jitflow delete`."""

from typing import Annotated

import typer

from jitflow.cli.choosing import (
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

app, command = single("jitflow delete --completed --older 30d --dry-run")


@command
def delete(
    names: OptionalNames = None,
    *,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    selector: SelectorOption = "",
    field_selector: FieldSelectorOption = "",
    prefix: PrefixOption = "",
    phases: Annotated[str, typer.Option("--status", metavar="PHASES", help="Only these phases (a,b).", show_default=False)] = "",
    completed: Annotated[bool, typer.Option("--completed", help="Only those that have ended.")] = False,
    older: Annotated[
        str, typer.Option("--older", metavar="TIME", help="Only those that ended so long ago, as 12h or 30d.", show_default=False)
    ] = "",
    everything: EverythingOption = False,
    dry_run: DryRunOption = False,
    force: Annotated[bool, typer.Option("--force", help="Even if artifacts that are to go with them cannot be deleted.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before selected ones are deleted.")] = False,
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Delete workflows, with their logs and their state; of what they stored far away, what their `artifactGC` gives up."""

    def send(client: Client, found: str) -> Json:
        client.workflows.delete(found, namespace=namespace, force=force)
        return {"name": found, "deleted": True}

    among = Among(
        namespace=namespace,
        names=tuple(names or ()),
        labels=selector,
        fields=field_selector,
        prefix=prefix,
        phases=phases,
        completed=completed,
        older=older,
        everything=everything,
    )
    deed = Deed(operation=Operation.DELETE, past="deleted", one=send, wish=BulkWish(force=force), asks=True)
    control(deed, among, server=server, output=output, dry_run=dry_run, sure=yes)
