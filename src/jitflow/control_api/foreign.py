"""Workflows that another Argo runs: what its events tell, and where their data is."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from jitflow.access import Permission
from jitflow.app.foreign import ForeignRuns
from jitflow.control_api.guards import NOTED, require, visible
from jitflow.control_api.workflows import answer
from jitflow.model.foreign import Outcome

_ALL = "/api/jit/v1/foreign-workflows/"
_SOME = _ALL + "{namespace}"


class ForeignRoutes:
    """Handlers; who sends an event must be allowed to in the namespace of its workflow."""

    def __init__(self, runs: ForeignRuns) -> None:
        """Hold the workflows."""
        self._runs = runs

    def routes(self) -> list[BaseRoute]:
        """Return the table."""
        table: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
            ("POST", "/events/argo", self.receive),
            ("POST", "/workflow/event", self.receive),
            ("GET", _ALL, self.list_all),
            ("GET", _SOME, self.list_all),
            ("GET", _SOME + "/{name}", self.get),
        ]
        return [Route(path, handler, methods=[method]) for method, path, handler in table]

    async def receive(self, request: Request) -> Response:
        """Take an event."""
        return answer(await self._taken(request))

    async def _taken(self, request: Request) -> Outcome:
        event = await self._runs.read(await request.body())
        metadata = event.workflow.metadata
        namespace, name = (metadata and metadata.namespace) or "", (metadata and metadata.name) or ""
        request.scope[NOTED] = {"name": name, "namespace": namespace}
        require(request, Permission.EVENTS_SEND, namespace)
        return await self._runs.take(event)

    async def list_all(self, request: Request) -> Response:
        """List the workflows that are known."""
        found = await self._runs.list(
            request.path_params.get("namespace", ""), visible=visible(request, Permission.WORKFLOWS_READ)
        )
        return answer({"items": found})

    async def get(self, request: Request) -> Response:
        """Return one workflow, its steps and where their objects are."""
        return answer(await self._runs.get(request.path_params["namespace"], request.path_params["name"]))
