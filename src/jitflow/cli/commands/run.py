"""`jitflow run`."""

import time
from typing import Annotated

import typer

from jitflow.cli.commands import single
from jitflow.cli.displays import choose
from jitflow.cli.errors import InputRefused
from jitflow.cli.follow import follow
from jitflow.cli.interrupts import Interrupts
from jitflow.cli.launch import Wishes, requests, submit
from jitflow.cli.manifests import shown
from jitflow.cli.options import (
    EntrypointOption,
    GenerateNameOption,
    ParameterFileOption,
    ParameterOption,
    ServerOption,
    SetNameOption,
    SubmitNamespaceOption,
    TableFormat,
    TableOption,
)
from jitflow.cli.output import Json, print_json, say
from jitflow.cli.serving import any_server
from jitflow.cli.summary import ending
from jitflow.cli.views import WorkflowView
from jitflow.client import Client

app, command = single("jitflow run workflow.yaml -p year=2024")


@command
def run(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A manifest; - for standard input.", show_default=False)],
    *,
    parameters: ParameterOption = None,
    parameter_file: ParameterFileOption = "",
    name: SetNameOption = "",
    generate_name: GenerateNameOption = "",
    entrypoint: EntrypointOption = "",
    namespace: SubmitNamespaceOption = "",
    no_tree: Annotated[bool, typer.Option("--no-tree", help="Plain lines, one for each change.")] = False,
    log: Annotated[bool, typer.Option("--log", help="Print the steps' logs instead of the tree.")] = False,
    server: ServerOption = "",
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Run a manifest and show it live until it ends: what each step does, and where its data stands.

    Uses the server that runs here, or starts one for this run. Ends with what failed and where the outputs are; exit code 0 if
    the workflow succeeded, 1 if it did not, 2 if the manifest was refused. Ctrl-C stops the workflow in order, a second one at
    once.
    """
    wishes = Wishes(parameters or (), parameter_file, name, generate_name, entrypoint, "", namespace)
    asked = requests(file, wishes)
    if len(asked) != 1:
        raise InputRefused(f"{shown(file)}: holds {len(asked)} workflows; `jitflow submit` takes several")
    with any_server(server) as client:
        workflow = submit(client, asked[0])
        view = _follow(client, asked[0].namespace, workflow["metadata"]["name"], tree=not no_tree, log=log, output=output)
        if output is TableFormat.JSON:
            print_json(client.workflows.get.into(Json)(view.metadata.name, namespace=asked[0].namespace))
        else:
            typer.echo(ending(client, view, time.time()))
    raise typer.Exit(0 if view.status.phase == "Succeeded" else 1)


def _follow(client: Client, namespace: str, name: str, *, tree: bool, log: bool, output: TableFormat) -> WorkflowView:
    def stop() -> None:
        say(f"stopping {name}; press Ctrl-C again to end it at once")
        client.workflows.stop.into(Json)(name, namespace=namespace)

    def terminate() -> None:
        say(f"ending {name}; press Ctrl-C again to leave it")
        client.workflows.terminate.into(Json)(name, namespace=namespace)

    display = choose(client, namespace, name, tree=tree, log=log, err=output is TableFormat.JSON)
    with Interrupts(stop, terminate) as interrupts:
        return follow(client, namespace, name, display, between=interrupts.poll)
