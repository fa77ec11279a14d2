"""What jitflow knows beyond Argo: `/api/jit/v1`."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from jitflow.access import Permission
from jitflow.app.names import check_namespace
from jitflow.app.service import Service
from jitflow.control_api.guards import require
from jitflow.control_api.requests import decode, read_manifest, seconds
from jitflow.control_api.workflows import answer
from jitflow.model.bulk import BulkWish, Operation

_ONE = "/api/jit/v1/workflows/{namespace}/{name}"


class JitRoutes:
    """Handlers of the extras."""

    def __init__(self, service: Service) -> None:
        """Hold the use-cases."""
        self._service = service

    def routes(self) -> list[BaseRoute]:
        """Return the table."""
        table: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
            ("POST", "/api/jit/v1/explain", self.explain),
            ("GET", "/api/jit/v1/explain", self.outlook),
            ("GET", _ONE + "/explain", self.outlook),
            ("GET", "/api/jit/v1/timeline", self.timeline),
            ("GET", _ONE + "/timeline", self.timeline_of),
            ("GET", _ONE + "/data", self.data),
            ("GET", _ONE + "/notes", self.notes),
            ("GET", _ONE + "/why", self.why),
            *(("POST", f"/api/jit/v1/bulk/{{namespace}}/{operation}", self._bulk(operation)) for operation in Operation),
        ]
        return [Route(path, handler, methods=[method]) for method, path, handler in table]

    def _bulk(self, operation: Operation) -> Callable[[Request], Awaitable[Response]]:
        async def bulk(request: Request) -> Response:
            """Do something to many workflows."""
            wish = decode(await request.body(), BulkWish)
            return answer(await self._service.bulk(operation, request.path_params["namespace"], wish))

        return bulk

    async def explain(self, request: Request) -> Response:
        """Say what running a manifest would move and take."""
        sent = await read_manifest(request)
        namespace = check_namespace(request.query_params.get("namespace", "") or sent.namespace or self._service.namespace)
        require(request, Permission.WORKFLOWS_READ, namespace)
        found = await self._service.explain(sent.manifest, namespace, source=sent.source, size_bytes=sent.size_bytes)
        return answer(found)

    async def outlook(self, request: Request) -> Response:
        """Say what is left of a workflow that runs, or of all that run."""
        path = request.path_params
        return answer(await self._service.outlook(path.get("namespace", ""), path.get("name", "")))

    async def timeline(self, request: Request) -> Response:
        """Return finished transfers and the primary's fill."""
        transfers, fill = await self._service.timeline(since=seconds(request, "since") or 0.0)
        return answer({"transfers": transfers, "fill": fill})

    async def timeline_of(self, request: Request) -> Response:
        """Return when a workflow's steps ran, and when their data was moved."""
        path = request.path_params
        return answer(await self._service.timeline_of(path["namespace"], path["name"]))

    async def data(self, request: Request) -> Response:
        """Return where the data of a workflow's steps stands."""
        rows = await self._service.step_data(request.path_params["namespace"], request.path_params["name"])
        return answer({"items": rows})

    async def why(self, request: Request) -> Response:
        """Say why a node does not run yet, and where its data stands."""
        path, node = request.path_params, request.query_params.get("node", "")
        return answer(await self._service.why(path["namespace"], path["name"], node))

    async def notes(self, request: Request) -> Response:
        """Return a workflow's history."""
        notes = await self._service.notes(request.path_params["namespace"], request.path_params["name"])
        return answer({"items": notes})
