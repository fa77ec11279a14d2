"""From what a client sent to a workflow that may be created."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from msgspec.structs import replace

from jitflow import spec
from jitflow.app.names import check_name, check_namespace, generated_name
from jitflow.app.present import API_VERSION
from jitflow.model import argo
from jitflow.model.effective import MissingTemplate, effective_spec
from jitflow.model.objects import NO_OBJECTS, Objects
from jitflow.model.problems import Place, Problem, Refused
from jitflow.ports.clock import Ids

Manifest = Mapping[str, Any] | str
"""A manifest as decoded JSON, or as YAML or JSON text (then problems have lines and columns)."""


LARGE_BYTES = 64 * 1024
_DRAWS = 8


def read_workflow(
    manifest: Manifest, *, source: str = "", namespace: str = "", objects: Objects = NO_OBJECTS, lint: bool = False
) -> argo.Workflow:
    """Return the one, valid workflow of a manifest.

    Raises:
        Refused: it cannot be used; each problem has its place.
    """
    documents = spec.load(manifest, source) if isinstance(manifest, str) else (spec.from_json(dict(manifest), kind="Workflow"),)
    if len(documents) != 1:
        remedy = "send one workflow at a time"
        raise Refused(Problem(message=f"the manifest holds {len(documents)} documents", remedy=remedy))
    (document,) = documents
    workflow = document.manifest
    if not isinstance(workflow, argo.Workflow):
        raise Refused(
            Problem(
                message=f"a manifest of kind {document.kind} cannot be used here",
                place=Place(path="$.kind", source=source),
                remedy="send one of kind Workflow",
                code="unsupported",
            )
        )
    metadata = workflow.metadata or argo.ObjectMeta()
    # What it refers to is looked for where it is sent, whatever the manifest says of itself.
    placed = replace(workflow, metadata=replace(metadata, namespace=namespace or metadata.namespace or None))
    spec.validate(placed, document.places, objects=objects, lint=lint)
    return workflow


def read_unchecked(manifest: Mapping[str, Any]) -> argo.Workflow:
    """Return the workflow of decoded JSON; whether it can run is not asked, as Kubernetes does not ask.

    Raises:
        Refused: it cannot be read.
    """
    workflow = spec.from_json(dict(manifest), kind="Workflow").manifest
    if not isinstance(workflow, argo.Workflow):
        raise Refused(Problem(message="this is no Workflow", place=Place(path="$.kind"), remedy="send one of kind Workflow"))
    return workflow


async def read_aside(
    manifest: Manifest,
    *,
    source: str = "",
    size_bytes: int = 0,
    namespace: str = "",
    objects: Objects = NO_OBJECTS,
    lint: bool = False,
) -> argo.Workflow:
    """Return `read_workflow` of the manifest; a large one is read in a thread, so that the event loop goes on.

    `size_bytes`: length of the text it came in.
    """
    read = partial(read_workflow, manifest, source=source, namespace=namespace, objects=objects, lint=lint)
    return read() if size_bytes < LARGE_BYTES else await asyncio.to_thread(read)


def missing_template(workflow: argo.Workflow, namespace: str, objects: Objects) -> str:
    """Return what is said of a workflow that refers to a template which is not there; empty when it is."""
    metadata = replace(workflow.metadata or argo.ObjectMeta(), namespace=namespace)
    try:
        effective_spec(replace(workflow, metadata=metadata), objects)
    except MissingTemplate as error:
        return str(error)
    return ""


def placed_in(workflow: argo.Workflow, namespace: str) -> argo.Workflow:
    """Return the workflow in a namespace.

    Raises:
        Refused: it says that it belongs to another one, or the name is none of a namespace.
    """
    metadata = workflow.metadata or argo.ObjectMeta()
    check_namespace(namespace)
    if metadata.namespace and metadata.namespace != namespace:
        message = (
            f"the namespace of the workflow ({metadata.namespace[:80]!r}) does not match the namespace of the request "
            f"({namespace!r})"
        )
        remedy = "remove metadata.namespace, or send it to that namespace"
        raise Refused(Problem(message=message, place=Place(path="$.metadata.namespace"), remedy=remedy))
    return replace(workflow, metadata=replace(metadata, namespace=namespace))


def prepare(
    workflow: argo.Workflow, namespace: str, ids: Ids, *, is_taken: Callable[[str], bool] = lambda name: False
) -> argo.Workflow:
    """Return the workflow with its namespace and name, without what only a server may say of it.

    A generated name that is taken is drawn again, a few times.

    Raises:
        Refused: the namespace is another one than the request's, or the name is missing or not valid.
    """
    workflow = placed_in(workflow, namespace)
    metadata = workflow.metadata or argo.ObjectMeta()
    if metadata.name:
        name = check_name(metadata.name)
    elif metadata.generate_name:
        name = generated_name(metadata.generate_name, ids.suffix())
        for _ in range(_DRAWS - 1):
            if not is_taken(name):
                break
            name = generated_name(metadata.generate_name, ids.suffix())
    else:
        place = Place(path="$.metadata")
        raise Refused(
            Problem(message="the workflow has no name", place=place, remedy="set metadata.name or metadata.generateName")
        )
    metadata = replace(
        metadata, name=name, namespace=namespace, uid=None, resource_version=None, creation_timestamp=None, self_link=None
    )
    return replace(
        workflow,
        api_version=workflow.api_version or API_VERSION,
        kind=workflow.kind or "Workflow",
        metadata=metadata,
        status=None,
    )
