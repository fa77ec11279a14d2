"""`jitflow submit`."""

from typing import Annotated

import typer

from jitflow.cli.awaiting import limit_of, to_its_end
from jitflow.cli.commands import single
from jitflow.cli.connect import connect
from jitflow.cli.errors import InputRefused
from jitflow.cli.launch import Wishes, requests, submit, submit_from
from jitflow.cli.options import (
    EntrypointOption,
    GenerateNameOption,
    LogOption,
    ParameterFileOption,
    ParameterOption,
    ServerOption,
    SetNameOption,
    SubmitFormat,
    SubmitNamespaceOption,
    TimeoutOption,
    WaitOption,
    WatchOption,
)
from jitflow.cli.output import print_data

app, command = single("jitflow submit workflow.yaml --watch")


@command
def submit_(
    files: Annotated[list[str] | None, typer.Argument(metavar="FILE", help="Manifests; - for standard input.")] = None,
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
    annotations: Annotated[
        str, typer.Option("--annotations", metavar="K=V,...", help="Annotations to add.", show_default=False)
    ] = "",
    priority: Annotated[
        int | None, typer.Option("--priority", metavar="N", help="Before those with a lower one.", show_default=False)
    ] = None,
    namespace: SubmitNamespaceOption = "",
    wait: WaitOption = False,
    watch: WatchOption = False,
    log: LogOption = False,
    timeout: TimeoutOption = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Let the server check it; run nothing.")] = False,
    server: ServerOption = "",
    output: Annotated[SubmitFormat, typer.Option("--output", "-o", help="How to print.")] = SubmitFormat.NAME,
) -> None:
    """Submit manifests to a server; it runs them while this command may leave. Exit code 2 if one is refused.

    Waits with --wait, --watch or --log: exit code 1 unless all succeeded, 4 if the time is over before.
    """
    waits = wait or watch or log
    limit_s = limit_of(timeout, waits=waits)
    wishes = Wishes(parameters or (), parameter_file, name, generate_name, entrypoint, labels, namespace, annotations, priority)
    if bool(files) == bool(resource):
        raise InputRefused("name the manifests to submit, or give --from KIND/NAME")
    asked = [request for file in files or () for request in requests(file, wishes)]
    with connect(server) as client:
        made = [submit(client, request, dry_run=dry_run) for request in asked]
        if resource:
            made.append(submit_from(client, resource, wishes, dry_run=dry_run))
        if output is not SubmitFormat.NAME and not waits:
            print_data(made[0] if len(made) == 1 else made, output)
        for item in made if output is SubmitFormat.NAME else ():
            typer.echo(item["metadata"].get("name") or item["metadata"].get("generateName"))
        if dry_run or not waits:
            return
        ended = [to_its_end(client, item, watch=watch, log=log, limit_s=limit_s, output=output) for item in made]
    raise typer.Exit(0 if all(ended) else 1)
