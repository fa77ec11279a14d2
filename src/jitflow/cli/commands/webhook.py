"""`jitflow webhook`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from jitflow.cli.commands import new_app
from jitflow.cli.connect import connect
from jitflow.cli.options import ListFormat, ListOption, ServerOption, TableFormat, TableOption
from jitflow.cli.output import Column, print_json, print_listing, say
from jitflow.model.webhooks import Failed, WebhookInfo

app = new_app(help="Webhooks: who is told of workflows; failures and their replay.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The webhook's name.", show_default=False)]


@app.command("add", epilog="Example: jitflow webhook add chat https://chat.example.org/hook --event workflow.failed")
def add(
    name: Name,
    url: Annotated[str, typer.Argument(metavar="URL", help="Where events are sent.", show_default=False)],
    *,
    namespace: Annotated[str, typer.Option("--namespace", "-n", metavar="NAME", help="Of which namespace; * for all.")] = "*",
    event: Annotated[
        list[str] | None,
        typer.Option(
            "--event",
            metavar="TYPE",
            help="workflow.started, workflow.finished, workflow.failed, node.started, node.finished, node.failed (repeatable).",
            show_default="those of workflows",
        ),
    ] = None,
    secret_file: Annotated[
        Path | None,
        typer.Option("--secret-file", metavar="FILE", help="Sign with what this file holds.", show_default="a new secret"),
    ] = None,
    server: ServerOption = "",
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Tell somebody of workflows from now on; prints the secret that signs what is sent, this once."""
    secret = secret_file.read_text(encoding="utf-8").strip() if secret_file is not None else ""
    with connect(server) as client:
        made = client.webhooks.add(name, url, namespace=namespace, events=event or (), secret=secret)
    if output is TableFormat.JSON:
        print_json(made)
    else:
        say(f"webhook {name} added; it checks what it gets with this secret, which is not shown again")
        typer.echo(made.secret)


@app.command("list", epilog="Example: jitflow webhook list")
def list_(server: ServerOption = "", output: ListOption = ListFormat.TABLE) -> None:
    """List webhooks, and how many events wait or have failed."""
    with connect(server) as client:
        found = client.webhooks.list()
    columns: list[Column[WebhookInfo]] = [
        ("NAME", lambda one: one.name),
        ("NAMESPACE", lambda one: one.namespace),
        ("EVENTS", lambda one: ",".join(kind.removeprefix("io.jitflow.") for kind in one.events)),
        ("WAITING", lambda one: str(one.waiting)),
        ("FAILED", lambda one: str(one.failed)),
        ("URL", lambda one: one.url),
    ]
    wide: list[Column[WebhookInfo]] = [("FROM", lambda one: one.source)]
    empty = "no webhooks; add one with `jitflow webhook add NAME URL`"
    print_listing(found, output, columns, wide=wide, name=lambda one: one.name, empty=empty)


@app.command("remove", epilog="Example: jitflow webhook remove chat")
def remove(name: Name, server: ServerOption = "") -> None:
    """Tell a webhook nothing more; what waits for it is dropped."""
    with connect(server) as client:
        client.webhooks.remove(name)
    say(f"webhook {name} removed")


@app.command("failures", epilog="Example: jitflow webhook failures chat")
def failures(name: Name, server: ServerOption = "", output: ListOption = ListFormat.TABLE) -> None:
    """List the events that a webhook did not take."""
    with connect(server) as client:
        found = client.webhooks.failures(name)
    columns: list[Column[Failed]] = [
        ("TIME", lambda one: datetime.fromtimestamp(one.created_at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")),
        ("EVENT", lambda one: one.type.removeprefix("io.jitflow.")),
        ("ATTEMPTS", lambda one: str(one.attempts)),
        ("ID", lambda one: one.id),
        ("ERROR", lambda one: one.error),
    ]
    empty = f"webhook {name} has taken everything that is not still waiting"
    print_listing(found, output, columns, name=lambda one: one.id, empty=empty)


@app.command("replay", epilog="Example: jitflow webhook replay chat")
def replay(
    name: Name,
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID", help="Failed events; all if none is given.")] = None,
    *,
    server: ServerOption = "",
) -> None:
    """Send again what a webhook did not take."""
    with connect(server) as client:
        count = client.webhooks.replay(name, ids or ())
    say(f"{count} events are sent to webhook {name} again")
