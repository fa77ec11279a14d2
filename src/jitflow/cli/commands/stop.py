"""`jitflow stop`."""

from typing import Annotated

import typer

from jitflow.cli.choosing import RUNNING
from jitflow.cli.chosen import Chosen, chooses
from jitflow.cli.commands import single
from jitflow.cli.control import Deed, control
from jitflow.cli.output import Json
from jitflow.client import Client
from jitflow.model.bulk import BulkWish, Operation

app, command = single('jitflow stop -l team=ocean --message "the input was wrong"')


@command
@chooses
def stop(
    chosen: Chosen,
    *,
    message: Annotated[str, typer.Option("--message", metavar="TEXT", help="Why; it is shown of them.", show_default=False)] = "",
    nodes: Annotated[
        str, typer.Option("--node-field-selector", metavar="FIELDS", help="Only these steps, which fail.", show_default=False)
    ] = "",
) -> None:
    """Stop workflows: running steps are ended, exit handlers still run. Of selected ones, those that have not ended.

    One that waits for its own mutex or semaphore stays Pending, as in Argo: its exit handler runs when it has that.
    """

    def send(client: Client, found: str) -> Json:
        return client.workflows.stop.into(Json)(found, namespace=chosen.namespace, selector=nodes, message=message)

    deed = Deed(operation=Operation.STOP, past="stopped", one=send, wish=BulkWish(selector=nodes, message=message))
    control(deed, chosen, chosen.among(only=RUNNING))
