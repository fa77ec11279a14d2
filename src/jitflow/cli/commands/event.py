"""`jitflow event`."""

from typing import Annotated

import msgspec
import typer

from jitflow.cli.commands import new_app
from jitflow.cli.connect import connect
from jitflow.cli.errors import InputRefused
from jitflow.cli.manifests import read, shown
from jitflow.cli.options import DEFAULT_NAMESPACE, EverywhereOption, NamespaceOption, SelectorOption, ServerOption
from jitflow.cli.output import print_json_line, say
from jitflow.client import ALL

app = new_app(
    help="Events: send one to the event bindings of a namespace, watch those of workflows, or what changes of them.",
    no_args_is_help=True,
)


@app.command("send", epilog="Example: jitflow event send push payload.json")
def send(
    discriminator: Annotated[
        str, typer.Argument(metavar="DISCRIMINATOR", help="What selectors call `discriminator`.", show_default=False)
    ] = "",
    file: Annotated[str, typer.Argument(metavar="FILE", help="The payload as JSON; standard input if not given.")] = "-",
    *,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
) -> None:
    """Send an event: what its bindings select is started. Its payload is JSON."""
    try:
        payload = msgspec.json.decode(read(file))
    except msgspec.DecodeError as error:
        raise InputRefused(f"{shown(file)}: not JSON: {error}") from error
    with connect(server) as client:
        client.events.send(payload, namespace=namespace, discriminator=discriminator)
    say("event sent")


@app.command("watch", epilog="Example: jitflow event watch -l team=ocean")
def watch(
    *,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    selector: SelectorOption = "",
) -> None:
    """Print what happens to workflows from now on, one JSON line for each Kubernetes Event, until it is interrupted."""
    with connect(server) as client:
        for event in client.events.watch(namespace=namespace, labels=selector):
            print_json_line(event)


@app.command("changes", epilog="Example: jitflow event changes -A -l team=ocean")
def changes(
    *,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    everywhere: EverywhereOption = False,
    selector: SelectorOption = "",
) -> None:
    """Print the workflows and then each change of them, one JSON line for each with the nodes that changed, until interrupted."""
    with connect(server) as client:
        for delta in client.workflows.deltas(namespace=ALL if everywhere else namespace, labels=selector):
            print_json_line(delta)
