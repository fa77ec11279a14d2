"""`jitflow state`."""

from pathlib import Path
from typing import Annotated

import typer

from jitflow.cli.commands import new_app
from jitflow.cli.loading import load
from jitflow.cli.output import say

app = new_app(help="The state of this machine's server: migrate, backup, restore, copy, verify, repair.", no_args_is_help=True)

StateOption = Annotated[
    str,
    typer.Option(
        "--state", metavar="URL", help="The state's URL, or env:NAME; that of the settings if not given.", show_default=False
    ),
]


@app.command("migrate", epilog="Example: jitflow state migrate")
def migrate(state: StateOption = "") -> None:
    """Bring the state to this jitflow's version, or make an empty one; a server does that too when it starts."""
    found, known, place = load("jitflow.bootstrap.moving").migrate(state)
    say(f"{place} is of version {known}" + (f", it was {found}" if found != known else ""))


@app.command("backup", epilog="Example: jitflow state backup jitflow.backup")
def backup(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where it goes; a file that is there is kept.", show_default=False)
    ],
    state: StateOption = "",
) -> None:
    """Write the whole state to a file; the server may run meanwhile."""
    done = load("jitflow.bootstrap.moving").backup(state, file)
    say(f"{file}: {done.says()}")


@app.command("restore", epilog="Example: jitflow state restore jitflow.backup")
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `jitflow state backup` wrote.", show_default=False)],
    state: StateOption = "",
) -> None:
    """Read a backup into an empty state."""
    done = load("jitflow.bootstrap.moving").restore(state, file)
    say(f"restored {done.says()}")


@app.command("copy", epilog="Example: jitflow state copy --to postgresql://jitflow@db.example.org/jitflow")
def copy(
    to: Annotated[str, typer.Option("--to", metavar="URL", help="An empty state, or env:NAME for its URL.", show_default=False)],
    state: StateOption = "",
) -> None:
    """Copy the whole state into another database; stop the server first, or what it does meanwhile is missing."""
    done = load("jitflow.bootstrap.moving").copy(state, to)
    say(f"copied {done.says()}; set state.url to the new one")


@app.command("verify", epilog="Example: jitflow state verify")
def verify(state: StateOption = "") -> None:
    """Look through the whole state and say what does not fit together; nothing is changed."""
    done = load("jitflow.bootstrap.moving").verify(state)
    for problem in done.problems:
        say(problem)
    say(done.says() + (": all fits together" if not done.problems else f": {len(done.problems)} do not fit"))
    if done.problems:
        raise typer.Exit(1)


@app.command("repair", epilog="Example: jitflow state repair --dry-run")
def repair(
    state: StateOption = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be mended.")] = False,
) -> None:
    """Mend what `jitflow state verify` finds and can be mended; stop the server first, and take a backup."""
    done = load("jitflow.bootstrap.moving").repair(state, dry_run=dry_run)
    for problem in done.mended:
        say(f"{'would mend' if dry_run else 'mended'}: {problem}")
    for problem in done.left:
        say(f"left: {problem}")
    say(f"{len(done.mended)} {'can be mended' if dry_run else 'mended'}, {len(done.left)} left for a person")
    if done.left:
        raise typer.Exit(1)
