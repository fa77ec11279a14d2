"""`jitflow sync`."""

from typing import Annotated

import typer

from jitflow.cli.commands import new_app
from jitflow.cli.connect import connect
from jitflow.cli.options import DEFAULT_NAMESPACE, NamespaceOption, ServerOption, TableFormat, TableOption
from jitflow.cli.output import print_json, say
from jitflow.client import NotFound

app = new_app(help="Limits of semaphores: get, set, delete.", no_args_is_help=True)

Key = Annotated[str, typer.Argument(metavar="KEY", help="The limit's key.", show_default=False)]
ConfigMapOption = Annotated[
    str, typer.Option("--config-map", metavar="NAME", help="Of this ConfigMap, instead of the server's own.", show_default=False)
]


@app.command("get", epilog="Example: jitflow sync get gate")
def get(
    key: Key,
    *,
    config_map: ConfigMapOption = "",
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Say how many may hold a semaphore at once."""
    with connect(server) as client:
        found = client.sync.get(key, namespace=namespace, config_map=config_map)
    if output is TableFormat.JSON:
        print_json(found)
    else:
        typer.echo(found.limit)


@app.command("set", epilog="Example: jitflow sync set gate 3")
def set_(
    key: Key,
    limit: Annotated[int, typer.Argument(metavar="LIMIT", min=1, help="So many at once.", show_default=False)],
    *,
    config_map: ConfigMapOption = "",
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
) -> None:
    """Change a limit, or make it."""
    with connect(server) as client:
        try:
            client.sync.update(key, limit, namespace=namespace, config_map=config_map)
        except NotFound:
            client.sync.create(key, limit, namespace=namespace, config_map=config_map)
    say(f"limit {key}: {limit}")


@app.command("delete", epilog="Example: jitflow sync delete gate")
def delete(
    key: Key, *, config_map: ConfigMapOption = "", server: ServerOption = "", namespace: NamespaceOption = DEFAULT_NAMESPACE
) -> None:
    """Forget a limit."""
    with connect(server) as client:
        client.sync.delete(key, namespace=namespace, config_map=config_map)
    say(f"limit {key} deleted")
