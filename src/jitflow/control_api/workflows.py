"""Argo Server's workflow routes."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from jitflow.app.events import Happening
from jitflow.app.fields import Fields
from jitflow.app.index import Page
from jitflow.app.names import check_namespace
from jitflow.app.present import brief, document, outline, plain
from jitflow.app.service import Service
from jitflow.app.submit import SubmitOptions
from jitflow.control_api import large
from jitflow.control_api.answers import Json, KnownAnswers
from jitflow.control_api.guards import note_name
from jitflow.control_api.requests import (
    SubmitBody,
    body_of,
    decode,
    flag,
    log_query,
    number,
    read_control,
    read_manifest,
    selection,
    sequence,
)
from jitflow.control_api.streams import Emit, Stream, prefers_events
from jitflow.model import argo
from jitflow.model.logs import LogEntry
from jitflow.model.problems import Refused
from jitflow.ports.store import RunRow

_encode = msgspec.json.Encoder().encode
_parsed = lru_cache(maxsize=128)(Fields)
_BASE = "/api/v1/workflows/{namespace}"
_ONE = _BASE + "/{name}"


def answer(value: Any) -> Response:
    """Return a JSON answer."""
    return Json(_encode(value))


Document = Callable[[RunRow], Awaitable[argo.Workflow | None]]


async def items_of(rows: Sequence[RunRow], document: Document, *, only_rows: bool) -> list[argo.Workflow | dict[str, Any]]:
    """Return the items of a list; of what only the archive knows, no more than Argo tells there."""
    if only_rows:
        return [outline(row) for row in rows]
    items: list[argo.Workflow | dict[str, Any]] = []
    for row in rows:
        workflow = await document(row)
        if workflow is not None:
            items.append(workflow if row.live else brief(workflow))
        await asyncio.sleep(0)  # a long list must not hold up the engine
    return items


async def listed(page: Page, fields: Fields, document: Document) -> Response:
    """Return a part of a list, of each workflow as much as is wanted."""
    items = await items_of(page.rows, document, only_rows=fields.wants_only_row("items."))
    metadata: dict[str, Any] = {} if page.sequence is None else {"resourceVersion": str(page.sequence)}
    if page.after:
        metadata["continue"] = str(page.after)
    if page.remaining is not None:
        metadata["remainingItemCount"] = page.remaining
    body = {"apiVersion": "argoproj.io/v1alpha1", "kind": "WorkflowList", "metadata": metadata, "items": items or None}
    if fields:
        body["items"] = [plain(item) for item in items] or None
    return answer(fields.apply(body))


class WorkflowRoutes:
    """Handlers; each reads the request, calls one use-case and maps the answer."""

    def __init__(self, service: Service) -> None:
        """Hold the use-cases."""
        self._service = service
        self._known = KnownAnswers()

    def routes(self) -> list[BaseRoute]:
        """Return the table."""
        table: list[tuple[str, str, Callable[[Request], Awaitable[Any]]]] = [
            ("GET", "/api/v1/workflows/", self.list_workflows),
            ("GET", _BASE, self.list_workflows),
            ("POST", _BASE, self.create),
            ("POST", _BASE + "/lint", self.lint),
            ("POST", _BASE + "/submit", self.submit),
            ("GET", _ONE, self.get),
            ("DELETE", _ONE, self.delete),
            ("PUT", _ONE + "/suspend", self.suspend),
            ("PUT", _ONE + "/resume", self.resume),
            ("PUT", _ONE + "/stop", self.stop),
            ("PUT", _ONE + "/terminate", self.terminate),
            ("PUT", _ONE + "/retry", self.retry),
            ("PUT", _ONE + "/resubmit", self.resubmit),
            ("PUT", _ONE + "/set", self.set_nodes),
            ("GET", _ONE + "/log", self.logs),
            ("GET", _ONE + "/{pod}/log", self.logs),
            ("POST", "/api/v1/events/{namespace}/", self.event),
            ("POST", "/api/v1/events/{namespace}/{discriminator}", self.event),
            ("GET", "/api/v1/workflow-events/", self.watch),
            ("GET", "/api/v1/workflow-events/{namespace}", self.watch),
        ]
        return [Route(path, handler, methods=[method]) for method, path, handler in table]

    async def create(self, request: Request) -> Response:
        """Take a workflow."""
        sent = await read_manifest(request)
        made = await self._service.create(
            sent.manifest,
            request.path_params["namespace"],
            dry_run=sent.dry_run,
            source=sent.source,
            size_bytes=sent.size_bytes,
        )
        note_name(request, made.metadata)
        return answer(made)

    async def lint(self, request: Request) -> Response:
        """Validate a workflow."""
        namespace = check_namespace(request.path_params["namespace"])
        sent = await read_manifest(request)
        return answer(await self._service.lint(sent.manifest, namespace, source=sent.source, size_bytes=sent.size_bytes))

    async def submit(self, request: Request) -> Response:
        """Make a workflow of a template or a schedule."""
        body = decode(await body_of(request), SubmitBody)
        made = await self._service.submit(
            request.path_params["namespace"],
            body.resource_kind or "",
            body.resource_name or "",
            body.submit_options or SubmitOptions(),
        )
        note_name(request, made.metadata)
        return answer(made)

    async def list_workflows(self, request: Request) -> Response:
        """List workflows, newest first."""
        fields = Fields(request.query_params.get("fields", ""))
        page = self._service.list(
            selection(request),
            limit=number(request, "listOptions.limit") or 0,
            offset=number(request, "listOptions.continue") or 0,
        )
        return await listed(page, fields, self._service.document)

    async def get(self, request: Request) -> Response:
        """Return one workflow."""
        text = request.query_params.get("fields", "")
        fields = _parsed(text)
        namespace, name = request.path_params["namespace"], request.path_params["name"]
        row = self._service.find(namespace, name, uid=request.query_params.get("uid", ""))
        asked = (row.uid, text)
        if fields.wants_only_row(""):
            body = self._known.find(asked, (row,))
            body = body or self._known.keep(asked, (row,), _encode(fields.apply(outline(row))))
            return Json(body)
        halves = await self._service.halves(row)
        if halves is None:
            raise Refused(f'workflows.argoproj.io "{row.name}" not found', code="not_found")
        body = self._known.find(asked, halves)
        if body is None:
            workflow = document(*halves)
            body = await large.encoded(await large.wanted(workflow, fields) if fields else workflow)
            self._known.keep(asked, halves, body)
        return Json(body)

    async def delete(self, request: Request) -> Response:
        """Remove one workflow."""
        namespace, name = request.path_params["namespace"], request.path_params["name"]
        await self._service.delete(namespace, name, force=flag(request, "force"))
        return answer({})

    async def suspend(self, request: Request) -> Response:
        """Start nothing new."""
        await read_control(request)
        return answer(await self._service.suspend(request.path_params["namespace"], request.path_params["name"]))

    async def resume(self, request: Request) -> Response:
        """Go on."""
        body = await read_control(request)
        workflow = await self._service.resume(
            request.path_params["namespace"],
            request.path_params["name"],
            selector=body.node_field_selector or "",
            message=body.message or "",
        )
        return answer(workflow)

    async def stop(self, request: Request) -> Response:
        """End, with exit handlers."""
        body = await read_control(request)
        workflow = await self._service.stop(
            request.path_params["namespace"],
            request.path_params["name"],
            selector=body.node_field_selector or "",
            message=body.message or "",
        )
        return answer(workflow)

    async def terminate(self, request: Request) -> Response:
        """End, without exit handlers."""
        await read_control(request)
        return answer(await self._service.terminate(request.path_params["namespace"], request.path_params["name"]))

    async def retry(self, request: Request) -> Response:
        """Run again from where it failed."""
        body = await read_control(request)
        workflow = await self._service.retry(
            request.path_params["namespace"],
            request.path_params["name"],
            restart_successful=bool(body.restart_successful),
            selector=body.node_field_selector or "",
            parameters=body.parameters or (),
        )
        return answer(workflow)

    async def resubmit(self, request: Request) -> Response:
        """Run a workflow anew, under another name."""
        body = await read_control(request)
        workflow = await self._service.resubmit(
            request.path_params["namespace"],
            request.path_params["name"],
            memoized=bool(body.memoized),
            parameters=body.parameters or (),
        )
        note_name(request, workflow.metadata)
        return answer(workflow)

    async def set_nodes(self, request: Request) -> Response:
        """Supply outputs to suspended nodes, or end them."""
        body = await read_control(request)
        workflow = await self._service.set_nodes(
            request.path_params["namespace"],
            request.path_params["name"],
            selector=body.node_field_selector or "",
            outputs=body.output_parameters or "",
            message=body.message or "",
            phase=body.phase or "",
        )
        return answer(workflow)

    async def event(self, request: Request) -> Response:
        """Take an event for the bindings of a namespace."""
        body = await request.body()
        happening = Happening(
            namespace=request.path_params["namespace"],
            discriminator=request.path_params.get("discriminator", ""),
            payload=decode(body, object) if body.strip() else None,
            metadata={name: [value] for name, value in request.headers.items() if name.startswith("x-")},
        )
        await self._service.happened(happening)
        return answer({})

    async def watch(self, request: Request) -> Stream:
        """Tell of every change."""
        fields = Fields(request.query_params.get("fields", ""))
        watch = self._service.watch(
            selection(request), after=sequence(request), only_rows=fields.wants_only_row("result.object.")
        )
        limit_s = number(request, "listOptions.timeoutSeconds")

        async def pump(emit: Emit) -> None:
            async def sink(kind: str, value: argo.Workflow | dict[str, Any]) -> None:
                if isinstance(value, argo.Workflow) and fields:
                    value = await large.wanted(value, fields, below="result.object")
                elif fields:
                    value = fields.apply({"result": {"object": value}}).get("result", {}).get("object", {})
                await emit((b'{"type":' + _encode(kind) + b',"object":' + await large.encoded(value) + b"}",))

            try:
                async with asyncio.timeout(limit_s):
                    await watch.run(sink)
            except TimeoutError:
                return

        return Stream(pump, events=prefers_events(request), closing=self._service.closing)

    async def logs(self, request: Request) -> Stream:
        """Send log lines."""
        send_logs = await self._service.logs(request.path_params["namespace"], request.path_params["name"], log_query(request))

        async def pump(emit: Emit) -> None:
            async def sink(entries: Sequence[LogEntry]) -> None:
                await emit([_encode(entry) for entry in entries])

            await send_logs(sink)

        return Stream(pump, events=prefers_events(request), closing=self._service.closing)
