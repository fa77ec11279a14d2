"""`jitflow token`."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from jitflow.cli.commands import new_app
from jitflow.cli.connect import connect
from jitflow.cli.durations import seconds_of
from jitflow.cli.errors import InputRefused
from jitflow.cli.options import ServerOption, TableFormat, TableOption
from jitflow.cli.output import print_json, print_table, say

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
    wish: dict[str, Any] = {
        "name": name,
        "grants": dict(_grant(text) for text in role),
        "scopes": scope or [],
        "expires_in_s": seconds_of(expires, "--expires") if expires else 0,
        "limits": {"requests_per_s": rate},
    }
    with connect(server) as client:
        made = client.create_token(wish)
    if output is TableFormat.JSON:
        print_json(made)
    else:
        say(f"token {name} made; this is the only time that it is shown")
        typer.echo(made["token"])


@app.command("list", epilog="Example: jitflow token list")
def list_(server: ServerOption = "", output: TableOption = TableFormat.TABLE) -> None:
    """List tokens: their names, roles and last uses, never the tokens."""
    with connect(server) as client:
        found = client.tokens()
    if output is TableFormat.JSON:
        print_json(found)
    elif not found:
        say("no tokens; make one with `jitflow token create NAME --role viewer@NAMESPACE`")
    else:
        rows = [
            [
                str(one["id"]),
                str(one["name"]),
                _roles(one["grants"]),
                ",".join(one.get("scopes") or ()) or "-",
                _time(one.get("expires_at")),
                _time(one.get("last_used_at")),
            ]
            for one in found
        ]
        print_table(["ID", "NAME", "ROLES", "SCOPES", "EXPIRES", "LAST USED"], rows)


@app.command("revoke", epilog="Example: jitflow token revoke ci")
def revoke(name: Name, server: ServerOption = "") -> None:
    """Revoke a token: it opens nothing from now on, and what it follows ends."""
    with connect(server) as client:
        client.revoke_token(name)
    say(f"token {name} revoked")


@app.command("whoami", epilog="Example: jitflow token whoami")
def whoami(server: ServerOption = "", output: TableOption = TableFormat.TABLE) -> None:
    """Say who the server takes you for, and what you may do."""
    with connect(server) as client:
        found = client.whoami()
    if output is TableFormat.JSON:
        print_json(found)
    else:
        scopes = ",".join(found.get("scopes") or ()) or "everything"
        typer.echo(f"{found['subject']} ({found['issuer']}): {_roles(found['grants'])}; scopes: {scopes}")


def _grant(text: str) -> tuple[str, str]:
    role, _, namespace = text.partition("@")
    if role not in _ROLES:
        raise InputRefused(f"--role {text}: write {', '.join(_ROLES)}, with @NAMESPACE for one namespace")
    return namespace or "*", role


def _roles(grants: dict[str, str]) -> str:
    return ",".join(f"{role}@{namespace}" for namespace, role in sorted(grants.items())) or "-"


def _time(moment: float | None) -> str:
    return "-" if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%MZ")
