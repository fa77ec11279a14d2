"""The `jitflow` command: a table of commands, each loaded when it is used, and one place where errors become words."""

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from jitflow.cli.choice import CHOICE, extend
from jitflow.cli.errors import CliError
from jitflow.cli.loading import load

COMMANDS: dict[str, str] = {
    "run": "Run a manifest and show it live until it ends.",
    "explain": "Say what running a manifest would take, or what is left of what runs.",
    "lint": "Check manifests, without a server.",
    "server": "Serve the APIs until stopped.",
    "submit": "Submit manifests to a server.",
    "apply": "Keep templates, schedules, ConfigMaps and the like at a server.",
    "list": "List workflows.",
    "get": "Show a workflow as a tree.",
    "why": "Say why a node does not run yet, and where its data stands.",
    "timeline": "Say when the steps of a workflow ran, and when their data was moved.",
    "wait": "Wait until workflows have ended.",
    "watch": "Show a workflow live until it ends.",
    "logs": "Print the logs of a workflow or of one step.",
    "provenance": "Say where the results of a workflow come from, as an RO-Crate.",
    "replay": "Run a workflow again as its crate says, and tell what is not as it was.",
    "cp": "Copy artifacts of a workflow into a directory.",
    "stop": "Stop workflows; their exit handlers still run.",
    "terminate": "End workflows at once; no exit handlers.",
    "suspend": "Start no new steps of workflows.",
    "resume": "Let suspended workflows go on.",
    "set": "Give suspended steps their output parameters, or end them.",
    "retry": "Run failed workflows again from where they failed.",
    "resubmit": "Run workflows anew, under other names.",
    "delete": "Delete workflows.",
    "template": "WorkflowTemplates, also those of the cluster: list, get, lint, create, update, delete.",
    "cron": "Schedules: list, get, lint, create, update, delete, suspend, resume; and runs of a time that is over.",
    "object": "ConfigMaps, Secrets, claims, event bindings: list, get, delete.",
    "event": "Events: send one to the event bindings of a namespace, watch those of workflows, or what changes of them.",
    "sync": "Limits of semaphores: get, set, delete.",
    "foreign": "Workflows that another Argo runs, and where their data is: list, get, send their events.",
    "archive": "Workflows that have ended, also deleted ones: list, get, delete, retry, resubmit, labels.",
    "remote": "Far stores: list, add, set, remove, test, types.",
    "data": "Objects, the primary and uploads: list, explain, stage, pin, evict, fill, check, adopt.",
    "transfer": "Copy, sync, move, check and delete between far stores, as durable jobs.",
    "file": "Files and folders of far stores: put, get, rm, cp, mv, mkdir, rmdir, exists, link.",
    "context": "Servers by name: list, show, set, use, delete.",
    "token": "Tokens: create, list, revoke; and who you are.",
    "config": "Say which settings hold, and where each came from.",
    "settings": "Settings files: encrypt, decrypt, edit.",
    "servers": "List the servers of a state: who leads, and who stands by.",
    "state": "The state of this machine's server: migrate, backup, restore, copy, verify.",
    "secrets": "The key that stored secrets are encrypted with: rotate it, make one.",
    "webhook": "Webhooks: who is told of workflows; failures and their replay.",
    "usage": "Say what a namespace has used.",
    "audit": "Say who changed what, and who was refused.",
    "doctor": "Check what works on this machine.",
    "version": "Print the versions.",
}
"""Command -> what it does; the module `jitflow.cli.commands.<command>` holds it as `app`."""

_EXIT_FAILED = 1
_EXIT_LOST = 3
_EXIT_TIMEOUT = 4


def load_command(name: str) -> Any:
    """Return a command, with its options."""
    module = load(f"jitflow.cli.commands.{name}")
    command = typer.main.get_command(module.app)
    command.name = name
    extend(command)
    return command


class LazyGroup(TyperGroup):
    """Loads a command when it is invoked; for help and completion its name and first line are enough."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line; what an earlier one of this process chose is forgotten."""
        CHOICE.forget()
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a stand-in that knows the command's name and help."""
        known = COMMANDS.get(cmd_name)
        return TyperCommand(name=cmd_name, help=known, rich_markup_mode=None) if known else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the real command for the first argument."""
        name, command, rest = super().resolve_command(ctx, args)
        return (name, load_command(name), rest) if command is not None and name in COMMANDS else (name, command, rest)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; what goes wrong becomes one clear line and an exit code."""
        try:
            return super().invoke(ctx)
        except Exception as error:  # the outermost supervisor of every command
            if os.environ.get("JITFLOW_DEBUG") or not _explain(error):
                raise
            raise typer.Exit(exit_code(error)) from error


def exit_code(error: Exception) -> int:
    """Return what a command ends with that could not do its work."""
    client = sys.modules.get("jitflow.client")  # who never talked to a server has not lost one
    if client and isinstance(error, client.ServerLost):
        return _EXIT_LOST
    if client and isinstance(error, client.WaitTimeout):
        return _EXIT_TIMEOUT
    return getattr(error, "exit_code", _EXIT_FAILED)


def _explain(error: Exception) -> bool:
    """Print what went wrong; False for what the framework itself explains (usage errors, exits, broken pipes)."""
    if isinstance(error, CliError):
        say_error(str(error))
        return True
    kind = type(error)
    if kind.__module__.startswith(("typer", "click")) or isinstance(error, BrokenPipeError):
        return False
    if kind.__module__.startswith("jitflow"):
        say_error(str(error))
    elif isinstance(error, OSError):
        say_error(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    else:
        say_error(f"unexpected {kind.__name__}: {error}; this is a defect, JITFLOW_DEBUG=1 shows where")
    return True


def say_error(message: str) -> None:
    """Print an error on stderr, each line of it behind `error:`."""
    for line in message.splitlines() or [""]:
        typer.echo(f"error: {line}", err=True)


app = typer.Typer(
    name="jitflow",
    cls=LazyGroup,
    help="Run Argo workflows whose data is far away: each step finds its inputs near, just in time.",
    epilog="Example: jitflow run workflow.yaml -p year=2024",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(load("jitflow").__version__)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_version, is_eager=True)
    ] = False,
    ca: Annotated[
        str,
        typer.Option(
            "--ca",
            envvar="JITFLOW_CA",
            metavar="FILE",
            help="PEM certificates that a server named by URL is checked with, instead of this machine's.",
            show_default=False,
        ),
    ] = "",
    context: Annotated[
        str,
        typer.Option(
            "--context",
            envvar="JITFLOW_CONTEXT",
            metavar="NAME",
            help="A server by its name; see `jitflow context`.",
            show_default=False,
        ),
    ] = "",
) -> None:
    """Run Argo workflows whose data is far away: each step finds its inputs near, just in time."""
    if ca:
        os.environ["JITFLOW_CA"] = ca
    if context != os.environ.get("JITFLOW_CONTEXT", ""):
        CHOICE.context = context


def main() -> None:
    """Run the command line; ends the process."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="replace")
    app(prog_name="jitflow")
