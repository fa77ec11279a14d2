"""`jitflow suspend`."""

from jitflow.cli.choosing import (
    RUNNING,
    Among,
    DryRunOption,
    EverythingOption,
    FieldSelectorOption,
    OptionalNames,
    PrefixOption,
)
from jitflow.cli.commands import single
from jitflow.cli.control import Deed, control
from jitflow.cli.options import DEFAULT_NAMESPACE, NamespaceOption, SelectorOption, ServerOption, TableFormat, TableOption
from jitflow.cli.output import Json
from jitflow.client import Client
from jitflow.model.bulk import Operation

app, command = single("jitflow suspend -l team=ocean")


@command
def suspend(
    names: OptionalNames = None,
    *,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    selector: SelectorOption = "",
    field_selector: FieldSelectorOption = "",
    prefix: PrefixOption = "",
    everything: EverythingOption = False,
    dry_run: DryRunOption = False,
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Start no new steps of workflows; running steps go on. Of selected ones, those that have not ended."""

    def send(client: Client, found: str) -> Json:
        return client.workflows.suspend.into(Json)(found, namespace=namespace)

    among = Among(
        namespace=namespace,
        names=tuple(names or ()),
        labels=selector,
        fields=field_selector,
        prefix=prefix,
        everything=everything,
        only=RUNNING,
    )
    deed = Deed(operation=Operation.SUSPEND, past="suspended", one=send)
    control(deed, among, server=server, output=output, dry_run=dry_run)
