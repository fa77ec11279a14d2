"""`jitflow archive`."""

import re
import time
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import typer

from jitflow.cli.commands import new_app
from jitflow.cli.connect import connect
from jitflow.cli.errors import CliError
from jitflow.cli.formats import duration, elapsed, shorten
from jitflow.cli.manifests import assignments
from jitflow.cli.options import (
    DEFAULT_NAMESPACE,
    Format,
    ListFormat,
    MemoizedOption,
    NamespaceOption,
    ParameterOption,
    SelectorOption,
    ServerOption,
    SuccessfulOption,
    SuccessfulSelectorOption,
    TableFormat,
    TableOption,
)
from jitflow.cli.output import Json, print_data, print_json, print_table, say
from jitflow.cli.views import WorkflowListView, WorkflowView
from jitflow.client import ALL, ApiError, Client

app = new_app(
    help="Workflows that have ended, also deleted ones: list, get, delete, retry, resubmit, labels.", no_args_is_help=True
)

_UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
Uid = Annotated[str, typer.Argument(metavar="UID", help="Its uid; or its name: the newest.", show_default=False)]
Uids = Annotated[list[str], typer.Argument(metavar="UID", help="Their uids; or names: the newest.", show_default=False)]


@app.command("list", epilog="Example: jitflow archive list --prefix train- -l team=ocean")
def list_(
    *,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    everywhere: Annotated[bool, typer.Option("--all-namespaces", "-A", help="All namespaces.")] = False,
    selector: SelectorOption = "",
    field_selector: Annotated[str, typer.Option(metavar="FIELDS", help="Argo's field selector.", show_default=False)] = "",
    prefix: Annotated[str, typer.Option(metavar="TEXT", help="Only names that begin so.", show_default=False)] = "",
    limit: Annotated[int, typer.Option(min=0, metavar="COUNT", help="At most so many, the newest; 0 for all.")] = 100,
    output: Annotated[ListFormat, typer.Option("--output", "-o", help="How to print.")] = ListFormat.TABLE,
) -> None:
    """List archived workflows, those first that were started last."""
    with connect(server) as client:
        found = client.archived.list.into(Json)(
            namespace=ALL if everywhere else namespace, prefix=prefix, labels=selector, fields=field_selector, limit=limit
        )
    items = found.get("items") or []
    if output in {ListFormat.JSON, ListFormat.YAML}:
        print_data(items, output)
        return
    views = msgspec.convert({"items": items}, WorkflowListView).items or ()
    if output is ListFormat.NAME:
        typer.echo("".join(f"{view.metadata.uid}\n" for view in views), nl=False)
        return
    if not views:
        say("no archived workflows")
        return
    header = ["NAMESPACE", "NAME", "UID", "STATUS", "FINISHED", "DURATION"]
    if output is ListFormat.WIDE:
        header.append("MESSAGE")
    print_table(header, [_row(view, len(header)) for view in views], phase_column=3)
    if (found.get("metadata") or {}).get("continue"):
        say(f"(the newest {len(views)}; more with --limit)")


def _row(view: WorkflowView, width: int) -> list[str]:
    now = time.time()
    ago = f"{duration(elapsed(view.status.finished_at, None, now))} ago"
    meta = view.metadata
    row = [meta.namespace, meta.name, meta.uid, view.phase, ago, duration(view.run_s(now)), shorten(view.status.message, 80)]
    return row[:width]


@app.command("get", epilog="Example: jitflow archive get 3c1c6a1c-4a0c-4a5a-9a53-0d6d0a6e3d0e")
def get(
    uid: Uid,
    *,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    output: Annotated[Format, typer.Option("--output", "-o", help="How to print.")] = Format.YAML,
) -> None:
    """Print an archived workflow with its status."""
    with connect(server) as client:
        body = client.archived.get.into(Json)(_uid(client, namespace, uid))
    if output in {Format.JSON, Format.YAML}:
        print_data(body, output)
        return
    if output is Format.NAME:
        typer.echo(body["metadata"]["uid"])
        return
    view = msgspec.convert(body, WorkflowView)
    print_table(["NAMESPACE", "NAME", "UID", "STATUS", "FINISHED", "DURATION", "MESSAGE"], [_row(view, 7)], phase_column=3)


@app.command("delete", epilog="Example: jitflow archive delete 3c1c6a1c-4a0c-4a5a-9a53-0d6d0a6e3d0e")
def delete(
    uids: Uids,
    *,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Remove workflows from the archive; those that were not deleted themselves stay."""

    def one(client: Client, uid: str) -> tuple[Any, str]:
        client.archived.delete(uid)
        return {"uid": uid, "deleted": True}, "removed from the archive"

    _each(uids, server, namespace, output, one)


@app.command("retry", epilog="Example: jitflow archive retry 3c1c6a1c-4a0c-4a5a-9a53-0d6d0a6e3d0e")
def retry(
    uids: Uids,
    *,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    parameters: ParameterOption = None,
    successful: SuccessfulOption = False,
    selector: SuccessfulSelectorOption = "",
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Let deleted workflows that had failed be there again and go on from where they failed."""
    given = assignments(parameters)

    def one(client: Client, uid: str) -> tuple[Any, str]:
        again = client.archived.retry.into(Json)
        made = again(uid, parameters=given, restart_successful=successful, selector=selector)
        return made, f"retried as {made['metadata']['name']}"

    _each(uids, server, namespace, output, one)


@app.command("resubmit", epilog="Example: jitflow archive resubmit 3c1c6a1c-4a0c-4a5a-9a53-0d6d0a6e3d0e --memoized")
def resubmit(
    uids: Uids,
    *,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    parameters: ParameterOption = None,
    memoized: MemoizedOption = False,
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Run archived workflows anew, under other names."""
    given = assignments(parameters)

    def one(client: Client, uid: str) -> tuple[Any, str]:
        made = client.archived.resubmit.into(Json)(uid, parameters=given, memoized=memoized)
        return made, f"resubmitted as {made['metadata']['name']}"

    _each(uids, server, namespace, output, one)


@app.command("list-label-keys", epilog="Example: jitflow archive list-label-keys -n ocean")
def list_label_keys(server: ServerOption = "", namespace: NamespaceOption = DEFAULT_NAMESPACE) -> None:
    """List the labels that archived workflows have."""
    with connect(server) as client:
        typer.echo("".join(f"{key}\n" for key in client.archived.label_keys(namespace=namespace)), nl=False)


@app.command("list-label-values", epilog="Example: jitflow archive list-label-values team")
def list_label_values(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The label.", show_default=False)],
    *,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
) -> None:
    """List the values of a label of archived workflows."""
    with connect(server) as client:
        typer.echo("".join(f"{value}\n" for value in client.archived.label_values(key, namespace=namespace)), nl=False)


def _uid(client: Client, namespace: str, text: str) -> str:
    return text if _UID.fullmatch(text) else client.archived.find.into(WorkflowView)(text, namespace=namespace).metadata.uid


def _each(
    texts: list[str], server: str, namespace: str, output: TableFormat, one: Callable[[Client, str], tuple[Any, str]]
) -> None:
    """Do something to each workflow, and say what was done.

    Raises:
        CliError: the server refused it for some; the others were done.
    """
    refused: list[str] = []
    answers: list[Any] = []
    with connect(server) as client:
        for text in texts:
            try:
                found, done = one(client, _uid(client, namespace, text))
            except ApiError as error:
                refused.append(f"{text}: {error}")
            else:
                answers.append(found)
                say(f"workflow {text} {done}")
    if output is TableFormat.JSON:
        print_json(answers)
    if refused:
        raise CliError("\n".join(refused))
