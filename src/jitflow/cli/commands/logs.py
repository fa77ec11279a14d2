"""`jitflow logs`."""

from typing import Annotated

import typer

from jitflow.cli import views
from jitflow.cli.commands import single
from jitflow.cli.connect import connect, resolve
from jitflow.cli.durations import seconds_of
from jitflow.cli.errors import CliError
from jitflow.cli.options import (
    DEFAULT_NAMESPACE,
    NameArgument,
    NamespaceOption,
    SelectorOption,
    ServerOption,
    TableFormat,
    TableOption,
)
from jitflow.cli.output import print_json_line
from jitflow.client import Client

app, command = single("jitflow logs @latest --follow --grep ERROR")


@command
def logs(
    name: NameArgument,
    pod: Annotated[
        str, typer.Argument(metavar="POD", help="A step: its pod's name, its id or its name in the tree.", show_default=False)
    ] = "",
    *,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    container: Annotated[
        str, typer.Option("--container", "-c", metavar="NAME", help="A container of the step: one of a set, an init, a sidecar.")
    ] = "main",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the workflow has ended.")] = False,
    tail: Annotated[int | None, typer.Option(min=0, metavar="COUNT", help="Only the last lines.", show_default=False)] = None,
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="Only lines of this time up to now, as 10m.", show_default=False)
    ] = "",
    selector: SelectorOption = "",
    grep: Annotated[str, typer.Option(metavar="REGEX", help="Only lines that match.", show_default=False)] = "",
    timestamps: Annotated[bool, typer.Option("--timestamps", help="Begin each line with its time.")] = False,
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Print the logs of all steps of a workflow, merged by time, or of one step."""
    with connect(server) as client:
        found = resolve(client, namespace, name)
        wanted = _pod(client, namespace, found, pod) if pod else ""
        entries = client.workflows.logs(
            found,
            namespace=namespace,
            pod=wanted,
            follow=follow,
            tail=tail,
            grep=grep,
            selector=selector,
            since_s=int(seconds_of(since, "--since")) if since else None,
            container=container,
            timestamps=timestamps,
        )
        for entry in entries:
            if output is TableFormat.JSON:
                print_json_line(entry)
            else:
                typer.echo(entry.content if wanted else f"{entry.pod_name}: {entry.content}")


def _pod(client: Client, namespace: str, name: str, wanted: str) -> str:
    """Return the pod's name for a pod's name, a node's id or a step's name."""
    nodes = client.workflows.get.into(views.WorkflowView)(name, namespace=namespace).nodes.values()
    pods = {node: views.pod_name(name, node) for node in (item for item in nodes if item.is_leaf) if node.type == "Pod"}
    for exact in (True, False):
        for node, pod in pods.items():
            names = {pod, node.id, node.name} if exact else {node.display_name}
            if wanted in names:
                return pod
    raise CliError(f"workflow {name} has no step {wanted}; `jitflow get {name}` shows its steps")
