"""`jitflow servers`."""

from jitflow.cli.commands import single
from jitflow.cli.connect import connect
from jitflow.cli.formats import duration
from jitflow.cli.options import ListFormat, ListOption, ServerOption
from jitflow.cli.output import Column, print_listing
from jitflow.model.servers import ServerInfo

app, command = single("jitflow servers -o wide")


@command
def servers(*, server: ServerOption = "", output: ListOption = ListFormat.TABLE) -> None:
    """List the servers of a state: which one leads, and which ones stand by to take over."""
    with connect(server) as client:
        found = client.servers().servers
    columns: list[Column[ServerInfo]] = [
        ("SERVER", lambda one: one.url or "-"),
        ("LEADS", lambda one: f"yes, {one.drives} workflows" if one.leads else "stands by"),
        ("HOST", lambda one: one.host),
        ("HEARD OF", lambda one: f"{duration(one.age_s)} ago"),
    ]
    wide: list[Column[ServerInfo]] = [
        ("PID", lambda one: str(one.pid)),
        ("VERSION", lambda one: one.version),
        ("SHARES", lambda one: one.share or "-"),
        ("EPOCH", lambda one: str(one.epoch or "-")),
    ]
    print_listing(found, output, columns, wide=wide, name=lambda one: one.url, empty="no servers")
