"""What happens to a workflow (events, past tense) and what is to be done about it (effects, imperative)."""

from msgspec import Struct

from jitflow.model import argo
from jitflow.model.pods import PodEnd


class Event(Struct, frozen=True, kw_only=True, tag=True):
    """Something that happened; the only way a workflow's state changes."""


class WorkflowStarted(Event, frozen=True, kw_only=True):
    """The workflow was created and may begin. Also the first event after `spec.suspend` ends."""


class WorkflowPostponed(Event, frozen=True, kw_only=True):
    """The workflow was created, but too many run already: it begins later, with `WorkflowStarted`."""

    message: str


class PodStarted(Event, frozen=True, kw_only=True):
    """The pod of a node is running under its parent, on the machine `host`."""

    node_id: str
    host: str = ""


class PodReady(Event, frozen=True, kw_only=True):
    """A daemon's containers have started and their readiness probes succeed; `address`: where others reach it."""

    node_id: str
    address: str = ""


class PodWaits(Event, frozen=True, kw_only=True):
    """A node's pod does not start yet; `message` is shown as the node's message while it is Pending."""

    node_id: str
    message: str


class PodProgressed(Event, frozen=True, kw_only=True):
    """A node's pod says how far it is, as `n/m`."""

    node_id: str
    progress: str


class PodEnded(Event, frozen=True, kw_only=True):
    """A node's pod ended; `image_exit` and artifacts as the executor recorded them."""

    node_id: str
    end: PodEnd


class PodRefused(Event, frozen=True, kw_only=True):
    """A node's pod can never start (input missing, entrypoint unknown, does not fit): the node is in Error."""

    node_id: str
    message: str


class OutputsSaved(Event, frozen=True, kw_only=True):
    """A node's output artifacts are proven at their secondaries; `error` says which could not be. `lost`: they are nowhere."""

    node_id: str
    error: str = ""
    lost: bool = False


class TimerFired(Event, frozen=True, kw_only=True):
    """A timer asked for by `StartTimer` is due; a timer of a node that moved on is ignored."""

    key: str


class SuspendRequested(Event, frozen=True, kw_only=True):
    """Start nothing new (`spec.suspend`)."""


class ResumeRequested(Event, frozen=True, kw_only=True):
    """End the suspension; `selector` as Argo's nodeFieldSelector, empty for all Suspend nodes."""

    selector: str = ""
    message: str = ""


class SuspendedNodesSet(Event, frozen=True, kw_only=True):
    """Supply output parameters to the suspended nodes that `selector` names; a `phase` also ends them."""

    selector: str
    outputs: dict[str, str] = {}
    message: str = ""
    phase: str = ""


class ShutdownRequested(Event, frozen=True, kw_only=True):
    """Stop (`Stop`: exit handlers still run) or terminate (`Terminate`: they do not)."""

    strategy: str
    message: str = ""
    selector: str = ""


class RetryRequested(Event, frozen=True, kw_only=True):
    """Run a finished, failed workflow again from where it failed."""

    restart_successful: bool = False
    selector: str = ""
    parameters: tuple[str, ...] = ()
    postponed: str = ""
    """Why it does not go on at once: it does with `WorkflowStarted`."""


class LocksTaken(Event, frozen=True, kw_only=True):
    """The locks that a node (or, without a name, the workflow) asked for are its own now."""

    node_id: str = ""


class LocksAwaited(Event, frozen=True, kw_only=True):
    """A node or the workflow waits for its locks; `message` says for which."""

    node_id: str = ""
    message: str = ""


class LocksRefused(Event, frozen=True, kw_only=True):
    """The locks can never be had: a semaphore has no limit."""

    node_id: str = ""
    message: str = ""


class LabelsSet(Event, frozen=True, kw_only=True):
    """Labels and annotations were given to the workflow while it runs; None takes one away."""

    labels: dict[str, str | None] = {}
    annotations: dict[str, str | None] = {}


class TaskProgress(Event, frozen=True, kw_only=True):
    """The work of a node without a pod has begun, or has something to say while it goes on."""

    node_id: str
    message: str = ""


class TaskEnded(Event, frozen=True, kw_only=True):
    """The work of a node without a pod is done. `phase`: Succeeded, Failed or Error."""

    node_id: str
    phase: str
    message: str = ""
    outputs: argo.Outputs | None = None


class DeletionRequested(Event, frozen=True, kw_only=True):
    """A finished workflow is to be deleted; its artifacts go first, as far as their strategies say so."""


class ArtifactFate(Struct, frozen=True, kw_only=True):
    """What became of an artifact that was to be deleted; `error` is empty if it is gone."""

    node_id: str
    name: str
    error: str = ""


class ArtifactsDeleted(Event, frozen=True, kw_only=True):
    """The artifacts of a strategy are deleted, each or some of them."""

    strategy: str
    results: tuple[ArtifactFate, ...] = ()


class Effect(Struct, frozen=True, kw_only=True, tag=True):
    """Something to do after the commit; performing it twice is harmless. `key` is unique within the run."""

    key: str


class NamedFile(Struct, frozen=True, kw_only=True):
    """A file that a step reads by itself: it looks for `near` first, and reads `far` where that is not there."""

    far: argo.Artifact
    near: argo.Artifact


class LaunchPod(Effect, frozen=True, kw_only=True):
    """Get the node's inputs near, then run its pod. Open until the node has ended.

    `template` has every tag resolved except those of outputs; `inputs` and `outputs` are the node's own, resolved.
    """

    node_id: str
    pod_name: str
    template: argo.Template
    workflow_level: "PodDefaults"
    capture_result: bool = False
    logs: tuple[argo.Artifact, ...] = ()
    """The logs that are archived: `NAME-logs` for the container NAME, each with its location."""
    deadline_s: float | None = None
    deadline_at: float | None = None
    named: tuple[NamedFile, ...] = ()


class PodDefaults(Struct, frozen=True, kw_only=True):
    """What a pod takes from its workflow."""

    namespace: str
    workflow_name: str
    workflow_uid: str
    volumes: tuple[argo.Volume, ...] = ()
    pod_spec_patch: str = ""
    node_selector: dict[str, str] = {}
    repository: argo.ArtifactRepository | None = None
    """Where locations lie that are just a key; None: where the server's settings say."""
    priority: int = 0


class KillPod(Effect, frozen=True, kw_only=True):
    """End the node's pod (TERM, grace, KILL), or give up getting its inputs."""

    node_id: str
    grace_s: float = 30.0


class RunTask(Effect, frozen=True, kw_only=True):
    """Do the work of a template that needs no pod. Open until the node has ended; closing it gives the work up.

    After a restart it is done again from its beginning: a request may be sent more than once.
    `kind`: http, plugin, data or resource. `template` has every tag resolved except those of outputs.
    """

    node_id: str
    kind: str
    template: argo.Template
    workflow_level: PodDefaults
    own_plugins: bool = False
    """The workflow brings its plugins along (`ServePlugins`); those of the settings are not asked."""


class ServePlugins(Effect, frozen=True, kw_only=True):
    """Let a workflow's own executor plugins run. Open until the workflow ends."""

    plugins: tuple[argo.ExecutorPlugin, ...]
    workflow_level: PodDefaults


class StartTimer(Effect, frozen=True, kw_only=True):
    """Deliver `TimerFired(key)` at `due` (seconds since the epoch)."""

    due: float


class Lock(Struct, frozen=True, kw_only=True):
    """A mutex, or a semaphore whose limit is in a ConfigMap's key or, without one, in the database under the key."""

    name: str
    namespace: str = ""
    config_map: str = ""
    key: str = ""
    is_semaphore: bool = False


class TakeLocks(Effect, frozen=True, kw_only=True):
    """Get all locks of a node (of the workflow for an empty id). Open until they are given back."""

    node_id: str
    locks: tuple[Lock, ...]
    priority: int = 0
    created_at: float = 0.0


class MakeClaims(Effect, frozen=True, kw_only=True):
    """Make the volume claims of a workflow. Open until it ends, so that they are there again after a restart."""

    namespace: str
    claims: tuple[argo.PersistentVolumeClaim, ...]


class DropClaims(Effect, frozen=True, kw_only=True):
    """Delete the volume claims of a workflow that has ended, with what they hold."""

    namespace: str
    names: tuple[str, ...]


class SaveMemo(Effect, frozen=True, kw_only=True):
    """Keep a node's outputs in the ConfigMap of a cache; lost with a crash, for it is only a cache."""

    namespace: str
    cache: str
    memo_key: str
    entry: str


class Sample(Struct, frozen=True, kw_only=True):
    """One value for a custom metric: added to a counter, given to a histogram, set on a gauge (or added to it, or taken off).

    `kind`: counter, gauge or histogram; `operation` (gauges only): Set, Add or Sub.
    """

    kind: str
    name: str
    help: str
    labels: tuple[tuple[str, str], ...] = ()
    value: float = 0.0
    operation: str = "Set"
    buckets: tuple[float, ...] = ()


class EmitMetrics(Effect, frozen=True, kw_only=True):
    """Take the values of custom metrics; once, for they are kept in memory and begin anew with each server, as Argo's do."""

    samples: tuple[Sample, ...]


class ShowClocks(Effect, frozen=True, kw_only=True):
    """Let gauges tell the seconds since a time. Open while what they are about runs, so that they go on after a restart."""

    gauges: tuple[Sample, ...]
    since: float


class Garbage(Struct, frozen=True, kw_only=True):
    """An output artifact of a node that is to be deleted."""

    node_id: str
    artifact: argo.Artifact


class DeleteArtifacts(Effect, frozen=True, kw_only=True):
    """Delete artifacts of a finished workflow where they lie. Open until that was tried; doing it twice is harmless.

    `repository`: where key-only locations lie, None for the server's own.
    """

    strategy: str
    garbage: tuple[Garbage, ...]
    namespace: str = ""
    repository: argo.ArtifactRepository | None = None


class CloseWorkflow(Effect, frozen=True, kw_only=True):
    """The workflow has ended: withdraw its future, tell the watchers."""


class Note(Struct, frozen=True, kw_only=True):
    """A line of the run's history, as Kubernetes' events: `kind` Normal or Warning; `reason` in CamelCase."""

    at: float
    reason: str
    message: str
    kind: str = "Normal"
    node_id: str = ""
