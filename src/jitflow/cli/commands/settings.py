"""`jitflow settings`."""

import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from jitflow.cli.commands import new_app
from jitflow.cli.errors import CliError, InputRefused
from jitflow.cli.output import say
from jitflow.settings import SettingsError, SettingsFile, load

app = new_app(help="Settings files: encrypt, decrypt, edit.", no_args_is_help=True)

File = Annotated[str, typer.Argument(metavar="FILE", help="The settings file; the one in use if not given.", show_default=False)]


@app.command("encrypt", epilog="Example: jitflow settings encrypt")
def encrypt(file: File = "") -> None:
    """Encrypt a settings file in place; makes a key where there is none."""
    found = SettingsFile.find(file)
    text = found.read()
    if found.was_encrypted:
        raise InputRefused(f"{found.path}: is encrypted already")
    if found.ensure_key():
        say(f"made the key {found.key_file}; keep a copy elsewhere: without it the settings cannot be read")
    found.write(text, encrypted=True)
    say(f"{found.path} is encrypted")


@app.command("decrypt", epilog="Example: jitflow settings decrypt > plain.toml")
def decrypt(
    file: File = "",
    *,
    in_place: Annotated[bool, typer.Option("--in-place", help="Write it back in clear instead of printing it.")] = False,
) -> None:
    """Print an encrypted settings file in clear."""
    found = SettingsFile.find(file)
    text = found.read()
    if not found.was_encrypted:
        raise InputRefused(f"{found.path}: is not encrypted")
    if in_place:
        found.write(text, encrypted=False)
        say(f"{found.path} is in clear again")
    else:
        typer.echo(text, nl=False)


@app.command("edit", epilog="Example: EDITOR=nano jitflow settings edit")
def edit(file: File = "") -> None:
    """Edit a settings file with $EDITOR; an encrypted one is in clear only meanwhile, for you alone."""
    found = SettingsFile.find(file)
    text = found.read()
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    # Memory rather than a disk, where there is such a place.
    folder = os.environ.get("XDG_RUNTIME_DIR") or ("/dev/shm" if Path("/dev/shm").is_dir() else None)
    with tempfile.TemporaryDirectory(dir=folder) as draft_folder:
        draft = Path(draft_folder) / "settings.toml"
        draft.write_text(text, encoding="utf-8")
        draft.chmod(0o600)
        while True:
            try:
                done = subprocess.run([*shlex.split(editor), str(draft)], check=False)
            except OSError as error:
                raise CliError(f"{editor}: {error.strerror}; name an editor in EDITOR") from error
            if done.returncode:
                raise CliError(f"{editor} ended with {done.returncode}; nothing was changed")
            changed = draft.read_text(encoding="utf-8")
            problem = _problem(draft)
            if not problem:
                break
            say(problem.replace(str(draft), str(found.path)))
            if not typer.confirm("edit again? (no: nothing is changed)", default=True, err=True):
                raise CliError("nothing was changed")
    if changed == text:
        say("nothing was changed")
        return
    found.write(changed, encrypted=found.was_encrypted)
    say(f"{found.path} was changed; a server reads it when it starts")


def _problem(draft: Path) -> str:
    """Return what is wrong with settings, empty if nothing is."""
    try:
        load(draft)
    except SettingsError as error:
        return str(error)
    return ""
