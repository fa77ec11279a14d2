"""`jitflow file`."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from jitflow.cli.commands import new_app
from jitflow.cli.connect import connect
from jitflow.cli.errors import CliError
from jitflow.cli.options import ServerOption
from jitflow.cli.output import say
from jitflow.client import Client

PART_BYTES = 16 * 2**20
"""Larger files are sent in parts of this size, up to as many as there may be."""
_MOST_PARTS = 10_000

app = new_app(help="Files and folders of far stores: put, get, rm, cp, mv, mkdir, rmdir, exists, link.", no_args_is_help=True)

Ref = Annotated[str, typer.Argument(metavar="REMOTE:PATH", help="The file or folder.", show_default=False)]
Local = Annotated[Path, typer.Argument(metavar="FILE", help="The file of this machine; - for standard input or output.")]


@app.command("put", epilog="Example: jitflow file put a.tif archive:raw/a.tif")
def put(file: Local, ref: Ref, server: ServerOption = "") -> None:
    """Send a file of this machine to a store, whole or not at all."""
    with connect(server) as client:
        if str(file) == "-":
            size = client.data.files.put(ref, sys.stdin.buffer.read()).size_bytes
        elif file.stat().st_size <= PART_BYTES:
            size = client.data.files.put(ref, file.read_bytes()).size_bytes
        else:
            size = _in_parts(client, file, ref)
    say(f"{ref} ({size:,} bytes)")


def _in_parts(client: Client, file: Path, ref: str) -> int:
    part = max(PART_BYTES, -(-file.stat().st_size // _MOST_PARTS))
    upload = client.data.files.begin(ref).id
    try:
        with file.open("rb") as source:
            number = 0
            while data := source.read(part):
                number += 1
                client.data.files.put_part(upload, number, data)
        return client.data.files.complete(upload).size_bytes
    except BaseException:
        client.data.files.abort(upload)
        raise


@app.command("get", epilog="Example: jitflow file get archive:raw/a.tif a.tif")
def get(ref: Ref, file: Local = Path("-"), *, server: ServerOption = "") -> None:
    """Write a file of a store to a file of this machine, whole or not at all, or to standard output."""
    with connect(server) as client:
        pieces = client.data.files.read(ref)
        if str(file) == "-":
            for piece in pieces:
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
            return
        partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
        try:
            with partial.open("xb") as out:
                size = sum(out.write(piece) for piece in pieces)
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)
    say(f"{file} ({size:,} bytes)")


@app.command("rm", epilog="Example: jitflow file rm archive:raw/a.tif")
def remove(ref: Ref, server: ServerOption = "") -> None:
    """Delete a file; for many, see `jitflow transfer delete`."""
    with connect(server) as client:
        client.data.files.delete(ref)
    say(f"{ref} deleted")


@app.command("cp", epilog="Example: jitflow file cp archive:raw/a.tif fast:raw/")
def copy(
    source: Ref,
    destination: Annotated[str, typer.Argument(metavar="REMOTE:PATH", help="Where to; a final / keeps the name.")],
    *,
    server: ServerOption = "",
) -> None:
    """Copy a file between stores; for many, see `jitflow transfer copy`."""
    with connect(server) as client:
        info = client.data.files.copy(source, destination)
    say(f"{info.ref} ({info.size_bytes:,} bytes)")


@app.command("mv", epilog="Example: jitflow file mv fast:a.tif archive:raw/")
def move(
    source: Ref,
    destination: Annotated[str, typer.Argument(metavar="REMOTE:PATH", help="Where to; a final / keeps the name.")],
    *,
    server: ServerOption = "",
) -> None:
    """Move a file between stores."""
    with connect(server) as client:
        info = client.data.files.move(source, destination)
    say(f"{info.ref} ({info.size_bytes:,} bytes)")


@app.command("mkdir", epilog="Example: jitflow file mkdir fast:raw/2024/")
def make_folder(ref: Ref, server: ServerOption = "") -> None:
    """Make a folder, and those above it."""
    with connect(server) as client:
        kept = client.data.files.make_folder(ref).kept
    say(f"{ref} made" if kept else f"the store of {ref} keeps no empty folders: it is there as soon as a file is in it")


@app.command("rmdir", epilog="Example: jitflow file rmdir fast:raw/2024/ --recursive")
def remove_folder(
    ref: Ref,
    *,
    recursive: Annotated[bool, typer.Option("--recursive", help="With all that is in it.")] = False,
    server: ServerOption = "",
) -> None:
    """Remove a folder."""
    with connect(server) as client:
        client.data.files.remove_folder(ref, recursive=recursive)
    say(f"{ref} removed")


@app.command("exists", epilog="Example: jitflow file exists archive:raw/a.tif")
def exists(ref: Ref, server: ServerOption = "") -> None:
    """Say whether a file or folder is there; exit code 1 if not."""
    with connect(server) as client:
        found = client.data.files.exists(ref)
    if not found.exists:
        raise CliError(f"{ref} does not exist")
    typer.echo(found.kind)


@app.command("link", epilog="Example: jitflow file link archive:raw/a.tif --expires 3600")
def link(
    ref: Ref,
    *,
    expires: Annotated[float | None, typer.Option("--expires", metavar="SECONDS", help="For so long.")] = None,
    server: ServerOption = "",
) -> None:
    """Print a URL by which anybody can read a file, where its store can make one."""
    with connect(server) as client:
        typer.echo(client.data.files.link(ref, expires_s=expires).url)
