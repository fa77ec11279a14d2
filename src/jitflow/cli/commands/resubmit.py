"""`jitflow resubmit`."""

from functools import partial

from jitflow.cli.awaiting import all_to_their_ends, limit_of
from jitflow.cli.chosen import Chosen, chooses
from jitflow.cli.commands import single
from jitflow.cli.control import Deed, control
from jitflow.cli.manifests import assignments
from jitflow.cli.options import (
    LogOption,
    MemoizedOption,
    ParameterOption,
    TimeoutOption,
    WaitOption,
    WatchOption,
)
from jitflow.cli.output import Json
from jitflow.client import Client
from jitflow.model.bulk import BulkWish, Operation

app, command = single("jitflow resubmit train-x7k2p --memoized")


@command
@chooses
def resubmit(
    chosen: Chosen,
    *,
    parameters: ParameterOption = None,
    memoized: MemoizedOption = False,
    wait: WaitOption = False,
    watch: WatchOption = False,
    log: LogOption = False,
    timeout: TimeoutOption = "",
) -> None:
    """Run workflows anew, under other names."""
    given = assignments(parameters)

    def send(client: Client, found: str) -> Json:
        again = client.workflows.resubmit.into(Json)
        return again(found, namespace=chosen.namespace, parameters=given, memoized=memoized)

    wish = BulkWish(parameters=tuple(given), memoized=memoized)
    waits = wait or watch or log
    limit_s = limit_of(timeout, waits=waits)
    after = partial(all_to_their_ends, watch=watch, log=log, limit_s=limit_s) if waits else None
    deed = Deed(operation=Operation.RESUBMIT, past="resubmitted", one=send, wish=wish)
    control(deed, chosen, chosen.among(), afterwards=after)
