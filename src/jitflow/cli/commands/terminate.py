"""`jitflow terminate`."""

from jitflow.cli.choosing import RUNNING
from jitflow.cli.chosen import Chosen, chooses
from jitflow.cli.commands import single
from jitflow.cli.control import Deed, control
from jitflow.cli.output import Json
from jitflow.client import Client
from jitflow.model.bulk import Operation

app, command = single("jitflow terminate @latest")


@command
@chooses
def terminate(chosen: Chosen) -> None:
    """End workflows at once: running steps are ended, exit handlers do not run. Of selected ones, those that have not ended."""

    def send(client: Client, found: str) -> Json:
        return client.workflows.terminate.into(Json)(found, namespace=chosen.namespace)

    deed = Deed(operation=Operation.TERMINATE, past="terminated", one=send)
    control(deed, chosen, chosen.among(only=RUNNING))
