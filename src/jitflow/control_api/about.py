"""What the server says of itself, and of Argo's paths that it does not serve."""

import asyncio
import platform
import sys
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import version

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from jitflow.access import described
from jitflow.control_api.guards import identity_of
from jitflow.control_api.requests import decode
from jitflow.control_api.workflows import answer
from jitflow.model.problems import Refused
from jitflow.model.servers import ServerInfo, ServerList

_ARGO_EVENTS = {"event-sources": "eventsources", "sensors": "sensors"}
"""What belongs to Argo Events: answered as an Argo does whose cluster has no such objects."""
_METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH"]


ServersView = Callable[[], Awaitable[Sequence[ServerInfo]]]
"""Returns the servers that share the state."""


class _Tracked(Struct, frozen=True):
    """Body of a tracked event."""

    name: str | None = None


def live_routes() -> list[BaseRoute]:
    """Return the path by which it can be seen that something listens."""
    return [Route("/healthz", _healthz, methods=["GET"])]


def elsewhere_routes() -> list[BaseRoute]:
    """Return what a data service answers at the Control API's paths."""
    return [Route("/api/v1/{rest:path}", _elsewhere, methods=_METHODS)]


def routes() -> list[BaseRoute]:
    """Return the table."""
    return [
        *live_routes(),
        Route("/api/v1/info", _info, methods=["GET"]),
        Route("/api/v1/userinfo", _userinfo, methods=["GET"]),
        Route("/api/v1/version", _version, methods=["GET"]),
        Route("/api/v1/tracking/event", _tracked, methods=["POST"]),
        Route("/api/jit/v1/whoami", _whoami, methods=["GET"]),
        Route("/api/jit/v1/openapi.json", _openapi, methods=["GET"]),
    ]


def server_routes(servers: ServersView) -> list[BaseRoute]:
    """Return the path that tells which servers share the state."""

    async def read(_: Request) -> Response:
        return answer(ServerList(servers=tuple(await servers())))

    return [Route("/api/jit/v1/servers", read, methods=["GET"])]


def other_routes() -> list[BaseRoute]:
    """Return what must come last: a clear answer for paths of Argo Server that are not served."""
    return [
        Route("/api/v1/{rest:path}", _unserved, methods=_METHODS),
    ]


async def _healthz(_: Request) -> Response:
    return answer({"status": "ok"})


async def _info(_: Request) -> Response:
    modals = {"feedback": False, "firstTimeUser": False, "newVersion": False}
    return answer({"managedNamespace": "", "links": [], "columns": [], "navColor": "", "modals": modals})


async def _userinfo(request: Request) -> Response:
    identity = identity_of(request)
    body = {
        "issuer": identity.issuer,
        "subject": identity.subject,
        "groups": [*identity.groups, *described(identity.grants)],
        "name": identity.subject,
        "email": identity.email,
    }
    return answer({key: value for key, value in body.items() if value})


async def _whoami(request: Request) -> Response:
    identity = identity_of(request)
    return answer(
        {
            "subject": identity.subject,
            "issuer": identity.issuer,
            "grants": identity.grants,
            "scopes": sorted(identity.scopes),
            "groups": identity.groups,
            "token": identity.token,
            "expires_at": identity.expires_at,
        }
    )


async def _openapi(_: Request) -> Response:
    from jitflow.control_api.describe import control_document  # noqa: PLC0415 (rarely asked for, and costly to load)

    return answer(await asyncio.to_thread(control_document))


async def _version(_: Request) -> Response:
    number = version("jitflow")
    python = ".".join(str(part) for part in sys.version_info[:3])
    return answer(
        {
            "version": f"v{number}",
            "buildDate": "",
            "gitCommit": "",
            "gitTag": f"v{number}",
            "gitTreeState": "",
            "goVersion": "",
            "compiler": f"python{python}",
            "platform": f"{platform.system().lower()}/{platform.machine()}",
        }
    )


async def _tracked(request: Request) -> Response:
    """Take what Argo's page tells of its use; nothing is kept."""
    decode(await request.body(), _Tracked)
    return answer({})


async def _unserved(request: Request) -> Response:
    parts = request.url.path.removeprefix("/api/v1/").split("/")
    kind = _ARGO_EVENTS.get(parts[1] if parts[0] == "stream" and len(parts) > 1 else parts[0])
    if kind is not None:
        raise Refused(f"the server could not find the requested resource (get {kind}.argoproj.io)", code="not_found")
    raise Refused(f"there is nothing at {request.url.path[:200]}", code="not_found")


async def _elsewhere(_: Request) -> Response:
    message = "this is a data service: it serves /data/v1; what is not about data its control service answers, ask that"
    raise Refused(message, code="not_found")
