"""`jitflow webhook`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from jitflow.cli.commands import new_app
from jitflow.cli.connect import connect
from jitflow.cli.options import ServerOption, TableFormat, TableOption
from jitflow.cli.output import print_json, print_table, say

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
    wish: dict[str, Any] = {"name": name, "url": url, "namespace": namespace, "events": event or []}
    if secret_file is not None:
        wish["secret"] = secret_file.read_text(encoding="utf-8").strip()
    with connect(server) as client:
        made = client.add_webhook(wish)
    if output is TableFormat.JSON:
        print_json(made)
    else:
        say(f"webhook {name} added; it checks what it gets with this secret, which is not shown again")
        typer.echo(made["secret"])


@app.command("list", epilog="Example: jitflow webhook list")
def list_(server: ServerOption = "", output: TableOption = TableFormat.TABLE) -> None:
    """List webhooks, and how many events wait or have failed."""
    with connect(server) as client:
        found = client.webhooks()
    if output is TableFormat.JSON:
        print_json(found)
    elif not found:
        say("no webhooks; add one with `jitflow webhook add NAME URL`")
    else:
        rows = [
            [
                one["name"],
                one["namespace"],
                ",".join(kind.removeprefix("io.jitflow.") for kind in one["events"]),
                str(one["waiting"]),
                str(one["failed"]),
                one["url"],
            ]
            for one in found
        ]
        print_table(["NAME", "NAMESPACE", "EVENTS", "WAITING", "FAILED", "URL"], rows)


@app.command("remove", epilog="Example: jitflow webhook remove chat")
def remove(name: Name, server: ServerOption = "") -> None:
    """Tell a webhook nothing more; what waits for it is dropped."""
    with connect(server) as client:
        client.remove_webhook(name)
    say(f"webhook {name} removed")


@app.command("failures", epilog="Example: jitflow webhook failures chat")
def failures(name: Name, server: ServerOption = "", output: TableOption = TableFormat.TABLE) -> None:
    """List the events that a webhook did not take."""
    with connect(server) as client:
        found = client.webhook_failures(name)
    if output is TableFormat.JSON:
        print_json(found)
    elif not found:
        say(f"webhook {name} has taken everything that is not still waiting")
    else:
        rows = [
            [
                datetime.fromtimestamp(one["created_at"], UTC).strftime("%Y-%m-%d %H:%M:%SZ"),
                one["type"].removeprefix("io.jitflow."),
                str(one["attempts"]),
                one["id"],
                one["error"],
            ]
            for one in found
        ]
        print_table(["TIME", "EVENT", "ATTEMPTS", "ID", "ERROR"], rows)


@app.command("replay", epilog="Example: jitflow webhook replay chat")
def replay(
    name: Name,
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Failed events; all if none is given.")] = None,
    *,
    server: ServerOption = "",
) -> None:
    """Send again what a webhook did not take."""
    with connect(server) as client:
        count = client.replay_webhook(name, list(ids or ()))
    say(f"{count} events are sent to webhook {name} again")
