"""From a file to a workflow at a server: what `run` and `submit` share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jitflow.cli import manifests
from jitflow.cli.choice import default_namespace
from jitflow.cli.errors import InputRefused
from jitflow.cli.output import Json
from jitflow.client import ApiError, Client


@dataclass(frozen=True)
class Request:
    """A manifest to submit: where it came from, its namespace and its JSON."""

    file: str
    namespace: str
    body: dict[str, Any]


@dataclass(frozen=True)
class Wishes:
    """What the command line says of a manifest."""

    parameters: Sequence[str] = ()
    parameter_file: str = ""
    name: str = ""
    generate_name: str = ""
    entrypoint: str = ""
    labels: str = ""
    namespace: str = ""
    annotations: str = ""
    priority: int | None = None


def requests(file: str, wishes: Wishes) -> list[Request]:
    """Return what a file asks for.

    Raises:
        InputRefused: it cannot be used; every problem with its place.
    """
    if wishes.name and wishes.generate_name:
        raise InputRefused("--name and --generate-name exclude each other")
    given = manifests.parameter_file(wishes.parameter_file) if wishes.parameter_file else []
    given += manifests.checked_parameters(wishes.parameters)
    found: list[Request] = []
    for body in manifests.load(file):
        whole = manifests.complete(
            body,
            parameters=given,
            name=wishes.name,
            generate_name=wishes.generate_name,
            entrypoint=wishes.entrypoint,
            labels=wishes.labels,
            annotations=wishes.annotations,
            priority=wishes.priority,
        )
        namespace = wishes.namespace or whole["metadata"].get("namespace") or default_namespace()
        whole["metadata"]["namespace"] = namespace
        found.append(Request(file, namespace, whole))
    if not found:
        raise InputRefused(f"{manifests.shown(file)}: holds no workflow")
    if len(found) > 1 and wishes.name:
        raise InputRefused(f"{manifests.shown(file)}: holds {len(found)} workflows, which cannot have one name; drop --name")
    return found


def submit_from(client: Client, resource: str, wishes: Wishes, *, dry_run: bool = False) -> dict[str, Any]:
    """Submit a workflow of a template or a schedule, named `KIND/NAME`, and return it.

    Raises:
        InputRefused: the text names none, or the server refuses it.
    """
    kind, slash, name = resource.partition("/")
    if not (kind and slash and name):
        raise InputRefused(f"--from {resource}: write KIND/NAME, as workflowtemplate/greeter")
    if wishes.name and wishes.generate_name:
        raise InputRefused("--name and --generate-name exclude each other")
    given = manifests.parameter_file(wishes.parameter_file) if wishes.parameter_file else []
    given += manifests.checked_parameters(wishes.parameters)
    try:
        return client.workflows.submit.into(Json)(
            kind,
            name,
            namespace=wishes.namespace or default_namespace(),
            parameters=[f"{key}={value}" for key, value in given],
            workflow_name=wishes.name,
            generate_name=wishes.generate_name,
            entrypoint=wishes.entrypoint,
            labels=wishes.labels,
            annotations=wishes.annotations,
            priority=wishes.priority,
            dry_run=dry_run,
        )
    except ApiError as error:
        raise manifests.refused_by_server(error, resource) from error


def submit(client: Client, request: Request, *, dry_run: bool = False) -> dict[str, Any]:
    """Submit and return the workflow.

    Raises:
        InputRefused: the server refuses the manifest.
    """
    try:
        return client.workflows.create.into(Json)(request.body, namespace=request.namespace, dry_run=dry_run)
    except ApiError as error:
        raise manifests.refused_by_server(error, request.file) from error
