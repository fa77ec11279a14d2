"""Argo Server's paths, bodies and errors."""

from collections.abc import Collection, Sequence

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from jitflow.app.service import Service
from jitflow.control_api import about
from jitflow.control_api.errors import Code, failure, failure_of
from jitflow.control_api.jit import JitRoutes
from jitflow.control_api.objects import ObjectRoutes
from jitflow.control_api.shell import LOOPBACK_HOSTS, MAX_BODY_BYTES, OPEN_PATHS, Shell
from jitflow.control_api.workflows import WorkflowRoutes

__all__ = ["LOOPBACK_HOSTS", "MAX_BODY_BYTES", "OPEN_PATHS", "make_app", "routes"]


def routes(service: Service) -> list[BaseRoute]:
    """Return the Control API's routes."""
    return [*WorkflowRoutes(service).routes(), *ObjectRoutes(service.library).routes(), *JitRoutes(service).routes()]


def make_app(
    service: Service,
    token: str,
    *,
    extra: Sequence[BaseRoute] = (),
    hosts: Collection[str] = LOOPBACK_HOSTS,
    control: bool = True,
) -> Starlette:
    """Return the application: the Control API (unless `control` is False) and `extra` routes behind one token.

    Args:
        service: the use-cases, opened before the first request.
        token: what every call but `/healthz` must carry.
        extra: routes of other rooms, as `data_api.routes(service)`.
        hosts: names beside the loopback ones that requests may address; `*` allows all.
        control: whether workflows are served.
    """
    table = [*about.routes(), *extra, *(routes(service) if control else ()), *about.other_routes()]
    app = Starlette(routes=table, exception_handlers={404: _refuse, 405: _refuse})
    app.router.redirect_slashes = False
    app.add_middleware(Shell, token=token, hosts=hosts)  # pyright: ignore[reportArgumentType]
    return app


async def _refuse(request: Request, error: Exception) -> Response:
    known = failure_of(error) or failure(Code.UNKNOWN, "the request cannot be served")
    if known.status == 404:
        known = failure(Code.NOT_FOUND, f"there is nothing at {request.url.path[:200]}")
    return Response(known.body(), status_code=known.status, media_type="application/json")
