"""Steps of a workflow that another Argo runs: what its manifest foresees, and what its status says of that.

The forecast of a workflow that has not begun is laid over the nodes of the status, which have the same ids here and there. What
is not known ahead (loops over results, templates that only the other Argo has) shows as soon as its node is there.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from msgspec import Struct
from msgspec.structs import replace

from jitflow.machine import phases
from jitflow.machine.forecast import forecast
from jitflow.machine.named import NamedFiles, named_files, names_in
from jitflow.machine.names import node_id
from jitflow.machine.problems import Problem, Unknown
from jitflow.machine.state import State, new_state
from jitflow.model import argo, repositories
from jitflow.model.foreign import ACTIVE, COMING, DONE, FINAL, Version
from jitflow.model.objects import NO_OBJECTS, ConfigMap, O, Objects
from jitflow.model.problems import Refused
from jitflow.model.runs import NamedFile

MAX_STEPS = 5_000
"""More steps than this are not looked at ahead: the others are known when they have a node."""
_PHASE_LABEL = "workflows.argoproj.io/phase"
_ENDED = frozenset({phases.SUCCEEDED, phases.FAILED, phases.ERROR, phases.SKIPPED, phases.OMITTED})
_POD, _RETRY = "Pod", "Retry"

Validate = Callable[[argo.Workflow, Objects], None]
"""Raises `Refused` where a manifest cannot be used."""


class SeenStep(Struct, frozen=True, kw_only=True):
    """A step with its artifacts as the manifest or the status name them."""

    id: str
    name: str
    template: str = ""
    state: str = COMING
    inputs: tuple[argo.Artifact, ...] = ()
    outputs: tuple[argo.Artifact, ...] = ()
    named: tuple[NamedFile, ...] = ()
    after: tuple[str, ...] = ()
    certain: bool = True


class Seen(Struct, frozen=True, kw_only=True):
    """What one view of a workflow shows. `repository`: where artifacts without a place lie, None if that is not known."""

    steps: tuple[SeenStep, ...] = ()
    repository: argo.ArtifactRepository | None = None
    problems: tuple[str, ...] = ()


class StoredTemplates:
    """The templates that a status holds as they were used; of other objects only ConfigMaps are known here."""

    def __init__(self, templates: Mapping[str, argo.Template], configs: Objects) -> None:
        """Gather them by the object that they belong to: keys are `scope/object/template`."""
        self._configs = configs
        self._found: dict[tuple[str, str], list[argo.Template]] = {}
        for key, template in templates.items():
            scope, _, rest = key.partition("/")
            owner, _, name = rest.rpartition("/")
            self._found.setdefault((scope, owner), []).append(replace(template, name=template.name or name))

    def find(self, kind: type[O], namespace: str, name: str) -> O | None:
        """Return an object, None if it is not known."""
        if kind is ConfigMap:
            return self._configs.find(kind, namespace, name)
        scope = "cluster" if kind is argo.ClusterWorkflowTemplate else "namespaced"
        templates = self._found.get((scope, name))
        if templates is None or kind not in {argo.WorkflowTemplate, argo.ClusterWorkflowTemplate}:
            return None
        return cast("Any", kind)(metadata=_named(name), spec=argo.WorkflowSpec(templates=tuple(templates)))


def _named(name: str) -> argo.ObjectMeta:
    return argo.ObjectMeta(name=name)


def phase_of(workflow: argo.Workflow) -> str:
    """Return a workflow's phase: as its status says, else its label."""
    phase = workflow.status.phase if workflow.status is not None else None
    return phase or (workflow.metadata.labels.get(_PHASE_LABEL, "") if workflow.metadata is not None else "")


def finished_at(workflow: argo.Workflow) -> str:
    """Return when a workflow ended, empty if it has not."""
    return _time(workflow.status.finished_at) if workflow.status is not None else ""


def version_of(workflow: argo.Workflow, *, deleted: bool = False) -> Version:
    """Return how new this view of a workflow is."""
    metadata, status = workflow.metadata or argo.ObjectMeta(), workflow.status or argo.WorkflowStatus()
    text = metadata.resource_version or ""
    resource = int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else -1
    nodes = status.nodes.values()
    stamps = [status.started_at, status.finished_at, *(t for node in nodes for t in (node.started_at, node.finished_at))]
    return Version(
        closing=resource < 0 and (deleted or phase_of(workflow) in FINAL),
        resource=resource,
        generation=metadata.generation if metadata.generation is not None else -1,
        latest=max(map(_time, stamps), default=""),
        done=sum(1 for node in nodes if node.phase in _ENDED),
    )


def _time(text: str | None) -> str:
    """Return a time as it is written; some senders write that there is none."""
    return text if text and text[:1].isdigit() else ""


def seen(workflow: argo.Workflow, validate: Validate, objects: Objects = NO_OBJECTS) -> Seen:
    """Return the steps of a workflow in order of need. `objects`: where ConfigMaps are found that it may refer to.

    A manifest that this version cannot read ahead is no error: its nodes and listed files are known all the same.
    """
    status = workflow.status or argo.WorkflowStatus()
    known = _repository(status)
    config = StoredTemplates(status.stored_templates, objects if known is None else NO_OBJECTS)
    spec = status.stored_workflow_template_spec or workflow.spec
    spec = replace(spec, workflow_template_ref=None) if status.stored_workflow_template_spec is not None else spec
    plain = replace(workflow, spec=spec, status=None)
    problems: list[str] = []
    steps: list[SeenStep] = []
    state: State | None = None
    try:
        validate(plain, config)
        default = argo.ArtifactRepositoryRefStatus(artifact_repository=known) if known is not None else repositories.SERVER
        state = new_state(plain, objects=config, repository=default)
        if known is None and state.run.repository is not default:
            known = state.run.store
        steps = _foreseen(state, config)
    except (Refused, Problem, Unknown, LookupError, ValueError, RecursionError) as error:
        problems.append(f"its steps are not foreseen: {str(error)[:500] or type(error).__name__}")
    files = state.program.named if state is not None else _files(spec)
    steps, more = _with_status(steps, status.nodes), _not_foreseen(steps, status.nodes, files)
    listed = _listed(workflow, spec, files, steps, more)
    return Seen(steps=(*steps, *more, *listed), repository=known, problems=tuple(problems))


def _repository(status: argo.WorkflowStatus) -> argo.ArtifactRepository | None:
    ref = status.artifact_repository_ref
    found = ref.artifact_repository if ref is not None else None
    return found if found is not None and repositories.kind_of(found) else None


def _foreseen(state: State, objects: Objects) -> list[SeenStep]:
    return [
        SeenStep(
            id=step.node_id,
            name=step.name,
            template=step.template,
            inputs=step.inputs,
            outputs=step.outputs,
            named=step.named,
            after=step.after,
            certain=step.certain,
        )
        for step in forecast(state, limit=MAX_STEPS, objects=objects)
    ]


# -- what the status says ----------------------------------------------------------------------------------------------


def _with_status(steps: Iterable[SeenStep], nodes: Mapping[str, argo.NodeStatus]) -> list[SeenStep]:
    by_name = {node.name: node for node in nodes.values()}
    found: list[SeenStep] = []
    for step in steps:
        node = nodes.get(step.id)
        if node is None:
            found.append(replace(step, state=DONE if _is_over(step.name, by_name) else COMING))
            continue
        known = node.inputs.artifacts if node.inputs is not None else ()
        state = _state_of(node, by_name)
        found.append(replace(step, state=state, inputs=known or step.inputs, certain=True))
    return found


def _not_foreseen(steps: Iterable[SeenStep], nodes: Mapping[str, argo.NodeStatus], files: NamedFiles) -> list[SeenStep]:
    """Return the pods that only the status knows, in order of their beginning."""
    foreseen = {step.id for step in steps}
    by_name = {node.name: node for node in nodes.values()}
    more = sorted(
        (node for node in nodes.values() if node.type == _POD and node.id not in foreseen),
        key=lambda node: (_time(node.started_at), node.name),
    )
    return [
        SeenStep(
            id=node.id,
            name=node.name,
            template=node.template_name or "",
            state=_state_of(node, by_name),
            inputs=node.inputs.artifacts if node.inputs is not None else (),
            named=files.read_by(node.inputs.parameters) if node.inputs is not None else (),
        )
        for node in more
    ]


def _state_of(node: argo.NodeStatus, by_name: Mapping[str, argo.NodeStatus]) -> str:
    """Return a node's state; an attempt that has failed is not over as long as another one may follow."""
    if node.phase not in _ENDED:
        return ACTIVE
    above = by_name.get(node.name[: node.name.rfind("(")]) if node.name.endswith(")") else None
    if above is not None and above.type == _RETRY and above.phase not in _ENDED:
        return ACTIVE
    return DONE


def _is_over(name: str, by_name: Mapping[str, argo.NodeStatus]) -> bool:
    """Return whether something around a step that has no node has ended: it will never run."""
    for place, char in enumerate(name):
        if char in ".[(":
            around = by_name.get(name[:place])
            if around is not None and around.phase in _ENDED:
                return True
    return False


# -- files that are listed in parameters -------------------------------------------------------------------------------


def _files(spec: argo.WorkflowSpec) -> NamedFiles:
    return named_files({p.name: p.value or p.default or "" for p in _parameters(spec)})


def _parameters(spec: argo.WorkflowSpec) -> tuple[argo.Parameter, ...]:
    return spec.arguments.parameters if spec.arguments is not None else ()


def _listed(
    workflow: argo.Workflow, spec: argo.WorkflowSpec, files: NamedFiles, foreseen: Sequence[SeenStep], more: Sequence[SeenStep]
) -> list[SeenStep]:
    """Return a step for each listed file that no step is foreseen to read, in the order of the list.

    It lasts until every pod that has turned out to read the file has ended.
    """
    if not files.files:
        return []
    read = {file.far.name for step in foreseen for file in step.named}
    text = next((p.value or "" for p in _parameters(spec) if p.name == "files"), "")
    states: dict[str, set[str]] = {}
    for step in more:
        for file in step.named:
            states.setdefault(file.far.name, set()).add(step.state)
    name = (workflow.metadata and workflow.metadata.name) or ""
    found: list[SeenStep] = []
    for file in dict.fromkeys(names_in(text)):
        named = files.read_by([argo.Parameter(name="file", value=file)]) if file not in read else ()
        if named:
            known = states.get(file, set())
            state = ACTIVE if ACTIVE in known else DONE if known else COMING
            full = f"{name}.files({file})"
            found.append(SeenStep(id=node_id(name, full), name=full, named=named, state=state))
    return found
