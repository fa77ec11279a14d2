"""The two clients: the groups of methods over a shell each."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from msgspec import Struct

from jitflow.client._calls import Group, S, call
from jitflow.client._endpoint import Endpoint, endpoint_of
from jitflow.client._requests import Call, get, nothing, send
from jitflow.client._shells import AsyncShell, SyncShell, Wire
from jitflow.client.access import Audit, Tokens, Webhooks
from jitflow.client.artifacts import Artifacts
from jitflow.client.data import Data
from jitflow.client.events import Events
from jitflow.client.objects import (
    Claims,
    ClusterTemplates,
    ConfigMaps,
    CronWorkflows,
    EventBindings,
    Objects,
    Secrets,
    Sync,
    Templates,
)
from jitflow.client.workflows import Archived, Foreign, Workflows
from jitflow.model.access import Whoami
from jitflow.model.reports import Estimate, Timeline
from jitflow.model.servers import ServerList
from jitflow.model.usage import Usage

if TYPE_CHECKING:
    from jitflow.client.workflows import Manifest

_READ_S = 60.0
_PATIENCE_S = 60.0
_ATTEMPTS = 4
_LOCAL = "http://127.0.0.1:2746"


class Version(Struct, frozen=True, rename="camel"):
    """What a server says of itself."""

    version: str = ""
    build_date: str = ""
    git_commit: str = ""
    git_tag: str = ""
    git_tree_state: str = ""
    go_version: str = ""
    compiler: str = ""
    platform: str = ""


class Info(Struct, frozen=True, rename="camel"):
    """What Argo's page asks of a server."""

    managed_namespace: str = ""
    links: Any = None
    modals: dict[str, bool] | None = None
    nav_color: str = ""
    columns: Any = None


class UserInfo(Struct, frozen=True, rename="camel"):
    """Whom the server takes the caller for, in Argo's words."""

    issuer: str = ""
    subject: str = ""
    groups: tuple[str, ...] = ()
    name: str = ""
    email: str = ""


class _Groups(Group[S]):
    """Everything that a server offers."""

    @cached_property
    def workflows(self) -> Workflows[S]:
        """Workflows."""
        return Workflows(self._shell, self._namespace)

    @cached_property
    def archived(self) -> Archived[S]:
        """Workflows that have ended, also deleted ones."""
        return Archived(self._shell, self._namespace)

    @cached_property
    def foreign(self) -> Foreign[S]:
        """Workflows that another Argo runs."""
        return Foreign(self._shell, self._namespace)

    @cached_property
    def templates(self) -> Templates[S]:
        """WorkflowTemplates."""
        return Templates(self._shell, self._namespace)

    @cached_property
    def cluster_templates(self) -> ClusterTemplates[S]:
        """ClusterWorkflowTemplates."""
        return ClusterTemplates(self._shell, self._namespace)

    @cached_property
    def cron_workflows(self) -> CronWorkflows[S]:
        """Schedules."""
        return CronWorkflows(self._shell, self._namespace)

    @cached_property
    def event_bindings(self) -> EventBindings[S]:
        """Which events start what."""
        return EventBindings(self._shell, self._namespace)

    @cached_property
    def events(self) -> Events[S]:
        """Events in, Kubernetes Events out."""
        return Events(self._shell, self._namespace)

    @cached_property
    def sync(self) -> Sync[S]:
        """Limits of semaphores."""
        return Sync(self._shell, self._namespace)

    @cached_property
    def secrets(self) -> Secrets[S]:
        """Secrets."""
        return Secrets(self._shell, self._namespace)

    @cached_property
    def config_maps(self) -> ConfigMaps[S]:
        """ConfigMaps."""
        return ConfigMaps(self._shell, self._namespace)

    @cached_property
    def claims(self) -> Claims[S]:
        """PersistentVolumeClaims."""
        return Claims(self._shell, self._namespace)

    @cached_property
    def objects(self) -> Objects[S]:
        """Objects of any kind, as they are written."""
        return Objects(self._shell, self._namespace)

    @cached_property
    def artifacts(self) -> Artifacts[S]:
        """Artifacts of workflows."""
        return Artifacts(self._shell, self._namespace)

    @cached_property
    def data(self) -> Data[S]:
        """Far stores, the primary, and outputs on their way."""
        return Data(self._shell, self._namespace)

    @cached_property
    def tokens(self) -> Tokens[S]:
        """Tokens."""
        return Tokens(self._shell, self._namespace)

    @cached_property
    def webhooks(self) -> Webhooks[S]:
        """Who is told of workflows."""
        return Webhooks(self._shell, self._namespace)

    @cached_property
    def audit(self) -> Audit[S]:
        """Who did what."""
        return Audit(self._shell, self._namespace)

    @call
    def explain(self, manifest: Manifest, *, namespace: str = "") -> Call[Estimate]:
        """Return what running a manifest would take; nothing is made."""
        query = {"namespace": namespace}
        return send(Estimate, "POST", "/api/jit/v1/explain", body={"workflow": manifest}, query=query, repeatable=True)

    @call
    def outlook(self) -> Call[Estimate]:
        """Return what is left of all workflows that run."""
        return get(Estimate, "/api/jit/v1/explain")

    @call
    def timeline(self, *, since: float = 0.0) -> Call[Timeline]:
        """Return finished transfers and the primary's fill since a time (seconds since the epoch)."""
        return get(Timeline, "/api/jit/v1/timeline", query={"since": since})

    @call
    def usage(self, *, namespace: str = "", since: float | None = None, until: float | None = None) -> Call[Usage]:
        """Return what a namespace has used in some time (seconds since the epoch)."""
        return get(Usage, "/api/jit/v1/usage", self._in(namespace), query={"since": since, "until": until})

    @call
    def servers(self) -> Call[ServerList]:
        """Return the servers of the state: which one leads, and which ones stand by."""
        return get(ServerList, "/api/jit/v1/servers")

    @call
    def whoami(self) -> Call[Whoami]:
        """Return who the server takes the caller for."""
        return get(Whoami, "/api/jit/v1/whoami")

    @call
    def version(self) -> Call[Version]:
        """Return the server's version."""
        return get(Version, "/api/v1/version")

    @call
    def info(self) -> Call[Info]:
        """Return what Argo's page asks of a server."""
        return get(Info, "/api/v1/info")

    @call
    def userinfo(self) -> Call[UserInfo]:
        """Return whom the server takes the caller for, in Argo's words."""
        return get(UserInfo, "/api/v1/userinfo")

    @call
    def healthy(self) -> Call[None]:
        """Return when the server answers; needs no token."""
        return Call(get(Info, "/healthz").request, nothing)

    @call
    def live(self) -> Call[None]:
        """Return when the server's process answers; needs no token."""
        return Call(get(Info, "/livez").request, nothing)

    @call
    def ready(self) -> Call[None]:
        """Return if work may be sent to the server; needs no token."""
        return Call(get(Info, "/readyz").request, nothing)

    @call
    def metrics(self) -> Call[str]:
        """Return measurements in Prometheus' text form."""
        return Call(get(str, "/metrics").request, bytes.decode)

    @call
    def openapi(self) -> Call[dict[str, Any]]:
        """Return the description of the Control API."""
        return get(dict[str, Any], "/api/jit/v1/openapi.json")

    @call
    def data_openapi(self) -> Call[dict[str, Any]]:
        """Return the description of the Data API."""
        return get(dict[str, Any], "/data/v1/openapi.json")


class Client(_Groups[SyncShell]):
    """One server, calls that block. Use it as a context manager, in one thread; `another` is for a second one.

    `server`: a URL, `host:port`, `unix:/path`, or an `Endpoint`; without one `JITFLOW_SERVER`, else the server of this machine.
    `token`, `ca`: without one `JITFLOW_TOKEN`, `JITFLOW_CA`. `namespace`: where things are meant whose namespace is not said.
    `timeout_s`: of one request; `attempts`: how often one is sent at most. `patience_s`: how long streams keep trying to reach a
    server that went away; `relocate` is asked for its endpoint before each attempt.
    """

    def __init__(
        self,
        server: str | Endpoint = "",
        *,
        token: str = "",
        ca: str = "",
        namespace: str = "default",
        timeout_s: float = _READ_S,
        attempts: int = _ATTEMPTS,
        patience_s: float = _PATIENCE_S,
        relocate: Callable[[], Endpoint | None] | None = None,
        pause: Callable[[float], Any] = time.sleep,
    ) -> None:
        """Remember where the server is; nothing is sent yet."""
        wire = Wire(_endpoint(server, token, ca), timeout_s, attempts, patience_s, relocate)
        super().__init__(SyncShell(wire, pause), namespace)
        self._pause = pause

    def another(self, *, timeout_s: float | None = None) -> Client:
        """Return a client of the same server with connections of its own, for another thread to own and close."""
        wire = self._shell.wire
        return Client(
            wire.endpoint, namespace=self._namespace, timeout_s=wire.timeout_s if timeout_s is None else timeout_s,
            attempts=wire.attempts, patience_s=wire.patience_s, relocate=wire.relocate, pause=self._pause,
        )  # fmt: skip

    @property
    def url(self) -> str:
        """The server's address."""
        return self._shell.wire.endpoint.url

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._shell.close()


class AsyncClient(_Groups[AsyncShell]):
    """One server, calls that are awaited. Use it as an async context manager; it may be shared by tasks.

    The arguments are those of `Client`.
    """

    def __init__(
        self,
        server: str | Endpoint = "",
        *,
        token: str = "",
        ca: str = "",
        namespace: str = "default",
        timeout_s: float = _READ_S,
        attempts: int = _ATTEMPTS,
        patience_s: float = _PATIENCE_S,
        relocate: Callable[[], Endpoint | None] | None = None,
        pause: Callable[[float], Any] | None = None,
    ) -> None:
        """Remember where the server is; nothing is sent yet."""
        wire = Wire(_endpoint(server, token, ca), timeout_s, attempts, patience_s, relocate)
        super().__init__(AsyncShell(wire, pause), namespace)

    @property
    def url(self) -> str:
        """The server's address."""
        return self._shell.wire.endpoint.url

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._shell.close()


def _endpoint(server: str | Endpoint, token: str, ca: str) -> Endpoint:
    if isinstance(server, Endpoint):
        return server
    environment = os.environ
    named = environment.get("JITFLOW_SERVER", "")
    # The token of the environment is for the server of the environment.
    own = not server or server == named
    return endpoint_of(
        server or named or _LOCAL,
        token=token or (environment.get("JITFLOW_TOKEN", "") if own else ""),
        ca=ca or environment.get("JITFLOW_CA", ""),
    )
