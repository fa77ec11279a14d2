"""What is kept beside workflows: templates, schedules, event bindings, ConfigMaps, Secrets, claims, limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from msgspec import Struct

from jitflow.client._calls import Group, S, call
from jitflow.client._later import Later
from jitflow.client._requests import ALL, Call, Page, body_of, get, listing, page, remove, send
from jitflow.model.backfill import BackfillView, BackfillWish

if TYPE_CHECKING:
    from jitflow.model.argo import (
        ClusterWorkflowTemplate,
        CronWorkflow,
        PersistentVolumeClaim,
        WorkflowEventBinding,
        WorkflowTemplate,
    )
    from jitflow.model.objects import ConfigMap, Secret
else:
    ClusterWorkflowTemplate = Later("jitflow.model.argo", "ClusterWorkflowTemplate")
    CronWorkflow = Later("jitflow.model.argo", "CronWorkflow")
    PersistentVolumeClaim = Later("jitflow.model.argo", "PersistentVolumeClaim")
    WorkflowEventBinding = Later("jitflow.model.argo", "WorkflowEventBinding")
    WorkflowTemplate = Later("jitflow.model.argo", "WorkflowTemplate")
    ConfigMap = Later("jitflow.model.objects", "ConfigMap")
    Secret = Later("jitflow.model.objects", "Secret")

_OWN = "/api/jit/v1/objects"
_CRON = "/api/v1/cron-workflows"
_SYNC = "/api/v1/sync"

K = TypeVar("K")


class _Collection(Group[S], Generic[S, K]):
    """One kind with a place of its own in Argo Server's API."""

    KIND: ClassVar[Any]
    BASE: ClassVar[str]
    FIELD: ClassVar[str] = "template"
    NAMESPACED: ClassVar[bool] = True

    @call
    def list(self, *, namespace: str = "", labels: str = "", name_pattern: str = "") -> Call[Page[K]]:
        """List the objects of a namespace, `*` for all."""
        where = self._in(namespace)
        place = (self.BASE + "/",) if self.NAMESPACED and where == ALL else self._place(namespace)
        return page(self.KIND, *place, query={"listOptions.labelSelector": labels, "namePattern": name_pattern})

    @call
    def get(self, name: str, *, namespace: str = "") -> Call[K]:
        """Return one object."""
        return get(self.KIND, *self._place(namespace), name)

    @call
    def create(self, manifest: K | Mapping[str, Any], *, namespace: str = "", dry_run: bool = False) -> Call[K]:
        """Keep a new object; `dry_run`: let the server check it, keep nothing."""
        body = self._body(manifest, namespace) | ({"createOptions": {"dryRun": ["All"]}} if dry_run else {})
        return send(self.KIND, "POST", *self._place(namespace), body=body)

    @call
    def update(self, name: str, manifest: K | Mapping[str, Any], *, namespace: str = "") -> Call[K]:
        """Replace an object."""
        body = self._body(manifest, namespace) | {"name": name}
        return send(self.KIND, "PUT", *self._place(namespace), name, body=body, repeatable=True)

    @call
    def delete(self, name: str, *, namespace: str = "") -> Call[None]:
        """Forget an object."""
        return remove(*self._place(namespace), name)

    @call
    def lint(self, manifest: K | Mapping[str, Any], *, namespace: str = "") -> Call[K]:
        """Let the server validate an object; nothing is kept."""
        return send(self.KIND, "POST", *self._place(namespace), "lint", body=self._body(manifest, namespace), repeatable=True)

    def _place(self, namespace: str) -> tuple[str, ...]:
        return (self.BASE, self._in(namespace)) if self.NAMESPACED else (self.BASE,)

    def _body(self, manifest: Any, namespace: str) -> dict[str, Any]:
        return {self.FIELD: manifest} | ({"namespace": self._in(namespace)} if self.NAMESPACED else {})


class Templates(_Collection[S, WorkflowTemplate]):
    """WorkflowTemplates."""

    KIND = WorkflowTemplate
    BASE = "/api/v1/workflow-templates"


class ClusterTemplates(_Collection[S, ClusterWorkflowTemplate]):
    """ClusterWorkflowTemplates; they belong to no namespace."""

    KIND = ClusterWorkflowTemplate
    BASE = "/api/v1/cluster-workflow-templates"
    NAMESPACED = False


class CronWorkflows(_Collection[S, CronWorkflow]):
    """Schedules."""

    KIND = CronWorkflow
    BASE = _CRON
    FIELD = "cronWorkflow"

    @call
    def suspend(self, name: str, *, namespace: str = "") -> Call[CronWorkflow]:
        """Start nothing by this schedule until it is resumed."""
        return self._put(name, namespace, "suspend")

    @call
    def resume(self, name: str, *, namespace: str = "") -> Call[CronWorkflow]:
        """Let a schedule start workflows again."""
        return self._put(name, namespace, "resume")

    @call
    def backfill(self, name: str, wish: BackfillWish, *, namespace: str = "") -> Call[BackfillView]:
        """Run a schedule for each time of a range; the same wish again returns the backfill that there is."""
        return send(BackfillView, "POST", *self._backfills(name, namespace), body=wish, repeatable=True)

    @call
    def backfills(self, name: str, *, namespace: str = "") -> Call[tuple[BackfillView, ...]]:
        """List a schedule's backfills, newest first."""
        return listing(BackfillView, *self._backfills(name, namespace))

    @call
    def get_backfill(self, name: str, backfill: str, *, namespace: str = "") -> Call[BackfillView]:
        """Return a backfill with its runs."""
        return get(BackfillView, *self._backfills(name, namespace), backfill)

    @call
    def cancel_backfill(self, name: str, backfill: str, *, namespace: str = "", terminate: bool = False) -> Call[BackfillView]:
        """Start nothing more of a backfill; `terminate`: end the runs that have begun as well."""
        body = {"terminate": terminate}
        return send(BackfillView, "PUT", *self._backfills(name, namespace), backfill, "cancel", body=body, repeatable=True)

    @call
    def forget_backfill(self, name: str, backfill: str, *, namespace: str = "") -> Call[None]:
        """Forget a backfill that is over; its workflows stay."""
        return remove(*self._backfills(name, namespace), backfill)

    def _backfills(self, name: str, namespace: str) -> tuple[str, ...]:
        return ("/api/jit/v1/cron-workflows", self._in(namespace), name, "backfills")

    def _put(self, name: str, namespace: str, action: str) -> Call[CronWorkflow]:
        where = self._in(namespace)
        body = {"namespace": where, "name": name}
        return send(CronWorkflow, "PUT", _CRON, where, name, action, body=body, repeatable=True)


class _Own(Group[S], Generic[S, K]):
    """One kind that Argo Server leaves to Kubernetes."""

    KIND: ClassVar[Any]
    NAME: ClassVar[str]

    @call
    def list(self, *, namespace: str = "", labels: str = "", name_pattern: str = "") -> Call[Page[K]]:
        """List the objects of a namespace. Of Secrets the values are not told."""
        query = {"listOptions.labelSelector": labels, "namePattern": name_pattern}
        return page(self.KIND, _OWN, self._in(namespace), self.NAME, query=query)

    @call
    def get(self, name: str, *, namespace: str = "") -> Call[K]:
        """Return one object. Of a Secret the values are not told."""
        return get(self.KIND, _OWN, self._in(namespace), self.NAME, name)

    @call
    def create(self, manifest: K | Mapping[str, Any], *, namespace: str = "") -> Call[K]:
        """Keep a new object."""
        return send(self.KIND, "POST", _OWN, self._in(namespace), self.NAME, body=manifest)

    @call
    def apply(self, name: str, manifest: K | Mapping[str, Any], *, namespace: str = "") -> Call[K]:
        """Keep an object, new or in place of the one of its name."""
        return send(self.KIND, "PUT", _OWN, self._in(namespace), self.NAME, name, body=manifest, repeatable=True)

    @call
    def delete(self, name: str, *, namespace: str = "") -> Call[None]:
        """Forget an object."""
        return remove(_OWN, self._in(namespace), self.NAME, name)


class ConfigMaps(_Own[S, ConfigMap]):
    """ConfigMaps."""

    KIND = ConfigMap
    NAME = "ConfigMap"


class Claims(_Own[S, PersistentVolumeClaim]):
    """PersistentVolumeClaims."""

    KIND = PersistentVolumeClaim
    NAME = "PersistentVolumeClaim"


class Rotated(Struct, frozen=True):
    """How many secrets are sealed with the new key, and whether the old one is gone from where jitflow keeps it."""

    resealed: int = 0
    old_key_removed: bool = False
    data: Rotated | None = None
    """The same of a data service that is a process of its own, with a key of its own."""


class Secrets(_Own[S, Secret]):
    """Secrets; their values go in and never out."""

    KIND = Secret
    NAME = "Secret"

    @call
    def rotate_key(self) -> Call[Rotated]:
        """Let the server encrypt all stored secrets with a new key."""
        return send(Rotated, "POST", "/api/jit/v1/secrets/rotate-key", patient=True)


class EventBindings(_Own[S, WorkflowEventBinding]):
    """WorkflowEventBindings: which events start what."""

    KIND = WorkflowEventBinding
    NAME = "WorkflowEventBinding"

    @call
    def list_as_argo(self, *, namespace: str = "") -> Call[Page[WorkflowEventBinding]]:
        """List the bindings by Argo Server's path, which knows all namespaces too (`*`)."""
        where, base = self._in(namespace), "/api/v1/workflow-event-bindings"
        return page(WorkflowEventBinding, *((base + "/",) if where == ALL else (base, where)))


class Objects(Group[S]):
    """Objects of any kind, as they are written."""

    @call
    def apply(self, kind: str, name: str, manifest: Mapping[str, Any], *, namespace: str = "") -> Call[dict[str, Any]]:
        """Keep an object of any kind but Workflow, new or in place of the one of its name."""
        return send(dict[str, Any], "PUT", _OWN, self._in(namespace), kind, name, body=manifest, repeatable=True)

    @call
    def list(self, kind: str, *, namespace: str = "", labels: str = "") -> Call[Page[dict[str, Any]]]:
        """List the objects of a kind."""
        return page(dict[str, Any], _OWN, self._in(namespace), kind, query={"listOptions.labelSelector": labels})

    @call
    def get(self, kind: str, name: str, *, namespace: str = "") -> Call[dict[str, Any]]:
        """Return one object."""
        return get(dict[str, Any], _OWN, self._in(namespace), kind, name)

    @call
    def delete(self, kind: str, name: str, *, namespace: str = "") -> Call[None]:
        """Forget an object."""
        return remove(_OWN, self._in(namespace), kind, name)


class SyncLimit(Struct, frozen=True, rename="camel"):
    """How many may hold a semaphore at once. `cm_name`: the ConfigMap it is in, if `type` is `CONFIGMAP`."""

    key: str = ""
    namespace: str = ""
    limit: int = 0
    type: str | int = ""
    cm_name: str = ""


class Sync(Group[S]):
    """Limits of semaphores: a key of the database, or with `config_map` one of a ConfigMap."""

    @call
    def create(self, key: str, limit: int, *, namespace: str = "", config_map: str = "") -> Call[SyncLimit]:
        """Make a limit."""
        return send(SyncLimit, "POST", _SYNC, self._in(namespace), body=self._body(key, limit, namespace, config_map))

    @call
    def get(self, key: str, *, namespace: str = "", config_map: str = "") -> Call[SyncLimit]:
        """Return a limit."""
        return get(SyncLimit, _SYNC, self._in(namespace), key, query=_kind(config_map))

    @call
    def update(self, key: str, limit: int, *, namespace: str = "", config_map: str = "") -> Call[SyncLimit]:
        """Change a limit."""
        body = self._body(key, limit, namespace, config_map)
        return send(SyncLimit, "PUT", _SYNC, self._in(namespace), key, body=body, repeatable=True)

    @call
    def delete(self, key: str, *, namespace: str = "", config_map: str = "") -> Call[None]:
        """Forget a limit."""
        return remove(_SYNC, self._in(namespace), key, query=_kind(config_map))

    def _body(self, key: str, limit: int, namespace: str, config_map: str) -> dict[str, Any]:
        return {"key": key, "limit": limit, "namespace": self._in(namespace)} | body_of(**_kind(config_map))


def _kind(config_map: str) -> dict[str, str]:
    return {"type": "CONFIGMAP", "cmName": config_map} if config_map else {"type": "DATABASE"}
