"""`jitflow explain`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from jitflow.cli.choice import default_namespace
from jitflow.cli.commands import single
from jitflow.cli.connect import connect, resolve
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
from jitflow.client import ApiError
from jitflow.model.reports import Estimate

_MOST_ROWS = 20
_MOST_IN_CHAIN = 6

app, command = single("jitflow explain workflow.yaml -p year=2024")


@command
def explain(
    target: Annotated[
        str,
        typer.Argument(
            metavar="FILE|WORKFLOW", help="A manifest (- for standard input), or a workflow that runs.", show_default=False
        ),
    ] = "",
    *,
    parameters: ParameterOption = None,
    parameter_file: ParameterFileOption = "",
    entrypoint: EntrypointOption = "",
    namespace: SubmitNamespaceOption = "",
    everything: Annotated[
        bool, typer.Option("--all", help="All workflows that run; of one: every object, however many.")
    ] = False,
    server: ServerOption = "",
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Say what running a manifest would take, or what is left of workflows that run: objects, bytes, time, room. Runs nothing."""
    if is_manifest(target):
        found = _of_manifest(target, Wishes(parameters or (), parameter_file, entrypoint=entrypoint, namespace=namespace), server)
    elif target or everything:
        with connect(server) as client:
            where = namespace or default_namespace()
            found = client.workflows.outlook(resolve(client, where, target), namespace=where) if target else client.outlook()
    else:
        raise InputRefused("name a manifest or a workflow, or ask for all workflows that run with --all")
    if output is TableFormat.JSON:
        print_json(found)
    else:
        _print(found, everything=everything and bool(target))


def is_manifest(target: str) -> bool:
    """Return whether an argument names a file: it is there, or nothing that a workflow could be called."""
    return (
        target == "-" or "/" in target or target.endswith((".yaml", ".yml", ".json")) or (target != "" and Path(target).is_file())
    )


def _of_manifest(file: str, wishes: Wishes, server: str) -> Estimate:
    asked = requests(file, wishes)
    if len(asked) != 1:
        raise InputRefused(f"{shown(file)}: holds {len(asked)} workflows; explain them one by one")
    with any_server(server) as client:
        try:
            return client.explain(asked[0].body)
        except ApiError as error:
            raise refused_by_server(error, file) from error


def _print(found: Estimate, *, everything: bool) -> None:
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
    if found.money:
        yield "expected price", ", ".join(f"{amount:.4g} {currency}" for currency, amount in sorted(found.money.items()))
    link = f" at {rate(found.link_Bps)}" if found.link_Bps else ""
    moved = duration(found.transfer_s) if found.transfer_s is not None else "not known: nothing was measured on this link yet"
    yield "time to move them", f"{moved}{link if found.transfer_s is not None else ''}"
    yield from _times(found)
    for plan in found.plans:
        alone = f", {duration(plan.makespan_s)} if alone" if plan.makespan_s is not None else ""
        yield "plan", f"{plan.reason}{alone}" + (f" ({plan.workflow})" if len(found.plans) > 1 else "")
    yield "peak of the primary", size(found.peak_bytes)
    quota = f", of which its namespace may have {size(found.quota_bytes)}" if found.quota_bytes is not None else ""
    yield "capacity", f"{size(found.capacity_bytes)}{quota}"
    least = min(found.capacity_bytes, found.quota_bytes if found.quota_bytes is not None else found.capacity_bytes)
    fits = "" if found.smallest_capacity_bytes <= least else " (more than there is: it would be refused)"
    yield "smallest that works", f"{size(found.smallest_capacity_bytes)}{fits}"


def _times(found: Estimate) -> Iterator[tuple[str, str]]:
    """Yield how long it will take, with what that is worth."""
    unknown = "not known: too many objects to simulate" if found.too_large else "not known yet"
    yield "expected run time", (duration(found.expected_s) if found.expected_s is not None else unknown) + _worth(found)
    if found.on_demand_s is not None:
        yield "without look-ahead", duration(found.on_demand_s)
    if found.compute_chain:
        yield "longest computing", f"{duration(found.compute_s)}: {_chain(found.compute_chain)}"
    if found.transfer_chain:
        time = duration(found.chain_s) if found.chain_s is not None else "not known yet"
        yield "longest transfers", f"{time}: {_chain(found.transfer_chain)}"


def _worth(found: Estimate) -> str:
    """Return of how many steps no run time is known."""
    untimed = found.steps - found.timed
    if not untimed:
        return ""
    taken = "are taken for average ones" if found.timed else "count as nothing"
    return f" (run times of {untimed:,} of {plural(found.steps, 'step')} are not known and {taken})"


def _chain(steps: Sequence[str]) -> str:
    """Return a chain of steps, its middle left out where it is long."""
    if len(steps) <= _MOST_IN_CHAIN:
        return " → ".join(steps)
    return f"{' → '.join(steps[:2])} → … {len(steps) - 3:,} more … → {steps[-1]}"
