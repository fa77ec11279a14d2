"""Argo Server's paths, bodies and errors."""

from collections.abc import Collection, Sequence

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from jitflow.app.service import Service
from jitflow.control_api import about
from jitflow.control_api import metrics as metrics_routes
from jitflow.control_api.artifacts import ArtifactRoutes
from jitflow.control_api.errors import Code, failure, failure_of
from jitflow.control_api.jit import JitRoutes
from jitflow.control_api.objects import ObjectRoutes
from jitflow.control_api.shell import LOOPBACK_HOSTS, MAX_BODY_BYTES, OPEN_PATHS, Shell
from jitflow.control_api.workflows import WorkflowRoutes
from jitflow.telemetry.metrics import Exposition

__all__ = ["LOOPBACK_HOSTS", "MAX_BODY_BYTES", "OPEN_PATHS", "make_app", "routes"]


def routes(service: Service) -> list[BaseRoute]:
    """Return the Control API's routes."""
    return [
        *WorkflowRoutes(service).routes(),
        *ArtifactRoutes(service).routes(),
        *ObjectRoutes(service.library).routes(),
        *JitRoutes(service).routes(),
    ]


def make_app(
    service: Service,
    token: str,
    *,
    extra: Sequence[BaseRoute] = (),
    hosts: Collection[str] = LOOPBACK_HOSTS,
    control: bool = True,
    metrics: Exposition | None = None,
    open_metrics: bool = False,
) -> Starlette:
    """Return the application: the Control API (unless `control` is False) and `extra` routes behind one token.

    Args:
        service: the use-cases, opened before the first request.
        token: what every call but `/healthz` must carry.
        extra: routes of other rooms, as `data_api.routes(service)`.
        hosts: names beside the loopback ones that requests may address; `*` allows all.
        control: whether workflows are served.
        metrics: what `/metrics` answers; None: there is no such path.
        open_metrics: whether `/metrics` needs no token.
    """
    measured = metrics_routes.routes(metrics) if metrics is not None else []
    table = [*about.routes(), *measured, *extra, *(routes(service) if control else ()), *about.other_routes()]
    app = Starlette(routes=table, exception_handlers={404: _refuse, 405: _refuse})
    app.router.redirect_slashes = False
    open_paths = OPEN_PATHS | {metrics_routes.PATH} if open_metrics else OPEN_PATHS
    answered = metrics.answered if metrics is not None else None
    app.add_middleware(Shell, token=token, hosts=hosts, open_paths=open_paths, answered=answered)  # pyright: ignore[reportArgumentType]
    return app


async def _refuse(request: Request, error: Exception) -> Response:
    known = failure_of(error) or failure(Code.UNKNOWN, "the request cannot be served")
    if known.status == 404:
        known = failure(Code.NOT_FOUND, f"there is nothing at {request.url.path[:200]}")
    return Response(known.body(), status_code=known.status, media_type="application/json")
