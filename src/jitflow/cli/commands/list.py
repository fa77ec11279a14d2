"""`jitflow list`."""

import time
from typing import Annotated

import msgspec
import typer

from jitflow.cli.commands import single
from jitflow.cli.connect import connect, live
from jitflow.cli.durations import ago
from jitflow.cli.formats import duration, elapsed, shorten
from jitflow.cli.options import DEFAULT_NAMESPACE, ListFormat, NamespaceOption, SelectorOption, ServerOption
from jitflow.cli.output import Json, print_data, print_table, say
from jitflow.cli.views import WorkflowListView, WorkflowView
from jitflow.client import ALL

_COMPLETED = "workflows.argoproj.io/completed"
_PHASE = "workflows.argoproj.io/phase"
_FIELDS = ",".join(
    ["metadata.continue", "items.metadata", "items.spec.arguments", "items.spec.suspend"]
    + [f"items.status.{name}" for name in ("phase", "message", "progress", "startedAt", "finishedAt")]
)

app, command = single("jitflow list --running -l team=ocean -o wide")


@command
def list_(
    *,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    everywhere: Annotated[bool, typer.Option("--all-namespaces", "-A", help="All namespaces.")] = False,
    selector: SelectorOption = "",
    field_selector: Annotated[str, typer.Option(metavar="FIELDS", help="Argo's field selector.", show_default=False)] = "",
    phase: Annotated[str, typer.Option("--status", metavar="PHASES", help="Only these phases (a,b).", show_default=False)] = "",
    running: Annotated[bool, typer.Option("--running", help="Only those that have not ended.")] = False,
    completed: Annotated[bool, typer.Option("--completed", help="Only those that have ended.")] = False,
    prefix: Annotated[str, typer.Option(metavar="TEXT", help="Only names that begin so.", show_default=False)] = "",
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="Only those made within this time, as 2h or 7d.", show_default=False)
    ] = "",
    older: Annotated[
        str, typer.Option("--older", metavar="TIME", help="Only those that ended this long ago, as 30d.", show_default=False)
    ] = "",
    limit: Annotated[int, typer.Option(min=0, metavar="COUNT", help="At most so many, the newest; 0 for all.")] = 100,
    output: Annotated[ListFormat, typer.Option("--output", "-o", help="How to print.")] = ListFormat.TABLE,
) -> None:
    """List workflows, the newest first."""
    labels = [selector] if selector else []
    if running != completed:
        labels.append(f"{_COMPLETED}=true" if completed else f"{_COMPLETED}!=true")
    if phase:
        labels.append(f"{_PHASE} in ({phase})")
    with connect(server) as client:
        found = client.workflows.list.into(Json)(
            namespace=ALL if everywhere else namespace,
            labels=live(*labels),
            fields=f"metadata.name={prefix}" if prefix else field_selector,
            name_filter="Prefix" if prefix else "",
            created_after=ago(since, "--since"),
            finished_before=ago(older, "--older"),
            limit=limit,
            only="" if output in {ListFormat.JSON, ListFormat.YAML} else _FIELDS,
        )
    _print(found, output, everywhere)


def _print(found: Json, output: ListFormat, everywhere: bool) -> None:
    items = found.get("items") or []
    if output in {ListFormat.JSON, ListFormat.YAML}:
        print_data(items, output)
        return
    views = msgspec.convert({"items": items}, WorkflowListView).items or ()
    if output is ListFormat.NAME:
        typer.echo("".join(f"{view.metadata.name}\n" for view in views), nl=False)
        return
    if not views:
        say("no workflows")
        return
    header = ["NAME", "STATUS", "AGE", "DURATION", "PROGRESS", "MESSAGE"]
    rows = [_row(view, time.time()) for view in views]
    if output is ListFormat.WIDE:
        header.append("PARAMETERS")
        rows = [[*row, _parameters(view)] for row, view in zip(rows, views, strict=True)]
    if everywhere:
        header.insert(0, "NAMESPACE")
        rows = [[view.metadata.namespace, *row] for row, view in zip(rows, views, strict=True)]
    print_table(header, rows, phase_column=2 if everywhere else 1)
    if (found.get("metadata") or {}).get("continue"):
        say(f"(the newest {len(views)}; more with --limit)")


def _row(view: WorkflowView, now: float) -> list[str]:
    age = duration(elapsed(view.metadata.creation_timestamp, None, now))
    message = shorten(view.status.message, 80)
    return [view.metadata.name, view.phase, age, duration(view.run_s(now)), view.status.progress or "-", message]


def _parameters(view: WorkflowView) -> str:
    given = (view.spec.arguments.parameters if view.spec.arguments else None) or ()
    return shorten(",".join(f"{item.name}={item.value}" for item in given), 80)
