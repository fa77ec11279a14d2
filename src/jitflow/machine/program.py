"""A manifest made ready to run: its templates, compiled as they are needed, and the values that never change."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Any, Final
from weakref import WeakValueDictionary

import msgspec

from jitflow.expr import tags
from jitflow.machine import templates as keys
from jitflow.machine.compiled import KINDS, CompiledArguments, CompiledTemplate, compiled_hooks
from jitflow.machine.expressions import EarlyValues
from jitflow.machine.named import NONE, PARAMETERS, NamedFiles, named_files
from jitflow.machine.problems import Problem
from jitflow.model import argo
from jitflow.model.effective import MissingTemplate, template_spec
from jitflow.model.objects import NO_OBJECTS, Objects

_STRFTIME_LETTERS: Final = "aAbBcdDeFhHIjlmMnprRStTuUVwWxXyYzZ"

_SHARED_BYTES: Final = 4096
"""Longer templates are compiled for each workflow: comparing them with others costs more than it saves."""
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(argo.Template).decode

SCHEDULED_TIME: Final = "workflows.argoproj.io/scheduled-time"


class Common:
    """What of a program depends on nothing but its spec apart from the arguments: the same for all workflows that share these.

    The arguments that were compiled last are kept too: a manifest that is sent again has the same.
    """

    def __init__(self, spec: argo.WorkflowSpec) -> None:
        """Compile what every workflow needs; templates follow as they are needed."""
        self._spec = spec
        self.hooks = compiled_hooks(spec.hooks, spec.on_exit)
        self.sources = {template.name or "": template for template in spec.templates}
        self.compiled: dict[str, CompiledTemplate] = {}
        self.has_data: bool | None = None
        """Whether its templates read or write artifacts; None: not known, or it is for those of other objects to say."""
        self.gives_up: bool | None = None
        """Whether one of its templates has outputs that say when they are to be deleted; None: not known."""
        self._arguments: tuple[argo.Arguments | None, CompiledArguments] | None = None

    def arguments(self, source: argo.Arguments | None) -> CompiledArguments:
        """Return a workflow's arguments, compiled."""
        last = self._arguments
        if last is None or last[0] is not source:
            last = self._arguments = (source, CompiledArguments(source))
        return last[1]

    def serves(self, spec: argo.WorkflowSpec) -> bool:
        """Return whether a spec has the very same parts."""
        own = self._spec
        return (
            spec.templates is own.templates
            and spec.hooks is own.hooks
            and spec.on_exit is own.on_exit
            and spec.template_defaults is own.template_defaults
            and spec.retry_strategy is own.retry_strategy
            and spec.artifact_gc is own.artifact_gc
        )


_common: WeakValueDictionary[int, Common] = WeakValueDictionary()
"""What live programs use, by the identity of the spec's templates, which each keeps."""


def _common_of(spec: argo.WorkflowSpec) -> Common:
    found = _common.get(id(spec.templates))
    if found is None or not found.serves(spec):
        found = _common[id(spec.templates)] = Common(spec)
    return found


class Program:
    """A workflow's manifest, compiled template by template as they are needed, and the values that never change."""

    def __init__(
        self, workflow: argo.Workflow, *, spec: argo.WorkflowSpec | None = None, stored: Mapping[str, argo.Template] | None = None
    ) -> None:
        """Hold the manifest.

        Args:
            workflow: as it was submitted.
            spec: what it runs with, if that is not the workflow's own.
            stored: templates of other objects, by key, as they were when they were first used.
        """
        self.workflow = workflow
        self.metadata = workflow.metadata or argo.ObjectMeta()
        self.spec = spec or workflow.spec
        self.name = self.metadata.name or ""
        self.common = _common_of(self.spec)
        self.hooks = self.common.hooks
        self._stored = dict(stored or {})
        self._others: dict[str, CompiledTemplate] = {}
        """Compiled templates of other objects, which may be others for the next workflow."""

    @cached_property
    def arguments(self) -> CompiledArguments:
        """The workflow's arguments, compiled: not before the first step begins."""
        return self.common.arguments(self.spec.arguments)

    @property
    def own_spec(self) -> argo.WorkflowSpec | None:
        """What the workflow runs with, None if that is the spec of its manifest."""
        return None if self.spec is self.workflow.spec else self.spec

    @property
    def scope_name(self) -> str:
        """What `templateScope` calls the workflow: its name, but as in Argo nothing if it runs by `workflowTemplateRef`."""
        return "" if self.workflow.spec.workflow_template_ref is not None else self.name

    def template(self, key: str) -> CompiledTemplate:
        """Return a compiled template.

        Raises:
            Problem: there is none of that name.
        """
        compiled = self._others if keys.is_of_another(key) else self.common.compiled
        found = compiled.get(key)
        if found is None:
            found = compiled[key] = _compiled(key, _with_defaults(self._source(key), self.spec))
        return found

    def _source(self, key: str) -> argo.Template:
        parent, slash, place = key.rpartition("/")
        if slash:
            source = self.template(parent).tasks[int(place)].source.inline
        else:
            source = self._stored.get(key) if keys.is_of_another(key) else self.common.sources.get(key)
        if source is None:
            raise Problem(f"template {key} not found")
        return source

    def fetch(self, key: str, objects: Objects = NO_OBJECTS) -> argo.Template | None:
        """Take a template of another object in, if it is one and is not here yet; return it, None for the workflow's own.

        A template that was taken in stays as it is, whatever becomes of the object it stands in.

        Raises:
            Problem: there is no such object, or it has no template of that name.
        """
        base = keys.base_of(key)
        reference = keys.reference_of(base)
        if reference is None or base in self._stored:
            return self._stored.get(base)
        spec = _spec_of(reference, self.metadata.namespace or "", objects)
        found = next((template for template in spec.templates if template.name == reference.template), None)
        if found is None:
            raise Problem(f"template reference {reference.name}.{reference.template} not found")
        self._stored[base] = found
        return found

    @property
    def claims(self) -> tuple[argo.PersistentVolumeClaim, ...]:
        """The volume claims of this workflow, named as Argo names them."""
        return self._claims if self.spec.volume_claim_templates else ()

    @cached_property
    def _claims(self) -> tuple[argo.PersistentVolumeClaim, ...]:
        owner = argo.OwnerReference(
            api_version="argoproj.io/v1alpha1", kind="Workflow", name=self.name, uid=self.metadata.uid or "", controller=True
        )
        found: list[argo.PersistentVolumeClaim] = []
        for claim in self.spec.volume_claim_templates:
            metadata = claim.metadata or argo.ObjectMeta()
            metadata = msgspec.structs.replace(metadata, name=f"{self.name}-{metadata.name or ''}", owner_references=(owner,))
            found.append(msgspec.structs.replace(claim, metadata=metadata))
        return tuple(found)

    @property
    def claimed(self) -> tuple[argo.Volume, ...]:
        """The volumes of the workflow's own claims."""
        return self._claimed if self.spec.volume_claim_templates else ()

    @cached_property
    def _claimed(self) -> tuple[argo.Volume, ...]:
        claimed: list[argo.Volume] = []
        for claim in self.spec.volume_claim_templates:
            name = (claim.metadata and claim.metadata.name) or ""
            source = argo.PersistentVolumeClaimVolumeSource(claim_name=f"{self.name}-{name}")
            claimed.append(argo.Volume(name=name, persistent_volume_claim=source))
        return tuple(claimed)

    @cached_property
    def volumes(self) -> tuple[argo.Volume, ...]:
        """The workflow's volumes, those of its claims included."""
        return (*self.spec.volumes, *self.claimed)

    @cached_property
    def compiled_volumes(self) -> "tuple[tags.Compiled[argo.Volume], ...]":
        """The volumes, split at their tags: a claim's or ConfigMap's name may be a parameter."""
        return tuple(tags.compile_struct(volume) for volume in self.volumes)

    @property
    def named(self) -> NamedFiles:
        """The files that the workflow's parameters name, by the convention that `NamedFiles` describes."""
        if self.spec.arguments is not None:
            for parameter in self.spec.arguments.parameters:
                if parameter.name in PARAMETERS:
                    return self._named
        return NONE

    @cached_property
    def _named(self) -> NamedFiles:
        values = self.constants
        return named_files({name: values.get(f"workflow.parameters.{name}", "") for name in PARAMETERS})

    @cached_property
    def constants(self) -> dict[str, str]:
        """Values of the `workflow.…` tags that never change."""
        metadata, spec = self.metadata, self.spec
        labels, annotations = _json(metadata.labels), _json(metadata.annotations)
        values = {
            "workflow.name": self.name,
            "workflow.namespace": metadata.namespace or "",
            "workflow.uid": metadata.uid or "",
            "workflow.mainEntrypoint": spec.entrypoint or "",
            "workflow.serviceAccountName": spec.service_account_name or "",
            "workflow.labels": labels,
            "workflow.labels.json": labels,
            "workflow.annotations": annotations,
            "workflow.annotations.json": annotations,
        }
        if spec.priority is not None:
            values["workflow.priority"] = str(spec.priority)
        values.update({f"workflow.labels.{name}": text for name, text in metadata.labels.items()})
        values.update({f"workflow.annotations.{name}": text for name, text in metadata.annotations.items()})
        if SCHEDULED_TIME in metadata.annotations:
            values["workflow.scheduledTime"] = metadata.annotations[SCHEDULED_TIME]
        values.update(_creation_times(metadata.creation_timestamp))
        values.update(self._parameters(values))
        return values

    def _parameters(self, values: dict[str, str]) -> dict[str, str]:
        arguments = self.arguments.parameters
        early = EarlyValues(
            values, datetime.fromisoformat(created).timestamp() if (created := self.metadata.creation_timestamp) else 0.0
        )
        texts = {name: argument.text.render(early) for name, argument in arguments.items()}
        listed = [
            msgspec.structs.replace(parameter, value=texts[parameter.name])
            for parameter in (self.spec.arguments or argo.Arguments()).parameters
            if parameter.name in texts
        ]
        found = {f"workflow.parameters.{name}": text for name, text in texts.items()}
        return found | {"workflow.parameters": _json(listed), "workflow.parameters.json": _json(listed)}


def _compiled(key: str, source: argo.Template) -> CompiledTemplate:
    """Return a template, compiled; short ones are shared by all workflows that have the same one."""
    text = _encode(source)
    return _shared(key, text) if len(text) <= _SHARED_BYTES else CompiledTemplate(key, source)


@lru_cache(maxsize=256)
def _shared(key: str, text: bytes) -> CompiledTemplate:
    return CompiledTemplate(key, _decode(text))


def _spec_of(reference: argo.TemplateRef, namespace: str, objects: Objects) -> argo.WorkflowSpec:
    source = argo.WorkflowTemplateRef(name=reference.name, cluster_scope=reference.cluster_scope)
    try:
        return template_spec(source, namespace, objects)
    except MissingTemplate as error:
        raise Problem(str(error)) from error


def _json(value: Any) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()


def _with_defaults(source: argo.Template, spec: argo.WorkflowSpec) -> argo.Template:
    """Return a template with the workflow's `templateDefaults` and retry strategy where it has none of its own."""
    if spec.template_defaults is not None:
        source = _merge(source, spec.template_defaults, kinds=True)
    if source.retry_strategy is None and spec.retry_strategy is not None:
        source = msgspec.structs.replace(source, retry_strategy=spec.retry_strategy)
    return source


def _merge(own: Any, default: Any, *, kinds: bool = False) -> Any:
    """Return a struct with its empty fields taken from another; fields that say the template's kind only if both have them."""
    changes: dict[str, Any] = {}
    for field in own.__struct_fields__:
        mine, other = getattr(own, field), getattr(default, field)
        if not other or field == "name" or (kinds and field in KINDS and not mine):
            continue
        if not mine and mine is not False:
            changes[field] = other
        elif isinstance(mine, msgspec.Struct):
            changes[field] = _merge(mine, other)
    return msgspec.structs.replace(own, **changes) if changes else own


@lru_cache(maxsize=64)
def _creation_times(created: str | None) -> Mapping[str, str]:
    """Return `workflow.creationTimestamp` and its parts, by strftime's letters, `RFC3339` and `s` (seconds since the epoch)."""
    if not created:
        return {}
    moment = datetime.fromisoformat(created).astimezone(UTC)
    name = "workflow.creationTimestamp"
    values = {f"{name}.{letter}": moment.strftime(f"%{letter}") for letter in _STRFTIME_LETTERS}
    shown = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    return values | {name: shown, f"{name}.RFC3339": shown, f"{name}.s": str(int(moment.timestamp()))}
