"""`jitflow submit`."""

import time
from typing import Annotated, Any

import typer

from jitflow.cli.client import Client
from jitflow.cli.commands import single
from jitflow.cli.connect import connect
from jitflow.cli.displays import QuietDisplay, choose
from jitflow.cli.errors import InputRefused
from jitflow.cli.follow import follow
from jitflow.cli.launch import Wishes, requests, submit, submit_from
from jitflow.cli.options import (
    EntrypointOption,
    GenerateNameOption,
    ParameterFileOption,
    ParameterOption,
    ServerOption,
    SetNameOption,
    SubmitFormat,
    SubmitNamespaceOption,
)
from jitflow.cli.output import print_data, say
from jitflow.cli.summary import ending

app, command = single("jitflow submit workflow.yaml --watch")


@command
def submit_(
    files: Annotated[list[str] | None, typer.Argument(metavar="[FILE...]", help="Manifests; - for standard input.")] = None,
    *,
    resource: Annotated[
        str,
        typer.Option(
            "--from", metavar="KIND/NAME", help="Of a workflowtemplate, clusterworkflowtemplate or cronwf.", show_default=False
        ),
    ] = "",
    parameters: ParameterOption = None,
    parameter_file: ParameterFileOption = "",
    name: SetNameOption = "",
    generate_name: GenerateNameOption = "",
    entrypoint: EntrypointOption = "",
    labels: Annotated[str, typer.Option("--labels", metavar="K=V,...", help="Labels to add.", show_default=False)] = "",
    namespace: SubmitNamespaceOption = "",
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait until it ends; exit code 1 unless it succeeded.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show it live until it ends.")] = False,
    log: Annotated[bool, typer.Option("--log", help="Print its steps' logs until it ends.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Let the server check it; run nothing.")] = False,
    server: ServerOption = "",
    output: Annotated[SubmitFormat, typer.Option("--output", "-o", help="How to print.")] = SubmitFormat.NAME,
) -> None:
    """Submit manifests to a server; it runs them while this command may leave. Exit code 2 if one is refused."""
    wishes = Wishes(parameters or (), parameter_file, name, generate_name, entrypoint, labels, namespace)
    if bool(files) == bool(resource):
        raise InputRefused("name the manifests to submit, or give --from KIND/NAME")
    asked = [request for file in files or () for request in requests(file, wishes)]
    with connect(server) as client:
        made = [submit(client, request, dry_run=dry_run) for request in asked]
        if resource:
            made.append(submit_from(client, resource, wishes, dry_run=dry_run))
        if output is not SubmitFormat.NAME and not (wait or watch or log):
            print_data(made[0] if len(made) == 1 else made, output)
        for item in made if output is SubmitFormat.NAME else ():
            typer.echo(item["metadata"].get("name") or item["metadata"].get("generateName"))
        if dry_run or not (wait or watch or log):
            return
        ended = [_wait(client, item, watch=watch, log=log, output=output) for item in made]
    raise typer.Exit(0 if all(ended) else 1)


def _wait(client: Client, made: dict[str, Any], *, watch: bool, log: bool, output: SubmitFormat) -> bool:
    """Follow a workflow to its end, print how it ended and return whether it succeeded."""
    namespace, name = made["metadata"]["namespace"], made["metadata"]["name"]
    quiet = not (watch or log)
    display = QuietDisplay() if quiet else choose(client, namespace, name, log=log, err=output is not SubmitFormat.NAME)
    try:
        view = follow(client, namespace, name, display)
    except KeyboardInterrupt:
        say(f"workflow {name} goes on at the server; `jitflow watch {name}` shows it, `jitflow stop {name}` ends it")
        raise
    if output is not SubmitFormat.NAME:
        print_data(client.get_workflow(namespace, name), output)
    else:
        typer.echo(ending(client, view, time.time()))
    return view.status.phase == "Succeeded"
