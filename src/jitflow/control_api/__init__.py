"""Argo Server's paths, bodies and errors."""

import time
from collections.abc import Collection, Sequence
from functools import partial

from msgspec import Struct
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from jitflow.access import OPEN, Gate, Limits, Tokens
from jitflow.access.audit import AuditLog
from jitflow.app.backfills import Backfills
from jitflow.app.foreign import ForeignRuns
from jitflow.app.outbox import Outbox
from jitflow.app.service import Service
from jitflow.app.usage import UsageKeeper
from jitflow.control_api import about, auditing, pages
from jitflow.control_api import metrics as metrics_routes
from jitflow.control_api import provenance as provenance_routes
from jitflow.control_api import secrets as secret_routes
from jitflow.control_api import usage as usage_routes
from jitflow.control_api.about import ServersView
from jitflow.control_api.archive import ArchiveRoutes
from jitflow.control_api.artifacts import ArtifactRoutes
from jitflow.control_api.backfills import BackfillRoutes
from jitflow.control_api.following import FollowingRoutes
from jitflow.control_api.foreign import ForeignRoutes
from jitflow.control_api.guards import guard_of
from jitflow.control_api.health import BEHIND_PATIENCE_S, Check, Health
from jitflow.control_api.health import routes as health_routes
from jitflow.control_api.jit import JitRoutes
from jitflow.control_api.objects import ObjectRoutes
from jitflow.control_api.routing import Dispatcher
from jitflow.control_api.secrets import KeyRotation
from jitflow.control_api.shell import BEGAN, BODY_TIMEOUT_S, LOOPBACK_HOSTS, MAX_BODY_BYTES, Shell
from jitflow.control_api.tokens import TokenRoutes
from jitflow.control_api.webhooks import WebhookRoutes
from jitflow.control_api.workflows import WorkflowRoutes
from jitflow.telemetry.metrics import Exposition

__all__ = [
    "BEHIND_PATIENCE_S",
    "LOOPBACK_HOSTS",
    "MAX_BODY_BYTES",
    "Application",
    "Check",
    "Health",
    "Rules",
    "ServersView",
    "make_app",
    "make_data_app",
    "routes",
]


class Rules(Struct, frozen=True, kw_only=True):
    """How much a caller may ask for who has no limits of his own, and pages of which origins may call at all."""

    limits: Limits = Limits()
    body_timeout_s: float = BODY_TIMEOUT_S
    cors_origins: tuple[str, ...] = ()


class Application:
    """The ASGI application: its routes, behind all that stands before them."""

    def __init__(self, routes: Sequence[Route], entry: ASGIApp) -> None:
        """Hold the parts; `entry` is called for each request."""
        self.routes = tuple(routes)
        self.entry = entry
        """What answers requests: a server may call it that has nothing else to tell."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; of what else a server may tell, nothing is of use here."""
        if scope["type"] == "http":
            await self.entry(scope, receive, send)


def routes(service: Service) -> list[BaseRoute]:
    """Return the Control API's routes."""
    return [
        *WorkflowRoutes(service).routes(),
        *ArchiveRoutes(service).routes(),
        *ArtifactRoutes(service).routes(),
        *ObjectRoutes(service.library).routes(),
        *JitRoutes(service).routes(),
        *provenance_routes.routes(service),
        *FollowingRoutes(service).routes(),
    ]


def make_app(
    service: Service,
    key: Gate | str,
    *,
    tokens: Tokens | None = None,
    extra: Sequence[BaseRoute] = (),
    hosts: Collection[str] = LOOPBACK_HOSTS,
    control: bool = True,
    metrics: Exposition | None = None,
    open_metrics: bool = False,
    rules: Rules = Rules(),  # noqa: B008 - a frozen value
    audit: AuditLog | None = None,
    outbox: Outbox | None = None,
    rotation: KeyRotation | None = None,
    foreign: ForeignRuns | None = None,
    backfills: Backfills | None = None,
    usage: UsageKeeper | None = None,
    health: Health | None = None,
    servers: ServersView | None = None,
    peer: str = "",
) -> Application:
    """Return the application: the Control API (unless `control` is False) and `extra` routes behind one gate.

    Args:
        service: the use-cases, opened before the first request.
        key: who may come in; a text is the one token that every call but `/healthz` must carry.
        tokens: what `/api/jit/v1/tokens` manages; None: there is no such path.
        extra: routes of other rooms, as `data_api.routes(service)`.
        hosts: names beside the loopback ones that requests may address; `*` allows all.
        control: whether workflows are served.
        metrics: what `/metrics` answers; None: there is no such path.
        open_metrics: whether `/metrics` needs no token.
        audit: where it is written down who did what; None: nowhere.
        outbox: what `/api/jit/v1/webhooks` manages; None: there is no such path.
        backfills: runs of schedules in a time that is over; None: there is no such path.
        foreign: workflows that another Argo runs; None: their events are not taken.
        rotation: what gives the stored secrets a new key; None: there is no such path.
        usage: what `/api/jit/v1/usage` tells; None: there is no such path.
        health: what `/readyz` asks; None: it is always ready.
        servers: what `/api/jit/v1/servers` tells; None: there is no such path.
        peer: what servers show that hand requests on to this one; empty: there are none.
        rules: how much may be asked, and by pages of which origins.
    """
    measured = metrics_routes.routes(metrics) if metrics is not None else []
    managed = TokenRoutes(tokens).routes() if tokens is not None else []
    managed += WebhookRoutes(outbox).routes() if outbox is not None else []
    managed += secret_routes.routes(rotation) if rotation is not None else []
    managed += ForeignRoutes(foreign).routes() if foreign is not None and control else []
    managed += BackfillRoutes(backfills).routes() if backfills is not None and control else []
    managed += usage_routes.routes(usage) if usage is not None else []
    managed += about.server_routes(servers) if servers is not None else []
    audited = auditing.routes(audit) if audit is not None else []
    served = [*about.routes(), *health_routes(health or Health()), *pages.routes(), *managed, *audited, *measured, *extra]
    table = [*served, *(routes(service) if control else ()), *about.other_routes()]
    gate = Gate(key) if isinstance(key, str) else key
    return _entered(table, gate, hosts=hosts, metrics=metrics, open_metrics=open_metrics, rules=rules, audit=audit, peer=peer)


def make_data_app(
    gate: Gate,
    extra: Sequence[BaseRoute],
    *,
    hosts: Collection[str] = LOOPBACK_HOSTS,
    metrics: Exposition | None = None,
    open_metrics: bool = False,
    rules: Rules = Rules(),  # noqa: B008 - a frozen value
    audit: AuditLog | None = None,
    health: Health | None = None,
) -> Application:
    """Return the application of a data service: the Data API and the link, `extra`, behind one gate; see `make_app`."""
    measured = metrics_routes.routes(metrics) if metrics is not None else []
    table = [*about.live_routes(), *health_routes(health or Health()), *measured, *extra, *about.elsewhere_routes()]
    return _entered(table, gate, hosts=hosts, metrics=metrics, open_metrics=open_metrics, rules=rules, audit=audit)


def _entered(
    table: Sequence[BaseRoute],
    gate: Gate,
    *,
    hosts: Collection[str],
    metrics: Exposition | None,
    open_metrics: bool,
    rules: Rules,
    audit: AuditLog | None,
    peer: str = "",
) -> Application:
    """Return routes behind all that stands before them."""
    open_paths = OPEN | {metrics_routes.PATH} if open_metrics else OPEN
    dispatcher = Dispatcher(table, partial(guard_of, open_paths=open_paths))
    record = auditing.recorder(audit, time.time) if audit is not None else None

    def answered(scope: Scope, status: int) -> None:
        if metrics is not None:
            metrics.requests.answered(scope["method"], status, time.perf_counter() - scope[BEGAN])
        if record is not None:
            record(scope, status)

    entry: ASGIApp = Shell(
        dispatcher,
        gate,
        hosts=hosts,
        open_paths=open_paths,
        answered=answered,
        limits=rules.limits,
        body_timeout_s=rules.body_timeout_s,
        peer=peer,
    )
    if rules.cors_origins:
        # Outermost: a browser asks without a token whether it may send one.
        entry = CORSMiddleware(
            entry,
            allow_origins=list(rules.cors_origins),
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["authorization", "content-type"],
            expose_headers=["content-disposition", "content-range", "retry-after"],
        )
    return Application(dispatcher.routes, entry)
