"""The small objects that jitflow keeps beside runs, as Kubernetes would: templates, schedules, ConfigMaps, Secrets, claims."""

from typing import Any, Protocol, TypeVar

from msgspec import field

from jitflow.model import argo


class ConfigMap(argo.Base, frozen=True, kw_only=True):
    """Named texts. `binaryData` is base64."""

    api_version: str | None = field(default=None, name="apiVersion")
    kind: str | None = None
    metadata: argo.ObjectMeta | None = None
    data: dict[str, str] = field(default_factory=dict)
    binary_data: dict[str, str] = field(default_factory=dict, name="binaryData")
    immutable: bool | None = None


class Secret(argo.Base, frozen=True, kw_only=True):
    """Named secret values. `data` is base64; `stringData` is plain and taken into `data` when the object is stored."""

    api_version: str | None = field(default=None, name="apiVersion")
    kind: str | None = None
    metadata: argo.ObjectMeta | None = None
    data: dict[str, str] = field(default_factory=dict)
    string_data: dict[str, str] = field(default_factory=dict, name="stringData")
    immutable: bool | None = None
    type: str | None = None


TYPE_LABEL = "workflows.argoproj.io/configmap-type"
CACHE_TYPE = "Cache"
"""Value of that label for ConfigMaps that keep memoized outputs."""


class SyncLimit(argo.Base, frozen=True, kw_only=True):
    """How many may hold a semaphore of the database; its key is the object's name."""

    kind: str | None = None
    metadata: argo.ObjectMeta | None = None
    limit: int = 0


AnyObject = (
    argo.WorkflowTemplate
    | argo.ClusterWorkflowTemplate
    | argo.CronWorkflow
    | argo.WorkflowEventBinding
    | argo.PersistentVolumeClaim
    | ConfigMap
    | Secret
    | SyncLimit
)

KINDS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        argo.WorkflowTemplate,
        argo.ClusterWorkflowTemplate,
        argo.CronWorkflow,
        argo.WorkflowEventBinding,
        argo.PersistentVolumeClaim,
        ConfigMap,
        Secret,
        SyncLimit,
    )
}

O = TypeVar("O")  # noqa: E741 - an object's type


class Objects(Protocol):
    """The objects as they are now: a view that answers at once and does no I/O."""

    def find(self, kind: type[O], namespace: str, name: str) -> O | None:
        """Return an object, None when there is none. `namespace` is empty for kinds of the whole cluster."""
        ...


class _Nothing:
    def find(self, kind: type[O], namespace: str, name: str) -> O | None:
        del kind, namespace, name


NO_OBJECTS: Objects = _Nothing()
"""No objects at all."""
