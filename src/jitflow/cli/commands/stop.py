"""`jitflow stop`."""

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

app, command = single("jitflow stop train-x7k2p")


@command
def stop(
    names: NamesArgument,
    *,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Stop workflows: running steps are ended, exit handlers still run.

    One that waits for its own mutex or semaphore stays Pending, as in Argo: its exit handler runs when it has that.
    """
    control("stop", "stopped", names, server=server, namespace=namespace, output=output)
