"""The routes of `/data/v1`. Answers are the shared values as they are: sizes in bytes, references as `{remote, path}`."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from jitflow.access import ALL, IDENTITY, Identity, Permission, denied
from jitflow.app.dataservice import REPLICAS_A_PAGE, DataService
from jitflow.app.files import FileService
from jitflow.app.transfers import TransferJobs
from jitflow.data_api.aliases import AliasRoutes
from jitflow.data_api.answers import answer, number, read, reference
from jitflow.data_api.bodies import (
    AdoptBody,
    BandwidthBody,
    BudgetBody,
    BudgetsBody,
    CheckBody,
    PinBody,
    RefBody,
    RefsBody,
    RemoteBody,
    RemoteChangeBody,
    RemoteOptionsBody,
    RetryBody,
    TestBody,
)
from jitflow.data_api.files import FileRoutes
from jitflow.data_api.jobs import JobRoutes
from jitflow.model.problems import Refused
from jitflow.model.spending import Budget
from jitflow.settings import SettingsError, parse_bytes


def routes(service: DataService, jobs: TransferJobs, files: FileService) -> list[BaseRoute]:
    """Return the Data API's routes; who may call them is decided by the application around them."""
    own = [*DataRoutes(service).routes(), *JobRoutes(jobs).routes(), *FileRoutes(files).routes()]
    return [*own, *AliasRoutes(service, jobs, files).routes()]


class DataRoutes:
    """Handlers; each reads the request, calls one use-case and maps the answer."""

    def __init__(self, service: DataService) -> None:
        """Hold the use-cases."""
        self._service = service

    def routes(self) -> list[BaseRoute]:
        """Return the table."""
        table: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
            ("GET", "/data/v1/openapi.json", self.openapi),
            ("GET", "/data/v1/remotes", self.remotes),
            ("POST", "/data/v1/remotes", self.add_remote),
            ("GET", "/data/v1/remotes/{name}", self.remote),
            ("PUT", "/data/v1/remotes/{name}", self.replace_remote),
            ("PATCH", "/data/v1/remotes/{name}", self.change_remote),
            ("DELETE", "/data/v1/remotes/{name}", self.remove_remote),
            ("GET", "/data/v1/providers", self.providers),
            ("GET", "/data/v1/providers/{name}", self.provider),
            ("POST", "/data/v1/remotes/{name}/test", self.test_remote),
            ("GET", "/data/v1/objects", self.objects),
            ("GET", "/data/v1/stat", self.stat),
            ("GET", "/data/v1/primary", self.primary),
            ("POST", "/data/v1/primary/explain", self.explain),
            ("POST", "/data/v1/primary/stage", self.stage),
            ("POST", "/data/v1/primary/pin", self.pin),
            ("POST", "/data/v1/primary/unpin", self.unpin),
            ("POST", "/data/v1/primary/evict", self.evict),
            ("POST", "/data/v1/primary/check", self.check),
            ("POST", "/data/v1/primary/adopt", self.adopt),
            ("GET", "/data/v1/pins", self.pins),
            ("GET", "/data/v1/quotas", self.quotas),
            ("GET", "/data/v1/budgets", self.budgets),
            ("PUT", "/data/v1/budgets", self.set_budgets),
            ("GET", "/data/v1/spending", self.spent),
            ("GET", "/data/v1/inventories", self.inventories),
            ("GET", "/data/v1/inventory", self.inventory),
            ("POST", "/data/v1/inventory/refresh", self.refresh_inventory),
            ("GET", "/data/v1/links", self.links),
            ("GET", "/data/v1/bandwidth", self.bandwidth),
            ("PUT", "/data/v1/bandwidth", self.limit_bandwidth),
            ("GET", "/data/v1/uploads", self.uploads),
            ("POST", "/data/v1/uploads/retry", self.retry_uploads),
            ("POST", "/data/v1/uploads/drop", self.drop_upload),
        ]
        return [Route(path, handler, methods=[method]) for method, path, handler in table]

    async def openapi(self, _: Request) -> Response:
        """Return this API's description."""
        from jitflow.data_api.describe import data_document  # noqa: PLC0415 (rarely asked for, and costly to load)

        return answer(await asyncio.to_thread(data_document))

    async def remotes(self, _: Request) -> Response:
        """List remotes."""
        return answer({"items": self._service.remotes()})

    async def add_remote(self, request: Request) -> Response:
        """Add a remote."""
        body = await read(request, RemoteBody)
        return answer(await self._service.add_remote(body.name, body.type, body.options))

    async def remote(self, request: Request) -> Response:
        """Describe a remote."""
        return answer(self._service.remote(request.path_params["name"]))

    async def replace_remote(self, request: Request) -> Response:
        """Give a remote these options and no others."""
        body = await read(request, RemoteOptionsBody)
        return answer(await self._service.change_remote(request.path_params["name"], body.type, body.options, whole=True))

    async def change_remote(self, request: Request) -> Response:
        """Change some options of a remote."""
        body = await read(request, RemoteChangeBody)
        name = request.path_params["name"]
        if body.prices is not None:
            await self._service.set_prices(name, body.prices)
        if body.prices is None or body.options:
            return answer(await self._service.change_remote(name, "", body.options, whole=False))
        return answer(self._service.remote(name))

    async def providers(self, _: Request) -> Response:
        """List the types of far stores."""
        return answer({"items": await self._service.providers()})

    async def provider(self, request: Request) -> Response:
        """Describe a type of far store with its options."""
        return answer(await self._service.provider(request.path_params["name"]))

    async def remove_remote(self, request: Request) -> Response:
        """Forget a remote."""
        await self._service.remove_remote(request.path_params["name"])
        return answer({})

    async def test_remote(self, request: Request) -> Response:
        """Test a remote."""
        body = await read(request, TestBody) if await request.body() else TestBody()
        await self._service.test_remote(request.path_params["name"], body.path)
        return answer({"ok": True})

    async def objects(self, request: Request) -> Response:
        """List objects."""
        recursive = request.query_params.get("recursive", "").lower() in {"1", "true"}
        return answer(await self._service.objects(reference(request), recursive=recursive))

    async def stat(self, request: Request) -> Response:
        """Describe an object and its replica."""
        info, replica = await self._service.stat(reference(request))
        return answer({**msgspec.structs.asdict(info), "replica": replica})

    async def primary(self, request: Request) -> Response:
        """Say how full the primary is, and of what, a page at a time."""
        limit = number(request, "limit", REPLICAS_A_PAGE)
        fill, page = await self._service.primary(cursor=request.query_params.get("cursor", ""), limit=limit)
        return answer({"fill": fill, "replicas": page.items, "next": page.next})

    async def stage(self, request: Request) -> Response:
        """Fetch an object."""
        return answer(await self._service.stage((await read(request, RefBody)).ref))

    async def explain(self, request: Request) -> Response:
        """Say what staging objects would take."""
        return answer(await self._service.explain((await read(request, RefsBody)).refs))

    async def pin(self, request: Request) -> Response:
        """Keep a replica, or everything below a prefix."""
        body = await _pin_body(request)
        return answer(await self._service.pin(body.ref, body.namespace))

    async def unpin(self, request: Request) -> Response:
        """Take a pin away."""
        body = await _pin_body(request)
        return answer(await self._service.unpin(body.ref, body.namespace))

    async def pins(self, request: Request) -> Response:
        """List what is pinned, in the caller's namespaces."""
        identity: Identity = request.scope[IDENTITY]
        pins = self._service.pins()
        return answer({"items": [pin for pin in pins if identity.may(Permission.DATA_READ, pin.namespace or ALL)]})

    async def quotas(self, request: Request) -> Response:
        """Say what the caller's namespaces have in the primary, and may have."""
        identity: Identity = request.scope[IDENTITY]
        quotas = self._service.quotas()
        return answer({"items": [one for one in quotas if identity.may(Permission.DATA_READ, one.namespace)]})

    async def evict(self, request: Request) -> Response:
        """Remove a replica."""
        await self._service.evict((await read(request, RefBody)).ref)
        return answer({})

    async def check(self, request: Request) -> Response:
        """Compare the catalogue with what is really there."""
        body = await read(request, CheckBody)
        return answer(await self._service.compare(remove=body.remove, hashes=body.hashes))

    async def adopt(self, request: Request) -> Response:
        """Take files that are near already for objects."""
        body = await read(request, AdoptBody)
        return answer(await self._service.adopt(body.place, body.ref, move=body.move))

    async def budgets(self, request: Request) -> Response:
        """Say what the caller's namespaces may spend, and have spent."""
        identity: Identity = request.scope[IDENTITY]
        found = [one for one in self._service.budgets() if identity.may(Permission.DATA_READ, one.namespace)]
        return answer({"items": found})

    async def set_budgets(self, request: Request) -> Response:
        """Give namespaces other budgets."""
        body = await read(request, BudgetsBody)
        wanted = {name: _budget(name, one) if one is not None else None for name, one in body.budgets.items()}
        return answer({"items": await self._service.set_budgets(wanted)})

    async def spent(self, request: Request) -> Response:
        """Say what the caller's namespaces have moved and spent, by day and remote."""
        identity: Identity = request.scope[IDENTITY]
        query = request.query_params
        found = self._service.spent(
            namespace=query.get("namespace", ""), since=query.get("since", ""), until=query.get("until", "")
        )
        return answer({"items": [one for one in found if identity.may(Permission.DATA_READ, one.namespace)]})

    async def inventories(self, _: Request) -> Response:
        """List the listings that are kept."""
        return answer({"items": self._service.inventories()})

    async def inventory(self, request: Request) -> Response:
        """Tell a page of a listing that is kept."""
        after, limit = request.query_params.get("cursor", ""), number(request, "limit", 1000)
        return answer(self._service.inventory(reference(request), after=after, limit=limit))

    async def refresh_inventory(self, request: Request) -> Response:
        """List everything below a prefix now."""
        return answer(await self._service.refresh_inventory((await read(request, RefBody)).ref))

    async def links(self, _: Request) -> Response:
        """Say what is known of the far stores' links."""
        return answer({"items": self._service.links()})

    async def bandwidth(self, _: Request) -> Response:
        """List the limits of bandwidth."""
        return answer(self._service.bandwidth())

    async def limit_bandwidth(self, request: Request) -> Response:
        """Hold other limits."""
        body = await read(request, BandwidthBody)
        return answer(await self._service.limit_bandwidth(body.limits, body.time_zone))

    async def uploads(self, _: Request) -> Response:
        """List outputs that are not at their far stores."""
        return answer({"items": self._service.uploads()})

    async def retry_uploads(self, request: Request) -> Response:
        """Send again what could not be sent."""
        body = await read(request, RetryBody)
        return answer({"items": self._service.retry_uploads(body.ref)})

    async def drop_upload(self, request: Request) -> Response:
        """Delete an output that could not be sent."""
        await self._service.drop_upload((await read(request, RefBody)).ref)
        return answer({})


def _budget(namespace: str, body: BudgetBody) -> Budget:
    try:
        moved = parse_bytes(body.moved) if body.moved != "" else None
    except SettingsError as error:
        raise Refused(f"budget of namespace {namespace[:80]}: moved: {error}") from error
    return Budget(moved_bytes=moved, money=body.money, period=body.period)


async def _pin_body(request: Request) -> PinBody:
    """Return whose pin is meant: who may not do so in all namespaces has to name one of his."""
    body = await read(request, PinBody)
    identity: Identity = request.scope[IDENTITY]
    if not identity.may(Permission.DATA_WRITE, body.namespace or ALL):
        place = f"namespace {body.namespace[:80]!r}" if body.namespace else "all namespaces"
        raise Refused(denied(identity, Permission.DATA_WRITE, place), code="denied")
    return body
