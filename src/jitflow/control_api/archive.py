"""Argo Server's routes of archived workflows."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from jitflow.access import Permission
from jitflow.app.archive import ArchiveQuery
from jitflow.app.fields import Fields
from jitflow.app.service import Service
from jitflow.control_api.guards import require, visible
from jitflow.control_api.requests import number, read_control
from jitflow.control_api.workflows import answer, listed
from jitflow.model.problems import Refused
from jitflow.ports.store import RunRow

_BASE = "/api/v1/archived-workflows"
_ONE = _BASE + "/{uid}"


class ArchiveRoutes:
    """Handlers; each reads the request, calls one use-case and maps the answer."""

    def __init__(self, service: Service) -> None:
        """Hold the use-cases."""
        self._service = service
        self._archive = service.archive

    def routes(self) -> list[BaseRoute]:
        """Return the table."""
        table: list[tuple[str, str, Callable[[Request], Awaitable[Any]]]] = [
            ("GET", _BASE, self.list_archived),
            ("GET", _BASE + "/", self.get),
            ("GET", _BASE + "-label-keys", self.label_keys),
            ("GET", _BASE + "-label-values", self.label_values),
            ("GET", _ONE, self.get),
            ("DELETE", _ONE, self.delete),
            ("PUT", _ONE + "/retry", self.retry),
            ("PUT", _ONE + "/resubmit", self.resubmit),
        ]
        return [Route(path, handler, methods=[method]) for method, path, handler in table]

    async def list_archived(self, request: Request) -> Response:
        """List archived workflows, those first that were started last."""
        query = request.query_params
        fields = Fields(query.get("fields", ""))
        page = self._archive.list(
            ArchiveQuery(
                namespace=query.get("namespace", ""),
                visible=_visible(request),
                labels=query.get("listOptions.labelSelector", ""),
                fields=query.get("listOptions.fieldSelector", ""),
                name_filter=query.get("nameFilter", ""),
                name_prefix=query.get("namePrefix", ""),
                limit=number(request, "listOptions.limit") or 0,
                offset=number(request, "listOptions.continue") or 0,
            )
        )
        return await listed(page, fields, self._archive.document)

    async def get(self, request: Request) -> Response:
        """Return one archived workflow; without a uid that of a namespace and name."""
        return answer(await self._archive.get(self._row(request, Permission.WORKFLOWS_READ)))

    async def delete(self, request: Request) -> Response:
        """Remove one workflow from the archive."""
        await self._archive.delete(self._row(request, Permission.WORKFLOWS_DELETE))
        return answer({})

    async def retry(self, request: Request) -> Response:
        """Let an archived workflow be there again and go on."""
        body = await read_control(request)
        row = self._archive.to_retry(request.path_params["uid"])
        require(request, Permission.WORKFLOWS_CONTROL, row.namespace)
        workflow = await self._archive.retry(
            row,
            restart_successful=bool(body.restart_successful),
            selector=body.node_field_selector or "",
            parameters=body.parameters or (),
        )
        return answer(workflow)

    async def resubmit(self, request: Request) -> Response:
        """Run an archived workflow anew, under another name."""
        body = await read_control(request)
        row = self._row(request, Permission.WORKFLOWS_CREATE)
        workflow = await self._service.resubmit_run(row, memoized=bool(body.memoized), parameters=body.parameters or ())
        return answer(workflow)

    async def label_keys(self, request: Request) -> Response:
        """Return the keys of labels."""
        namespace = request.query_params.get("namespace", "")
        return answer(_labels(self._archive.label_keys(namespace, _visible(request))))

    async def label_values(self, request: Request) -> Response:
        """Return the values of a label."""
        query = request.query_params
        selector = query.get("listOptions.labelSelector", "")
        return answer(_labels(self._archive.label_values(selector, query.get("namespace", ""), _visible(request))))

    def _row(self, request: Request, permission: Permission) -> RunRow:
        """Return the row of the workflow that is meant, in whose namespace the sender must have a permission."""
        uid, query = request.path_params.get("uid", ""), request.query_params
        namespace, name = query.get("namespace", ""), query.get("name", "")
        if not uid and not (namespace and name):
            raise Refused("which archived workflow? give its uid, or its namespace and name")
        if not uid:
            require(request, permission, namespace)
        row = self._archive.find(uid, namespace=namespace, name=name)
        require(request, permission, row.namespace)
        return row


def _visible(request: Request) -> frozenset[str] | None:
    """Return what the sender may see, None for all; a namespace that is asked for must be among it."""
    namespace = request.query_params.get("namespace", "")
    if namespace:
        require(request, Permission.WORKFLOWS_READ, namespace)
    return visible(request, Permission.WORKFLOWS_READ)


def _labels(items: Any) -> dict[str, Any]:
    """Return a list of labels as Go writes it: an empty one is left out."""
    return {"items": items} if items else {}
