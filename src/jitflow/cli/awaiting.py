"""Following workflows to their ends: what `--wait`, `--watch` and `--log` do."""

import time
from collections.abc import Sequence

import typer

from jitflow.cli.displays import QuietDisplay, choose
from jitflow.cli.durations import seconds_of
from jitflow.cli.errors import InputRefused
from jitflow.cli.follow import follow
from jitflow.cli.options import SubmitFormat
from jitflow.cli.output import Json, print_data, say
from jitflow.cli.summary import ending
from jitflow.client import Client


def limit_of(timeout: str, *, waits: bool) -> float | None:
    """Return the seconds that `--timeout` allows, None for any.

    Raises:
        InputRefused: it is no length of time, or nothing is waited for.
    """
    if timeout and not waits:
        raise InputRefused("--timeout limits how long is waited; add --wait, --watch or --log")
    return seconds_of(timeout, "--timeout") if timeout else None


def to_its_end(
    client: Client,
    made: Json,
    *,
    watch: bool = False,
    log: bool = False,
    limit_s: float | None = None,
    output: SubmitFormat = SubmitFormat.NAME,
) -> bool:
    """Follow a workflow to its end, print how it ended and return whether it succeeded.

    Raises:
        WaitTimeout: it has not ended within `limit_s`.
    """
    namespace, name = made["metadata"]["namespace"], made["metadata"]["name"]
    quiet = not (watch or log)
    display = QuietDisplay() if quiet else choose(client, namespace, name, log=log, err=output is not SubmitFormat.NAME)
    try:
        view = follow(client, namespace, name, display, limit_s=limit_s)
    except KeyboardInterrupt:
        say(f"workflow {name} goes on at the server; `jitflow watch {name}` shows it, `jitflow stop {name}` ends it")
        raise
    if output is not SubmitFormat.NAME:
        print_data(client.workflows.get.into(Json)(name, namespace=namespace), output)
    else:
        typer.echo(ending(client, view, time.time()))
    return view.status.phase == "Succeeded"


def all_to_their_ends(client: Client, made: Sequence[Json], *, watch: bool, log: bool, limit_s: float | None = None) -> None:
    """Follow workflows to their ends, one after the other.

    Raises:
        typer.Exit: with 0 if all succeeded, else with 1.
        WaitTimeout: one has not ended within `limit_s` of its turn.
    """
    ended = [to_its_end(client, one, watch=watch, log=log, limit_s=limit_s) for one in made]
    raise typer.Exit(0 if all(ended) else 1)
