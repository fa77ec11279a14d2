"""`jitflow usage`."""

import time
from datetime import UTC, datetime
from typing import Annotated

import typer

from jitflow.cli.commands import single
from jitflow.cli.connect import connect
from jitflow.cli.durations import seconds_of
from jitflow.cli.formats import duration, size
from jitflow.cli.options import DEFAULT_NAMESPACE, DataFormat, DataOption, NamespaceOption, ServerOption
from jitflow.cli.output import print_data
from jitflow.model.spending import Spent
from jitflow.model.usage import Usage

app, command = single("jitflow usage --since 30d -n ocean")


@command
def usage(
    *,
    since: Annotated[str, typer.Option("--since", metavar="TIME", help="The time up to now, as 12h or 30d.")] = "1d",
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    output: DataOption = DataFormat.TABLE,
) -> None:
    """Say what a namespace has used, in whole hours: workflows and pods that ended, time of processors and memory, bytes."""
    after = time.time() - seconds_of(since, "--since")
    with connect(server) as client:
        found = client.usage(namespace=namespace, since=after)
    if output is not DataFormat.TABLE:
        print_data(found, output)
        return
    for key, value in _lines(found):
        typer.echo(f"{key + ':':14} {value}")


def _lines(found: Usage) -> list[tuple[str, str]]:
    return [
        ("namespace", found.namespace),
        ("from", _hour(found.since)),
        ("to", _hour(found.until)),
        ("workflows", _counts(found.workflows)),
        ("pods", _counts(found.pods)),
        *((_RESOURCES.get(name, name), duration(value)) for name, value in sorted(found.resources_duration.items())),
        ("read near", size(found.near_bytes)),
        ("fetched", size(found.fetched_bytes)),
        ("sent", size(found.sent_bytes)),
        *((f"on {one.day}", _spent(one)) for one in found.spent),
        *([("spent", f"not known now: {found.spent_unknown}")] if found.spent_unknown else ()),
    ]


def _spent(one: Spent) -> str:
    cost = f", {one.money:.4g} {one.currency}" if one.currency else ""
    return f"{one.remote}: {size(one.down_bytes)} down, {size(one.up_bytes)} up{cost}"


_RESOURCES = {"cpu": "1 CPU", "memory": "100Mi memory"}


def _hour(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%MZ")


def _counts(found: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {phase}" for phase, count in sorted(found.items()) if count) or "none"
