"""`jitflow template`."""

from typing import Annotated

import typer

from jitflow.cli import filing, objects
from jitflow.cli.commands import new_app
from jitflow.cli.completion import template_names
from jitflow.cli.connect import connect
from jitflow.cli.objects import Listing
from jitflow.cli.options import (
    DEFAULT_NAMESPACE,
    EverywhereOption,
    ListFormat,
    ListOption,
    NamespaceOption,
    ObjectFormat,
    ObjectOption,
    SelectorOption,
    ServerOption,
)
from jitflow.cli.output import Json
from jitflow.client import ALL

app = new_app(help="WorkflowTemplates, also those of the cluster: list, get, lint, create, update, delete.", no_args_is_help=True)

Cluster = Annotated[bool, typer.Option("--cluster", help="ClusterWorkflowTemplates, which belong to no namespace.")]
Names = Annotated[
    list[str], typer.Argument(metavar="NAME", help="Their names.", show_default=False, autocompletion=template_names)
]
Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The template's name.", show_default=False, autocompletion=template_names)
]


@app.command("list", epilog="Example: jitflow template list -A -o wide")
def list_(
    *,
    cluster: Cluster = False,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    everywhere: EverywhereOption = False,
    selector: SelectorOption = "",
    output: ListOption = ListFormat.TABLE,
) -> None:
    """List templates; `jitflow submit --from workflowtemplate/NAME` makes a workflow of one."""
    with connect(server) as client:
        if cluster:
            found = client.cluster_templates.list.into(Listing)(labels=selector)
        else:
            found = client.templates.list.into(Listing)(namespace=ALL if everywhere else namespace, labels=selector)
    objects.print_objects(found, output, empty="no templates; keep one with `jitflow apply FILE`")


@app.command("get", epilog="Example: jitflow template get greeter")
def get(
    name: Name,
    *,
    cluster: Cluster = False,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    output: ObjectOption = ObjectFormat.YAML,
) -> None:
    """Print a template."""
    with connect(server) as client:
        group = client.cluster_templates if cluster else client.templates
        objects.print_object(group.get.into(Json)(name, namespace=namespace), output)


filing.add_commands(app, "TEMPLATES", things="templates", also=", also of the cluster", example="template {} templates.yaml")


@app.command("delete", epilog="Example: jitflow template delete greeter")
def delete(
    names: Names,
    *,
    cluster: Cluster = False,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
) -> None:
    """Forget templates; workflows that were made of them go on."""
    with connect(server) as client:
        group = client.cluster_templates if cluster else client.templates
        objects.each(names, "template", "deleted", lambda name: group.delete(name, namespace=namespace))
