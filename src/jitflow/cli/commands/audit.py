"""`jitflow audit`."""

import time
from datetime import UTC, datetime
from typing import Annotated

import typer

from jitflow.cli.commands import single
from jitflow.cli.connect import connect
from jitflow.cli.durations import seconds_of
from jitflow.cli.options import ServerOption, TableFormat, TableOption
from jitflow.cli.output import print_json, print_table, say

app, command = single("jitflow audit --since 1d --action workflows")


@command
def audit(
    *,
    since: Annotated[str, typer.Option("--since", metavar="TIME", help="Not older than this, as 2h or 7d.")] = "",
    subject: Annotated[str, typer.Option("--subject", metavar="NAME", help="Only what this one did.")] = "",
    namespace: Annotated[str, typer.Option("--namespace", "-n", metavar="NAME", help="Only in this namespace.")] = "",
    action: Annotated[str, typer.Option("--action", metavar="PERMISSION", help="Only this, as tokens or workflows.delete.")] = "",
    limit: Annotated[int, typer.Option("--limit", metavar="N", help="At most so many, the newest.", min=1, max=10_000)] = 50,
    server: ServerOption = "",
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Say who changed what, and who was refused, newest first; for administrators."""
    params = {
        "since": time.time() - seconds_of(since, "--since") if since else None,
        "subject": subject or None,
        "namespace": namespace or None,
        "action": action or None,
        "limit": limit,
    }
    with connect(server) as client:
        found = client.audit(**params)
    if output is TableFormat.JSON:
        print_json(found)
    elif not found:
        say("nothing of that kind was written down")
    else:
        rows = [
            [
                datetime.fromtimestamp(one["at"], UTC).strftime("%Y-%m-%d %H:%M:%SZ"),
                one.get("subject") or "-",
                one.get("action") or "-",
                one.get("namespace") or "-",
                one.get("name") or "-",
                str(one.get("status", "")),
                f"{one.get('method', '')} {one.get('path', '')}",
            ]
            for one in found
        ]
        print_table(["TIME", "WHO", "ACTION", "NAMESPACE", "NAME", "STATUS", "REQUEST"], rows)
