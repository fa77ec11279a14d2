"""`jitflow object`."""

from typing import Annotated

import typer

from jitflow.cli import objects
from jitflow.cli.commands import new_app
from jitflow.cli.connect import connect
from jitflow.cli.errors import InputRefused
from jitflow.cli.objects import Listing
from jitflow.cli.options import (
    DEFAULT_NAMESPACE,
    ListFormat,
    ListOption,
    NamespaceOption,
    ObjectFormat,
    ObjectOption,
    SelectorOption,
    ServerOption,
)
from jitflow.cli.output import Json

app = new_app(help="ConfigMaps, Secrets, claims, event bindings: list, get, delete.", no_args_is_help=True)

_KINDS = (
    "ConfigMap",
    "Secret",
    "PersistentVolumeClaim",
    "WorkflowEventBinding",
    "WorkflowTemplate",
    "ClusterWorkflowTemplate",
    "CronWorkflow",
)
_BY_NAME = {kind.lower(): kind for kind in _KINDS}
Kind = Annotated[str, typer.Argument(metavar="KIND", help=f"{', '.join(_KINDS[:4])} …", show_default=False)]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The object's name.", show_default=False)]


@app.command("list", epilog="Example: jitflow object list configmap -l team=ocean")
def list_(
    kind: Kind,
    *,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    selector: SelectorOption = "",
    output: ListOption = ListFormat.TABLE,
) -> None:
    """List objects of a kind. Of Secrets the values are never shown."""
    named = _kind(kind)
    with connect(server) as client:
        found = client.objects.list.into(Listing)(named, namespace=namespace, labels=selector)
    objects.print_objects(found, output, empty=f"no objects of kind {named}; keep one with `jitflow apply FILE`")


@app.command("get", epilog="Example: jitflow object get configmap settings -o json")
def get(
    kind: Kind,
    name: Name,
    *,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    output: ObjectOption = ObjectFormat.YAML,
) -> None:
    """Print an object. Of a Secret the values are never shown."""
    with connect(server) as client:
        objects.print_object(client.objects.get.into(Json)(_kind(kind), name, namespace=namespace), output)


@app.command("delete", epilog="Example: jitflow object delete configmap settings")
def delete(
    kind: Kind, names: objects.Names, *, server: ServerOption = "", namespace: NamespaceOption = DEFAULT_NAMESPACE
) -> None:
    """Forget objects."""
    named = _kind(kind)
    with connect(server) as client:
        objects.each(names, named, "deleted", lambda name: client.objects.delete(named, name, namespace=namespace))


def _kind(text: str) -> str:
    found = _BY_NAME.get(text.lower()) or _BY_NAME.get(text.lower().removesuffix("s"))
    if found is None:
        raise InputRefused(f"{text}: no kind of object; write one of {', '.join(_KINDS)}")
    return found
