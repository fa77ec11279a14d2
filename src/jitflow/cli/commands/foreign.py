"""`jitflow foreign`."""

import time
from functools import partial
from typing import Annotated

import msgspec
import typer

from jitflow.cli.commands import new_app
from jitflow.cli.connect import connect
from jitflow.cli.errors import InputRefused
from jitflow.cli.formats import duration, shorten, size
from jitflow.cli.manifests import read, shown
from jitflow.cli.options import DEFAULT_NAMESPACE, ListFormat, ListOption, NamespaceOption, ServerOption, TableFormat, TableOption
from jitflow.cli.output import Column, print_json, print_listing, print_table, say
from jitflow.client import ALL
from jitflow.model.foreign import ForeignStepView, ForeignView

app = new_app(
    help="Workflows that another Argo runs, and where their data is: list, get, send their events.", no_args_is_help=True
)


@app.command("list", epilog="Example: jitflow foreign list -n argo")
def list_(
    *,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    everywhere: Annotated[bool, typer.Option("--all-namespaces", "-A", help="All namespaces.")] = False,
    output: ListOption = ListFormat.TABLE,
) -> None:
    """List the workflows of which events have come, the newest first."""
    with connect(server) as client:
        found = client.foreign.list(namespace=ALL if everywhere else namespace)
    columns: list[Column[ForeignView]] = [
        ("NAMESPACE", lambda one: one.namespace),
        ("NAME", lambda one: one.name),
        ("STATUS", _status),
        *((head, partial(_number, at=at)) for at, head in enumerate(("OPEN", "HELD", "NEAR", "HEARD"))),
    ]
    wide: list[Column[ForeignView]] = [
        ("UID", lambda one: one.uid),
        ("NOTES", lambda one: shorten("; ".join(one.problems), 80) or "-"),
    ]
    empty = "no workflows of another Argo are known; `docs/how-to/another-argo.md` says how their events come"
    print_listing(found, output, columns, wide=wide, name=lambda one: one.name, empty=empty, phase_column=2)


@app.command("get", epilog="Example: jitflow foreign get align-7kq2x -n argo")
def get(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A workflow's name or uid.", show_default=False)],
    *,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Show a workflow: its steps, and where the objects are that they read."""
    with connect(server) as client:
        found = client.foreign.get(name, namespace=namespace)
    if output is TableFormat.JSON:
        print_json(found)
        return
    opened, held, near, heard = _numbers(found)
    for key, value in {
        "name": found.name,
        "status": _status(found),
        "open steps": opened,
        "held steps": held,
        "objects near": near,
        "heard of": f"{heard} ago",
    }.items():
        typer.echo(f"{key + ':':14} {value}")
    for problem in found.problems:
        typer.echo(f"{'note:':14} {problem}")
    rows = [row for step in found.steps or () for row in _rows(step)]
    if rows:
        typer.echo()
        print_table(["STEP", "STATE", "OBJECT", "IN PRIMARY", "SIZE", "NEAR NAME"], rows)


@app.command("send", epilog="Example: jitflow foreign send event.json")
def send(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The event as JSON; standard input if not given.")] = "-",
    *,
    server: ServerOption = "",
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Send an event of a workflow as a Sensor of Argo Events does; say what came of it."""
    try:
        event = msgspec.json.decode(read(file))
    except msgspec.DecodeError as error:
        raise InputRefused(f"{shown(file)}: not JSON: {error}") from error
    with connect(server) as client:
        found = client.events.argo(event)
    if output is TableFormat.JSON:
        print_json(found)
    else:
        say(f"{found.namespace}/{found.name}: {found.outcome}; {found.message}")


def _status(one: ForeignView) -> str:
    return str(one.ended or one.phase or "Pending")


def _numbers(one: ForeignView) -> list[str]:
    heard = duration(max(0.0, time.time() - one.heard_at))
    return [str(one.open_steps), str(one.held_steps), f"{one.near}/{one.objects}", heard]


def _number(one: ForeignView, *, at: int) -> str:
    return _numbers(one)[at]


def _rows(step: ForeignStepView) -> list[list[str]]:
    """Return the lines of a step: one for each object."""
    state = step.state + (" (held)" if step.held else "")
    rows = [[one.object, one.state, size(one.size_bytes), one.near] for one in step.objects]
    rows = rows or [["-", shorten(step.message, 60), "", ""]]
    return [[shorten(step.name, 60), state, *row] if not number else ["", "", *row] for number, row in enumerate(rows)]
