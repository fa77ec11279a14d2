"""`jitflow terminate`."""

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

app, command = single("jitflow terminate @latest")


@command
def terminate(
    names: NamesArgument,
    *,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    output: TableOption = TableFormat.TABLE,
) -> None:
    """End workflows at once: running steps are ended, exit handlers do not run."""

    def send(client: Client, found: str) -> Json:
        return client.workflows.terminate.into(Json)(found, namespace=namespace)

    control(send, "terminated", names, server=server, namespace=namespace, output=output)
