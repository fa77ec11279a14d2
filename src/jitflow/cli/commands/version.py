"""`jitflow version`."""

import typer

from jitflow import __version__
from jitflow.cli.commands import single
from jitflow.cli.connect import client_of, find
from jitflow.cli.options import ServerOption, TableFormat, TableOption
from jitflow.cli.output import Json, print_json
from jitflow.client import ClientError

app, command = single("jitflow version -o json")


@command
def version(server: ServerOption = "", output: TableOption = TableFormat.TABLE) -> None:
    """Print the version of this command, and of the server if one runs."""
    found = find(server)
    remote: Json | None = None
    if found is not None:
        with client_of(found, server) as client:
            try:
                remote = client.version.into(Json)()
            except ClientError as error:
                if server:
                    raise
                remote = {"error": str(error)}
    if output is TableFormat.JSON:
        print_json({"client": __version__, "server": remote})
        return
    typer.echo(f"jitflow {__version__}")
    if remote is not None:
        typer.echo(f"server {remote.get('version') or remote.get('error') or '?'}")
