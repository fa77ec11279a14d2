"""Guards: what the table of permissions says is asked of every request before its handler runs."""

from typing import Any

from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Scope

from jitflow.access import IDENTITY, OPEN, Identity, Need, Permission, denied, need_of
from jitflow.control_api.direct import SAME
from jitflow.control_api.routing import Guard
from jitflow.model import argo
from jitflow.model.problems import Refused

NEED = "jitflow.need"
"""Where a request's scope holds what its route needs."""
NOTED = "jitflow.noted"
"""Where it holds what the handler notes for the audit log."""
_KEPT = "guard"
"""The name under which it is kept who has passed with a head, and what was needed (see `SAME`)."""


def guard_of(route: Route, *, open_paths: frozenset[str] = OPEN) -> Guard | None:
    """Return what stands before a route by the table, None where nobody is asked anything.

    Raises:
        LookupError: the route is not in the table.
    """
    if route.path in open_paths:
        return None
    needs: dict[str, Need] = {method: need_of(method, route.path) for method in route.methods or ()}

    def guard(scope: Scope) -> None:
        identity: Identity = scope[IDENTITY]
        same: dict[str, Any] | None = scope.get(SAME)
        if same is not None:
            passed, need = same.get(_KEPT, (None, None))
            if passed is identity:  # it may what it may for as long as it is there
                scope[NEED] = need
                return
        parameters = scope["path_params"]
        scope[NEED] = need = needs[scope["method"]].of(parameters)
        refusal = need.refusal(identity, parameters)
        if refusal:
            raise Refused(refusal, code="denied")
        if same is not None:
            same[_KEPT] = (identity, need)

    return guard


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
