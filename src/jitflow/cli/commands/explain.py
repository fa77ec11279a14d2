"""`jitflow explain`."""

from collections.abc import Iterator
from typing import Annotated

import typer

from jitflow.cli.client import ApiError
from jitflow.cli.commands import single
from jitflow.cli.errors import InputRefused
from jitflow.cli.formats import duration, plural, rate, size
from jitflow.cli.launch import Wishes, requests
from jitflow.cli.manifests import refused_by_server, shown
from jitflow.cli.options import (
    EntrypointOption,
    ParameterFileOption,
    ParameterOption,
    ServerOption,
    SubmitNamespaceOption,
    TableFormat,
    TableOption,
)
from jitflow.cli.output import print_json, print_table, say
from jitflow.cli.serving import any_server
from jitflow.ports.dataplane import Estimate

_MOST_ROWS = 20

app, command = single("jitflow explain workflow.yaml -p year=2024")


@command
def explain(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A manifest; - for standard input.", show_default=False)],
    *,
    parameters: ParameterOption = None,
    parameter_file: ParameterFileOption = "",
    entrypoint: EntrypointOption = "",
    namespace: SubmitNamespaceOption = "",
    everything: Annotated[bool, typer.Option("--all", help="List every object, however many.")] = False,
    server: ServerOption = "",
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Say what running a manifest would take: objects, bytes to move, time on this link, room in the primary. Runs nothing."""
    asked = requests(file, Wishes(parameters or (), parameter_file, entrypoint=entrypoint, namespace=namespace))
    if len(asked) != 1:
        raise InputRefused(f"{shown(file)}: holds {len(asked)} workflows; explain them one by one")
    with any_server(server) as client:
        try:
            found = client.explain(asked[0].body)
        except ApiError as error:
            raise refused_by_server(error, file) from error
    if output is TableFormat.JSON:
        print_json(found)
        return
    for label, text in facts(found):
        typer.echo(f"{label + ':':20} {text}")
    rows = found.rows if everything else found.rows[:_MOST_ROWS]
    if rows:
        typer.echo("")
        print_table(
            ["SIZE", "STATE", "STEPS", "OBJECT"], [[size(whole), state, f"{steps:,}", ref] for ref, whole, state, steps in rows]
        )
    if len(rows) < len(found.rows):
        say(f"(and {len(found.rows) - len(rows):,} more objects: --all)")


def facts(found: Estimate) -> Iterator[tuple[str, str]]:
    """Yield what an estimate says, as label and text."""
    unknown = f", {found.unknown:,} more not known yet" if found.unknown else ""
    yield "objects", f"{plural(found.objects, 'object')}, {size(found.distinct_bytes)}{unknown}"
    yield "here already", size(found.resident_bytes)
    yield "bytes to move", size(found.to_move_bytes)
    link = f" at {rate(found.link_Bps)}" if found.link_Bps else ""
    moved = duration(found.transfer_s) if found.transfer_s is not None else "not known: nothing was measured on this link yet"
    yield "time to move them", f"{moved}{link if found.transfer_s is not None else ''}"
    yield "expected run time", duration(found.expected_s) if found.expected_s is not None else "not known yet"
    yield "peak of the primary", size(found.peak_bytes)
    yield "capacity", size(found.capacity_bytes)
    fits = "" if found.smallest_capacity_bytes <= found.capacity_bytes else " (more than there is: it would be refused)"
    yield "smallest that works", f"{size(found.smallest_capacity_bytes)}{fits}"
