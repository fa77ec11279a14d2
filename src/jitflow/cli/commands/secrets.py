"""`jitflow secrets`."""

import typer

from jitflow.cli.commands import new_app
from jitflow.cli.connect import connect
from jitflow.cli.loading import load
from jitflow.cli.options import ServerOption
from jitflow.cli.output import say

app = new_app(help="The key that stored secrets are encrypted with: rotate it, make one.", no_args_is_help=True)


@app.command("rotate-key", epilog="Example: jitflow secrets rotate-key")
def rotate_key(server: ServerOption = "") -> None:
    """Encrypt all stored secrets with a new key and forget the old one; the server goes on meanwhile."""
    with connect(server) as client:
        done = client.secrets.rotate_key()
    for who, part in (("the server", done), ("the data service", done.data)):
        if part is None:
            continue
        say(f"{part.resealed} secrets of {who} are encrypted with its new key")
        if not part.old_key_removed:
            say(f"take the old key out of where the key of {who} is set now: nothing needs it any more")


@app.command("new-key", epilog="Example: jitflow secrets new-key > jitflow.key")
def new_key() -> None:
    """Print a new key, for the setting secrets.key or for settings files; nothing is changed."""
    typer.echo(load("cryptography.fernet").Fernet.generate_key().decode())
