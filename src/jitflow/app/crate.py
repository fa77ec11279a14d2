"""A run as a Provenance Run Crate: RO-Crate 1.1 with the Workflow Run profiles 0.5."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from jitflow.model import argo
from jitflow.model.provenance import Seen, StepSeen

CONTEXT: Final = ("https://w3id.org/ro/crate/1.1/context", "https://w3id.org/ro/terms/workflow-run/context")
METADATA: Final = "ro-crate-metadata.json"
MANIFEST: Final = "workflow.yaml"
CONTENTS: Final = "contents"
_CRATE = "https://w3id.org/ro/crate/1.1"
_PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/provenance/0.5": ("Provenance Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
_FORMAL = "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"
_WORKFLOW = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
_IMAGE = "https://w3id.org/ro/terms/workflow-run#DockerImage"
_ENGINE, _RUN, _LANGUAGE, _LICENCE, _MAIN = "#jitflow", "#run", "#argo-workflows", "#licence", "#main"
_LEAVES = frozenset({"Pod", "HTTP", "Plugin"})
_STATUS = {"Succeeded": "Completed", "Skipped": "Completed", "Failed": "Failed", "Error": "Failed", "Omitted": "Potential"}
_HASHES = {"sha256": "sha256", "sha1": "sha1", "md5": "md5"}

Entity = dict[str, Any]


class Facts:
    """What a crate is made of: the workflow's document with its status, and what its steps have read and written."""

    def __init__(
        self, workflow: argo.Workflow, seen: Sequence[StepSeen], *, version: str, types: Mapping[str, str], manifest_bytes: int
    ) -> None:
        """`version`: jitflow's. `types`: kinds of the configured remotes, by name."""
        self.workflow = workflow
        self.metadata = workflow.metadata or argo.ObjectMeta()
        self.status = workflow.status or argo.WorkflowStatus()
        self.name = self.metadata.name or "workflow"
        self.version = version
        self.types = types
        self.manifest_bytes = manifest_bytes
        self.seen = {one.step.partition("/")[2]: one for one in seen}
        nodes = (node for node in self.status.nodes.values() if node.type in _LEAVES and node.started_at)
        self.leaves = sorted(nodes, key=lambda node: (node.started_at or "", node.id))
        self.templates = _templates(workflow)

    def path(self, node: argo.NodeStatus) -> str:
        """Return a node's name within its workflow: the same in another run of the same manifest."""
        return node.name.removeprefix(self.name).lstrip(".") or "main"


def crate(facts: Facts) -> Entity:
    """Return the JSON-LD document."""
    files = _Files(facts)
    actions = [entity for node in facts.leaves for entity in _action(facts, node, files)]
    steps = list(_steps(facts))
    tools = list(_tools(facts))
    graph: list[Entity] = [
        {
            "@id": METADATA,
            "@type": "CreativeWork",
            "about": {"@id": "./"},
            "conformsTo": [{"@id": _CRATE}, {"@id": "https://w3id.org/workflowhub/workflow-ro-crate/1.0"}],
        },
        _root(facts, files),
        *(
            {"@id": profile, "@type": "CreativeWork", "name": name, "version": version}
            for profile, (name, version) in _PROFILES.items()
        ),
        _licence(),
        _manifest(facts, steps, tools),
        {
            "@id": _LANGUAGE,
            "@type": "ComputerLanguage",
            "name": "Argo Workflows",
            "identifier": "https://argoproj.github.io/workflows",
            "url": "https://argo-workflows.readthedocs.io/",
        },
        {
            "@id": _ENGINE,
            "@type": "SoftwareApplication",
            "name": f"jitflow {facts.version}",
            "softwareVersion": facts.version,
            "url": "https://pypi.org/project/jitflow/",
        },
        *_arguments(facts),
        *steps,
        *tools,
        _organize(facts),
        _run(facts, files),
        *actions,
        *_controls(facts),
        *files.entities(),
        *files.stores(),
    ]
    return {"@context": list(CONTEXT), "@graph": _distinct(graph)}


def _distinct(graph: Iterable[Entity]) -> list[Entity]:
    return list({entity["@id"]: entity for entity in graph}.values())


def _ids(ids: Iterable[str]) -> list[Entity]:
    return [{"@id": one} for one in dict.fromkeys(ids)]


def _given(**fields: Any) -> Entity:
    """Return fields without those of which nothing is known."""
    return {key: value for key, value in fields.items() if value not in (None, "", [], {})}


# -- the whole ---------------------------------------------------------------------------------------------------------


def _root(facts: Facts, files: "_Files") -> Entity:
    at = facts.status.finished_at or facts.status.started_at or facts.metadata.creation_timestamp or ""
    return {
        "@id": "./",
        "@type": "Dataset",
        "name": f"Run {facts.name} of an Argo workflow",
        "description": f"Workflow {facts.name} in namespace {facts.metadata.namespace}, run by jitflow: {facts.status.phase}",
        "datePublished": at,
        "license": {"@id": _LICENCE},
        "conformsTo": _ids(_PROFILES),
        "hasPart": _ids([MANIFEST, *files.ids()]),
        "mainEntity": {"@id": MANIFEST},
        "mentions": _ids([_RUN]),
        **_given(identifier=facts.metadata.uid),
    }


def _licence() -> Entity:
    return {
        "@id": _LICENCE,
        "@type": "CreativeWork",
        "name": "No licence is stated",
        "description": "This crate names data that belongs to others; their stores say what may be done with it.",
    }


def _manifest(facts: Facts, steps: Sequence[Entity], tools: Sequence[Entity]) -> Entity:
    parameters = [one["@id"] for one in _arguments(facts) if one["@type"] == "FormalParameter"]
    programs = [one["@id"] for one in tools if one["@type"] == "SoftwareApplication"]
    return {
        "@id": MANIFEST,
        "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
        "name": facts.name,
        "conformsTo": {"@id": _WORKFLOW},
        "encodingFormat": "application/yaml",
        "contentSize": str(facts.manifest_bytes),
        "programmingLanguage": {"@id": _LANGUAGE},
        **_given(input=_ids(parameters), step=_ids(one["@id"] for one in steps), hasPart=_ids(programs)),
    }


def _arguments(facts: Facts) -> Iterator[Entity]:
    """Yield the workflow's parameters and the values that they had."""
    arguments = facts.workflow.spec.arguments or argo.Arguments()
    for parameter in arguments.parameters:
        formal = f"{MANIFEST}#parameter/{quote(parameter.name)}"
        yield {
            "@id": formal,
            "@type": "FormalParameter",
            "additionalType": "Text",
            "conformsTo": {"@id": _FORMAL},
            "name": parameter.name,
            **_given(description=parameter.description, valueRequired=parameter.default is None),
        }
        value = parameter.value if parameter.value is not None else parameter.default
        yield _value(f"#parameter/{quote(parameter.name)}", parameter.name, value, formal)


def _value(identity: str, name: str, value: Any, formal: str) -> Entity:
    return {
        "@id": identity,
        "@type": "PropertyValue",
        "name": name,
        "value": "" if value is None else str(value),
        "exampleOfWork": {"@id": formal},
    }


def _organize(facts: Facts) -> Entity:
    return {
        "@id": "#engine-run",
        "@type": "OrganizeAction",
        "name": f"Run of jitflow {facts.version}",
        "instrument": {"@id": _ENGINE},
        "object": _ids(_control_of(node) for node in facts.leaves),
        "result": {"@id": _RUN},
        **_given(startTime=facts.status.started_at, endTime=facts.status.finished_at),
    }


def _run(facts: Facts, files: "_Files") -> Entity:
    parameters = [one["@id"] for one in _arguments(facts) if one["@type"] == "PropertyValue"]
    return {
        "@id": _RUN,
        "@type": "CreateAction",
        "name": f"Run {facts.name}",
        "instrument": {"@id": MANIFEST},
        **_given(
            startTime=facts.status.started_at,
            endTime=facts.status.finished_at,
            actionStatus=_status(facts.status.phase),
            error=facts.status.message,
            object=_ids([*parameters, *files.sources()]),
            result=_ids(files.results()),
        ),
    }


def _status(phase: str | None) -> Entity | None:
    kind = _STATUS.get(phase or "", "Active")
    return {"@id": f"http://schema.org/{kind}ActionStatus"}


# -- steps -------------------------------------------------------------------------------------------------------------


def _templates(workflow: argo.Workflow) -> dict[str, argo.Template]:
    status = workflow.status
    found: dict[str, argo.Template] = {}
    if status is not None:
        found |= {template.name or key: template for key, template in status.stored_templates.items()}
        stored = status.stored_workflow_template_spec
        found |= {template.name or "": template for template in (stored.templates if stored is not None else ())}
    return found | {template.name or "": template for template in workflow.spec.templates}


def _name_of(node: argo.NodeStatus) -> str:
    return (node.template_ref.template if node.template_ref else "") or node.template_name or node.display_name or node.name


def _tool_of(node: argo.NodeStatus) -> str:
    return f"{MANIFEST}#template/{quote(_name_of(node))}"


def _step_of(facts: Facts, node: argo.NodeStatus) -> str:
    return f"{MANIFEST}#step/{quote(facts.path(node))}"


def _control_of(node: argo.NodeStatus) -> str:
    return f"#control/{quote(node.id)}"


def _action_of(node: argo.NodeStatus) -> str:
    return f"#action/{quote(node.id)}"


def _steps(facts: Facts) -> Iterator[Entity]:
    for position, node in enumerate(facts.leaves):
        yield {
            "@id": _step_of(facts, node),
            "@type": "HowToStep",
            "name": facts.path(node),
            "position": str(position),
            "workExample": {"@id": _tool_of(node)},
        }


def _controls(facts: Facts) -> Iterator[Entity]:
    for node in facts.leaves:
        yield {
            "@id": _control_of(node),
            "@type": "ControlAction",
            "name": f"Orchestration of {facts.path(node)}",
            "instrument": {"@id": _step_of(facts, node)},
            "object": {"@id": _action_of(node)},
            **_given(actionStatus=_status(node.phase)),
        }


def _tools(facts: Facts) -> Iterator[Entity]:
    for node in facts.leaves:
        template = facts.templates.get(_name_of(node))
        inputs = node.inputs.parameters if node.inputs else ()
        outputs = template.outputs.artifacts if template is not None and template.outputs else ()
        formal = [(f"{_tool_of(node)}/parameter/{quote(one.name)}", one.name, "Text") for one in inputs]
        formal_outputs = [(f"{_tool_of(node)}/output/{quote(one.name)}", one.name, "File") for one in outputs]
        yield {
            "@id": _tool_of(node),
            "@type": "SoftwareApplication",
            "name": _name_of(node),
            **_given(
                input=_ids(one for one, _, _ in formal),
                output=_ids(one for one, _, _ in formal_outputs),
                softwareRequirements=_ids(_image_id(image) for image in _images(template)),
            ),
        }
        for identity, name, kind in (*formal, *formal_outputs):
            yield {
                "@id": identity,
                "@type": "FormalParameter",
                "additionalType": kind,
                "conformsTo": {"@id": _FORMAL},
                "name": name,
            }
        yield from (_image(image) for image in _images(template))


def _images(template: argo.Template | None) -> list[str]:
    if template is None:
        return []
    containers = [template.container, template.script, *(template.container_set.containers if template.container_set else ())]
    more = (*template.init_containers, *template.sidecars)
    return list(dict.fromkeys(one.image for one in (*containers, *more) if one is not None and one.image))


def _image_id(image: str) -> str:
    return f"#image/{quote(image, safe='')}"


def _image(image: str) -> Entity:
    """Return an image's entity: its registry, name, tag and digest as its reference tells them."""
    rest, _, digest = image.partition("@")
    head, slash, tail = rest.partition("/")
    has_registry = bool(slash) and ("." in head or ":" in head or head == "localhost")
    registry, path = (head, tail) if has_registry else ("docker.io", rest)
    name, _, tag = path.partition(":")
    return {
        "@id": _image_id(image),
        "@type": "ContainerImage",
        "additionalType": {"@id": _IMAGE},
        "registry": registry,
        "name": name,
        **_given(tag=tag or ("" if digest else "latest"), sha256=digest.removeprefix("sha256:")),
    }


def _action(facts: Facts, node: argo.NodeStatus, files: "_Files") -> Iterator[Entity]:
    """Yield one attempt at a step, and the values of its parameters."""
    inputs = node.inputs.parameters if node.inputs else ()
    values = [
        _value(
            f"#value/{quote(node.id)}/{quote(one.name)}",
            one.name,
            one.value if one.value is not None else one.default,
            f"{_tool_of(node)}/parameter/{quote(one.name)}",
        )
        for one in inputs
    ]
    images = _images(facts.templates.get(_name_of(node)))
    yield {
        "@id": _action_of(node),
        "@type": "CreateAction",
        "name": facts.path(node),
        "instrument": {"@id": _tool_of(node)},
        **_given(
            startTime=node.started_at,
            endTime=node.finished_at,
            actionStatus=_status(node.phase),
            error=node.message if _STATUS.get(node.phase or "") == "Failed" else "",
            containerImage={"@id": _image_id(images[0])} if images else None,
            object=_ids([*(one["@id"] for one in values), *files.read(node)]),
            result=_ids(files.wrote(node)),
        ),
    }
    yield from values


# -- data --------------------------------------------------------------------------------------------------------------


class _Files:
    """The objects that were read and written; of one that changed meanwhile each version is an entity of its own."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._entities: dict[str, Entity] = {}
        self._versions: dict[str, list[tuple[str, str]]] = {}
        self._read: dict[str, list[str]] = {}
        self._wrote: dict[str, list[str]] = {}
        self._contents: list[Entity] = []
        by_id = {node.id: node for node in facts.leaves}
        # What was written comes first: the output's name is known of it, and who reads it reads the same version.
        for identity, step in facts.seen.items():
            node = by_id.get(identity)
            self._wrote[identity] = [self._add(seen, node) for seen in step.wrote]
        for identity, step in facts.seen.items():
            self._read[identity] = [self._add(seen, None) for seen in step.read]

    def _add(self, seen: Seen, node: argo.NodeStatus | None) -> str:
        uri, version = uri_of(seen.ref), (seen.version, seen.checksum)
        versions = self._versions.setdefault(uri, [])
        same = next((index for index, known in enumerate(versions) if _is_same(known, version)), None)
        if same is None:
            same = len(versions)
            versions.append(version)
        identity = uri if same == 0 else f"{uri}#{same + 1}"
        entity = self._entities.setdefault(identity, self._entity(identity, seen))
        if node is not None and seen.name:
            formal = f"{_tool_of(node)}/output/{quote(seen.name)}"
            template = self._facts.templates.get(_name_of(node))
            declared = template.outputs.artifacts if template is not None and template.outputs else ()
            if any(one.name == seen.name for one in declared):
                entity["exampleOfWork"] = {"@id": formal}
            entity["alternateName"] = f"{self._facts.path(node)}/{seen.name}"
        return identity

    def _entity(self, identity: str, seen: Seen) -> Entity:
        kind, _, digest = seen.checksum.partition(":")
        remote = seen.ref.partition(":")[0]
        entity: Entity = {
            "@id": identity,
            "@type": "Dataset" if seen.ref.endswith("/") else "File",
            "name": seen.ref.rstrip("/").rpartition("/")[2].rpartition(":")[2] or seen.ref,
            "identifier": seen.ref,
            "contentSize": str(seen.size_bytes),
            "provider": {"@id": _store_id(remote)},
            **_given(version=seen.version),
        }
        if kind in _HASHES:
            entity[_HASHES[kind]] = digest
        if seen.contents:
            entity["additionalProperty"] = {"@id": _contents_id(identity)}
            self._contents.append(_contents(identity, seen.contents))
        return entity

    def ids(self) -> list[str]:
        return list(self._entities)

    def entities(self) -> Iterable[Entity]:
        return (*self._entities.values(), *self._contents)

    def read(self, node: argo.NodeStatus) -> list[str]:
        return self._read.get(node.id, [])

    def wrote(self, node: argo.NodeStatus) -> list[str]:
        return self._wrote.get(node.id, [])

    def sources(self) -> list[str]:
        """Return what no step of the workflow has written."""
        written = {one for ids in self._wrote.values() for one in ids}
        return [one for ids in self._read.values() for one in ids if one not in written]

    def results(self) -> list[str]:
        """Return what was written and no later step has read."""
        read = {one for ids in self._read.values() for one in ids}
        return [one for ids in self._wrote.values() for one in ids if one not in read]

    def stores(self) -> Iterator[Entity]:
        remotes = dict.fromkeys(str(entity["identifier"]).partition(":")[0] for entity in self._entities.values())
        for remote in remotes:
            kind = self._facts.types.get(remote, "")
            yield {"@id": _store_id(remote), "@type": "Organization", "name": remote, **_given(description=kind)}


def _is_same(one: tuple[str, str], other: tuple[str, str]) -> bool:
    """Return whether two looks at an object saw the same: what one of them does not know tells nothing."""
    (version, checksum), (other_version, other_checksum) = one, other
    if version and other_version:
        return version == other_version
    kind, other_kind = checksum.partition(":")[0], other_checksum.partition(":")[0]
    return kind != other_kind or checksum == other_checksum


def _store_id(remote: str) -> str:
    return f"#store/{quote(remote)}"


def _contents_id(identity: str) -> str:
    return f"#contents/{quote(identity, safe='')}"


def _contents(identity: str, digest: str) -> Entity:
    """Return the digest of what an archive holds: the times in it change its bytes, and mean nothing."""
    return {"@id": _contents_id(identity), "@type": "PropertyValue", "name": CONTENTS, "value": digest}


def uri_of(ref: str) -> str:
    """Return the URI that names an object of a remote."""
    remote, _, path = ref.partition(":")
    return f"rclone://{quote(remote)}/{quote(path)}"
