"""From what a client sent to a workflow that may be created."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from jitflow import spec
from jitflow.app.names import check_name, check_namespace, generated_name
from jitflow.app.present import API_VERSION
from jitflow.model import argo
from jitflow.model.effective import MissingTemplate, effective_spec
from jitflow.model.objects import NO_OBJECTS, Objects
from jitflow.model.problems import Place, Problem, Refused
from jitflow.ports.clock import Ids

Manifest = Mapping[str, Any] | bytes | str
"""A manifest as JSON, decoded or not, or as YAML or JSON text (then problems have lines and columns)."""


LARGE_BYTES = 64 * 1024
MAX_KNOWN = 128
MAX_KNOWN_BYTES = 16 * 1024
"""So many manifests are remembered, none longer than that."""
_DRAWS = 8


class ChangingObjects(Objects, Protocol):
    """Objects that tell whether any of them has changed."""

    @property
    def changes(self) -> int:
        """How often any has changed."""
        ...


class KnownManifests:
    """Reads manifests, and remembers the valid ones: who sends the same text again has it read at once.

    Of a manifest whose parameters' values are all that is new about it, only these are read, if they cannot make it invalid
    (`spec.deciding_parameters`). What is valid depends on the text, on where it is sent, and on the objects it refers to: as soon
    as any object changes, all is forgotten.
    """

    def __init__(self, objects: ChangingObjects) -> None:
        """Read with these objects."""
        self._objects = objects
        self._changes = objects.changes
        self._known: OrderedDict[tuple[bytes | str, str, bool], argo.Workflow] = OrderedDict()
        self._shapes: OrderedDict[Hashable, _Shape] = OrderedDict()

    async def read(
        self, manifest: Manifest, *, source: str = "", size_bytes: int = 0, namespace: str = "", lint: bool = False
    ) -> argo.Workflow:
        """Return the one, valid workflow of a manifest (see `read_aside`)."""
        changes = self._objects.changes
        if changes != self._changes:
            self._known.clear()
            self._shapes.clear()
            self._changes = changes
        key = (manifest, namespace, lint) if isinstance(manifest, bytes | str) and len(manifest) <= MAX_KNOWN_BYTES else None
        known = self._known.get(key) if key is not None else None
        if key is not None and known is not None:
            self._known.move_to_end(key)
            return known
        parts = _Parts.of(manifest, namespace, lint=lint) if key is not None and isinstance(manifest, bytes) else None
        shape = self._shapes.get(parts.key) if parts is not None else None
        if parts is not None and shape is not None and (not shape.names or shape.allows(parts.parameters)):
            self._shapes.move_to_end(parts.key)
            return shape.with_parameters(parts.parameters)
        read = await read_aside(
            manifest, source=source, size_bytes=size_bytes, namespace=namespace, objects=self._objects, lint=lint
        )
        if key is not None and changes == self._changes == self._objects.changes:
            self._keep(key, read, parts)
        return read

    def _effective(self, read: argo.Workflow, namespace: str) -> argo.WorkflowSpec:
        """Return what a valid workflow comes to, with the template that it refers to.

        Raises:
            MissingTemplate: that is not there: the workflow was checked without it.
        """
        if read.spec.workflow_template_ref is None:
            return read.spec
        metadata = read.metadata or argo.ObjectMeta()
        placed = replace(read, metadata=replace(metadata, namespace=namespace or metadata.namespace))
        return replace(effective_spec(placed, self._objects), workflow_template_ref=None)

    def _keep(self, key: tuple[bytes | str, str, bool], read: argo.Workflow, parts: "_Parts | None") -> None:
        self._known[key] = read
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
        if parts is not None and parts.key not in self._shapes:
            try:
                deciding = spec.deciding_parameters(self._effective(read, key[1]))
            except MissingTemplate:
                return
            if deciding is not None:
                self._shapes[parts.key] = _Shape(workflow=read, deciding=_deciding(parts.parameters, deciding), names=deciding)
                if len(self._shapes) > MAX_KNOWN:
                    self._shapes.popitem(last=False)


class _Parameter(Struct, frozen=True, forbid_unknown_fields=True):
    """A parameter that says nothing but its name and value."""

    name: str
    value: str


class _Arguments(Struct, frozen=True, forbid_unknown_fields=True):
    parameters: tuple[_Parameter, ...]


class _Spec(Struct, frozen=True):
    arguments: msgspec.Raw


class _Manifest(Struct, frozen=True):
    spec: _Spec


_of_text = msgspec.json.Decoder(_Manifest).decode
_arguments_of_text = msgspec.json.Decoder(_Arguments).decode


class _Parts(Struct, frozen=True, kw_only=True):
    """A manifest whose arguments are plain parameters, and what else it says, as it is written (`key`)."""

    key: Hashable
    parameters: tuple[_Parameter, ...]

    @classmethod
    def of(cls, manifest: bytes, namespace: str, *, lint: bool) -> "_Parts | None":
        """Take a manifest apart; None: it has no arguments, others than plain ones, or cannot be read at all."""
        try:
            text = bytes(_of_text(manifest).spec.arguments)
            parameters = _arguments_of_text(text).parameters
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        names: list[str] = []
        for it in parameters:
            if "{" in it.value or "}" in it.value:
                return None
            names.append(it.name)
        begin = manifest.find(text)
        if manifest.find(text, begin + 1) >= 0:
            return None  # where the arguments stand is not known then
        rest = manifest[:begin] + manifest[begin + len(text) :]
        return cls(key=(namespace, lint, begin, rest, *names), parameters=parameters)


class _Shape(Struct, frozen=True, kw_only=True):
    """A valid workflow that stays valid whatever the values of its parameters, except for some, which stay as they are."""

    workflow: argo.Workflow
    names: frozenset[str]
    deciding: tuple[str, ...]

    def allows(self, parameters: Sequence[_Parameter]) -> bool:
        """Return whether the workflow is valid with these values."""
        return _deciding(parameters, self.names) == self.deciding

    def with_parameters(self, parameters: Sequence[_Parameter]) -> argo.Workflow:
        """Return the workflow with other values."""
        given = tuple([argo.Parameter(name=it.name, value=it.value) for it in parameters])
        workflow = self.workflow
        return replace(workflow, spec=replace(workflow.spec, arguments=argo.Arguments(parameters=given)))


def _deciding(parameters: Sequence[_Parameter], names: frozenset[str]) -> tuple[str, ...]:
    return tuple(it.value for it in parameters if it.name in names)


def read_workflow(
    manifest: Manifest, *, source: str = "", namespace: str = "", objects: Objects = NO_OBJECTS, lint: bool = False
) -> argo.Workflow:
    """Return the one, valid workflow of a manifest.

    Raises:
        Refused: it cannot be used; each problem has its place.
    """
    documents = _documents(manifest, source)
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


def _documents(manifest: Manifest, source: str) -> tuple[spec.Document, ...]:
    if isinstance(manifest, str):
        return spec.load(manifest, source)
    return (spec.from_json(_decoded(manifest) if isinstance(manifest, bytes) else dict(manifest), kind="Workflow"),)


def _decoded(text: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.ValidationError as error:
        raise Refused(f"the manifest does not have the expected form: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(f"the manifest is not valid JSON: {error}") from None


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
    _check_place(metadata, namespace)
    return replace(workflow, metadata=replace(metadata, namespace=namespace))


def _check_place(metadata: argo.ObjectMeta, namespace: str) -> None:
    check_namespace(namespace)
    if metadata.namespace and metadata.namespace != namespace:
        message = (
            f"the namespace of the workflow ({metadata.namespace[:80]!r}) does not match the namespace of the request "
            f"({namespace!r})"
        )
        remedy = "remove metadata.namespace, or send it to that namespace"
        raise Refused(Problem(message=message, place=Place(path="$.metadata.namespace"), remedy=remedy))


def prepare(
    workflow: argo.Workflow, namespace: str, ids: Ids, *, is_taken: Callable[[str], bool] = lambda name: False
) -> argo.Workflow:
    """Return the workflow with its namespace and name, without what only a server may say of it.

    A generated name that is taken is drawn again, a few times.

    Raises:
        Refused: the namespace is another one than the request's, or the name is missing, not valid, or taken (`conflict`).
    """
    metadata = workflow.metadata or argo.ObjectMeta()
    _check_place(metadata, namespace)
    name = _free_name(metadata, ids, is_taken)
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


def _free_name(metadata: argo.ObjectMeta, ids: Ids, is_taken: Callable[[str], bool]) -> str:
    name = ""
    if metadata.name:
        name = check_name(metadata.name)
        if not is_taken(name):
            return name
    elif metadata.generate_name:
        for _ in range(_DRAWS):
            name = generated_name(metadata.generate_name, ids.suffix())
            if not is_taken(name):
                return name
    else:
        place = Place(path="$.metadata")
        raise Refused(
            Problem(message="the workflow has no name", place=place, remedy="set metadata.name or metadata.generateName")
        )
    raise Refused(f'workflows.argoproj.io "{name}" already exists', code="conflict")
