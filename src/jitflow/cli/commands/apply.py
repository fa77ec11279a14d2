"""`jitflow apply`."""

from typing import Annotated

import typer

from jitflow.cli import manifests
from jitflow.cli.choice import default_namespace
from jitflow.cli.commands import single
from jitflow.cli.connect import connect
from jitflow.cli.options import ServerOption, SubmitNamespaceOption
from jitflow.cli.output import Json, say
from jitflow.client import ApiError

app, command = single("jitflow apply templates.yaml configmaps.yaml")


@command
def apply(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Manifests; - for standard input.", show_default=False)],
    *,
    namespace: SubmitNamespaceOption = "",
    server: ServerOption = "",
) -> None:
    """Keep templates, schedules, event bindings, ConfigMaps, Secrets and claims; workflows are submitted. Exit code 2 if refused.

    An object of the same name is replaced.
    """
    asked = [(file, body) for file in files for body in manifests.load_any(file)]
    with connect(server) as client:
        for file, body in asked:
            metadata = body.get("metadata") or {}
            where = namespace or metadata.get("namespace") or default_namespace()
            kind, name = str(body["kind"]), str(metadata.get("name") or "")
            try:
                if kind == "Workflow":
                    made = client.workflows.create.into(Json)(body, namespace=where)
                    say(f"workflow {made['metadata']['name']} submitted")
                else:
                    client.objects.apply(kind, name, body, namespace=where)
                    say(f"{kind} {name} applied")
            except ApiError as error:
                raise manifests.refused_by_server(error, file) from error
