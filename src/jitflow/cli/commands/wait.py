"""`jitflow wait`."""

import typer

from jitflow.cli.commands import single
from jitflow.cli.connect import connect, resolve
from jitflow.cli.durations import seconds_of
from jitflow.cli.options import (
    DEFAULT_NAMESPACE,
    NamesArgument,
    NamespaceOption,
    ServerOption,
    TableFormat,
    TableOption,
    TimeoutOption,
)
from jitflow.cli.output import Json, print_json, say
from jitflow.cli.views import WorkflowView

app, command = single("jitflow wait @latest --timeout 1h")


@command
def wait(
    names: NamesArgument,
    *,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    timeout: TimeoutOption = "",
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Wait until workflows have ended. Exit code 0 if all succeeded, 1 if one did not, 4 if the time is over before."""
    limit_s = seconds_of(timeout, "--timeout") if timeout else None
    ended: list[Json] = []
    with connect(server) as client:
        for name in names:
            found = resolve(client, namespace, name)
            client.workflows.wait(found, namespace=namespace, timeout_s=limit_s)
            view = client.workflows.get.into(WorkflowView)(found, namespace=namespace)
            ended.append({"name": found, "namespace": namespace, "phase": view.status.phase, "message": view.status.message})
            say(f"workflow {found} {view.status.phase}" + (f": {view.status.message}" if view.status.message else ""))
    if output is TableFormat.JSON:
        print_json(ended)
    raise typer.Exit(0 if all(one["phase"] == "Succeeded" for one in ended) else 1)
