"""`jitflow provenance`."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from jitflow.cli.commands import single
from jitflow.cli.connect import connect, resolve
from jitflow.cli.errors import CliError
from jitflow.cli.options import DEFAULT_NAMESPACE, NameArgument, NamespaceOption, ServerOption
from jitflow.cli.output import print_json, say

app, command = single("jitflow provenance @latest -o run.crate.zip")


@command
def provenance(
    name: NameArgument,
    *,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    uid: Annotated[
        str, typer.Option("--uid", metavar="UID", help="Of an archived workflow whose name another one has.", show_default=False)
    ] = "",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write it there: .zip with the manifest, else JSON-LD.", show_default=False
        ),
    ] = None,
) -> None:
    """Say where the results of a workflow come from: an RO-Crate of what was read, run and written; also of archived ones."""
    with connect(server) as client:
        found = resolve(client, namespace, name)
        if output is None:
            print_json(client.workflows.provenance(found, namespace=namespace, uid=uid))
            return
        if output.suffix == ".zip":
            body = client.workflows.crate(found, namespace=namespace, uid=uid)
        else:
            crate = client.workflows.provenance(found, namespace=namespace, uid=uid)
            body = msgspec.json.format(msgspec.json.encode(crate), indent=2)
    try:
        output.write_bytes(body)
    except OSError as error:
        raise CliError(f"{output}: {error.strerror}") from error
    say(f"{output} ({len(body):,} bytes)")
