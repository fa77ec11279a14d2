"""`jitflow delete`."""

from typing import Annotated

import typer

from jitflow.cli.commands import single
from jitflow.cli.connect import connect, names_of, resolve
from jitflow.cli.control import confirm
from jitflow.cli.errors import CliError, InputRefused
from jitflow.cli.formats import plural
from jitflow.cli.options import (
    DEFAULT_NAMESPACE,
    NamespaceOption,
    SelectorOption,
    ServerOption,
    TableFormat,
    TableOption,
    workflow_names,
)
from jitflow.cli.output import print_json, say
from jitflow.client import ApiError, Client

app, command = single("jitflow delete train-x7k2p train-q9wzd")


@command
def delete(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME...]", help="Workflows, or @latest.", autocompletion=workflow_names)
    ] = None,
    *,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    everything: Annotated[bool, typer.Option("--all", help="All workflows of the namespace.")] = False,
    selector: SelectorOption = "",
    force: Annotated[bool, typer.Option("--force", help="Even if artifacts that are to go with them cannot be deleted.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Delete workflows, with their logs and their state; of what they stored far away, what their `artifactGC` gives up."""
    if bool(names) == bool(everything or selector):
        raise InputRefused("name the workflows to delete, or give --all or --selector")
    with connect(server) as client:
        chosen = list(names or ())
        if not chosen:
            chosen = names_of(client, namespace, labels=selector)
            if chosen and not yes:
                confirm(f"Delete {plural(len(chosen), 'workflow')} of namespace {namespace}?")
        deleted, refused = _delete(client, namespace, chosen, force=force)
    if output is TableFormat.JSON:
        print_json([{"name": name, "deleted": True} for name in deleted])
    if refused:
        raise CliError("\n".join(refused))
    if not deleted:
        say("no workflows")


def _delete(client: Client, namespace: str, names: list[str], *, force: bool) -> tuple[list[str], list[str]]:
    deleted: list[str] = []
    refused: list[str] = []
    for name in names:
        try:
            found = resolve(client, namespace, name)
            client.workflows.delete(found, namespace=namespace, force=force)
        except (ApiError, CliError) as error:
            refused.append(f"{name}: {error}")
        else:
            deleted.append(found)
            say(f"workflow {found} deleted")
    return deleted, refused
