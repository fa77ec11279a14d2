"""`jitflow resubmit`."""

from jitflow.cli.awaiting import all_to_their_ends
from jitflow.cli.commands import single
from jitflow.cli.connect import connect, resolve
from jitflow.cli.manifests import assignments
from jitflow.cli.options import (
    DEFAULT_NAMESPACE,
    LogOption,
    MemoizedOption,
    NamesArgument,
    NamespaceOption,
    ParameterOption,
    ServerOption,
    TableFormat,
    TableOption,
    WaitOption,
    WatchOption,
)
from jitflow.cli.output import Json, print_json, say

app, command = single("jitflow resubmit train-x7k2p --memoized")


@command
def resubmit(
    names: NamesArgument,
    *,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    parameters: ParameterOption = None,
    memoized: MemoizedOption = False,
    wait: WaitOption = False,
    watch: WatchOption = False,
    log: LogOption = False,
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Run workflows anew, under other names."""
    given = assignments(parameters)
    with connect(server) as client:
        answers = []
        for name in names:
            found = resolve(client, namespace, name)
            made = client.workflows.resubmit.into(Json)(found, namespace=namespace, parameters=given, memoized=memoized)
            say(f"workflow {found} resubmitted as {made['metadata']['name']}")
            answers.append(made)
        if output is TableFormat.JSON:
            print_json(answers)
        if wait or watch or log:
            all_to_their_ends(client, answers, watch=watch, log=log)
