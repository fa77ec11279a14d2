"""`jitflow get`."""

import time
from collections.abc import Iterator

import typer

from jitflow.cli import views
from jitflow.cli.commands import single
from jitflow.cli.connect import connect, resolve
from jitflow.cli.formats import duration
from jitflow.cli.options import DEFAULT_NAMESPACE, Format, FormatOption, NameArgument, NamespaceOption, ServerOption
from jitflow.cli.output import Json, print_data, print_lines, print_table
from jitflow.cli.summary import warnings
from jitflow.cli.tree import foot_lines, tree_lines
from jitflow.cli.views import WorkflowView
from jitflow.client import Client, ClientError
from jitflow.model.reports import StepData

app, command = single("jitflow get @latest")


@command
def get(
    name: NameArgument,
    *,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    output: FormatOption = Format.TABLE,
) -> None:
    """Show a workflow: its phase, and its steps as a tree with what each does and where its data stands."""
    with connect(server) as client:
        body = client.workflows.get.into(Json)(resolve(client, namespace, name), namespace=namespace)
        if output in {Format.JSON, Format.YAML}:
            print_data(body, output)
            return
        view = views.workflow(body)
        if output is Format.NAME:
            typer.echo(view.metadata.name)
            return
        data = () if view.is_done else _data(client, namespace, view.metadata.name)
        warned = warnings(client, view)
    now = time.time()
    print_lines([(line,) for line in _head(view, now)])
    print_lines([(("", ""),), *tree_lines(view, data, now=now)])
    if output is Format.WIDE:
        print_lines([(("", ""),)])
        print_table(["STEP", "POD", "TEMPLATE", "STARTED", "DURATION"], list(_pods(view, now)))
    if warned:
        print_lines([(("", ""),), *(((f"warning: {text}", "yellow"),) for text in warned)])
    if not view.is_done:
        print_lines([(("", ""),), *foot_lines(view, data, None)])


def _pods(view: WorkflowView, now: float) -> Iterator[list[str]]:
    """Yield what tells a step's pod from others: what `logs` and the artifacts' paths call it."""
    for node in view.nodes.values():
        if node.type == "Pod":
            took = duration(node.run_s(now))
            yield [node.label, views.pod_name(view.metadata.name, node), node.template_name, node.started_at or "-", took]


def _data(client: Client, namespace: str, name: str) -> tuple[StepData, ...]:
    """Return where the data stands; an Argo Server has no such path, and its workflows are shown all the same."""
    try:
        return client.workflows.data(name, namespace=namespace)
    except ClientError:
        return ()


def _head(view: WorkflowView, now: float) -> Iterator[tuple[str, str]]:
    meta, status = view.metadata, view.status
    fields = {
        "Name": meta.name,
        "Namespace": meta.namespace,
        "Status": view.phase,
        "Message": status.message,
        "Created": meta.creation_timestamp,
        "Started": status.started_at,
        "Finished": status.finished_at,
        "Duration": duration(view.run_s(now)) if status.started_at else "",
        "Progress": status.progress,
    }
    for label, text in fields.items():
        if text:
            yield f"{label + ':':12} {text}", ""
    given = (view.spec.arguments.parameters if view.spec.arguments else None) or ()
    if given:
        yield "Parameters:", ""
    for item in given:
        yield f"  {item.name}: {item.value}", ""
