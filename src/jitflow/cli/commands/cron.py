"""`jitflow cron`."""

from enum import StrEnum
from typing import Annotated

import typer

from jitflow.cli import filing, objects
from jitflow.cli.commands import new_app
from jitflow.cli.completion import cron_names
from jitflow.cli.connect import connect
from jitflow.cli.formats import shorten
from jitflow.cli.objects import Listing
from jitflow.cli.options import (
    DEFAULT_NAMESPACE,
    EverywhereOption,
    ListFormat,
    ListOption,
    NamespaceOption,
    ObjectFormat,
    ObjectOption,
    SelectorOption,
    ServerOption,
    TableFormat,
    TableOption,
)
from jitflow.cli.output import Column, Json, print_data, print_json, print_listing, say
from jitflow.client import ALL
from jitflow.model.backfill import BackfillRunView, BackfillView, BackfillWish

app = new_app(
    help="Schedules: list, get, lint, create, update, delete, suspend, resume; and the runs of a time that is over (backfill).",
    no_args_is_help=True,
)

Names = Annotated[list[str], typer.Argument(metavar="NAME", help="Their names.", show_default=False, autocompletion=cron_names)]
Cron = Annotated[str, typer.Argument(metavar="CRON", help="A CronWorkflow.", show_default=False, autocompletion=cron_names)]
Name = Annotated[str, typer.Argument(metavar="BACKFILL", help="A backfill's name.", show_default=False)]


class Order(StrEnum):
    """Which runs come first."""

    OLDEST = "oldest"
    NEWEST = "newest"


@app.command("list", epilog="Example: jitflow cron list -A -o wide")
def list_(
    *,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    everywhere: EverywhereOption = False,
    selector: SelectorOption = "",
    output: ListOption = ListFormat.TABLE,
) -> None:
    """List schedules."""
    with connect(server) as client:
        found = client.cron_workflows.list.into(Listing)(namespace=ALL if everywhere else namespace, labels=selector)
    columns: list[Column[Json]] = [
        ("SCHEDULES", lambda one: " | ".join(one["spec"].get("schedules") or [one["spec"].get("schedule") or "-"])),
        ("SUSPENDED", lambda one: "yes" if one["spec"].get("suspend") else "no"),
        ("LAST RUN", lambda one: (one.get("status") or {}).get("lastScheduledTime") or "-"),
    ]
    objects.print_objects(found, output, columns, empty="no schedules; keep one with `jitflow apply FILE`")


@app.command("get", epilog="Example: jitflow cron get nightly")
def get(
    name: Cron,
    *,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    output: ObjectOption = ObjectFormat.YAML,
) -> None:
    """Print a schedule."""
    with connect(server) as client:
        objects.print_object(client.cron_workflows.get.into(Json)(name, namespace=namespace), output)


filing.add_commands(app, "SCHEDULES", things="schedules", example="cron {} nightly.yaml")


@app.command("delete", epilog="Example: jitflow cron delete nightly")
def delete(names: Names, *, server: ServerOption = "", namespace: NamespaceOption = DEFAULT_NAMESPACE) -> None:
    """Forget schedules; what they have started goes on."""
    with connect(server) as client:
        objects.each(names, "schedule", "deleted", lambda name: client.cron_workflows.delete(name, namespace=namespace))


@app.command("suspend", epilog="Example: jitflow cron suspend nightly")
def suspend(names: Names, *, server: ServerOption = "", namespace: NamespaceOption = DEFAULT_NAMESPACE) -> None:
    """Start nothing by schedules until they are resumed."""
    with connect(server) as client:
        send = client.cron_workflows.suspend.into(Json)
        objects.each(names, "schedule", "suspended", lambda name: send(name, namespace=namespace))


@app.command("resume", epilog="Example: jitflow cron resume nightly")
def resume(names: Names, *, server: ServerOption = "", namespace: NamespaceOption = DEFAULT_NAMESPACE) -> None:
    """Let schedules start workflows again."""
    with connect(server) as client:
        send = client.cron_workflows.resume.into(Json)
        objects.each(names, "schedule", "resumed", lambda name: send(name, namespace=namespace))


@app.command("backfill", epilog="Example: jitflow cron backfill daily --start 2024-01-01 --end 2024-01-31 --argname date")
def backfill(
    cron: Cron,
    *,
    start: Annotated[str, typer.Option(metavar="TIME", help="The first time or day.", show_default=False)],
    end: Annotated[str, typer.Option(metavar="TIME", help="The last time or day.", show_default="now")] = "",
    name: Annotated[str, typer.Option(metavar="NAME", help="Name the backfill.", show_default="made of its times")] = "",
    parallelism: Annotated[int, typer.Option(min=1, metavar="COUNT", help="So many runs at once.")] = 1,
    order: Annotated[Order, typer.Option(help="Which runs come first.")] = Order.OLDEST,
    argname: Annotated[
        str, typer.Option(metavar="NAME", help="The parameter that is given the scheduled time.")
    ] = "cronScheduleTime",
    format_: Annotated[
        str, typer.Option("--format", metavar="PATTERN", help="How that time is written (strftime, UTC).")
    ] = "%a, %d %b %Y %H:%M:%S UTC",
    most: Annotated[int, typer.Option("--maxworkflowcount", min=1, metavar="COUNT", help="Refuse more runs than this.")] = 1000,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Run a schedule for each time that lies in a range; the same call again changes nothing."""
    wish = BackfillWish(
        start=start,
        end=end,
        name=name,
        parallelism=parallelism,
        order=order.value,
        argname=argname,
        format=format_,
        max_count=most,
    )
    with connect(server) as client:
        made = client.cron_workflows.backfill(cron, wish, namespace=namespace)
    if output is TableFormat.JSON:
        print_json(made)
    else:
        say(f"backfill {made.name} of {cron}: {_counts(made)}; `jitflow cron backfills {cron}` tells how it goes")


@app.command("backfills", epilog="Example: jitflow cron backfills daily")
def backfills(
    cron: Cron,
    name: Annotated[str, typer.Argument(metavar="BACKFILL", help="Show this one with its runs.", show_default=False)] = "",
    *,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    output: ListOption = ListFormat.TABLE,
) -> None:
    """List the backfills of a schedule, or the runs of one."""
    with connect(server) as client:
        schedules = client.cron_workflows
        one = schedules.get_backfill(cron, name, namespace=namespace) if name else None
        found = () if one else schedules.backfills(cron, namespace=namespace)
    if one is not None and output in {ListFormat.JSON, ListFormat.YAML}:
        print_data(one, output)
    elif one is not None:
        none = f"{name} has no runs yet"
        print_listing(one.runs or (), output, _RUN, name=lambda run: run.workflow, empty=none, phase_column=2)
    else:
        none = f"{cron} has no backfills; begin one with `jitflow cron backfill {cron} --start TIME`"
        print_listing(found, output, _BACKFILL, wide=_MORE, name=lambda each: each.name, empty=none, phase_column=1)


@app.command("cancel-backfill", epilog="Example: jitflow cron cancel-backfill daily january")
def cancel(
    cron: Cron,
    name: Name,
    *,
    terminate: Annotated[bool, typer.Option("--terminate", help="End the runs that have begun as well.")] = False,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
) -> None:
    """Start nothing more of a backfill."""
    with connect(server) as client:
        found = client.cron_workflows.cancel_backfill(cron, name, namespace=namespace, terminate=terminate)
    say(f"backfill {name} is cancelled: {_counts(found)}")


@app.command("forget-backfill", epilog="Example: jitflow cron forget-backfill daily january")
def forget(cron: Cron, name: Name, *, server: ServerOption = "", namespace: NamespaceOption = DEFAULT_NAMESPACE) -> None:
    """Forget a backfill that is over; its workflows stay."""
    with connect(server) as client:
        client.cron_workflows.forget_backfill(cron, name, namespace=namespace)
    say(f"backfill {name} is forgotten")


def _counts(one: BackfillView) -> str:
    return ", ".join(f"{count} {state}" for state, count in sorted(one.counts.items()))


_RUN: list[Column[BackfillRunView]] = [
    ("SCHEDULED", lambda run: run.scheduled),
    ("WORKFLOW", lambda run: run.workflow),
    ("STATUS", lambda run: run.state),
    ("MESSAGE", lambda run: shorten(run.message, 80)),
]
_BACKFILL: list[Column[BackfillView]] = [
    ("NAME", lambda each: each.name),
    ("STATUS", lambda each: each.phase),
    ("START", lambda each: each.start),
    ("END", lambda each: each.end or "now"),
    ("RUNS", _counts),
]
_MORE: list[Column[BackfillView]] = [
    ("AT ONCE", lambda each: str(each.parallelism)),
    ("ORDER", lambda each: each.order),
    ("PARAMETER", lambda each: each.argname),
]
