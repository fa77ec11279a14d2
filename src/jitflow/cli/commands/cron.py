"""`jitflow cron`."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from jitflow.cli.commands import new_app
from jitflow.cli.connect import connect
from jitflow.cli.formats import shorten
from jitflow.cli.options import DEFAULT_NAMESPACE, NamespaceOption, ServerOption, TableFormat, TableOption
from jitflow.cli.output import print_json, print_table, say

app = new_app(help="Schedules: the runs that they would have had in a time that is over (backfill).", no_args_is_help=True)

Cron = Annotated[str, typer.Argument(metavar="CRON", help="A CronWorkflow.", show_default=False)]
Name = Annotated[str, typer.Argument(metavar="BACKFILL", help="A backfill's name.", show_default=False)]


class Order(StrEnum):
    """Which runs come first."""

    OLDEST = "oldest"
    NEWEST = "newest"


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
    wish: dict[str, Any] = {
        "start": start,
        "end": end,
        "name": name,
        "parallelism": parallelism,
        "order": order.value,
        "argname": argname,
        "format": format_,
        "max_count": most,
    }
    with connect(server) as client:
        made = client.make_backfill(namespace, cron, wish)
    if output is TableFormat.JSON:
        print_json(made)
    else:
        say(f"backfill {made['name']} of {cron}: {_counts(made)}; `jitflow cron backfills {cron}` tells how it goes")


@app.command("backfills", epilog="Example: jitflow cron backfills daily")
def backfills(
    cron: Cron,
    name: Annotated[str, typer.Argument(metavar="[BACKFILL]", help="Show this one with its runs.", show_default=False)] = "",
    *,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    output: TableOption = TableFormat.TABLE,
) -> None:
    """List the backfills of a schedule, or the runs of one."""
    with connect(server) as client:
        found = client.backfill(namespace, cron, name) if name else client.backfills(namespace, cron)
    if output is TableFormat.JSON:
        print_json(found)
    elif isinstance(found, dict):
        rows = [[run["scheduled"], run["workflow"], run["state"], shorten(run["message"], 80)] for run in found["runs"]]
        print_table(["SCHEDULED", "WORKFLOW", "STATUS", "MESSAGE"], rows, phase_column=2)
    elif not found:
        say(f"{cron} has no backfills; begin one with `jitflow cron backfill {cron} --start TIME`")
    else:
        rows = [[one["name"], one["phase"], one["start"], one["end"] or "now", _counts(one)] for one in found]
        print_table(["NAME", "STATUS", "START", "END", "RUNS"], rows, phase_column=1)


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
        found = client.cancel_backfill(namespace, cron, name, terminate=terminate)
    say(f"backfill {name} is cancelled: {_counts(found)}")


@app.command("forget-backfill", epilog="Example: jitflow cron forget-backfill daily january")
def forget(cron: Cron, name: Name, *, server: ServerOption = "", namespace: NamespaceOption = DEFAULT_NAMESPACE) -> None:
    """Forget a backfill that is over; its workflows stay."""
    with connect(server) as client:
        client.forget_backfill(namespace, cron, name)
    say(f"backfill {name} is forgotten")


def _counts(one: dict[str, Any]) -> str:
    return ", ".join(f"{count} {state}" for state, count in sorted(one["counts"].items()))
