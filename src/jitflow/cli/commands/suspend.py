"""`jitflow suspend`."""

from jitflow.cli.commands import single
from jitflow.cli.control import control
from jitflow.cli.options import (
    DEFAULT_NAMESPACE,
    NamesArgument,
    NamespaceOption,
    ServerOption,
    TableFormat,
    TableOption,
)
from jitflow.cli.output import Json
from jitflow.client import Client

app, command = single("jitflow suspend train-x7k2p")


@command
def suspend(
    names: NamesArgument,
    *,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Start no new steps of workflows; running steps go on."""

    def send(client: Client, found: str) -> Json:
        return client.workflows.suspend.into(Json)(found, namespace=namespace)

    control(send, "suspended", names, server=server, namespace=namespace, output=output)
