"""One workflow's state: immutable, so that an older one stays valid; most of it can be counted again from the nodes."""

from collections.abc import Iterable

import msgspec
from immutables import Map
from msgspec import Struct

from jitflow.machine import node as nodes_module
from jitflow.machine import shares
from jitflow.machine.graph import counts_as_bad, dag_plan, dooms, fails_fast
from jitflow.machine.node import Key, Node, decode_node
from jitflow.machine.program import Program
from jitflow.model import argo, repositories
from jitflow.model.effective import MissingTemplate, effective_spec, with_config_values, with_defaults
from jitflow.model.objects import NO_OBJECTS, Objects
from jitflow.model.runs import Effect, Note

Children = Map[Key, str]
NO_CHILDREN: Children = Map()


class Frame(Struct, frozen=True, kw_only=True, gc=False):
    """What a composite node that has not ended counts, so that the end of a child costs the same however many there are."""

    open: int = 0
    """Children (by owner) that have not ended."""
    active: int = 0
    """Pods, steps and DAGs of this boundary that are Pending or Running."""
    failed: int = 0
    """Of those that ended, how many failed."""
    bad: Key | None = None
    """The child that decides a group's failure: the first of a step group, the last of a task group."""
    left: int = 0
    """Tasks of a DAG that have no node yet."""
    doomed: bool = False
    """A DAG that starts nothing new, for a target has failed."""
    daemons: frozenset[str] = frozenset()
    """Ready daemons of this boundary that run: they end with it."""


NO_FRAME = Frame()


class Queue(Struct, frozen=True, kw_only=True, gc=False):
    """Nodes that wait for a slot, first come, first served; entries that moved on are skipped when they are met."""

    head: int = 0
    tail: int = 0
    items: Map[int, tuple[str, int]] = Map()
    """Position -> (node id, its `seq`)."""


NO_QUEUE = Queue()


class Run(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """The workflow's own part of the state; stored in the header. New fields go to the end."""

    phase: str = ""
    message: str = ""
    started_at: float | None = None
    finished_at: float | None = None
    outputs: argo.Outputs | None = None
    suspended: bool = False
    shutdown: str = ""
    shutdown_message: str = ""
    expired: bool = False
    """`activeDeadlineSeconds` has passed."""
    created_at: float = 0.0
    stored: dict[str, argo.Template] = {}
    """Templates of other objects that were used, by key, as they were then."""
    locking: str = ""
    """Of the workflow's own locks: `wanted` while it waits for them, `held` when it has them."""
    locks: tuple[str, ...] = ()
    """Names of the workflow's own mutexes and semaphores."""
    labels: dict[str, str] = {}
    """Labels that were worked out when the workflow began (`labelsFrom`)."""
    invalid: str = ""
    """Why the workflow cannot run at all: found out after it was created."""
    metrics_error: str = ""
    """Why a custom metric could not be told, the last time."""
    postponed: bool = False
    """It has not begun, for too many workflows run already."""
    patched_labels: dict[str, str | None] = {}
    """Labels that were set while it runs; None: taken away."""
    patched_annotations: dict[str, str | None] = {}
    taken_over: bool = False
    """Its nodes come from another workflow, and are not stored yet."""
    repository: argo.ArtifactRepositoryRefStatus = repositories.SERVER
    """Where artifacts without a location lie; it stays as it was when the workflow was created."""
    archive_logs: bool = False
    """The server archives the logs of all pods."""
    gc_processed: tuple[str, ...] = ()
    """Strategies of artifact garbage collection whose time has come."""
    gc_open: tuple[str, ...] = ()
    """Those whose artifacts are being deleted."""
    gc_recouped: tuple[str, ...] = ()
    """Those of which the outcome is known."""
    gc_error: str = ""
    """What could not be deleted, and why."""
    deleting: float | None = None
    """When somebody asked for the workflow's deletion."""
    plugins: bool = False
    """Its own executor plugins were asked for."""
    estimates: dict[str, int] = {}
    """Seconds that nodes are expected to take, by their names without the workflow's."""
    host: str = ""
    """The machine on which its pods run, when the first does."""

    @property
    def store(self) -> argo.ArtifactRepository:
        """The repository itself."""
        return self.repository.artifact_repository or argo.ArtifactRepository()


class Counts(Struct, frozen=True, kw_only=True, gc=False):
    """Sums over all nodes."""

    active_pods: int = 0
    progress: tuple[int, int] = (0, 0)
    saving: int = 0
    seq: int = 0


class State(Struct, frozen=True, kw_only=True, gc=False):
    """One workflow's state. Equal nodes and run give equal states: the rest is an index of them."""

    program: Program
    run: Run
    nodes: Map[str, Node] = Map()
    children: Map[str, Children] = Map()
    frames: Map[str, Frame] = Map()
    waits: Map[tuple[str, int], int] = Map()
    """(DAG node, task) -> dependencies that have not ended, for tasks of which some have."""
    queues: Map[str, Queue] = Map()
    counts: Counts = Counts()

    @property
    def workflow(self) -> argo.Workflow:
        """The manifest, without status."""
        return self.program.workflow

    @property
    def root_id(self) -> str:
        """The id of the root node: the workflow's name."""
        return self.program.name

    @property
    def progress(self) -> str:
        """The sum of what the nodes have done of what they have to do, as `n/m`."""
        return "{}/{}".format(*self.counts.progress)


class Decision(Struct, frozen=True, kw_only=True, gc=False):
    """What an event comes to. `nodes` changed or are new, `nodes_removed` are gone; `effects_done` are keys of effects."""

    state: State
    nodes: tuple[Node, ...] = ()
    nodes_removed: tuple[str, ...] = ()
    effects: tuple[Effect, ...] = ()
    effects_done: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()
    header_changed: bool = False


class _Header(Struct, frozen=True, kw_only=True, array_like=True):
    version: int
    workflow: argo.Workflow
    run: Run
    spec: argo.WorkflowSpec | None = None
    """What the workflow runs with, if that is not its own spec."""


HEADER_VERSION = 1
_header_decoder = msgspec.msgpack.Decoder(_Header)


def new_state(
    workflow: argo.Workflow,
    *,
    now: float = 0.0,
    objects: Objects = NO_OBJECTS,
    invalid: str = "",
    repository: argo.ArtifactRepositoryRefStatus = repositories.SERVER,
    archive_logs: bool = False,
    defaults: argo.Workflow | None = None,
) -> State:
    """Return the state of a workflow that has not begun. Its manifest must be valid and have a name.

    Args:
        workflow: the manifest.
        now: seconds since the epoch.
        objects: where the template is found that the workflow may refer to; one that is missing is an error of the run.
        invalid: why the workflow cannot run, if that is known: it will end in Error as soon as it begins.
        repository: where artifacts without a location lie if neither the workflow nor its namespace says.
        archive_logs: whether the server archives the logs of all pods.
        defaults: what the server says where a workflow says nothing.
    """
    if workflow.status is not None:
        workflow = msgspec.structs.replace(workflow, status=None)
    if defaults is not None:
        workflow = with_defaults(workflow, defaults)
    spec, namespace = None, (workflow.metadata and workflow.metadata.namespace) or ""
    try:
        if workflow.spec.workflow_template_ref is not None:
            spec = effective_spec(workflow, objects, defaults.spec if defaults is not None else None)
        arguments = (spec or workflow.spec).arguments
        if any(p.value_from is not None and p.value_from.config_map_key_ref for p in (arguments or argo.Arguments()).parameters):
            arguments = with_config_values(arguments or argo.Arguments(), namespace, objects)
            spec = msgspec.structs.replace(spec or workflow.spec, arguments=arguments)
        repository = repositories.resolve((spec or workflow.spec).artifact_repository_ref, namespace, objects, repository)
    except (MissingTemplate, repositories.MissingRepository) as error:
        invalid = invalid or str(error)
    metadata = _with_metadata(workflow.metadata, (spec or workflow.spec).workflow_metadata)
    if metadata is not workflow.metadata:
        workflow = msgspec.structs.replace(workflow, metadata=metadata)
    suspended = bool((spec or workflow.spec).suspend)
    run = Run(created_at=now, suspended=suspended, invalid=invalid, repository=repository, archive_logs=archive_logs)
    return State(program=Program(workflow, spec=spec), run=run)


def _with_metadata(own: argo.ObjectMeta | None, more: argo.WorkflowMetadata | None) -> argo.ObjectMeta:
    """Return the workflow's metadata with what `spec.workflowMetadata` adds."""
    own = own or argo.ObjectMeta()
    if more is None:
        return own
    return msgspec.structs.replace(own, labels={**own.labels, **more.labels}, annotations={**own.annotations, **more.annotations})


def encode_header(state: State) -> bytes:
    """Return the state without its nodes, as the store keeps it."""
    return msgspec.msgpack.encode(
        _Header(version=HEADER_VERSION, workflow=state.workflow, run=state.run, spec=state.program.own_spec)
    )


def header_differs(old: State, new: State) -> bool:
    """Return whether the header must be written again."""
    return old.run is not new.run or old.program is not new.program


def restore(header: bytes, nodes: Iterable[bytes]) -> State:
    """Return the state that goes on exactly as the one that was encoded.

    Raises:
        msgspec.DecodeError: the rows are damaged.
    """
    found = _header_decoder.decode(header)
    return recount(
        Program(found.workflow, spec=found.spec, stored=found.run.stored), found.run, (decode_node(row) for row in nodes)
    )


def recount(program: Program, run: Run, nodes: Iterable[Node]) -> State:
    """Return the state of these nodes, everything that is counted counted anew."""
    return _Recount(program, run, nodes).state()


class _Recount:
    def __init__(self, program: Program, run: Run, nodes: Iterable[Node]) -> None:
        self._program = program
        self._run = run
        self._nodes = {node.id: node for node in nodes}
        self._children: dict[str, dict[Key, str]] = {}

    def state(self) -> State:
        """Count."""
        for node in self._nodes.values():
            if node.owner:
                self._children.setdefault(node.owner, {})[node.key] = node.id
        return State(
            program=self._program,
            run=self._run,
            nodes=Map(self._nodes),
            children=Map({owner: Map(children) for owner, children in self._children.items()}),
            frames=Map(self._frames()),
            waits=Map(self._waits()),
            queues=Map(self._queues()),
            counts=self._counts(),
        )

    def _frames(self) -> dict[str, Frame]:
        frames: dict[str, Frame] = {}
        active: dict[str, int] = {}
        failed: dict[str, int] = {}
        daemons: dict[str, set[str]] = {}
        for node in self._nodes.values():
            if node.boundary and node.is_daemon:
                daemons.setdefault(node.boundary, set()).add(node.id)
            if node.takes_slot and not node.is_waiting and not node.is_fulfilled:
                active[node.boundary] = active.get(node.boundary, 0) + 1
            elif node.boundary and node.fails_boundary:
                failed[node.boundary] = failed.get(node.boundary, 0) + 1
        for node in self._nodes.values():
            if node.type in COMPOSITES and not node.is_fulfilled and not node.is_waiting:
                counted = Frame(
                    active=active.get(node.id, 0),
                    failed=failed.get(node.id, 0),
                    daemons=frozenset(daemons.get(node.id, ())),
                )
                frames[node.id] = self._frame(node, counted)
        return frames

    def _frame(self, node: Node, frame: Frame) -> Frame:
        found = (self._nodes[child] for child in self._children.get(node.id, {}).values())
        children = [child for child in found if not child.is_hook]
        left, doomed, bad = 0, False, None
        if node.type == nodes_module.DAG:
            plan, template = dag_plan(self._program, node), self._program.template(node.template)
            left = len(plan.needed) - len(children)
            doomed = fails_fast(template) and any(dooms(template.tasks, plan, child) for child in children if child.is_complete)
        elif node.type in {nodes_module.STEPS, nodes_module.STEP_GROUP, nodes_module.TASK_GROUP}:
            keys = [
                child.key for child in children if child.is_complete and counts_as_bad(self._program, self._nodes, node, child)
            ]
            if keys:
                bad = max(keys) if node.type == nodes_module.TASK_GROUP else min(keys)
        return msgspec.structs.replace(
            frame,
            open=sum(not child.is_complete for child in children),
            bad=bad,
            left=left,
            doomed=doomed,
        )

    def _waits(self) -> dict[tuple[str, int], int]:
        waits: dict[tuple[str, int], int] = {}
        for node in self._nodes.values():
            if node.type != nodes_module.DAG or node.is_fulfilled or node.held:
                continue
            tasks = self._program.template(node.template).tasks
            children = self._children.get(node.id, {})
            for index in dag_plan(self._program, node).needed:
                if (index, -1) in children:
                    continue
                dependencies = tasks[index].dependencies
                ids = [children.get((dependency, -1)) for dependency in dependencies]
                unmet = sum(1 for child in ids if child is None or not self._nodes[child].is_complete)
                if 0 < unmet < len(dependencies):
                    waits[node.id, index] = unmet
        return waits

    def _queues(self) -> dict[str, Queue]:
        listed: dict[str, list[Node]] = {}
        for node in self._nodes.values():
            if node.is_waiting and node.locking != "wanted":
                listed.setdefault(node.limiter, []).append(node)
        queues: dict[str, Queue] = {}
        for limiter, waiting in listed.items():
            waiting.sort(key=lambda node: node.seq)
            items = {place: (node.id, node.seq) for place, node in enumerate(waiting)}
            queues[limiter] = Queue(tail=len(waiting), items=Map(items))
        return queues

    def _counts(self) -> Counts:
        pods = [node for node in self._nodes.values() if node.type in nodes_module.EXECUTABLE and not node.is_waiting]
        ended = sum(node.is_fulfilled for node in pods)
        counted = [shares.of(node) for node in self._nodes.values()]
        return Counts(
            active_pods=len(pods) - ended,
            progress=(sum(done for done, _ in counted), sum(total for _, total in counted)),
            saving=sum(node.saving for node in pods),
            seq=max((node.seq for node in self._nodes.values()), default=0),
        )


COMPOSITES = frozenset(
    {nodes_module.STEPS, nodes_module.STEP_GROUP, nodes_module.DAG, nodes_module.TASK_GROUP, nodes_module.RETRY}
)
"""Types that own other nodes."""
