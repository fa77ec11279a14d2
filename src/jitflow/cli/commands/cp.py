"""`jitflow cp`."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer

from jitflow.cli.commands import single
from jitflow.cli.connect import connect, resolve
from jitflow.cli.errors import CliError
from jitflow.cli.options import DEFAULT_NAMESPACE, NameArgument, NamespaceOption, ServerOption, TableFormat, TableOption
from jitflow.cli.output import Json, print_json, say
from jitflow.client.artifacts import Piece

app, command = single("jitflow cp @latest results --artifact report")


@command
def cp(
    name: NameArgument,
    directory: Annotated[Path, typer.Argument(metavar="DIRECTORY", help="Where to: NODE/ARTIFACT/… below it.")],
    *,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    step: Annotated[str, typer.Option(metavar="NAME", help="Only of this step: its id or its name in the tree.")] = "",
    artifact: Annotated[str, typer.Option(metavar="NAME", help="Only artifacts of this name.")] = "",
    inputs: Annotated[bool, typer.Option("--inputs", help="What the steps read, instead of what they wrote.")] = False,
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Copy artifacts of a workflow into a directory, as they are stored: those that its steps wrote."""
    with connect(server) as client:
        found = resolve(client, namespace, name)
        nodes = client.workflows.get.into(Json)(found, namespace=namespace).get("status", {}).get("nodes") or {}
        side = "inputs" if inputs else "outputs"
        places = _places(nodes, step, artifact, side)
        if not places:
            what = f"such {side.removesuffix('s')} artifacts"
            raise CliError(f"workflow {found} has no {what}; `jitflow get {found} -o yaml` shows what it has")
        rows: list[dict[str, Any]] = []
        for place in places:
            pieces = client.artifacts.walk(found, *place, namespace=namespace, inputs=inputs)
            for path, size in _saved(pieces, directory.joinpath(*place)):
                rows.append({"path": str(path), "size_bytes": size})
                if output is TableFormat.TABLE:
                    say(f"{path} ({size:,} bytes)")
    if output is TableFormat.JSON:
        print_json(rows)


def _saved(pieces: Iterable[Piece], directory: Path) -> Iterator[tuple[Path, int]]:
    """Write the files of an artifact below a directory, made if need be; yield each one and its bytes."""
    for path, parts in groupby(pieces, key=lambda piece: piece.path):
        target = directory.joinpath(*path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            size = sum(file.write(piece.data) for piece in parts)
        yield target, size


def _places(nodes: dict[str, Any], step: str, artifact: str, side: str) -> list[tuple[str, str]]:
    """Return node and name of the artifacts that are meant, those of pods only: what is above them names the same ones."""
    return [
        (node["id"], one["name"])
        for node in nodes.values()
        if node.get("type") == "Pod" and (not step or step in {node["id"], node["name"], node.get("displayName")})
        for one in (node.get(side) or {}).get("artifacts") or ()
        if not one.get("deleted") and (not artifact or one["name"] == artifact)
    ]
