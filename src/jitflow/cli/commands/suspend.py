"""`jitflow suspend`."""

from jitflow.cli.choosing import RUNNING
from jitflow.cli.chosen import Chosen, chooses
from jitflow.cli.commands import single
from jitflow.cli.control import Deed, control
from jitflow.cli.output import Json
from jitflow.client import Client
from jitflow.model.bulk import Operation

app, command = single("jitflow suspend -l team=ocean")


@command
@chooses
def suspend(chosen: Chosen) -> None:
    """Start no new steps of workflows; running steps go on. Of selected ones, those that have not ended."""

    def send(client: Client, found: str) -> Json:
        return client.workflows.suspend.into(Json)(found, namespace=chosen.namespace)

    deed = Deed(operation=Operation.SUSPEND, past="suspended", one=send)
    control(deed, chosen, chosen.among(only=RUNNING))
