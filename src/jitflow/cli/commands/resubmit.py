"""`jitflow resubmit`."""

from functools import partial

from jitflow.cli.awaiting import all_to_their_ends
from jitflow.cli.choosing import (
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
    MemoizedOption,
    NamespaceOption,
    ParameterOption,
    SelectorOption,
    ServerOption,
    TableFormat,
    TableOption,
    WaitOption,
    WatchOption,
)
from jitflow.cli.output import Json
from jitflow.client import Client
from jitflow.model.bulk import BulkWish, Operation

app, command = single("jitflow resubmit train-x7k2p --memoized")


@command
def resubmit(
    names: OptionalNames = None,
    *,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    parameters: ParameterOption = None,
    memoized: MemoizedOption = False,
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
    """Run workflows anew, under other names."""
    given = assignments(parameters)

    def send(client: Client, found: str) -> Json:
        again = client.workflows.resubmit.into(Json)
        return again(found, namespace=namespace, parameters=given, memoized=memoized)

    among = Among(
        namespace=namespace,
        names=tuple(names or ()),
        labels=selector,
        fields=field_selector,
        prefix=prefix,
        everything=everything,
    )
    wish = BulkWish(parameters=tuple(given), memoized=memoized)
    after = partial(all_to_their_ends, watch=watch, log=log) if wait or watch or log else None
    deed = Deed(operation=Operation.RESUBMIT, past="resubmitted", one=send, wish=wish)
    control(deed, among, server=server, output=output, dry_run=dry_run, afterwards=after)
