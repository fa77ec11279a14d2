"""`jitflow token`."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated

import typer

from jitflow.cli.commands import new_app
from jitflow.cli.connect import connect
from jitflow.cli.durations import seconds_of
from jitflow.cli.errors import InputRefused
from jitflow.cli.options import ListFormat, ListOption, ServerOption, TableFormat, TableOption
from jitflow.cli.output import Column, print_json, print_listing, say
from jitflow.model.access import TokenInfo

app = new_app(help="Tokens: create, list, revoke; and who you are.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The token's name or id.", show_default=False)]
_ROLES = ("viewer", "operator", "admin")


@app.command("create", epilog="Example: jitflow token create ci --role operator@team-a --expires 30d")
def create(
    name: Name,
    *,
    role: Annotated[
        list[str],
        typer.Option(
            "--role", metavar="ROLE[@NAMESPACE]", help="viewer, operator or admin; without a namespace in all (repeatable).",
            show_default=False,
        ),
    ],
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", metavar="SCOPE", help="Only this part of the API, as events (repeatable).", show_default=False),
    ] = None,
    expires: Annotated[
        str, typer.Option("--expires", metavar="TIME", help="Valid for so long, as 12h or 30d; for ever if not given.")
    ] = "",
    rate: Annotated[float, typer.Option("--rate", metavar="N", help="At most so many requests a second.", min=0)] = 0,
    server: ServerOption = "",
    output: TableOption = TableFormat.TABLE,
) -> None:  # fmt: skip
    """Make a token and print it: it cannot be shown again."""
    grants = dict(_grant(text) for text in role)
    expires_in_s = seconds_of(expires, "--expires") if expires else 0
    with connect(server) as client:
        made = client.tokens.create(name, grants, scopes=scope or (), expires_in_s=expires_in_s, requests_per_s=rate)
    if output is TableFormat.JSON:
        print_json(made)
    else:
        say(f"token {name} made; this is the only time that it is shown")
        typer.echo(made.token)


@app.command("list", epilog="Example: jitflow token list")
def list_(server: ServerOption = "", output: ListOption = ListFormat.TABLE) -> None:
    """List tokens: their names, roles and last uses, never the tokens."""
    with connect(server) as client:
        found = client.tokens.list()
    columns: list[Column[TokenInfo]] = [
        ("ID", lambda one: one.id),
        ("NAME", lambda one: one.name),
        ("ROLES", lambda one: _roles(one.grants)),
        ("SCOPES", lambda one: ",".join(one.scopes) or "-"),
        ("EXPIRES", lambda one: _time(one.expires_at)),
        ("LAST USED", lambda one: _time(one.last_used_at)),
    ]
    wide: list[Column[TokenInfo]] = [
        ("MADE", lambda one: _time(one.created_at)),
        ("BY", lambda one: one.created_by or "-"),
        ("RATE", lambda one: f"{one.limits.requests_per_s:g}/s" if one.limits.requests_per_s else "-"),
    ]
    empty = "no tokens; make one with `jitflow token create NAME --role viewer@NAMESPACE`"
    print_listing(found, output, columns, wide=wide, name=lambda one: one.name, empty=empty)


@app.command("revoke", epilog="Example: jitflow token revoke ci")
def revoke(name: Name, server: ServerOption = "") -> None:
    """Revoke a token: it opens nothing from now on, and what it follows ends."""
    with connect(server) as client:
        client.tokens.revoke(name)
    say(f"token {name} revoked")


@app.command("whoami", epilog="Example: jitflow token whoami")
def whoami(server: ServerOption = "", output: TableOption = TableFormat.TABLE) -> None:
    """Say who the server takes you for, and what you may do."""
    with connect(server) as client:
        found = client.whoami()
    if output is TableFormat.JSON:
        print_json(found)
    else:
        scopes = ",".join(found.scopes) or "everything"
        typer.echo(f"{found.subject} ({found.issuer}): {_roles(found.grants)}; scopes: {scopes}")


def _grant(text: str) -> tuple[str, str]:
    role, _, namespace = text.partition("@")
    if role not in _ROLES:
        raise InputRefused(f"--role {text}: write {', '.join(_ROLES)}, with @NAMESPACE for one namespace")
    return namespace or "*", role


def _roles(grants: Mapping[str, str]) -> str:
    return ",".join(f"{role}@{namespace}" for namespace, role in sorted(grants.items())) or "-"


def _time(moment: float | None) -> str:
    return "-" if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%MZ")
