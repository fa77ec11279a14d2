"""The one table that says which permission each route needs. A route that is not here is not served."""

from collections.abc import Mapping
from enum import Enum
from typing import Final

from msgspec import Struct

from jitflow.access.roles import ALL, Identity, Permission

P = Permission


class Where(Enum):
    """In which namespace a permission is needed."""

    PATH = "the namespace of the path"
    EVERYWHERE = "all namespaces: what is asked for belongs to none"
    SOMEWHERE = "any namespace: the handler shows only what may be seen"


class Need(Struct, frozen=True):
    """What a route needs."""

    permission: Permission
    where: Where = Where.PATH

    def of(self, path: Mapping[str, str]) -> "Need":
        """Return what is needed with these path parameters."""
        return _refined(self, path)

    def refusal(self, identity: Identity, path: Mapping[str, str]) -> str:
        """Return why somebody may not call the route with these path parameters, empty if they may."""
        need = self.of(path)
        if need.where is Where.SOMEWHERE:
            held = identity.may_somewhere(need.permission)
        else:
            held = identity.may(need.permission, path.get("namespace", "") if need.where is Where.PATH else ALL)
        return "" if held else denied(identity, need.permission, need.place(path))

    def place(self, path: Mapping[str, str]) -> str:
        """Return in words where the permission is needed."""
        if self.where is Where.PATH:
            return f"namespace {path.get('namespace', '')[:80]!r}"
        return "any namespace" if self.where is Where.SOMEWHERE else "all namespaces"


def denied(identity: Identity, permission: Permission, place: str) -> str:
    """Return what somebody is told who lacks a permission."""
    return (
        f"permission denied: {identity.subject[:80]!r} may not {permission} in {place}; "
        "an administrator can make a token that may (`jitflow token create`)"
    )


def _refined(need: Need, path: Mapping[str, str]) -> Need:
    """Return what a route of objects of any kind needs for the kind that it is called with."""
    if need.permission is not P.OBJECTS_READ and need.permission is not P.OBJECTS_WRITE:
        return need
    kind = path.get("kind", "")
    if kind == "Secret":
        return Need(P.SECRETS_READ if need.permission is P.OBJECTS_READ else P.SECRETS_WRITE, need.where)
    if kind == "ClusterWorkflowTemplate":
        return Need(need.permission, Where.SOMEWHERE if need.permission is P.OBJECTS_READ else Where.EVERYWHERE)
    return need


_WORKFLOWS: Final = "/api/v1/workflows/{namespace}"
_WORKFLOW: Final = _WORKFLOWS + "/{name}"
_ARCHIVED: Final = "/api/v1/archived-workflows"
_JIT: Final = "/api/jit/v1/workflows/{namespace}/{name}"
_BACKFILLS: Final = "/api/jit/v1/cron-workflows/{namespace}/{name}/backfills"
_FOREIGN: Final = "/api/jit/v1/foreign-workflows"
_OBJECTS: Final = "/api/jit/v1/objects/{namespace}/{kind}"
_FILES: Final = "/artifact-files/{namespace}/{kind}/{id}/{node}/{side}/{artifact}"
_NODE: Final = "/{node}/{artifact}"
_SYNC: Final = "/api/v1/sync/{namespace}"
_JOBS: Final = "/data/v1/jobs"
_PARTS: Final = "/data/v1/multipart"
_METHODS: Final = ("GET", "POST", "PUT", "DELETE", "PATCH")

_SESSION: Final = "/link/v1/sessions/{session}"

STREAMED: Final = (
    ("PUT", "/data/v1/content"),
    ("PUT", _PARTS + "/"),
    ("POST", "/rclone/upload"),
    ("POST", "/link/v1/sessions/"),
)
"""By which method, and at paths that begin how, files are sent, which go to disk as they come, and what a control service says of
workflows of any size: such bodies may have any length."""

OLDER: Final = ("/rclone/", "/workflow/event")
"""What the paths of the older service begin with, from which jitflow comes: errors there are told in `error`, too."""

OPEN: Final = frozenset({"/healthz", "/health", "/livez", "/readyz", "/docs", "/docs/docs.css", "/docs/docs.js"})
"""Paths that need no token: they tell nothing but that the server lives, and how its API is asked."""


def _collection(base: str, *, read: Where, write: Where) -> dict[tuple[str, str], Need]:
    return {
        ("GET", base): Need(P.OBJECTS_READ, read),
        ("POST", base): Need(P.OBJECTS_WRITE, write),
        ("POST", base + "/lint"): Need(P.OBJECTS_READ, read),
        ("GET", base + "/{name}"): Need(P.OBJECTS_READ, read),
        ("PUT", base + "/{name}"): Need(P.OBJECTS_WRITE, write),
        ("DELETE", base + "/{name}"): Need(P.OBJECTS_WRITE, write),
    }


NEEDS: Final[Mapping[tuple[str, str], Need]] = {
    # Argo Server's API.
    ("GET", "/api/v1/info"): Need(P.ABOUT_READ, Where.SOMEWHERE),
    ("GET", "/api/v1/userinfo"): Need(P.ABOUT_READ, Where.SOMEWHERE),
    ("GET", "/api/v1/version"): Need(P.ABOUT_READ, Where.SOMEWHERE),
    **{(method, "/api/v1/{rest:path}"): Need(P.ABOUT_READ, Where.SOMEWHERE) for method in _METHODS},
    ("GET", "/api/v1/workflows/"): Need(P.WORKFLOWS_READ, Where.SOMEWHERE),
    ("GET", _WORKFLOWS): Need(P.WORKFLOWS_READ),
    ("POST", _WORKFLOWS): Need(P.WORKFLOWS_CREATE),
    ("POST", _WORKFLOWS + "/lint"): Need(P.WORKFLOWS_READ),
    ("POST", _WORKFLOWS + "/submit"): Need(P.WORKFLOWS_CREATE),
    ("GET", _WORKFLOW): Need(P.WORKFLOWS_READ),
    ("DELETE", _WORKFLOW): Need(P.WORKFLOWS_DELETE),
    **{
        ("PUT", f"{_WORKFLOW}/{action}"): Need(P.WORKFLOWS_CONTROL)
        for action in ("suspend", "resume", "stop", "terminate", "retry", "set")
    },
    ("PUT", _WORKFLOW + "/resubmit"): Need(P.WORKFLOWS_CREATE),
    ("GET", _WORKFLOW + "/log"): Need(P.WORKFLOWS_LOGS),
    ("GET", _WORKFLOW + "/{pod}/log"): Need(P.WORKFLOWS_LOGS),
    ("GET", _ARCHIVED): Need(P.WORKFLOWS_READ, Where.SOMEWHERE),
    ("GET", _ARCHIVED + "/"): Need(P.WORKFLOWS_READ, Where.SOMEWHERE),
    ("GET", _ARCHIVED + "-label-keys"): Need(P.WORKFLOWS_READ, Where.SOMEWHERE),
    ("GET", _ARCHIVED + "-label-values"): Need(P.WORKFLOWS_READ, Where.SOMEWHERE),
    ("GET", _ARCHIVED + "/{uid}"): Need(P.WORKFLOWS_READ, Where.SOMEWHERE),
    ("DELETE", _ARCHIVED + "/{uid}"): Need(P.WORKFLOWS_DELETE, Where.SOMEWHERE),
    ("PUT", _ARCHIVED + "/{uid}/retry"): Need(P.WORKFLOWS_CONTROL, Where.SOMEWHERE),
    ("PUT", _ARCHIVED + "/{uid}/resubmit"): Need(P.WORKFLOWS_CREATE, Where.SOMEWHERE),
    ("GET", "/api/v1/workflow-events/"): Need(P.WORKFLOWS_READ, Where.SOMEWHERE),
    ("GET", "/api/v1/workflow-events/{namespace}"): Need(P.WORKFLOWS_READ),
    ("GET", "/api/v1/stream/events/"): Need(P.WORKFLOWS_READ, Where.SOMEWHERE),
    ("GET", "/api/v1/stream/events/{namespace}"): Need(P.WORKFLOWS_READ),
    ("POST", "/api/v1/tracking/event"): Need(P.ABOUT_READ, Where.SOMEWHERE),
    ("POST", "/api/v1/events/{namespace}/"): Need(P.EVENTS_SEND),
    ("POST", "/api/v1/events/{namespace}/{discriminator}"): Need(P.EVENTS_SEND),
    **_collection("/api/v1/workflow-templates/{namespace}", read=Where.PATH, write=Where.PATH),
    **_collection("/api/v1/cron-workflows/{namespace}", read=Where.PATH, write=Where.PATH),
    **_collection("/api/v1/cluster-workflow-templates", read=Where.SOMEWHERE, write=Where.EVERYWHERE),
    ("GET", "/api/v1/workflow-templates/"): Need(P.OBJECTS_READ, Where.SOMEWHERE),
    ("GET", "/api/v1/cron-workflows/"): Need(P.OBJECTS_READ, Where.SOMEWHERE),
    ("PUT", "/api/v1/cron-workflows/{namespace}/{name}/suspend"): Need(P.OBJECTS_WRITE),
    ("PUT", "/api/v1/cron-workflows/{namespace}/{name}/resume"): Need(P.OBJECTS_WRITE),
    ("GET", "/api/v1/workflow-event-bindings/"): Need(P.OBJECTS_READ, Where.SOMEWHERE),
    ("GET", "/api/v1/workflow-event-bindings/{namespace}"): Need(P.OBJECTS_READ),
    ("POST", _SYNC): Need(P.SYNC_WRITE),
    ("GET", _SYNC + "/{key}"): Need(P.SYNC_READ),
    ("PUT", _SYNC + "/{key}"): Need(P.SYNC_WRITE),
    ("DELETE", _SYNC + "/{key}"): Need(P.SYNC_WRITE),
    # Workflows that another Argo runs: the body of an event says of which namespace, and the handler asks there.
    ("POST", "/events/argo"): Need(P.EVENTS_SEND, Where.SOMEWHERE),
    ("POST", "/workflow/event"): Need(P.EVENTS_SEND, Where.SOMEWHERE),
    ("GET", _FOREIGN + "/"): Need(P.WORKFLOWS_READ, Where.SOMEWHERE),
    ("GET", _FOREIGN + "/{namespace}"): Need(P.WORKFLOWS_READ),
    ("GET", _FOREIGN + "/{namespace}/{name}"): Need(P.WORKFLOWS_READ),
    ("GET", _BACKFILLS): Need(P.WORKFLOWS_READ),
    ("POST", _BACKFILLS): Need(P.WORKFLOWS_CREATE),
    ("GET", _BACKFILLS + "/{backfill}"): Need(P.WORKFLOWS_READ),
    ("PUT", _BACKFILLS + "/{backfill}/cancel"): Need(P.WORKFLOWS_CONTROL),
    ("DELETE", _BACKFILLS + "/{backfill}"): Need(P.WORKFLOWS_DELETE),
    # Artifacts.
    **{
        ("GET", path): Need(P.ARTIFACTS_READ)
        for path in (
            _FILES,
            _FILES + "/{path:path}",
            "/artifacts/{namespace}/{name}" + _NODE,
            "/input-artifacts/{namespace}/{name}" + _NODE,
        )
    },
    ("GET", "/artifacts-by-uid/{uid}" + _NODE): Need(P.ARTIFACTS_READ, Where.SOMEWHERE),
    ("GET", "/input-artifacts-by-uid/{uid}" + _NODE): Need(P.ARTIFACTS_READ, Where.SOMEWHERE),
    # What jitflow knows beyond Argo.
    ("POST", "/api/jit/v1/explain"): Need(P.WORKFLOWS_READ, Where.SOMEWHERE),
    ("GET", "/api/jit/v1/explain"): Need(P.WORKFLOWS_READ, Where.EVERYWHERE),
    ("GET", _JIT + "/explain"): Need(P.WORKFLOWS_READ),
    ("GET", "/api/jit/v1/workflow-deltas/"): Need(P.WORKFLOWS_READ, Where.SOMEWHERE),
    ("GET", "/api/jit/v1/workflow-deltas/{namespace}"): Need(P.WORKFLOWS_READ),
    ("GET", "/api/jit/v1/timeline"): Need(P.DATA_READ, Where.EVERYWHERE),
    ("GET", _JIT + "/timeline"): Need(P.WORKFLOWS_READ),
    ("GET", _JIT + "/data"): Need(P.WORKFLOWS_READ),
    ("GET", _JIT + "/notes"): Need(P.WORKFLOWS_READ),
    ("GET", _JIT + "/provenance"): Need(P.WORKFLOWS_READ),
    ("GET", _JIT + "/why"): Need(P.WORKFLOWS_READ),
    **{
        ("POST", f"/api/jit/v1/bulk/{{namespace}}/{action}"): Need(P.WORKFLOWS_CONTROL)
        for action in ("stop", "terminate", "suspend", "resume", "retry")
    },
    ("POST", "/api/jit/v1/bulk/{namespace}/resubmit"): Need(P.WORKFLOWS_CREATE),
    ("POST", "/api/jit/v1/bulk/{namespace}/delete"): Need(P.WORKFLOWS_DELETE),
    ("GET", "/api/jit/v1/usage/{namespace}"): Need(P.WORKFLOWS_READ),
    ("GET", _OBJECTS): Need(P.OBJECTS_READ),
    ("POST", _OBJECTS): Need(P.OBJECTS_WRITE),
    ("GET", _OBJECTS + "/{name}"): Need(P.OBJECTS_READ),
    ("PUT", _OBJECTS + "/{name}"): Need(P.OBJECTS_WRITE),
    ("DELETE", _OBJECTS + "/{name}"): Need(P.OBJECTS_WRITE),
    # Who may do what.
    ("GET", "/api/jit/v1/openapi.json"): Need(P.ABOUT_READ, Where.SOMEWHERE),
    ("GET", "/data/v1/openapi.json"): Need(P.ABOUT_READ, Where.SOMEWHERE),
    ("GET", "/api/jit/v1/servers"): Need(P.ABOUT_READ, Where.SOMEWHERE),
    ("GET", "/api/jit/v1/whoami"): Need(P.ABOUT_READ, Where.SOMEWHERE),
    ("GET", "/api/jit/v1/tokens"): Need(P.TOKENS_MANAGE, Where.SOMEWHERE),
    ("POST", "/api/jit/v1/tokens"): Need(P.TOKENS_MANAGE, Where.SOMEWHERE),
    ("GET", "/api/jit/v1/tokens/{id}"): Need(P.TOKENS_MANAGE, Where.SOMEWHERE),
    ("DELETE", "/api/jit/v1/tokens/{id}"): Need(P.TOKENS_MANAGE, Where.SOMEWHERE),
    ("POST", "/api/jit/v1/secrets/rotate-key"): Need(P.SECRETS_ROTATE, Where.EVERYWHERE),
    ("GET", "/api/jit/v1/audit"): Need(P.AUDIT_READ, Where.SOMEWHERE),
    ("GET", "/api/jit/v1/webhooks"): Need(P.WEBHOOKS_READ, Where.SOMEWHERE),
    ("POST", "/api/jit/v1/webhooks"): Need(P.WEBHOOKS_WRITE, Where.SOMEWHERE),
    ("GET", "/api/jit/v1/webhooks/{name}"): Need(P.WEBHOOKS_READ, Where.SOMEWHERE),
    ("DELETE", "/api/jit/v1/webhooks/{name}"): Need(P.WEBHOOKS_WRITE, Where.SOMEWHERE),
    ("GET", "/api/jit/v1/webhooks/{name}/failures"): Need(P.WEBHOOKS_READ, Where.SOMEWHERE),
    ("POST", "/api/jit/v1/webhooks/{name}/replay"): Need(P.WEBHOOKS_WRITE, Where.SOMEWHERE),
    # Far stores and the primary belong to no namespace.
    ("GET", "/data/v1/remotes"): Need(P.DATA_READ, Where.EVERYWHERE),
    ("POST", "/data/v1/remotes"): Need(P.REMOTES_WRITE, Where.EVERYWHERE),
    ("GET", "/data/v1/remotes/{name}"): Need(P.DATA_READ, Where.EVERYWHERE),
    ("PUT", "/data/v1/remotes/{name}"): Need(P.REMOTES_WRITE, Where.EVERYWHERE),
    ("PATCH", "/data/v1/remotes/{name}"): Need(P.REMOTES_WRITE, Where.EVERYWHERE),
    ("GET", "/data/v1/providers"): Need(P.DATA_READ, Where.EVERYWHERE),
    ("GET", "/data/v1/providers/{name}"): Need(P.DATA_READ, Where.EVERYWHERE),
    ("DELETE", "/data/v1/remotes/{name}"): Need(P.REMOTES_WRITE, Where.EVERYWHERE),
    ("POST", "/data/v1/remotes/{name}/test"): Need(P.DATA_READ, Where.EVERYWHERE),
    ("GET", "/data/v1/objects"): Need(P.DATA_READ, Where.EVERYWHERE),
    ("GET", "/data/v1/stat"): Need(P.DATA_READ, Where.EVERYWHERE),
    ("GET", "/data/v1/primary"): Need(P.DATA_READ, Where.EVERYWHERE),
    ("POST", "/data/v1/primary/explain"): Need(P.DATA_READ, Where.EVERYWHERE),
    ("POST", "/data/v1/primary/stage"): Need(P.DATA_WRITE, Where.EVERYWHERE),
    # For a namespace, who may do so there; for all, who may do so everywhere.
    ("POST", "/data/v1/primary/pin"): Need(P.DATA_WRITE, Where.SOMEWHERE),
    ("POST", "/data/v1/primary/unpin"): Need(P.DATA_WRITE, Where.SOMEWHERE),
    # Of the caller's namespaces.
    ("GET", "/data/v1/pins"): Need(P.DATA_READ, Where.SOMEWHERE),
    ("GET", "/data/v1/quotas"): Need(P.DATA_READ, Where.SOMEWHERE),
    ("GET", "/data/v1/budgets"): Need(P.DATA_READ, Where.SOMEWHERE),
    ("GET", "/data/v1/spending"): Need(P.DATA_READ, Where.SOMEWHERE),
    ("PUT", "/data/v1/budgets"): Need(P.REMOTES_WRITE, Where.EVERYWHERE),
    ("POST", "/data/v1/primary/evict"): Need(P.DATA_WRITE, Where.EVERYWHERE),
    ("POST", "/data/v1/primary/check"): Need(P.DATA_WRITE, Where.EVERYWHERE),
    # It reads files of the server's machine.
    ("POST", "/data/v1/primary/adopt"): Need(P.REMOTES_WRITE, Where.EVERYWHERE),
    ("GET", "/data/v1/inventories"): Need(P.DATA_READ, Where.EVERYWHERE),
    ("GET", "/data/v1/inventory"): Need(P.DATA_READ, Where.EVERYWHERE),
    ("POST", "/data/v1/inventory/refresh"): Need(P.DATA_WRITE, Where.EVERYWHERE),
    ("GET", "/data/v1/links"): Need(P.DATA_READ, Where.EVERYWHERE),
    ("GET", "/data/v1/bandwidth"): Need(P.DATA_READ, Where.EVERYWHERE),
    ("PUT", "/data/v1/bandwidth"): Need(P.REMOTES_WRITE, Where.EVERYWHERE),
    ("GET", "/data/v1/uploads"): Need(P.DATA_READ, Where.EVERYWHERE),
    ("POST", "/data/v1/uploads/retry"): Need(P.DATA_WRITE, Where.EVERYWHERE),
    ("POST", "/data/v1/uploads/drop"): Need(P.DATA_WRITE, Where.EVERYWHERE),
    ("POST", _JOBS): Need(P.DATA_WRITE, Where.EVERYWHERE),
    ("GET", _JOBS): Need(P.DATA_READ, Where.EVERYWHERE),
    ("GET", _JOBS + "/{id}"): Need(P.DATA_READ, Where.EVERYWHERE),
    ("DELETE", _JOBS + "/{id}"): Need(P.DATA_WRITE, Where.EVERYWHERE),
    ("GET", _JOBS + "/{id}/files"): Need(P.DATA_READ, Where.EVERYWHERE),
    ("GET", _JOBS + "/{id}/events"): Need(P.DATA_READ, Where.EVERYWHERE),
    ("POST", _JOBS + "/{id}/pause"): Need(P.DATA_WRITE, Where.EVERYWHERE),
    ("POST", _JOBS + "/{id}/resume"): Need(P.DATA_WRITE, Where.EVERYWHERE),
    ("POST", _JOBS + "/{id}/cancel"): Need(P.DATA_WRITE, Where.EVERYWHERE),
    ("GET", "/data/v1/content"): Need(P.DATA_READ, Where.EVERYWHERE),
    ("PUT", "/data/v1/content"): Need(P.DATA_WRITE, Where.EVERYWHERE),
    ("DELETE", "/data/v1/content"): Need(P.DATA_WRITE, Where.EVERYWHERE),
    ("GET", "/data/v1/exists"): Need(P.DATA_READ, Where.EVERYWHERE),
    ("POST", "/data/v1/folders"): Need(P.DATA_WRITE, Where.EVERYWHERE),
    ("DELETE", "/data/v1/folders"): Need(P.DATA_WRITE, Where.EVERYWHERE),
    ("POST", "/data/v1/files/copy"): Need(P.DATA_WRITE, Where.EVERYWHERE),
    ("POST", "/data/v1/files/move"): Need(P.DATA_WRITE, Where.EVERYWHERE),
    # It lets anybody read.
    ("POST", "/data/v1/files/link"): Need(P.REMOTES_WRITE, Where.EVERYWHERE),
    ("POST", _PARTS): Need(P.DATA_WRITE, Where.EVERYWHERE),
    ("GET", _PARTS + "/{id}"): Need(P.DATA_WRITE, Where.EVERYWHERE),
    ("DELETE", _PARTS + "/{id}"): Need(P.DATA_WRITE, Where.EVERYWHERE),
    ("PUT", _PARTS + "/{id}/{number}"): Need(P.DATA_WRITE, Where.EVERYWHERE),
    ("POST", _PARTS + "/{id}/complete"): Need(P.DATA_WRITE, Where.EVERYWHERE),
    # The older service's names of these.
    ("GET", "/rclone/configure"): Need(P.DATA_READ, Where.EVERYWHERE),
    ("POST", "/rclone/configure"): Need(P.REMOTES_WRITE, Where.EVERYWHERE),
    ("DELETE", "/rclone/configure/{name}"): Need(P.REMOTES_WRITE, Where.EVERYWHERE),
    **{
        ("GET", path): Need(P.DATA_READ, Where.EVERYWHERE)
        for path in (
            "/rclone/get-endpoint-alias",
            "/rclone/check",
            "/rclone/files",
            "/rclone/list-files/{remote}",
            "/rclone/list-files/{remote}/{folder:path}",
            "/rclone/folders",
            "/rclone/list-folders",
        )
    },
    **{
        (method, path): Need(P.DATA_WRITE, Where.EVERYWHERE)
        for method, path in (
            ("POST", "/rclone/copy"),
            ("POST", "/rclone/sync"),
            ("POST", "/rclone/upload"),
            ("DELETE", "/rclone/files"),
            ("DELETE", "/rclone/files/{file_path:path}"),
            ("POST", "/rclone/folder"),
            ("POST", "/rclone/folders"),
            ("DELETE", "/rclone/folder"),
            ("DELETE", "/rclone/folders"),
        )
    },
    # Measurements of all workflows.
    ("GET", "/metrics"): Need(P.METRICS_READ, Where.EVERYWHERE),
}
"""(method, path as the router has it) -> what it needs. HEAD needs what GET needs."""


LINK_NEEDS: Final[Mapping[tuple[str, str], Need]] = {
    ("POST", "/link/v1/sessions"): Need(P.LINK_USE, Where.EVERYWHERE),
    ("POST", _SESSION + "/commands"): Need(P.LINK_USE, Where.EVERYWHERE),
    ("GET", _SESSION + "/sayings"): Need(P.LINK_USE, Where.EVERYWHERE),
    ("POST", _SESSION + "/ask"): Need(P.LINK_USE, Where.EVERYWHERE),
    ("GET", _SESSION + "/list"): Need(P.LINK_USE, Where.EVERYWHERE),
    ("GET", _SESSION + "/read"): Need(P.LINK_USE, Where.EVERYWHERE),
}
"""The same for the link between a control service and its data service, which only a data service serves."""


def need_of(method: str, path: str) -> Need:
    """Return what a route needs.

    Raises:
        LookupError: the table has no such route.
    """
    route = ("GET" if method == "HEAD" else method, path)
    found = NEEDS.get(route) or LINK_NEEDS.get(route)
    if found is None:
        raise LookupError(f"the route {method} {path} names no permission: add it to jitflow.access.table")
    return found
