"""`jitflow audit`."""

import time
from datetime import UTC, datetime
from typing import Annotated

import typer

from jitflow.cli.commands import single
from jitflow.cli.connect import connect
from jitflow.cli.durations import seconds_of
from jitflow.cli.options import ListFormat, ListOption, ServerOption
from jitflow.cli.output import Column, print_listing
from jitflow.model.access import AuditEntry

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
    output: ListOption = ListFormat.TABLE,
) -> None:
    """Say who changed what, and who was refused, newest first; for administrators."""
    after = time.time() - seconds_of(since, "--since") if since else None
    with connect(server) as client:
        found = client.audit.list(since=after, subject=subject, namespace=namespace, action=action, limit=limit)
    columns: list[Column[AuditEntry]] = [
        ("TIME", lambda one: datetime.fromtimestamp(one.at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")),
        ("WHO", lambda one: one.subject or "-"),
        ("ACTION", lambda one: one.action or "-"),
        ("NAMESPACE", lambda one: one.namespace or "-"),
        ("NAME", lambda one: one.name or "-"),
        ("STATUS", lambda one: str(one.status)),
        ("REQUEST", lambda one: f"{one.method} {one.path}"),
    ]
    wide: list[Column[AuditEntry]] = [
        ("ISSUER", lambda one: one.issuer or "-"),
        ("TOKEN", lambda one: one.token or "-"),
        ("CLIENT", lambda one: one.client or "-"),
    ]
    empty = "nothing of that kind was written down"
    print_listing(found, output, columns, wide=wide, name=lambda one: one.name or "-", empty=empty)
