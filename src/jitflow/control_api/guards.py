"""Guards: what the table of permissions says is asked of every request before its handler runs."""

from collections.abc import Iterable

from starlette.requests import Request
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from jitflow.access import OPEN, Identity, Need, Permission, denied, need_of
from jitflow.control_api.shell import IDENTITY
from jitflow.model import argo
from jitflow.model.problems import Refused

NEED = "jitflow.need"
"""Where a request's scope holds what its route needs."""
NOTED = "jitflow.noted"
"""Where it holds what the handler notes for the audit log."""


def guarded(routes: Iterable[BaseRoute], *, open_paths: frozenset[str] = OPEN) -> list[BaseRoute]:
    """Return the routes, each behind what the table says of it.

    Raises:
        LookupError: a route is not in the table.
    """
    table = list(routes)
    for route in table:
        assert isinstance(route, Route), "every route is one path"
        if route.path not in open_paths:
            needs = {method: need_of(method, route.path) for method in route.methods or ()}
            route.app = _Guard(route.app, needs)
    return table


class _Guard:
    """Stands before one route."""

    def __init__(self, app: ASGIApp, needs: dict[str, Need]) -> None:
        self._app = app
        self._needs = needs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        need = self._needs.get(scope["method"])
        if need is not None:
            scope[NEED] = need.of(scope["path_params"])
            refusal = need.refusal(scope[IDENTITY], scope["path_params"])
            if refusal:
                raise Refused(refusal, code="denied")
        await self._app(scope, receive, send)


def identity_of(request: Request) -> Identity:
    """Return who sends a request."""
    return request.scope[IDENTITY]


def visible(request: Request, permission: Permission) -> frozenset[str] | None:
    """Return the namespaces in which the sender has a permission, None for all."""
    return identity_of(request).where(permission)


def require(request: Request, permission: Permission, namespace: str) -> None:
    """Check a permission in a namespace that the path does not tell.

    Raises:
        Refused: the sender lacks it (`denied`).
    """
    identity = identity_of(request)
    if not identity.may(permission, namespace):
        raise Refused(denied(identity, permission, f"namespace {namespace[:80]!r}"), code="denied")


def note_name(request: Request, metadata: argo.ObjectMeta | None) -> None:
    """Note for the audit log what was made, where the path does not tell its name."""
    request.scope[NOTED] = {"name": (metadata and metadata.name) or ""}
