"""`jitflow resume`."""

from typing import Annotated

import typer

from jitflow.cli.choosing import RUNNING
from jitflow.cli.chosen import Chosen, chooses
from jitflow.cli.commands import single
from jitflow.cli.control import Deed, control
from jitflow.cli.output import Json
from jitflow.client import Client
from jitflow.model.bulk import BulkWish, Operation

app, command = single("jitflow resume @latest --node-field-selector displayName=approve")


@command
@chooses
def resume(
    chosen: Chosen,
    *,
    message: Annotated[str, typer.Option("--message", metavar="TEXT", help="Why; it is shown of them.", show_default=False)] = "",
    nodes: Annotated[
        str, typer.Option("--node-field-selector", metavar="FIELDS", help="Only these suspend steps.", show_default=False)
    ] = "",
) -> None:
    """Let suspended workflows, or waiting suspend steps, go on."""

    def send(client: Client, found: str) -> Json:
        return client.workflows.resume.into(Json)(found, namespace=chosen.namespace, selector=nodes, message=message)

    deed = Deed(operation=Operation.RESUME, past="resumed", one=send, wish=BulkWish(selector=nodes, message=message))
    control(deed, chosen, chosen.among(only=RUNNING))
