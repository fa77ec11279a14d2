"""Backfills of schedules: `/api/jit/v1/cron-workflows/{namespace}/{name}/backfills`."""

from collections.abc import Awaitable, Callable

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from jitflow.app.backfills import Backfills
from jitflow.control_api.guards import NOTED
from jitflow.control_api.requests import decode
from jitflow.control_api.workflows import answer
from jitflow.model.backfill import BackfillWish

_ALL = "/api/jit/v1/cron-workflows/{namespace}/{name}/backfills"
_ONE = _ALL + "/{backfill}"


class CancelBody(Struct, frozen=True, forbid_unknown_fields=True):
    """How a backfill is cancelled. `terminate`: what runs is ended as well."""

    terminate: bool = False


class BackfillRoutes:
    """Handlers; each reads the request, calls one use-case and maps the answer."""

    def __init__(self, backfills: Backfills) -> None:
        """Hold the use-cases."""
        self._backfills = backfills

    def routes(self) -> list[BaseRoute]:
        """Return the table."""
        table: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
            ("GET", _ALL, self.list_all),
            ("POST", _ALL, self.make),
            ("GET", _ONE, self.get),
            ("PUT", _ONE + "/cancel", self.cancel),
            ("DELETE", _ONE, self.forget),
        ]
        return [Route(path, handler, methods=[method]) for method, path, handler in table]

    async def list_all(self, request: Request) -> Response:
        """List the backfills of a schedule."""
        path = request.path_params
        return answer({"items": self._backfills.list(path["namespace"], path["name"])})

    async def make(self, request: Request) -> Response:
        """Begin a backfill."""
        path = request.path_params
        made = await self._backfills.make(path["namespace"], path["name"], decode(await request.body(), BackfillWish))
        request.scope[NOTED] = {"name": f"{path['name']}/{made.name}"}
        return answer(made)

    async def get(self, request: Request) -> Response:
        """Return a backfill with its runs."""
        path = request.path_params
        return answer(self._backfills.get(path["namespace"], path["name"], path["backfill"]))

    async def cancel(self, request: Request) -> Response:
        """Start nothing more of a backfill."""
        path, body = request.path_params, await request.body()
        wish = decode(body, CancelBody) if body.strip() else CancelBody()
        found = await self._backfills.cancel(path["namespace"], path["name"], path["backfill"], terminate=wish.terminate)
        return answer(found)

    async def forget(self, request: Request) -> Response:
        """Forget a backfill that is over."""
        path = request.path_params
        await self._backfills.forget(path["namespace"], path["name"], path["backfill"])
        return answer({})
