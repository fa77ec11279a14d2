"""Argo Server's paths, bodies and errors."""

import time
from collections.abc import Callable, Collection, Sequence

from msgspec import Struct
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import Scope

from jitflow.access import OPEN, Gate, Limits, Tokens
from jitflow.access.audit import AuditLog
from jitflow.app.outbox import Outbox
from jitflow.app.service import Service
from jitflow.control_api import about, auditing
from jitflow.control_api import metrics as metrics_routes
from jitflow.control_api import secrets as secret_routes
from jitflow.control_api.archive import ArchiveRoutes
from jitflow.control_api.artifacts import ArtifactRoutes
from jitflow.control_api.errors import Code, failure, failure_of
from jitflow.control_api.following import FollowingRoutes
from jitflow.control_api.guards import guarded
from jitflow.control_api.jit import JitRoutes
from jitflow.control_api.objects import ObjectRoutes
from jitflow.control_api.secrets import KeyRotation
from jitflow.control_api.shell import BODY_TIMEOUT_S, LOOPBACK_HOSTS, MAX_BODY_BYTES, Shell
from jitflow.control_api.tokens import TokenRoutes
from jitflow.control_api.webhooks import WebhookRoutes
from jitflow.control_api.workflows import WorkflowRoutes
from jitflow.telemetry.metrics import Exposition

__all__ = ["LOOPBACK_HOSTS", "MAX_BODY_BYTES", "Rules", "make_app", "routes"]


class Rules(Struct, frozen=True, kw_only=True):
    """How much a caller may ask for who has no limits of his own, and pages of which origins may call at all."""

    limits: Limits = Limits()
    body_timeout_s: float = BODY_TIMEOUT_S
    cors_origins: tuple[str, ...] = ()


def routes(service: Service) -> list[BaseRoute]:
    """Return the Control API's routes."""
    return [
        *WorkflowRoutes(service).routes(),
        *ArchiveRoutes(service).routes(),
        *ArtifactRoutes(service).routes(),
        *ObjectRoutes(service.library).routes(),
        *JitRoutes(service).routes(),
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
) -> Starlette:
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
        rotation: what gives the stored secrets a new key; None: there is no such path.
        rules: how much may be asked, and by pages of which origins.
    """
    measured = metrics_routes.routes(metrics) if metrics is not None else []
    managed = TokenRoutes(tokens).routes() if tokens is not None else []
    managed += WebhookRoutes(outbox).routes() if outbox is not None else []
    managed += secret_routes.routes(rotation) if rotation is not None else []
    audited = auditing.routes(audit) if audit is not None else []
    table = [*about.routes(), *managed, *audited, *measured, *extra, *(routes(service) if control else ()), *about.other_routes()]
    open_paths = OPEN | {metrics_routes.PATH} if open_metrics else OPEN
    app = Starlette(routes=guarded(table, open_paths=open_paths), exception_handlers={404: _refuse, 405: _refuse})
    app.router.redirect_slashes = False
    gate = Gate(key) if isinstance(key, str) else key
    listeners: list[Callable[[Scope, int], None]] = []
    if metrics is not None:
        listeners.append(lambda scope, status: metrics.answered(scope["method"], status))
    if audit is not None:
        listeners.append(auditing.recorder(audit, time.time))

    def answered(scope: Scope, status: int) -> None:
        for listener in listeners:
            listener(scope, status)

    limits = {"limits": rules.limits, "body_timeout_s": rules.body_timeout_s}
    app.add_middleware(Shell, gate=gate, hosts=hosts, open_paths=open_paths, answered=answered, **limits)  # pyright: ignore[reportArgumentType]
    if rules.cors_origins:
        # Outermost: a browser asks without a token whether it may send one.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(rules.cors_origins),
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["authorization", "content-type"],
            expose_headers=["content-disposition", "content-range", "retry-after"],
        )
    return app


async def _refuse(request: Request, error: Exception) -> Response:
    known = failure_of(error) or failure(Code.UNKNOWN, "the request cannot be served")
    if known.status == 404:
        known = failure(Code.NOT_FOUND, f"there is nothing at {request.url.path[:200]}")
    return Response(known.body(), status_code=known.status, media_type="application/json")
