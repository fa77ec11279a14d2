"""What of the requests goes into the audit log, and how administrators read it: `/api/jit/v1/audit`."""

import asyncio
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Scope

from jitflow.access import IDENTITY, Identity, Need, Permission
from jitflow.access.audit import AuditLog, AuditQuery
from jitflow.control_api.guards import NEED, NOTED, visible
from jitflow.control_api.requests import number, seconds
from jitflow.control_api.workflows import answer
from jitflow.model.access import AuditEntry

_MAX_CHARS = 300
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_DEFAULT_LIMIT = 100


def recorder(log: AuditLog, now: Callable[[], float]) -> Callable[[Scope, int], None]:
    """Return what is told of each answer: it writes down what changed something, and what was refused."""

    def record(scope: Scope, status: int) -> None:
        refused = status in {401, 403}
        need: Need | None = scope.get(NEED)
        reads = scope["method"] in _READING or (need is not None and need.permission.endswith(".read"))
        if reads and not refused:
            return
        identity: Identity | None = scope.get(IDENTITY)
        path: dict[str, str] = scope.get("path_params") or {}
        client = scope.get("client")
        noted: dict[str, str] = scope.get(NOTED) or {}
        subject, where = identity.subject if identity is not None else "", scope["path"]
        namespace = path.get("namespace", "") or noted.get("namespace", "")
        name = noted.get("name") or path.get("name") or path.get("id", "")
        all_of_it = f"{subject}{where}{namespace}{name}"
        if not all_of_it.isascii() or len(all_of_it) > _MAX_CHARS:
            subject, where, namespace, name = _text(subject), _text(where), _text(namespace), _text(name)
        log.write(
            AuditEntry(
                at=now(),
                subject=subject,
                issuer=identity.issuer if identity is not None else "",
                token=identity.token if identity is not None else "",
                action=need.permission if need is not None else "",
                method=scope["method"],
                path=where,
                namespace=namespace,
                name=name,
                status=status,
                client=client[0] if client else "",
            )
        )

    return record


def _text(value: str) -> str:
    """Return a text that can be written as JSON, of a sensible length."""
    if value.isascii() and len(value) <= _MAX_CHARS:
        return value
    return value[:_MAX_CHARS].encode("utf-8", "replace").decode()


def routes(log: AuditLog) -> list[BaseRoute]:
    """Return the table."""

    async def read(request: Request) -> Response:
        query = request.query_params
        limit = number(request, "limit")
        until = seconds(request, "until")
        wanted = AuditQuery(
            since=seconds(request, "since") or 0.0,
            until=float("inf") if until is None else until,
            subject=query.get("subject", ""),
            namespace=query.get("namespace", ""),
            action=query.get("action", ""),
            namespaces=visible(request, Permission.AUDIT_READ),
            limit=_DEFAULT_LIMIT if limit is None else limit,
        )
        return answer({"items": await asyncio.to_thread(log.read, wanted)})

    return [Route("/api/jit/v1/audit", read, methods=["GET"])]
