"""`jitflow retry`."""

from functools import partial

from jitflow.cli.awaiting import all_to_their_ends, limit_of
from jitflow.cli.choosing import FAILED
from jitflow.cli.chosen import Chosen, chooses
from jitflow.cli.commands import single
from jitflow.cli.control import Deed, control
from jitflow.cli.manifests import assignments
from jitflow.cli.options import (
    LogOption,
    ParameterOption,
    SuccessfulOption,
    SuccessfulSelectorOption,
    TimeoutOption,
    WaitOption,
    WatchOption,
)
from jitflow.cli.output import Json
from jitflow.client import Client
from jitflow.model.bulk import BulkWish, Operation

app, command = single("jitflow retry train-x7k2p -p epochs=20")


@command
@chooses
def retry(
    chosen: Chosen,
    *,
    parameters: ParameterOption = None,
    successful: SuccessfulOption = False,
    nodes: SuccessfulSelectorOption = "",
    wait: WaitOption = False,
    watch: WatchOption = False,
    log: LogOption = False,
    timeout: TimeoutOption = "",
) -> None:
    """Run failed workflows again from where they failed; what succeeded is kept. Of selected ones, those that have failed."""
    given = assignments(parameters)

    def send(client: Client, found: str) -> Json:
        again = client.workflows.retry.into(Json)
        return again(found, namespace=chosen.namespace, parameters=given, restart_successful=successful, selector=nodes)

    wish = BulkWish(parameters=tuple(given), restart_successful=successful, selector=nodes)
    waits = wait or watch or log
    limit_s = limit_of(timeout, waits=waits)
    after = partial(all_to_their_ends, watch=watch, log=log, limit_s=limit_s) if waits else None
    deed = Deed(operation=Operation.RETRY, past="retried", one=send, wish=wish)
    control(deed, chosen, chosen.among(only=FAILED), afterwards=after)
