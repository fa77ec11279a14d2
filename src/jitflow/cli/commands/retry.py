"""`jitflow retry`."""

from functools import partial

from jitflow.cli.awaiting import all_to_their_ends
from jitflow.cli.choosing import (
    FAILED,
    Among,
    DryRunOption,
    EverythingOption,
    FieldSelectorOption,
    OptionalNames,
    PrefixOption,
)
from jitflow.cli.commands import single
from jitflow.cli.control import Deed, control
from jitflow.cli.manifests import assignments
from jitflow.cli.options import (
    DEFAULT_NAMESPACE,
    LogOption,
    NamespaceOption,
    ParameterOption,
    SelectorOption,
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
from jitflow.model.bulk import BulkWish, Operation

app, command = single("jitflow retry train-x7k2p -p epochs=20")


@command
def retry(
    names: OptionalNames = None,
    *,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    parameters: ParameterOption = None,
    successful: SuccessfulOption = False,
    nodes: SuccessfulSelectorOption = "",
    selector: SelectorOption = "",
    field_selector: FieldSelectorOption = "",
    prefix: PrefixOption = "",
    everything: EverythingOption = False,
    dry_run: DryRunOption = False,
    wait: WaitOption = False,
    watch: WatchOption = False,
    log: LogOption = False,
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Run failed workflows again from where they failed; what succeeded is kept. Of selected ones, those that have failed."""
    given = assignments(parameters)

    def send(client: Client, found: str) -> Json:
        again = client.workflows.retry.into(Json)
        return again(found, namespace=namespace, parameters=given, restart_successful=successful, selector=nodes)

    among = Among(
        namespace=namespace,
        names=tuple(names or ()),
        labels=selector,
        fields=field_selector,
        prefix=prefix,
        everything=everything,
        only=FAILED,
    )
    wish = BulkWish(parameters=tuple(given), restart_successful=successful, selector=nodes)
    after = partial(all_to_their_ends, watch=watch, log=log) if wait or watch or log else None
    deed = Deed(operation=Operation.RETRY, past="retried", one=send, wish=wish)
    control(deed, among, server=server, output=output, dry_run=dry_run, afterwards=after)
