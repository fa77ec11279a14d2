"""`jitflow retry`."""

from functools import partial

from jitflow.cli.awaiting import all_to_their_ends
from jitflow.cli.commands import single
from jitflow.cli.control import control
from jitflow.cli.manifests import assignments
from jitflow.cli.options import (
    DEFAULT_NAMESPACE,
    LogOption,
    NamesArgument,
    NamespaceOption,
    ParameterOption,
    ServerOption,
    SuccessfulOption,
    SuccessfulSelectorOption,
    TableFormat,
    TableOption,
    WaitOption,
    WatchOption,
)
from jitflow.cli.output import Json
from jitflow.client import Client

app, command = single("jitflow retry train-x7k2p -p epochs=20")


@command
def retry(
    names: NamesArgument,
    *,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    parameters: ParameterOption = None,
    successful: SuccessfulOption = False,
    selector: SuccessfulSelectorOption = "",
    wait: WaitOption = False,
    watch: WatchOption = False,
    log: LogOption = False,
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Run failed workflows again from where they failed; what succeeded is kept."""
    given = assignments(parameters)

    def send(client: Client, found: str) -> Json:
        again = client.workflows.retry.into(Json)
        return again(found, namespace=namespace, parameters=given, restart_successful=successful, selector=selector)

    after = partial(all_to_their_ends, watch=watch, log=log) if wait or watch or log else None
    control(send, "retried", names, server=server, namespace=namespace, output=output, afterwards=after)
