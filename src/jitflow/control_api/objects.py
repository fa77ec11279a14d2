"""Routes of templates, schedules and event bindings as Argo Server has them; of the other objects below `/api/jit/v1`."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from jitflow.access import Permission
from jitflow.app.fields import Fields
from jitflow.app.objects import CONFIG_MAP, Limit, Objects
from jitflow.control_api.guards import note_name, visible
from jitflow.control_api.requests import YAML_TYPES, decode, flag
from jitflow.control_api.workflows import answer
from jitflow.model.problems import Refused

Handler = Callable[[Request], Awaitable[Response]]


class Collection(Struct, frozen=True):
    """One kind's place in Argo Server's API: its path, and the field of a body that holds an object."""

    kind: str
    path: str
    field: str
    namespaced: bool = True


COLLECTIONS = (
    Collection("WorkflowTemplate", "/api/v1/workflow-templates", "template"),
    Collection("ClusterWorkflowTemplate", "/api/v1/cluster-workflow-templates", "template", namespaced=False),
    Collection("CronWorkflow", "/api/v1/cron-workflows", "cronWorkflow"),
)


class ObjectRoutes:
    """Handlers; each reads the request, calls one use-case and maps the answer."""

    def __init__(self, objects: Objects) -> None:
        """Hold the use-cases."""
        self._objects = objects

    def routes(self) -> list[BaseRoute]:
        """Return the table."""
        table: list[tuple[str, str, Handler]] = []
        for collection in COLLECTIONS:
            table += self._of(collection)
        own = "/api/jit/v1/objects/{namespace}/{kind}"
        table += [
            ("PUT", "/api/v1/cron-workflows/{namespace}/{name}/suspend", partial(self.suspend, suspended=True)),
            ("PUT", "/api/v1/cron-workflows/{namespace}/{name}/resume", partial(self.suspend, suspended=False)),
            ("GET", "/api/v1/workflow-event-bindings/", self.bindings),
            ("GET", "/api/v1/workflow-event-bindings/{namespace}", self.bindings),
            ("POST", "/api/v1/sync/{namespace}", self.create_limit),
            ("GET", "/api/v1/sync/{namespace}/{key}", self.get_limit),
            ("PUT", "/api/v1/sync/{namespace}/{key}", self.update_limit),
            ("DELETE", "/api/v1/sync/{namespace}/{key}", self.delete_limit),
            ("GET", own, self.list_own),
            ("POST", own, self.create_own),
            ("GET", own + "/{name}", self.get_own),
            ("PUT", own + "/{name}", self.apply_own),
            ("DELETE", own + "/{name}", self.delete_own),
        ]
        return [Route(path, handler, methods=[method]) for method, path, handler in table]

    def _of(self, collection: Collection) -> list[tuple[str, str, Handler]]:
        base = collection.path + ("/{namespace}" if collection.namespaced else "")
        bound = {
            name: partial(getattr(self, name), collection=collection)
            for name in ("list_all", "create", "lint", "get", "update", "delete")
        }
        everywhere = [("GET", collection.path + "/", bound["list_all"])] if collection.namespaced else []
        return [
            *everywhere,
            ("GET", base, bound["list_all"]),
            ("POST", base, bound["create"]),
            ("POST", base + "/lint", bound["lint"]),
            ("GET", base + "/{name}", bound["get"]),
            ("PUT", base + "/{name}", bound["update"]),
            ("DELETE", base + "/{name}", bound["delete"]),
        ]

    # -- Argo's collections -------------------------------------------------------------------------------------------

    async def list_all(self, request: Request, *, collection: Collection) -> Response:
        """List the objects of a kind."""
        return self._listed(request, collection.kind)

    def _listed(self, request: Request, kind: str) -> Response:
        query = request.query_params
        fields = Fields(query.get("fields", ""))
        items = self._objects.list(
            kind,
            request.path_params.get("namespace", ""),
            labels=query.get("listOptions.labelSelector", ""),
            name_pattern=query.get("namePattern", ""),
            visible=visible(request, Permission.SECRETS_READ if kind == "Secret" else Permission.OBJECTS_READ),
        )
        body: dict[str, Any] = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": f"{kind}List",
            "metadata": {"resourceVersion": str(self._objects.version)},
            "items": list(items) or None,
        }
        if fields:
            body["items"] = [msgspec.to_builtins(item) for item in items] or None
        return answer(fields.apply(body))

    async def create(self, request: Request, *, collection: Collection) -> Response:
        """Keep a new object."""
        body, dry = await _sent(request, collection.field)
        made = await self._objects.create(collection.kind, _namespace(request), body, dry_run=dry)
        note_name(request, made.metadata)
        return answer(made)

    async def lint(self, request: Request, *, collection: Collection) -> Response:
        """Validate an object."""
        body, _ = await _sent(request, collection.field)
        return answer(await self._objects.read(collection.kind, body, request.path_params.get("namespace", "")))

    async def get(self, request: Request, *, collection: Collection) -> Response:
        """Return one object."""
        return answer(self._objects.get(collection.kind, _namespace(request), request.path_params["name"]))

    async def update(self, request: Request, *, collection: Collection) -> Response:
        """Replace one object."""
        body, _ = await _sent(request, collection.field)
        name = request.path_params["name"]
        return answer(await self._objects.update(collection.kind, _namespace(request), name, body))

    async def delete(self, request: Request, *, collection: Collection) -> Response:
        """Forget one object."""
        await self._objects.delete(collection.kind, _namespace(request), request.path_params["name"])
        return answer({})

    async def suspend(self, request: Request, *, suspended: bool) -> Response:
        """Let a schedule rest, or go on."""
        namespace, name = request.path_params["namespace"], request.path_params["name"]
        return answer(await self._objects.suspend(namespace, name, suspended=suspended))

    async def bindings(self, request: Request) -> Response:
        """List the event bindings."""
        return self._listed(request, "WorkflowEventBinding")

    # -- limits of semaphores -----------------------------------------------------------------------------------------

    async def create_limit(self, request: Request) -> Response:
        """Set a limit."""
        return answer(await self._objects.create_limit(await _limit(request)))

    async def get_limit(self, request: Request) -> Response:
        """Return a limit."""
        query = request.query_params
        return answer(self._objects.get_limit(_limit_of(request, query.get("cmName", ""), query.get("type", CONFIG_MAP))))

    async def update_limit(self, request: Request) -> Response:
        """Change a limit."""
        return answer(await self._objects.update_limit(await _limit(request)))

    async def delete_limit(self, request: Request) -> Response:
        """Forget a limit."""
        query = request.query_params
        await self._objects.delete_limit(_limit_of(request, query.get("cmName", ""), query.get("type", CONFIG_MAP)))
        return answer({})

    # -- objects that Argo Server has no paths for --------------------------------------------------------------------

    async def list_own(self, request: Request) -> Response:
        """List the objects of any kind."""
        return self._listed(request, request.path_params["kind"])

    async def create_own(self, request: Request) -> Response:
        """Keep a new object of any kind."""
        body = await _plain(request)
        made = await self._objects.create(request.path_params["kind"], _namespace(request), body)
        note_name(request, made.metadata)
        return answer(made)

    async def get_own(self, request: Request) -> Response:
        """Return one object of any kind; of a Secret only its keys."""
        params = request.path_params
        return answer(self._objects.get(params["kind"], params["namespace"], params["name"]))

    async def apply_own(self, request: Request) -> Response:
        """Keep an object of any kind, new or in place of the one of its name."""
        params = request.path_params
        body = await _plain(request)
        return answer(await self._objects.apply(params["kind"], params["namespace"], params["name"], body))

    async def delete_own(self, request: Request) -> Response:
        """Forget one object of any kind."""
        params = request.path_params
        await self._objects.delete(params["kind"], params["namespace"], params["name"])
        return answer({})


def _namespace(request: Request) -> str:
    return str(request.path_params.get("namespace", ""))


def _is_yaml(request: Request) -> bool:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() in YAML_TYPES


async def _plain(request: Request) -> Any:
    body = await request.body()
    if _is_yaml(request):
        return _text(body)
    return decode(body, dict[str, Any])


async def _sent(request: Request, field: str) -> tuple[Any, bool]:
    """Return the object of a request in Argo's JSON body, or YAML as it is; and whether it is only tried."""
    body = await request.body()
    if _is_yaml(request):
        return _text(body), flag(request, "serverDryRun")
    parsed = decode(body, dict[str, Any])
    found = parsed.get(field)
    if not isinstance(found, dict):
        raise Refused(f'the body has no {field}; send {{"{field}": {{…}}}}')
    options = parsed.get("createOptions")
    return found, bool(isinstance(options, dict) and options.get("dryRun"))


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise Refused(f"the manifest is not UTF-8 text: {error.reason} at byte {error.start}") from None


async def _limit(request: Request) -> Limit:
    sent = decode(await request.body(), Limit)
    return msgspec.structs.replace(_limit_of(request, sent.config_map, sent.type, sent.key), limit=sent.limit)


def _limit_of(request: Request, config_map: str, kind: str, key: str = "") -> Limit:
    params = request.path_params
    return Limit(namespace=params["namespace"], key=params.get("key") or key, config_map=config_map, type=kind)
