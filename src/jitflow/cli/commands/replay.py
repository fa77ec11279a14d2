"""`jitflow replay`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from jitflow.cli.commands import single
from jitflow.cli.connect import connect, resolve
from jitflow.cli.crates import Crate, Drift, Mark, drift, drift_of_inputs, read, read_bytes
from jitflow.cli.errors import CliError, InputRefused
from jitflow.cli.loading import load
from jitflow.cli.options import DEFAULT_NAMESPACE, NamespaceOption, ServerOption, TableFormat, TableOption
from jitflow.cli.output import Json, print_json, print_table, say
from jitflow.client import ApiError, Client

_HIDDEN = "'***'", "***@", "?***", ": ***"
app, command = single("jitflow replay run.crate.zip")


@command
def replay(
    source: Annotated[str, typer.Argument(metavar="CRATE|RUN", help="A crate's file or folder; or a workflow, or @latest.")],
    *,
    check: Annotated[bool, typer.Option("--check", help="Run nothing: only compare the inputs with what was read.")] = False,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Run a workflow again as its crate says, and tell what is not as it was; exit code 1 if anything is.

    Compared are the objects that it read from elsewhere, how its steps ended, and what they wrote. Outputs with fixed keys are
    written anew, in place of the first ones.
    """
    with connect(server) as client:
        before = _source(client, namespace, source)
        if check:
            found = drift_of_inputs(before.sources(), _now(client, before.sources()))
        else:
            name = _run(client, namespace, before)
            say(f"workflow {name} runs {before.name} again")
            client.workflows.wait(name, namespace=namespace)
            found = drift(before, Crate(client.workflows.provenance(name, namespace=namespace)))
    _show(found, output)
    raise typer.Exit(1 if found.changes else 0)


def _source(client: Client, namespace: str, source: str) -> Crate:
    """Return the crate that is meant."""
    path = Path(source).expanduser()
    if path.exists():
        return read(path)
    try:
        name = resolve(client, namespace, source)
        return read_bytes(client.workflows.crate(name, namespace=namespace))
    except ApiError as error:
        raise CliError(f"{source}: there is no such file, and as a workflow: {error}") from error


def _run(client: Client, namespace: str, crate: Crate) -> str:
    if not crate.manifest:
        raise InputRefused("there is no workflow.yaml beside the metadata; take the whole crate (a .zip)")
    if any(hidden in crate.manifest for hidden in _HIDDEN):
        raise InputRefused(
            "the manifest holds what may be secret (users of URLs, headers, tokens), and the crate hides it as ***; "
            "put it into Secrets, or fill workflow.yaml in and submit it yourself"
        )
    manifest = load("yaml").safe_load(crate.manifest)
    made = client.workflows.create.into(Json)(manifest, namespace=namespace)
    return str(made["metadata"]["name"])


def _now(client: Client, marks: Mapping[str, Mark]) -> dict[str, Mark | None]:
    """Return how objects are now where they come from."""
    return {ref: _stat(client, ref) for ref in marks}


def _stat(client: Client, ref: str) -> Mark | None:
    try:
        found = client.data.stat(ref)
    except ApiError as error:
        if error.status == 404:
            return None
        raise
    return Mark(ref=ref, size_bytes=found.size_bytes, version=found.version, hashes=found.hashes)


def _show(found: Drift, output: TableFormat) -> None:
    if output is TableFormat.JSON:
        print_json(found)
        return
    if found.changes:
        rows = [[one.what, one.how, one.name, one.before or "-", one.after or "-"] for one in found.changes]
        print_table(["WHAT", "HOW", "NAME", "BEFORE", "NOW"], rows)
    for name in found.unknown:
        say(f"nothing tells whether {name} is the same: no hash is known of both")
    compared = f"{found.inputs:,} inputs" + (f" and {found.outputs:,} outputs" if found.outputs else "")
    say(f"{compared} compared: {len(found.changes):,} not as they were")
