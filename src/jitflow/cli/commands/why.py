"""`jitflow why`."""

from collections.abc import Iterator
from typing import Annotated

import typer

from jitflow.cli.commands import single
from jitflow.cli.connect import connect, resolve
from jitflow.cli.formats import duration, size
from jitflow.cli.options import DEFAULT_NAMESPACE, NameArgument, NamespaceOption, ServerOption, TableFormat, TableOption
from jitflow.cli.output import print_json, print_table
from jitflow.model.reasons import Why

NodeArgument = Annotated[
    str, typer.Argument(metavar="NODE", help="A node: its id, its name, or the name that it shows.", show_default=False)
]

app, command = single("jitflow why @latest align")


@command
def why(
    name: NameArgument,
    node: NodeArgument,
    *,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Say why a node does not run yet, where its data stands and when it is expected; or, once it has begun, what it read."""
    with connect(server) as client:
        found = client.workflows.why(resolve(client, namespace, name), node, namespace=namespace)
    if output is TableFormat.JSON:
        print_json(found)
        return
    typer.echo(found.summary)
    for label, text in facts(found):
        typer.echo(f"  {label + ':':10} {text}")
    data = found.data
    if data is not None and data.objects:
        typer.echo("")
        rows = [[one.state, size(one.size_bytes), duration(one.expected_s), one.ref, one.message] for one in data.objects]
        print_table(["STATE", "SIZE", "EXPECTED", "OBJECT", "WHERE IT STANDS"], rows)
    if data is not None and data.read:
        typer.echo("")
        print_table(["SIZE", "OBJECT", "WHERE IT CAME FROM"], [[size(one.size_bytes), one.ref, one.message] for one in data.read])


def facts(found: Why) -> Iterator[tuple[str, str]]:
    """Yield what is known of the node beside the line that says it all, as label and text."""
    node, data = found.node, found.data
    yield "node", f"{node.name} ({node.node_id})"
    yield "phase", node.phase or "not there yet"
    for one in node.obstacles:
        yield one.kind, one.message
    if data is not None and data.objects:
        here = sum(one.done_bytes for one in data.objects)
        yield "data", f"{data.phase}, {size(here)} of {size(sum(one.size_bytes or 0 for one in data.objects))} here"
        yield "expected", f"in about {duration(data.expected_s)}" if data.expected_s is not None else "not known"
    if data is not None and data.plan:
        yield "order", data.plan
    if data is not None and data.waited_s is not None:
        yield "waited", f"{duration(data.waited_s)} for its data"
