"""`jitflow retry`."""

from jitflow.cli.commands import single
from jitflow.cli.control import control
from jitflow.cli.manifests import assignments
from jitflow.cli.options import (
    DEFAULT_NAMESPACE,
    NamesArgument,
    NamespaceOption,
    ParameterOption,
    ServerOption,
    SuccessfulOption,
    SuccessfulSelectorOption,
    TableFormat,
    TableOption,
)

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
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Run failed workflows again from where they failed; what succeeded is kept."""
    options = {"parameters": assignments(parameters), "restartSuccessful": successful, "nodeFieldSelector": selector}
    control("retry", "retried", names, server=server, namespace=namespace, output=output, **options)
